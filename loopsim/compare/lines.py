"""Lines of a comparison: one measure of two cells, or of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from loopsim.compare.cells import Cell, cells_of
from loopsim.compare.measures import Measures
from loopsim.compare.reach import omnibus_permutations
from loopsim.compare.records import (
    OMNIBUS_PERMUTATIONS,
    RISES_WITH_N,
    Comparison,
    IntArray,
    Omnibus,
    Settings,
    Statistic,
)
from loopsim.measure.rows import signed
from metrics.paired import set_difference, set_omnibus

_FEWEST = 19
"""Permutations that `set_omnibus` takes at least: enough to see whether a test is defined."""


def _blocks(measures: Measures, cell: Cell, starts: Sequence[str]) -> list[IntArray]:
    own = measures.states.starts
    return [np.flatnonzero(cell.rows & measures.lasted & (own == start)) for start in starts]


def _sides(measures: Measures, first: Cell, second: Cell) -> tuple[list[IntArray], list[IntArray], bool]:
    """Row numbers start by start: of shared starts where there are, of all otherwise; failed trajectories left out."""
    shared = sorted(first.starts & second.starts)
    if shared:
        sides = [_blocks(measures, cell, shared) for cell in (first, second)]
        kept = [g for g in range(len(shared)) if len(sides[0][g]) and len(sides[1][g])]
        return [sides[0][g] for g in kept], [sides[1][g] for g in kept], True
    a, b = ([rows for rows in _blocks(measures, cell, sorted(cell.starts)) if len(rows)] for cell in (first, second))
    return a, b, False


def compared(measures: Measures, first: Cell, second: Cell, settings: Settings) -> list[Comparison]:
    """A line for each measure of two cells."""
    one, other, paired = _sides(measures, first, second)
    statistics = measures.statistics(int(measures.labels.max()) + 1)
    if not one or not other:
        why = "no start was completed in both"
        asked = [name for name in statistics if name in settings.measures]
        return [missing(first, second, measures.states.modality, name, why, paired) for name in asked]
    lines = []
    for name, statistic in statistics.items():
        if name not in settings.measures:
            continue
        a, b = _of_equal_size(one, other, paired) if name in RISES_WITH_N else (one, other)
        base = abs(float(statistics["late distance" if name == "change" else name](np.concatenate(a))))
        margin = settings.margin * base if base > 0 and math.isfinite(base) else math.nan
        found = set_difference(
            statistic, a, b, margin=margin, name=f"compare-{name.replace(' ', '-')}", paired=paired,
            n_permutations=settings.n_permutations, seed=settings.seed,
        )  # fmt: skip
        estimate = found.difference
        lines.append(
            Comparison(
                first.name, second.name, measures.states.modality, name, found.first, found.second, estimate.value,
                estimate.ci_low, estimate.ci_high, found.p, math.nan, found.margin, found.p_equivalence, math.nan, "",
                len(a) if paired else len(a) + len(b), len(a), len(b), paired,
                signed(estimate.signature, {
                    "embedder": measures.states.embedder, "margin": f"{found.margin:.6g}",
                    "window": f"{measures.states.ts[measures.window.start]}-{measures.states.ts[measures.last]}",
                    "trajectories": f"{sum(map(len, a))}+{sum(map(len, b))}",
                }), estimate.undefined,
            )
        )  # fmt: skip
    return lines


def _of_equal_size(a: list[IntArray], b: list[IntArray], paired: bool) -> tuple[list[IntArray], list[IntArray]]:
    """Both sides with equally many starts and replicates: what rises with n is compared at one n."""
    if paired:
        sizes = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]
        return [x[:n] for x, n in zip(a, sizes, strict=True)], [y[:n] for y, n in zip(b, sizes, strict=True)]
    each, starts = min(len(rows) for rows in (*a, *b)), min(len(a), len(b))
    # Starts are in the order of their ids, which are hashes: the first ones are as good as random.
    return [rows[:each] for rows in a[:starts]], [rows[:each] for rows in b[:starts]]


@dataclass(frozen=True)
class Planned:
    """A test over all cells that is still to be made: how many there are says with how many permutations."""

    cells: tuple[str, ...]
    modality: str
    measure: str
    statistic: Statistic
    blocks: tuple[list[IntArray], ...]

    def made(self, settings: Settings, permutations: int) -> Omnibus:
        """The test."""
        name = self.measure.replace(" ", "-")
        found = set_omnibus(self.statistic, self.blocks, name=name, n_permutations=permutations, seed=settings.seed)
        return Omnibus(self.cells, self.modality, self.measure, found.p, math.nan, found.n, found.undefined)


def planned(measures: Measures, table: pd.DataFrame, settings: Settings, several: bool) -> Iterator[Planned]:
    """A test for each measure of three or more cells that share starts."""
    for cells in cells_of(table, settings, several):
        shared = sorted(frozenset.intersection(*(cell.starts for cell in cells)))
        if len(cells) < 3 or not shared:
            continue
        sides = [_blocks(measures, cell, shared) for cell in cells]
        kept = [g for g in range(len(shared)) if all(len(side[g]) for side in sides)]
        if not kept:
            continue
        names = tuple(cell.name for cell in cells)
        for name, statistic in measures.statistics(int(measures.labels.max()) + 1).items():
            if name not in settings.measures:
                continue
            blocks = [[side[g] for g in kept] for side in sides]
            if name in RISES_WITH_N:
                fewest = [min(len(side[g]) for side in sides) for g in kept]
                blocks = [[rows[:n] for rows, n in zip(side, fewest, strict=True)] for side in blocks]
            yield Planned(names, measures.states.modality, name, statistic, tuple(blocks))


def omnibus(tests: Sequence[Planned], settings: Settings) -> list[Omnibus]:
    """The tests of whether any cells differ, all that share a level."""
    count = len(tests)
    if omnibus_permutations(count, settings) > OMNIBUS_PERMUTATIONS:  # those that are undefined cost the others nothing
        count = sum(not test.made(settings, _FEWEST).undefined for test in tests)
    permutations = omnibus_permutations(count, settings)
    return [test.made(settings, permutations) for test in tests]


def missing(first: Cell, second: Cell, modality: str, measure: str, why: str, paired: bool) -> Comparison:
    """The line of a measure that cannot be compared."""
    numbers = (math.nan,) * 10
    return Comparison(first.name, second.name, modality, measure, *numbers, "", 0, 0, 0, paired, "", why)
