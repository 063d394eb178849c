"""Where a run has the vectors of each embedder: in a folder each, with its name, which may have slashes, in a file."""

from __future__ import annotations

from pathlib import Path

from loopsim.seeds import digest
from loopsim.store import shards

GIVEN = "given.json"
"""Lies beside vectors that were imported, which no embedder of ours can make again."""
_NAME = "name.txt"


def folder_of(run: Path, name: str) -> Path:
    """Where the vectors of an embedder are, or would be."""
    safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
    return run / "embeddings" / (safe if safe == name else f"{safe}-{digest([name], 6)}")


def made_folder(run: Path, name: str) -> Path:
    """The same, made where it is not there.

    Raises:
        StoreError: the disk refuses.
    """
    folder = folder_of(run, name)
    if not (folder / _NAME).exists():
        with shards.storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        shards.write_bytes(folder / _NAME, name.encode())
    return folder


def folders(run: Path) -> dict[str, Path]:
    """The folder of each embedder that there are vectors of, by its name, in the order of the folders.

    Raises:
        StoreError: a folder does not say whose vectors it holds.
    """
    every = run / "embeddings"
    there = sorted(p for p in every.glob("*") if shards.list_shards(p)) if every.is_dir() else []
    found = {}
    for folder in there:
        with shards.reading(folder / _NAME):
            found[(folder / _NAME).read_text(encoding="utf-8")] = folder
    return found
