"""How long the concepts that a start names last: Kaplan–Meier steps with their intervals, by category."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loopsim.errors import UsageError
from loopsim.report.figures import panels
from loopsim.report.figures.drawing import MODALITIES, Drawing, Source
from loopsim.report.figures.style import WIDTHS, add_note, iterations, legend_rows, title
from loopsim.report.lines import Line, Lines, lines_of

_MOST_CATEGORIES = 9
_METRICS = ("concept_survival", "concept_survival_modelled")


def survival(source: Source) -> Drawing:
    """Share of the concepts named at the start that are not yet lost, a panel a category and modality."""
    wanted = source.request.metrics or ("concept_survival",)
    for name in wanted:
        if name not in _METRICS:
            raise UsageError(f"--metric {name!r}: survival is drawn of {' or '.join(_METRICS)}")
    rows = source.rows(wanted)
    rows = rows[rows["t"].notna() & rows["value"].notna()]
    lines = lines_of(rows, source.by)
    categories = sorted(dict.fromkeys(rows["item"]), key=lambda one: one != "all")
    notes = panels.crowd_note(lines)
    if len(categories) > _MOST_CATEGORIES:
        notes += (f"{_MOST_CATEGORIES} of {len(categories)} categories are drawn; the CSV has all",)
    shown = categories[:_MOST_CATEGORIES]
    cells = [
        (modality, category)
        for modality in MODALITIES
        for category in shown
        if ((rows["modality"] == modality) & (rows["item"] == category)).any()
    ]
    width = WIDTHS[source.request.width]
    across = min(3 if len(shown) > 1 else 2, len(cells))
    if source.request.width == "column":
        across = 1 if len(cells) <= 4 else 2
    down = math.ceil(len(cells) / across)
    head = 0.15 * legend_rows(panels.legend_labels(lines), width)
    figure = Figure(figsize=(width, (1.65 if across > 2 else 2.0) * down + head + 0.45), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, (modality, category) in zip(grid, cells, strict=False):
        mine = rows[(rows["modality"] == modality) & (rows["item"] == category)]
        _panel(axes, mine, lines)
        named = "all concepts" if category == "all" else category
        title(
            axes, f"{modality}s: {named}" if len(shown) > 1 else f"{modality}s: concepts not yet lost", width / across
        )
    for axes in grid[len(cells) :]:
        axes.set_visible(False)
    panels.line_legend(figure, lines)
    add_note(figure, _note([m for m, _ in cells], rows, lines))
    return Drawing(figure, panels.drawn(lines, rows), notes, _alt(rows, lines))


def _note(modalities: list[str], rows: pd.DataFrame, lines: Lines) -> str:
    parts = ["share of the concepts named at the start that are not yet lost (Kaplan–Meier)"]
    if rows["ci_low"].notna().any() and not lines.crowded:
        parts.append("bands: 95 % intervals, starts as the unit")
    if "image" in modalities:
        parts.append(
            "images are looked at by a zero-shot detector, whose misses pass for losses; two absences in a row are one"
        )
    return "; ".join(parts)


def _panel(axes: Axes, rows: pd.DataFrame, lines: Lines) -> None:
    for line in lines.lines:
        _steps(axes, rows.loc[rows.index.intersection(line.rows.index)], line, band=not lines.crowded)
    axes.set_ylim(-0.02, 1.02)
    iterations(axes)


def _steps(axes: Axes, rows: pd.DataFrame, line: Line, band: bool) -> None:
    for _, one in rows.groupby("metric", sort=False):
        steps = one.sort_values("t")
        t = steps["t"].to_numpy(dtype=float)
        axes.step(t, steps["value"], where="post", color=line.colour, linestyle=line.dashes,
                  linewidth=1.2 if band else 0.7)  # fmt: skip
        if band:
            low, high = steps["ci_low"].to_numpy(dtype=float), steps["ci_high"].to_numpy(dtype=float)
            there = np.isfinite(low) & np.isfinite(high)
            axes.fill_between(t, low, high, where=list(there), step="post", color=line.colour, alpha=0.15, linewidth=0)


def _alt(rows: pd.DataFrame, lines: Lines) -> str:
    said = []
    for line in lines.lines[:4]:
        mine = rows.loc[rows.index.intersection(line.rows.index)]
        for modality, block in mine[mine["item"] == "all"].groupby("modality", sort=False):
            last = block.sort_values("t").iloc[-1]
            said.append(f"{line.name or 'all'}, {modality}s: {last['value']:.0%} left at t = {last['t']}")
    return f"Share of the concepts named at the start that are not yet lost. {'; '.join(said)}."
