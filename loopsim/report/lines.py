"""What the lines of a figure are called and how they look: one line a cell of the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

# Okabe and Ito's colour-blind-safe palette, without yellow, which is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Colours of lines, in order."""
DASHES = ("-", "--", ":", "-.")
"""Line styles, in order; they tell apart what shares a colour."""
CROWD = 12
"""More lines than these are drawn by the levels of one factor: nobody can tell so many apart."""


@dataclass(frozen=True, eq=False)
class Line:
    """One cell as a line."""

    name: str
    """What the legend says; empty where there is one line only."""
    level: str
    """Value of the column that gives the colour; empty where there is one line only."""
    colour: str
    """Hexadecimal."""
    dashes: str
    """A matplotlib line style from `DASHES`."""
    keys: Mapping[str, Any]
    """The grouping columns of the cell: condition, label, group, factors; None where it pools several."""
    rows: pd.DataFrame
    """Its measurements."""


@dataclass(frozen=True)
class Lines:
    """The lines of a figure."""

    lines: tuple[Line, ...]
    """In the order of the measurements."""
    column: str
    """The column that gives the colour: `label`, `group` or a factor; empty where there is one line only."""

    @property
    def crowded(self) -> bool:
        """Whether there are too many to tell apart one by one."""
        return len(self.lines) > CROWD


def key_columns(measurements: pd.DataFrame) -> list[str]:
    """The grouping columns of measurements: those that stand before `t`."""
    names = list(measurements.columns)
    return [str(name) for name in names[: names.index("t")]]


def lines_of(measurements: pd.DataFrame, by: str | None = None) -> Lines:
    """One line for each cell of some rows of the measurements.

    Args:
        measurements: rows of any metrics and iterations.
        by: the column that gives the colour: `condition`, `group`, or a factor. Where None, it is the condition; the
            group of starts, where there is one condition only; for a crowd, the first factor of few levels.
    """
    keys = key_columns(measurements)
    varying = [name for name in keys if measurements[name].map(repr).nunique() > 1]
    cell = measurements[varying].map(repr).agg("\0".join, axis=1) if varying else pd.Series("", measurements.index)
    order = list(dict.fromkeys(cell))
    heads = measurements.loc[[cell.index[cell == one][0] for one in order], keys]
    column = _colour_column(heads, varying, by, len(order))
    levels = [_value(column, head) if column else "" for _, head in heads.iterrows()]
    names = _names(heads, varying, column, levels)
    rank = {level: i for i, level in enumerate(dict.fromkeys(levels))}
    within: dict[str, int] = {}
    lines = []
    for one, (_, head), level, name in zip(order, heads.iterrows(), levels, names, strict=True):
        turn = within.get(level, 0)
        within[level] = turn + 1
        shift = 0 if len(order) > CROWD else turn
        dashes = DASHES[(rank[level] // len(PALETTE) + shift) % len(DASHES)]
        colour = PALETTE[rank[level] % len(PALETTE)]
        lines.append(Line(name, level, colour, dashes, head.to_dict(), measurements[cell == one]))
    return Lines(tuple(lines), column)


def _colour_column(heads: pd.DataFrame, varying: Sequence[str], by: str | None, count: int) -> str:
    if by is not None:
        return "label" if by == "condition" else by
    if count > CROWD:
        factors = [c for c in varying if c not in ("condition", "label", "group")]
        factors.sort(key=lambda c: "." in c)  # a stable sort: models before settings
        few = [c for c in (*factors, "group") if c in varying and heads[c].map(repr).nunique() <= len(PALETTE)]
        if few:
            return few[0]
    for column in ("label", "group"):
        if column in varying:
            return column
    return varying[0] if varying else ""


def short(column: str) -> str:
    """A factor without its role, as labels have it: `captioner.temperature` is `temperature`."""
    return column.rpartition(".")[2]


def _value(column: str, head: pd.Series) -> str:
    value = head[column]
    said = value_in_words(value)
    return said if column in ("label", "group", "condition") else f"{short(column)}={said}"


def value_in_words(value: object) -> str:
    """A setting as a reader writes it: 5 for 5.0, `all` where a cell pools several."""
    if value is None or (isinstance(value, float) and value != value):
        return "all"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _names(heads: pd.DataFrame, varying: Sequence[str], column: str, levels: Sequence[str]) -> list[str]:
    """The level, and what tells cells of one level apart, where there is more than one."""
    if len(set(levels)) == len(levels):
        return list(levels)
    rest = [c for c in ("label", "group") if c in varying and c != column]
    if not rest:
        rest = [c for c in varying if c not in (column, "condition")]
    names = []
    for level, (_, head) in zip(levels, heads.iterrows(), strict=True):
        parts = [_value(c, head) for c in rest]
        # A label says the factor too.
        parts = [one for part in parts for one in part.split(", ") if one.partition("=")[0] != short(column)]
        names.append(", ".join(part for part in (level, *parts) if part))
    return names
