"""What a result depended on: versions, code, hardware, and the very files of the models."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loopsim import __version__, catalog
from loopsim.records import ModelSpec

_PACKAGES = ("torch", "diffusers", "transformers", "open_clip_torch", "tokenizers", "safetensors", "numpy", "pillow")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _git() -> dict[str, object] | None:
    """Commit of a development checkout, and whether it was changed; None for an installed package."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 (16 hexadecimal digits) of every file under a folder that a model is made of, by relative path.

    Model cards and hidden files are left out: changing them changes no output.
    """
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or path.suffix.lower() == ".md" or any(part.startswith(".") for part in name.parts):
            continue
        whole = hashlib.sha256()
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                whole.update(block)
        hashes[str(name)] = whole.hexdigest()[:16]
    return hashes


def describe_models(specs: Iterable[ModelSpec]) -> list[dict[str, Any]]:
    """Where each distinct model comes from: location, revision, and file hashes of local directories."""
    described = []
    for role, name, revision in dict.fromkeys((s.role, s.model, s.settings.get("revision")) for s in specs):
        location = catalog.find(role, name).path()
        entry: dict[str, Any] = {"role": role, "model": name, "revision": revision}
        if location and Path(location).is_dir():
            entry["files"] = hash_files(Path(location))
        else:
            entry["location"] = location or "code"
        described.append(entry)
    return described


def collect(specs: Iterable[ModelSpec]) -> dict[str, Any]:
    """Everything a manifest keeps about where its numbers came from."""
    return {
        "loopsim": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": _versions(),
        "git": _git(),
        "models": describe_models(specs),
    }
