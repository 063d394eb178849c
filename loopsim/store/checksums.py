"""What every byte of a shard was when it was written: one line a shard, one file a cohort, beside the shards.

Parquet's own page checksums find most damage but not all (headers and the footer are not covered), and the checksum of
a row says which row is hit. A line may be missing, as after a power cut, and in runs from before there were any: then
only the other two speak.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FOLDER = ".checksums"
"""Inside a folder of shards; readers of the folder pass over what begins with a dot."""


@dataclass(frozen=True)
class FileSum:
    """What a file was."""

    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal digits of its SHA-256."""


def file_sum(path: Path) -> FileSum:
    """What a file is now."""
    whole, size = sha256(), 0
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            whole.update(block)
            size += len(block)
    return FileSum(size, whole.hexdigest())


def note(folder: Path, cohort: str, name: str, found: FileSum) -> None:
    """Write down what a shard is, once it is there; not forced to the disk, see above."""
    path = folder / FOLDER / f"{cohort}.jsonl"
    with contextlib.suppress(OSError):  # the shard is whole and stored: on a full disk it goes without
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as handle:
            handle.write(_line(name, found))


def forget(folder: Path) -> None:
    """Drop what was noted of the shards of a folder, which were deleted since they are to be made anew."""
    for path in (folder / FOLDER).glob("*.jsonl"):
        path.unlink(missing_ok=True)


def noted(folder: Path) -> dict[str, FileSum]:
    """What the shards of a folder were when they were written, by file name."""
    known: dict[str, FileSum] = {}
    for path in sorted((folder / FOLDER).glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            # A line that a killed writer left half says nothing.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                known[str(entry["file"])] = FileSum(int(entry["bytes"]), str(entry["sha256"]))
    return known


def _line(name: str, found: FileSum) -> bytes:
    # A new line first: the one before may be half.
    return b"\n" + json.dumps({"file": name, "bytes": found.size, "sha256": found.sha256}).encode() + b"\n"
