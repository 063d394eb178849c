"""Twins and strangers: how far apart replicates of one start are, and different starts; what the start still fixes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopsim.errors import NothingToDraw
from loopsim.report.figures import panels
from loopsim.report.figures.drawing import MODALITIES, Drawing, Source
from loopsim.report.figures.style import GREY, WIDTHS, add_note, iterations, legend_rows, title
from loopsim.report.lines import Lines, lines_of

_WINDOWS = ("early", "late")
_STRANGERS, _TWINS = "-", "--"


def memory(source: Source) -> Drawing:
    """Distances between replicates of one start and between starts, and the share that is the start's."""
    rows = source.rows(("stranger_distance", "twin_distance", "memory"))
    curves = rows[rows["t"].notna()]
    if (
        not (curves["metric"] == "twin_distance").any()
        or curves.loc[curves["metric"] == "twin_distance", "value"].isna().all()
    ):
        mend = (
            "import trajectories with more than one of a start"
            if source.run.imported is not None
            else "set `replicates: 2` in the experiment file and run it again; the run is extended"
        )
        raise NothingToDraw(
            f"{source.path}: no start has two replicates that lasted, so nothing tells what it fixes from what chance "
            f"makes: {mend}"
        )
    shares = rows[(rows["metric"] == "memory") & rows["item"].isin(_WINDOWS)]
    lines = lines_of(pd.concat([curves, shares]), source.by)
    lines = _tinted(lines)
    there = [m for m in MODALITIES if (curves["modality"] == m).any()]
    columns = 1 if source.request.width == "column" else len(there)
    width = WIDTHS[source.request.width]
    down = 2 * (len(there) if columns == 1 else 1)
    head = 0.15 * (legend_rows(panels.legend_labels(lines), width) + 1)
    figure = Figure(figsize=(width, 1.95 * down + head + 0.45), layout="constrained")
    grid = figure.subplots(down, columns, squeeze=False)
    for i, modality in enumerate(there):
        top, below = (grid[2 * i, 0], grid[2 * i + 1, 0]) if columns == 1 else (grid[0, i], grid[1, i])
        _distances(top, curves[curves["modality"] == modality], lines)
        title(top, f"{modality}s: cosine distance of strangers and twins", width / columns)
        _shares(below, shares[shares["modality"] == modality], lines)
        title(below, f"{modality}s: memory", width / columns)
    styles = [
        (Line2D([], [], color=GREY, linestyle=_STRANGERS), "strangers: different starts"),
        (Line2D([], [], color=GREY, linestyle=_TWINS), "twins: replicates of one start"),
    ]
    # Colours alone tell the lines apart here: dashes say strangers or twins.
    panels.line_legend(figure, lines, styles, solid=True)
    add_note(
        figure,
        f"embedder {source.embedder}; memory: share of what sets trajectories apart that is their start (1: all, 0: "
        "none), over the first and the last quarter of the iterations; bands and bars: 95 % intervals over starts",
    )
    return Drawing(figure, panels.drawn(lines, pd.concat([curves, shares])), panels.crowd_note(lines), _alt(shares))


def _tinted(lines: Lines) -> Lines:
    """Lighter where a colour is there again: dashes, which tell such lines apart elsewhere, say something else here."""
    if lines.crowded:
        return lines
    seen: dict[str, int] = {}
    made = []
    for line in lines.lines:
        turn = seen.get(line.colour, 0)
        seen[line.colour] = turn + 1
        white = min(0.75, 0.45 * turn)
        made.append(replace(line, colour=to_hex([(1 - white) * part + white for part in to_rgb(line.colour)])))
    return replace(lines, lines=tuple(made))


def _distances(axes: Axes, curves: pd.DataFrame, lines: Lines) -> None:
    for line in lines.lines:
        mine = curves.loc[curves.index.intersection(line.rows.index)]
        for metric, dashes in (("stranger_distance", _STRANGERS), ("twin_distance", _TWINS)):
            rows = mine[(mine["metric"] == metric) & mine["item"].isna()]
            panels.curve(axes, rows, line, dashes, band=not lines.crowded)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    iterations(axes)


def _shares(axes: Axes, shares: pd.DataFrame, lines: Lines) -> None:
    """Early and late, side by side, with intervals; lines beside each other."""
    shift = np.linspace(-0.18, 0.18, len(lines.lines)) if len(lines.lines) > 1 else np.zeros(1)
    for line, dx in zip(lines.lines, shift, strict=True):
        mine = shares.loc[shares.index.intersection(line.rows.index)].set_index("item")
        known = [(i, mine.loc[one]) for i, one in enumerate(_WINDOWS) if one in mine.index]
        x = np.array([i for i, _ in known], dtype=float) + dx
        value = np.array([one["value"] for _, one in known], dtype=float)
        axes.plot(x, value, "-o", color=line.colour, markersize=3, linewidth=0.7)
        if not lines.crowded:
            low, high = (np.array([one[c] for _, one in known], dtype=float) for c in ("ci_low", "ci_high"))
            axes.vlines(x, low, high, color=line.colour, linewidth=1.2)
    for level in (0, 1):
        axes.axhline(level, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_xticks([0, 1], ["first quarter", "last quarter"])
    axes.set_xlim(-0.5, 1.5)
    axes.grid(visible=False, axis="x")
    if shares["value"].isna().all():
        axes.text(0.5, 0.5, "not defined; see the CSV", ha="center", va="center", fontsize=7, color=GREY)
    else:
        bottom, top = axes.get_ylim()
        axes.set_ylim(min(bottom, -0.05), max(top, 1.08))


def _alt(shares: pd.DataFrame) -> str:
    said = [
        f"{row.modality}s, {row.group or 'all'}, {row.item}: {row.value:.2f}"
        for row in shares[shares["value"].notna()].head(8).itertuples()
    ]
    return f"Distances of twins and strangers over iterations, and memory: {'; '.join(said) or 'not defined'}."
