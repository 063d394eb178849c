"""Which iterations are stored and which are missing, as closed ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]
"""First and last iteration."""


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Ranges in order, those that touch or overlap made one."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
        else:
            whole.append((first, last))
    return whole


def missing(stored: Iterable[Range], first: int, last: int) -> list[Range]:
    """What of `first` to `last` is in none of the stored ranges."""
    gaps, at = [], first
    for begin, end in joined(stored):
        if begin > at:
            gaps.append((at, min(begin - 1, last)))
        at = max(at, end + 1)
    gaps.append((at, last))
    return [(a, b) for a, b in gaps if a <= b and a <= last]


def runs_of(ts: Iterable[int]) -> list[Range]:
    """Single iterations as ranges."""
    return joined((t, t) for t in ts)


def in_words(ranges: Iterable[Range]) -> str:
    """Such as `3, 5 to 9`."""
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges)
