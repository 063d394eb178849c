"""Reading a shard that may be damaged: every row that is still what was written, and what is wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loopsim.records import Step
from loopsim.store.checksums import FileSum, file_sum
from loopsim.store.shards import Shard, shard_at
from loopsim.store.tables import CHECKSUM, STEP_SCHEMA, row_checksum, table_to_steps, with_columns_of

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""What reading damaged Parquet can raise."""


@dataclass(frozen=True)
class Reading:
    """What could be read of a shard of steps."""

    steps: tuple[Step, ...]
    """The rows that are as they were written, or that nothing speaks against."""
    damage: str | None
    """What is wrong with the file; None where nothing is."""
    unvouched: frozenset[tuple[str, int]]
    """Rows, by trajectory and t, that have no checksum: nothing tells whether they were changed."""


def read_steps(shard: Shard, noted: FileSum | None) -> Reading:
    """The rows of a shard that are still what was written.

    Args:
        shard: the shard; where its first iteration is later than its name says, an earlier file holds those between,
            and they are passed over.
        noted: what the file was when it was written; None where nobody noted it.
    """
    damage = file_damage(shard.path, noted)
    try:
        file = pq.ParquetFile(shard.path, page_checksum_verification=True)
        groups = range(file.num_row_groups)
        lax = pq.ParquetFile(shard.path)
    except UNREADABLE as error:
        return Reading((), damage or f"is no Parquet file any more ({_first_line(error)})", frozenset())
    elsewhere = range(named.first if (named := shard_at(shard.path)) else shard.first, shard.first)
    steps: list[Step] = []
    unvouched: set[tuple[str, int]] = set()
    for k in groups:
        found, sound = _group(file, lax, k)
        found = [row for row in found if row[0].t not in elsewhere]
        steps += [step for step, _ in found]
        unvouched |= {(step.trajectory_id, step.t) for step, known in found if known is None}
        if not sound:
            damage = damage or "holds rows that are not what was written"
    return Reading(tuple(steps), damage, frozenset(unvouched))


def file_damage(path: Path, noted: FileSum | None) -> str | None:
    """How a file differs from what it was; None where it does not, or nobody noted what it was."""
    try:
        now = file_sum(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if noted is None or now == noted:
        return None
    if now.size < noted.size:
        return f"is cut off: {now.size:,} of {noted.size:,} bytes are there"
    if now.size > noted.size:
        return f"has grown from {noted.size:,} to {now.size:,} bytes"
    return "is not what was written: bytes have changed"


def _group(file: pq.ParquetFile, lax: pq.ParquetFile, k: int) -> tuple[list[tuple[Step, int | None]], bool]:
    """Good rows of a row group with their checksums, and whether the group is sound."""
    sound = True
    try:
        table = file.read_row_group(k)
    except UNREADABLE:
        sound = False
        try:
            table = lax.read_row_group(k)
        except UNREADABLE:
            return [], False
    try:
        sums = table[CHECKSUM].to_pylist() if CHECKSUM in table.column_names else [None] * table.num_rows
        rows = list(zip(table_to_steps(with_columns_of(STEP_SCHEMA, table)), sums, strict=True))
    except UNREADABLE:  # bytes that are no text, types that are others
        return [], False
    if not sound:
        # Only rows whose checksum agrees are left, and the time they took is in no checksum.
        return [(replace(step, seconds=None), known) for step, known in rows if known == row_checksum(step)], False
    good = [(step, known) for step, known in rows if known is None or known == row_checksum(step)]
    return good, len(good) == len(rows)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
