"""The folder of a report: made beside its place, and there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopsim.errors import UsageError
from loopsim.report.site import Options, Site
from loopsim.store import Run
from loopsim.store.shards import storing

MARK = Path("data") / "head.json"
"""Lies in every report: a folder that has none is somebody else's."""


@dataclass(frozen=True)
class Built:
    """What was written."""

    page: Path
    """The page to open."""
    files: int
    """How many files."""
    bytes: int
    """How large all of them are together."""
    pictures: int
    """Sprite sheets among them."""


def build(
    runs: Sequence[Run],
    folder: Path,
    options: Options | None = None,
    on_sheet: Callable[[int, int], None] = lambda done, total: None,
) -> Built:
    """Write a report; an older one in that place is replaced when the new one is whole.

    Args:
        runs: one run, or several.
        folder: where to.
        options: how.
        on_sheet: called with the number of sprite sheets made and to be made: what takes the time.

    Raises:
        UsageError: there is something else in that place.
        StoreError: a run is damaged, or the disk is full or refuses; an older report is still there.
    """
    check_place(folder)
    site = Site(runs, options)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with storing(folder):
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            files, size, sheets = _write(site, beside, on_sheet)
            _put(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return Built(folder / "index.html", files, size, sheets)


def check_place(folder: Path) -> None:
    """Refuse to replace what is no report.

    Raises:
        UsageError: a file is there, or a folder with something else in it.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: there is a file or link of that name; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(f"{folder}: there is something else than a report in that folder; choose another --out")


def _write(site: Site, folder: Path, on_sheet: Callable[[int, int], None]) -> tuple[int, int, int]:
    """Everything, the head last; how many files, bytes and sheets that was."""
    count = size = made = 0

    def put(name: str, content: bytes) -> None:
        nonlocal count, size
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count, size = count + 1, size + len(content)

    blocks = sorted(site.sheet_blocks)
    if site.sheets:
        for (row, t), content in site.sheets.all(blocks):
            put(f"sprites/{row:04d}-{t:04d}.webp", content)
            made += 1
            on_sheet(made, len(blocks))
    for name in site.names():
        made_now = site.make(name)
        if made_now is None:
            raise AssertionError(f"{name} is announced and cannot be made")
        put(name, made_now)
    return count, size, made


def _put(new: Path, place: Path) -> None:
    """Into its place, what was there before away."""
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    try:
        os.replace(new, place)
    except OSError:
        if old.exists():
            os.replace(old, place)
        raise
    shutil.rmtree(old, ignore_errors=True)
