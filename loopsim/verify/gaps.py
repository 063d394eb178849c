"""Iterations that were stored and are not there: between others, by what was noted of their files, or by the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from loopsim.store.shards import Shard, shard_at
from loopsim.store.spans import Range, joined, missing
from loopsim.verify.expected import Expected
from loopsim.verify.records import Finding


def find_gaps(cohort: str, shards: Sequence[Shard], noted: Iterable[str], expected: Expected) -> list[Finding]:
    """What a cohort had and has no longer; what it has not got to yet is not missing.

    Args:
        cohort: its id.
        shards: its shards that are there, each iteration in one.
        noted: names of the files that it was ever written to, those that were merged into a wider one among them.
        expected: what should be there.
    """
    members = expected.cohorts[cohort]
    t0 = expected.trajectories[members[0]].start.t0
    stored: list[Range] = [(shard.first, shard.last) for shard in shards]
    written = [shard for name in noted if (shard := shard_at(Path(name))) is not None]
    had = [(t0, last) for _, last in stored] + [(shard.first, shard.last) for shard in written]
    if cohort in expected.ended:
        # An old log does not say how far that was; where nothing is left, all that there should be is gone, if the
        # experiment can be read, which says what that is.
        whole = 0 if stored or expected.seed is None else expected.iterations
        had.append((t0, t0 + (expected.ended[cohort] or whole)))
    gaps = [
        gap for first, last in joined(had) for gap in missing(stored, first, min(last, last_alive(cohort, expected)))
    ]
    there = {shard.path.name for shard in shards}
    gone = [shard for shard in written if shard.path.name not in there]
    return [_finding(cohort, gap, gone, members) for gap in gaps]


def lost_files(shards: Sequence[Shard], noted: Iterable[str]) -> list[Shard]:
    """Files of vectors that were written, of which something is in no file that is there."""
    stored = [(shard.first, shard.last) for shard in shards]
    written = {shard.path.name: shard for name in noted if (shard := shard_at(Path(name))) is not None}
    return [shard for shard in written.values() if missing(stored, shard.first, shard.last)]


def last_alive(cohort: str, expected: Expected) -> int:
    """The last iteration that any trajectory of a cohort can have."""
    ends = [expected.failed[i].t - 1 if i in expected.failed else None for i in expected.cohorts[cohort]]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else 10**9


def _finding(cohort: str, gap: Range, gone: Sequence[Shard], members: tuple[str, ...]) -> Finding:
    hit = [shard for shard in gone if shard.first <= gap[1] and shard.last >= gap[0]]
    # A merged file covers those that it was made from, which were removed.
    widest = [s for s in hit if not any(o.first <= s.first and s.last <= o.last and o != s for o in hit)]
    name, message = "steps", "a file of this cohort is missing"
    if len(widest) == 1:
        name, message = f"steps/{widest[0].path.name}", "is missing"
    elif widest:
        message = f"{len(widest)} files of this cohort are missing"
    return Finding(name, message, "again", cohort, (gap,), members)
