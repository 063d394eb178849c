"""What no data could show: lines that so few permutations or starts keep from `differs`, and how many it would take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from loopsim.compare.records import OMNIBUS_PERMUTATIONS, Comparison, Omnibus, Settings
from metrics.comparison import holm

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
        by_starts = [line for line in mine if count * _of_starts(line.starts, paired) > settings.alpha]
        if by_starts:
            notes.append(_starts_note(by_starts, count, settings))
    rest = [line for line in stuck if count * _of_starts(line.starts, line.paired) <= settings.alpha]
    if rest:
        bound = _bound(1 / (1 + settings.n_permutations), count, _lines(count))
        notes.append(
            f"{_which(rest, count)}: {settings.n_permutations} permutations {bound}; it takes "
            f"--permutations {_permutations(count, settings.alpha)}, {_FEWER}"
        )
    return notes + _omnibus_notes(tests, settings)


def _smallest_p(line: Comparison, permutations: int) -> float:
    """The smallest p-value that a line can have: `smallest_p` of `metrics.paired.set_difference`."""
    if line.measure == "survival":  # from a distribution
        return 0.0
    if line.paired:  # all patterns of signs are listed where there are few
        return _of_starts(line.starts, True) if 2**line.starts <= permutations + 1 else 1 / (1 + permutations)
    return max(1 / (1 + permutations), _of_starts(line.starts, False))


def _of_starts(starts: int, paired: bool) -> float:
    """The share of all permutations that must do as much as the data: of halves, where cells share no starts."""
    return 2.0 ** (1 - starts) if paired else 1 / math.comb(starts, starts // 2)


def _starts_note(stuck: Sequence[Comparison], count: int, settings: Settings) -> str:
    paired, most = stuck[0].paired, max(line.starts for line in stuck)
    if paired:
        starts = f"{most} shared starts"
        needed = f"{_fewest(lambda n: count * _of_starts(n, True) <= settings.alpha, 3)} shared starts"
    else:
        starts = f"{most} starts in two cells"
        needed = f"{_fewest(lambda n: count * _of_starts(2 * n, False) <= settings.alpha, 3)} starts in each cell"
    more = ""
    if count / (1 + settings.n_permutations) > settings.alpha:
        more = f" and --permutations {_permutations(count, settings.alpha)}"
    bound = _bound(_of_starts(most, paired), count, _lines(count))
    return f"{_which(stuck, count)}: {starts} {bound}; it takes {needed}{more}, {_FEWER}"


def _omnibus_notes(tests: Sequence[Omnibus], settings: Settings) -> list[str]:
    known = [test for test in tests if not math.isnan(test.p)]
    permutations = min(settings.n_permutations, OMNIBUS_PERMUTATIONS)
    floor = 1 / (1 + permutations)
    if len(known) * floor <= settings.alpha:
        return []
    bound = _bound(floor, len(known), f"{len(known)} tests")
    said = f"no test of whether any of them differ can come out, whatever the data: {permutations} permutations {bound}"
    return [f"{said}; ask for fewer (--measure, --modality)"]


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
