"""Append-only Parquet shards: a shard exists whole or not at all.

A shard is written to a temporary name, fsynced and renamed. Its name says which iterations of which cohort it holds,
`COHORT-FIRST-LAST.parquet`, so what is stored can be told from a directory listing, and a compacted shard simply
covers the ones it was made from: if both are there after a crash, the narrower ones are ignored.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopsim.errors import StoreError
from loopsim.store import checksums
from loopsim.store.spans import Range, joined
from loopsim.store.tables import with_columns_of

_NAME = re.compile(r"^(c\d+)-(\d+)-(\d+)\.parquet$")
_OF_COHORT = re.compile(r"(c\d+)-\d+-\d+\.parquet")
_TEMPORARY = ".tmp-"
LARGE_BYTES = 8 << 20
"""A shard of so many bytes is not merged with others …"""
MERGED_BYTES = 128 << 20
"""… and of small ones no more than this is made into one."""


@dataclass(frozen=True)
class Shard:
    """One file: all live trajectories of a cohort, iterations `first` to `last`."""

    path: Path
    cohort: str
    first: int
    last: int


def shard_name(cohort: str, first: int, last: int) -> str:
    """The file name of a shard."""
    return f"{cohort}-{first:07d}-{last:07d}.parquet"


def shard_at(path: Path) -> Shard | None:
    """What the name of a file says, whether or not it is there; None where it is no shard's."""
    match = _NAME.match(path.name)
    return Shard(path, match[1], int(match[2]), int(match[3])) if match else None


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn a failing disk into one message that says what is safe."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{path}: no space left on the disk. Everything stored so far is whole; "
                "free some space and run the same command again"
            ) from error
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a damaged or missing file of a run into one message that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: damaged or unreadable, so the run cannot be read: {error}\n"
            "  `loopsim verify DIR` says what is hit; with --repair it makes room for that to be made again"
        ) from error


def write_whole(path: Path, write: Callable[[BinaryIO], None], before: Callable[[Path], None] | None = None) -> None:
    """Write a file so that it appears whole or not at all, and survives a power cut.

    Args:
        path: the file.
        write: fills it.
        before: called with the whole file under its temporary name, before it appears.

    Raises:
        StoreError: the disk is full or refuses; nothing under `path` has changed.
    """
    # Not *.parquet: readers of the folder by pattern must not find it. Another machine may have our process number.
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}.part")
    with storing(path):
        try:
            with temporary.open("wb") as handle:
                write(handle)
                handle.flush()
                os.fsync(handle.fileno())
            if before is not None:
                before(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file whole.

    Raises:
        StoreError: as `write_whole`.
    """

    def write(handle: BinaryIO) -> None:
        handle.write(content)

    write_whole(path, write)


def write_once(path: Path, content: bytes) -> bool:
    """Write a small file whole unless it is there already; whether it was written.

    Of several processes that do so at once, one succeeds.

    Raises:
        StoreError: as `write_whole`.
    """
    fresh = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}-{path.name}")
    write_bytes(fresh, content)
    with storing(path):
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: then the last one wins
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


def write_table(path: Path, table: pa.Table, compression: str | None = "zstd") -> None:
    """Write a Parquet file whole.

    Raises:
        StoreError: as `write_whole`.
    """
    write_whole(path, _writes(table, compression))


def write_shard(
    folder: Path, cohort: str, first: int, last: int, table: pa.Table, compression: str | None = "zstd"
) -> Path:
    """Write a shard whole, and note its checksum.

    Raises:
        StoreError: as `write_whole`.
    """
    path = folder / shard_name(cohort, first, last)
    _write_noted(path, cohort, _writes(table, compression))
    return path


def _writes(table: pa.Table, compression: str | None) -> Callable[[BinaryIO], None]:
    def write(handle: BinaryIO) -> None:
        pq.write_table(table, handle, compression=compression or "none", write_page_checksum=True)

    return write


def _write_noted(path: Path, cohort: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a shard whole and note what it is: after it has appeared, so that what is noted was there."""
    found: list[checksums.FileSum] = []
    write_whole(path, write, lambda whole: found.append(checksums.file_sum(whole)))
    checksums.note(path.parent, cohort, path.name, found[0])


def stored(folder: Path) -> dict[str, list[Range]]:
    """The iterations that the shards of a folder hold, by cohort."""
    found: dict[str, list[Range]] = {}
    for shard in list_shards(folder):
        found.setdefault(shard.cohort, []).append((shard.first, shard.last))
    return {cohort: joined(ranges) for cohort, ranges in found.items()}


def list_shards(folder: Path) -> list[Shard]:
    """The shards of a folder in order of cohort and iteration, without those that another one covers."""
    found: dict[str, list[Shard]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            shard = shard_at(path)
            if shard is not None:
                found.setdefault(shard.cohort, []).append(shard)
    kept: list[Shard] = []
    for _, shards in sorted(found.items()):
        reach = -1
        for shard in sorted(shards, key=lambda s: (s.first, -s.last)):
            if shard.last > reach:
                kept.append(shard)
                reach = shard.last
    return kept


def remove_leftovers(folder: Path, cohorts: Collection[str] | None = None) -> None:
    """Delete temporary files of writers that were killed, and shards that a wider one covers.

    Args:
        folder: the folder of shards.
        cohorts: those that the caller alone writes; None is all, and everything temporary.
    """
    if not folder.is_dir():
        return
    kept = {shard.path for shard in list_shards(folder)}
    for path in folder.iterdir():
        name = _OF_COHORT.search(path.name)
        ours = cohorts is None or (name is not None and name[1] in cohorts)
        if ours and (path.name.startswith(_TEMPORARY) or (_NAME.match(path.name) and path not in kept)):
            path.unlink(missing_ok=True)


def compact(folder: Path, cohort: str) -> None:
    """Merge the small shards of one cohort with their neighbours; safe to interrupt anywhere.

    A shard of `LARGE_BYTES` or more stays as it is, and neither does what is merged grow much beyond `MERGED_BYTES`:
    large pictures are not written twice, and small files do not become many.
    """
    shards = [shard for shard in list_shards(folder) if shard.cohort == cohort]
    gaps = [(a.last, b.first) for a, b in itertools.pairwise(shards) if b.first > a.last + 1]
    if gaps:
        raise StoreError(
            f"{folder}: iterations {gaps[0][0] + 1} to {gaps[0][1] - 1} of cohort {cohort} are missing: was the run "
            "copied in part? Nothing was changed."
        )
    for group in _groups(shards):
        _merge(folder, group)


def _groups(shards: Sequence[Shard]) -> list[list[Shard]]:
    """Neighbours that are to be merged: at least two each. What overlaps always is, since one of the two may have ended
    in the middle of the other.
    """
    groups: list[list[Shard]] = []
    sizes = [shard.path.stat().st_size for shard in shards]
    for k, shard in enumerate(shards):
        overlaps = k > 0 and shard.first <= shards[k - 1].last
        small = k > 0 and max(sizes[k - 1 : k + 1]) < LARGE_BYTES
        room = groups and sum(sizes[k - len(groups[-1]) : k + 1]) <= MERGED_BYTES
        if overlaps or (small and room):
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return [group for group in groups if len(group) > 1]


def _merge(folder: Path, shards: Sequence[Shard]) -> None:
    def merge(handle: BinaryIO) -> None:
        # A group of rows at a time: a cohort of large pictures neither fits into memory nor into one group.
        schema = pq.ParquetFile(shards[-1].path).schema_arrow  # the newest: a later version may have added columns
        with pq.ParquetWriter(handle, schema, compression="zstd", write_page_checksum=True) as writer:
            reach = -1
            for shard in shards:
                with reading(shard.path):
                    # What is damaged must not get new checksums.
                    file = pq.ParquetFile(shard.path, page_checksum_verification=True)
                    for k in range(file.num_row_groups):
                        table = with_columns_of(schema, file.read_row_group(k))
                        if shard.first <= reach:  # two workers stored the same iterations: once is enough
                            table = table.filter(pc.greater(table["t"], reach))
                        writer.write_table(table)
                reach = max(reach, shard.last)

    cohort = shards[0].cohort
    path = folder / shard_name(cohort, shards[0].first, max(shard.last for shard in shards))
    _write_noted(path, cohort, merge)
    for shard in shards:
        if shard.path != path:
            shard.path.unlink(missing_ok=True)
