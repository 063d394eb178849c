"""Cells of one run or several, in families that are compared with each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.compare.records import Settings
from loopsim.errors import UsageError
from loopsim.measure.cells import key_columns
from loopsim.records import NO_CONTROL


@dataclass(frozen=True, eq=False)
class Cell:
    """A named set of trajectories."""

    name: str
    value: str
    """Of the column that cells differ in: what `--reference` may say instead of the name."""
    rows: NDArray[np.bool_]
    starts: frozenset[str]


def cells_of(table: pd.DataFrame, settings: Settings, several: bool) -> Iterator[list[Cell]]:
    """Families of cells: those of one family are compared with each other."""
    by = "label" if settings.by == "condition" else settings.by
    known = [c for c in key_columns(table) if c not in ("label", "run")]
    if settings.by not in known:
        raise UsageError(f"--by {settings.by}: there is no such column; known: {', '.join(known)}")
    fixed = "label" if by == "group" else "group"
    # A loop and its controls are never pooled: a condition's label says which it is, a factor does not.
    arms = table["control"].fillna(NO_CONTROL) if "control" in table and by != "control" else None
    if fixed == "label" or by == "label" or arms is None:
        arms = pd.Series("", index=table.index)
    blocks = pd.DataFrame({fixed: table[fixed], "arm": arms}).drop_duplicates()
    for block, arm in blocks.itertuples(index=False):
        family = (table[fixed] == block) & (arms == arm)
        cells = []
        for (run, value), rows in table[family].groupby(["run", by], sort=False, dropna=False):
            parts = [str(run)] * several + [str(value)] * (not several or table[by].nunique() > 1)
            if table[fixed].nunique() > 1:
                parts.append(f"{'starts' if fixed == 'group' else 'condition'} {block}")
            if arms.nunique() > 1:
                parts.append(f"control={arm}")
            chosen = np.zeros(len(table), dtype=bool)
            chosen[rows.index] = True
            cells.append(Cell(", ".join(parts), str(value), chosen, frozenset(rows["start_id"])))
        yield cells


def pairs_of(table: pd.DataFrame, settings: Settings, several: bool) -> Iterator[tuple[Cell, Cell]]:
    """The pairs to compare, the reference first.

    Raises:
        UsageError: the reference is none of the cells.
    """
    families = list(cells_of(table, settings, several))
    wanted = settings.reference
    if wanted is not None and not any(wanted in (cell.name, cell.value) for cells in families for cell in cells):
        names = list(dict.fromkeys(cell.name for cells in families for cell in cells))
        raise UsageError(f"--reference {wanted!r} is none of the cells: {'; '.join(names)}")
    told = "control" in table and settings.by in ("condition", "control")
    broken = (table["control"].fillna(NO_CONTROL) != NO_CONTROL).to_numpy() if told else None
    for cells in families:
        for first, second in itertools.combinations(cells, 2):
            if wanted is None and broken is not None and broken[first.rows].all() and broken[second.rows].all():
                continue  # controls are there to hold the loop against, not each other
            if wanted is None or wanted in (first.name, first.value):
                yield first, second
            elif wanted in (second.name, second.value):
                yield second, first
