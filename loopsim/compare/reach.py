"""What no data could show: lines that so few permutations or starts keep from `differs`, and how many it would take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from loopsim.compare.records import OMNIBUS_PERMUTATIONS, Comparison, Omnibus, Settings
from metrics.comparison import holm
from metrics.paired import smallest_p

_FEWER = "or fewer lines (--measure, --modality, --reference)"


def out_of_reach(lines: Sequence[Comparison], tests: Sequence[Omnibus], settings: Settings) -> list[str]:
    """A note for each reason why lines or tests cannot come out significant, however large the differences are.

    A permutation p-value has a smallest value, and Holm's adjustment multiplies it. Log-rank tests and those of
    equivalence have none.

    Args:
        lines: of one comparison, all of them, since they share the level.
        tests: of whether any cells differ, which share a level of their own.
        settings: what they were made with.
    """
    known = [line for line in lines if not math.isnan(line.p)]
    smallest = [_smallest_p(line, settings.n_permutations) for line in known]
    adjusted = holm(smallest) if smallest else ()
    stuck = [line for line, best in zip(known, adjusted, strict=True) if best > settings.alpha]
    count, notes = len(known), []
    for paired in (True, False):
        mine = [line for line in stuck if line.paired is paired]
        by_starts = [line for line in mine if count * _of_starts(line) > settings.alpha]
        if by_starts:
            notes.append(_starts_note(by_starts, count, settings))
    rest = [line for line in stuck if count * _of_starts(line) <= settings.alpha]
    if rest:
        bound = _bound(1 / (1 + settings.n_permutations), count, _lines(count))
        notes.append(
            f"{_which(rest, count)}: {settings.n_permutations} permutations {bound}; it takes "
            f"--permutations {_permutations(count, settings.alpha)}, {_FEWER}"
        )
    return notes + _omnibus_notes(tests, settings)


def _smallest_p(line: Comparison, permutations: float) -> float:
    """The smallest p-value that a line can have."""
    if line.measure == "survival":  # from a distribution
        return 0.0
    return smallest_p(line.first_starts, line.second_starts, paired=line.paired, n_permutations=permutations)


def _of_starts(line: Comparison) -> float:
    """The same, however many permutations there are."""
    return _smallest_p(line, math.inf)


def _starts_note(stuck: Sequence[Comparison], count: int, settings: Settings) -> str:
    best = min(stuck, key=_of_starts)
    paired = best.paired
    starts = f"{best.first_starts} shared" if paired else f"{best.first_starts} and {best.second_starts}"
    needed = _fewest(lambda n: count * smallest_p(n, n, paired=paired) <= settings.alpha, 3)
    more = ""
    if count / (1 + settings.n_permutations) > settings.alpha:
        more = f" and --permutations {_permutations(count, settings.alpha)}"
    bound = _bound(_of_starts(best), count, _lines(count))
    return (
        f"{_which(stuck, count)}: {starts} starts {bound}; it takes {needed} "
        f"{'shared starts' if paired else 'starts in each cell'}{more}, {_FEWER}"
    )


def omnibus_permutations(count: int, settings: Settings) -> int:
    """Permutations of each of so many tests over all cells: few, but where they are so many that none could come out.

    Args:
        count: tests that share the level.
        settings: whose permutations are the most.
    """
    return min(settings.n_permutations, max(OMNIBUS_PERMUTATIONS, _permutations(count, settings.alpha)))


def _omnibus_notes(tests: Sequence[Omnibus], settings: Settings) -> list[str]:
    count = sum(not math.isnan(test.p) for test in tests)
    permutations = omnibus_permutations(count, settings)
    if count * (1 / (1 + permutations)) <= settings.alpha:
        return []
    bound = _bound(1 / (1 + permutations), count, f"{count} tests")
    said = f"no test of whether any of them differ can come out, whatever the data: {permutations} permutations {bound}"
    needed = _permutations(count, settings.alpha)
    return [f"{said}; it takes --permutations {needed}, or fewer tests (--measure, --modality)"]


def _bound(floor: float, count: int, over: str) -> str:
    return f"give no p below {floor:.2g}, which is {min(1.0, count * floor):.2g} adjusted over {over}"


def _which(stuck: Sequence[Comparison], count: int) -> str:
    who = "no line can" if len(stuck) == count else f"{len(stuck)} of {_lines(count)} cannot"
    return f"{who} read `differs`, whatever the data"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _permutations(count: int, alpha: float) -> int:
    """The fewest with which the smallest p-value times `count` is within the level, as computers multiply."""
    return _fewest(lambda n: count * (1 / (1 + n)) <= alpha, max(19, math.floor(count / alpha) - 3))


def _fewest(enough: Callable[[int], bool], first: int) -> int:
    return next(n for n in itertools.count(first) if enough(n))
