"""A curve with its interval in a panel, and a legend for lines: what several kinds of figure draw alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from loopsim.report.figures.style import add_legend
from loopsim.report.lines import Line, Lines, short

Handle = Artist | tuple[Artist, ...]
"""What stands before an entry of a legend; several are laid upon each other."""
DATA_COLUMNS = ("t", "modality", "embedder", "metric", "item", "value", "ci_low", "ci_high", "n", "signature",
                "undefined", "verdict")  # fmt: skip


def curve(axes: Axes, rows: pd.DataFrame, line: Line, dashes: str | None = None, band: bool = True) -> None:
    """One curve over iterations, with a band where two neighbours have intervals, and a bar where one has."""
    rows = rows.sort_values("t")
    t, value = rows["t"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    wide, alpha = (1.4, 1.0) if band else (0.7, 0.8)
    axes.plot(t, value, line.dashes if dashes is None else dashes, color=line.colour, linewidth=wide, alpha=alpha)
    alone = np.isfinite(value) & ~_has_neighbour(np.isfinite(value))
    axes.plot(t[alone], value[alone], "o", markersize=3, color=line.colour)
    if not band:
        return
    low, high = rows["ci_low"].to_numpy(dtype=float), rows["ci_high"].to_numpy(dtype=float)
    there = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(t, low, high, where=list(there), color=line.colour, alpha=0.13, linewidth=0)
    for edge in (low, high):  # where bands lie upon each other, their edges still tell them apart
        axes.plot(t, np.where(there, edge, np.nan), "-", color=line.colour, linewidth=0.4, alpha=0.5)
    bars = there & ~_has_neighbour(there)
    axes.vlines(t[bars], low[bars], high[bars], color=line.colour, linewidth=0.8)


def _has_neighbour(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    before, after = np.roll(there, 1), np.roll(there, -1)
    if there.size:
        before[0] = after[-1] = False
    return np.asarray(before | after)


def line_legend(figure: Figure, lines: Lines, more: Sequence[tuple[Handle, str]] = (), solid: bool = False) -> None:
    """Names of the lines; of a crowd, what the colours mean.

    Args:
        figure: where.
        lines: what.
        more: further entries.
        solid: whether dashes mean something else there.
    """
    handles: list[Handle] = []
    labels: list[str] = []
    for line in _shown(lines):
        handles.append(Line2D([], [], color=line.colour, linestyle="-" if solid else line.dashes))
        labels.append(line.level if lines.crowded else line.name)
    heading = ""
    if lines.crowded:
        heading = f"{len(lines.lines)} lines, coloured by {short(lines.column)}"
    pairs = [(h, label) for h, label in zip(handles, labels, strict=True) if label]
    pairs += list(more)
    add_legend(figure, [h for h, _ in pairs], [label for _, label in pairs], heading)


def legend_labels(lines: Lines) -> list[str]:
    """What `line_legend` writes for the lines."""
    return [line.level if lines.crowded else line.name for line in _shown(lines)]


def _shown(lines: Lines) -> list[Line]:
    if not lines.crowded:
        return [line for line in lines.lines if line.name]
    first: dict[str, Line] = {}
    for line in lines.lines:
        first.setdefault(line.level, line)
    return list(first.values())


def crowd_note(lines: Lines) -> tuple[str, ...]:
    """What a reader should know of a crowd."""
    if not lines.crowded:
        return ()
    count = len(lines.lines)
    why = f"{count} lines are too many to tell apart: intervals are left out; choose with --where, or see the CSV"
    return (why,)


def drawn(lines: Lines, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of lines as a tidy table: the line's name, the grouping columns that vary, and what was measured."""
    parts = []
    for line in lines.lines:
        mine = rows.loc[rows.index.intersection(line.rows.index)].copy()
        mine.insert(0, "line", line.name or "all")
        parts.append(mine)
    whole = pd.concat(parts, ignore_index=True) if parts else rows.assign(line="all")
    measured = [c for c in DATA_COLUMNS if c in whole]
    keys = [c for c in whole.columns if c not in measured and c != "line"]
    kept = [c for c in keys if c in ("condition", "label", "group") or whole[c].map(repr).nunique() > 1]
    return whole[["line", *kept, *measured]]
