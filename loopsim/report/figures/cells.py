"""The cells of trajectories that panels are drawn of, where a figure looks at states and not at measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsim.report.figures.drawing import Source
from loopsim.report.lines import short, value_in_words


@dataclass(frozen=True, eq=False)
class Cell:
    """Trajectories that are drawn together."""

    name: str
    """For a title; empty where there is one cell only."""
    rows: NDArray[np.bool_]
    """Which trajectories of the whole run, in its order, shape (n,)."""


def cells_of(source: Source, most: int) -> tuple[list[Cell], tuple[str, ...]]:
    """The cells that `where` and `by` ask for; conditions and groups of starts where nothing is asked.

    Returns:
        The cells, and what a reader should know: more than `most` are pooled.
    """
    table, whole = source.trajectories, source.run.trajectories()["trajectory_id"]
    by = source.by
    columns = [by] if by is not None else [c for c in ("label", "group") if table[c].nunique(dropna=False) > 1]
    values = table[columns].map(value_in_words).apply(tuple, axis=1) if columns else None
    names = list(dict.fromkeys(values)) if values is not None else [()]
    if len(names) > most:
        rows = whole.isin(table["trajectory_id"]).to_numpy()
        why = f"all {len(names)} conditions and groups are pooled; choose with --where, or group with --by"
        return [Cell("", rows)], (why,)
    cells = []
    for name in names:
        mine = table if values is None else table[values == name]
        said = [
            v if c in ("label", "group", "condition") else f"{short(c)}={v}" for c, v in zip(columns, name, strict=True)
        ]
        cells.append(Cell(", ".join(said), whole.isin(mine["trajectory_id"]).to_numpy()))
    return cells, ()
