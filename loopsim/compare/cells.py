"""Cells of one run or several, in families that are compared with each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.compare.records import Settings
from loopsim.errors import UsageError
from loopsim.measure.cells import key_columns
from loopsim.records import NO_CONTROL

NOT_SET = "not set"
"""The name of a cell whose setting has no value, such as `max_words` where nothing is cut."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A named set of trajectories."""

    name: str
    value: str
    """Of the column that cells differ in: what `--reference` may say instead of the name."""
    rows: NDArray[np.bool_]
    starts: frozenset[str]

    def is_called(self, wanted: str) -> bool:
        """Whether `--reference` may mean this one: its name or its value; `0` and `0.0` are one number."""
        return wanted in (self.name, self.value) or _number(wanted) == self.value


def said(value: object) -> str:
    """A setting's value as a cell is called: whole numbers without a point, `not set` where there is none.

    A column in which some cells have no value holds the whole numbers of the others as floats.
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return NOT_SET
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _number(text: str) -> str | None:
    try:
        return said(float(text))
    except (ValueError, OverflowError):
        return None


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
            parts = [str(run)] * several + [said(value)] * (not several or table[by].nunique(dropna=False) > 1)
            if table[fixed].nunique() > 1:
                parts.append(f"{'starts' if fixed == 'group' else 'condition'} {block}")
            if arms.nunique() > 1:
                parts.append(f"control={arm}")
            chosen = np.zeros(len(table), dtype=bool)
            chosen[rows.index] = True
            cells.append(Cell(", ".join(parts), said(value), chosen, frozenset(rows["start_id"])))
        yield cells


def pairs_of(table: pd.DataFrame, settings: Settings, several: bool) -> Iterator[tuple[Cell, Cell]]:
    """The pairs to compare, the reference first.

    Raises:
        UsageError: the reference is none of the cells.
    """
    families = list(cells_of(table, settings, several))
    wanted = settings.reference
    if wanted is not None and not any(cell.is_called(wanted) for cells in families for cell in cells):
        names = list(dict.fromkeys(cell.name for cells in families for cell in cells))
        raise UsageError(f"--reference {wanted!r} is none of the cells: {'; '.join(names)}")
    told = "control" in table and settings.by in ("condition", "control")
    broken = (table["control"].fillna(NO_CONTROL) != NO_CONTROL).to_numpy() if told else None
    for cells in families:
        for first, second in itertools.combinations(cells, 2):
            if wanted is None and broken is not None and broken[first.rows].all() and broken[second.rows].all():
                continue  # controls are there to hold the loop against, not each other
            if wanted is None or first.is_called(wanted):
                yield first, second
            elif second.is_called(wanted):
                yield second, first
