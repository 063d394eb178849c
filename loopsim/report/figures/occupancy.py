"""Motifs over time: how full each is, and how trajectories move between them."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loopsim.report.figures.cells import Cell, cells_of
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.style import GREY, WIDTHS, add_note, iterations, title
from loopsim.report.lines import PALETTE
from loopsim.report.motifs import Assigned

_MOST_PANELS = 12
_MOST_MOTIFS = 2 * len(PALETTE)


def motif_colours(k: int) -> list[str]:
    """A colour for each motif, the largest first: the palette, then the palette lightened; grey beyond."""
    # Areas in plain black would drown the rest.
    strong = [GREY if one == "#000000" else one for one in PALETTE]
    light = [to_hex([0.45 * part + 0.55 for part in to_rgb(one)]) for one in strong]
    return [*strong, *light, *["#e8e8e8"] * max(0, k - _MOST_MOTIFS)][:k]


def occupancy(source: Source) -> Drawing:
    """Share of the trajectories in each motif at each iteration, stacked."""
    assigned = {modality: source.motifs(modality) for modality in source.modalities}
    cells, notes = cells_of(source, _MOST_PANELS // len(assigned))
    panels = [(cell, modality) for cell in cells for modality in assigned]
    width = WIDTHS[source.request.width]
    across = 1 if source.request.width == "column" else max(len(assigned), min(2, len(panels)))
    down = math.ceil(len(panels) / across)
    orders = {m: one.by_share() for m, one in assigned.items()}
    figure = Figure(figsize=(width, 1.8 * down + 0.45), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    data = []
    for axes, (cell, modality) in zip(grid, panels, strict=False):
        counts = assigned[modality].counts(cell.rows)
        data.append(_counts_in_rows(cell, assigned[modality], counts))
        _stack(axes, assigned[modality], counts, orders[modality])
        title(axes, f"{modality}s{': ' + cell.name if cell.name else ''}", width / across)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    if max(len(order) for order in orders.values()) > _MOST_MOTIFS:
        notes += (f"motifs beyond the {_MOST_MOTIFS} largest are grey",)
    add_note(
        figure,
        f"embedder {source.embedder}; motifs of images, and of texts, from the largest of the whole run (below) to the "
        "smallest; their numbers are those of the measurements and the contact sheet",
    )
    return Drawing(figure, pd.concat(data, ignore_index=True), notes, _alt(assigned))


def _stack(axes: Axes, assigned: Assigned, counts: NDArray[np.int64], order: list[int]) -> None:
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)[:, order]
    ts = assigned.ts.astype(float)
    colours = motif_colours(len(order))
    if len(ts) == 1:
        axes.bar([ts[0]] * len(order), shares[0], bottom=np.cumsum(shares[0]) - shares[0], color=colours, width=0.6)
    elif order:
        axes.stackplot(ts, shares.T, colors=colours, edgecolor="white", linewidth=0.5)
    tops = np.cumsum(shares, axis=1)
    for j, motif in enumerate(order):
        # The number goes where its area is thickest, away from the edges.
        inner = slice(1, -1) if len(ts) > 4 else slice(None)
        k = int(np.argmax(shares[inner, j])) + (1 if len(ts) > 4 else 0)
        if shares[k, j] >= 0.07:
            dark = sum(to_rgb(colours[j])) < 1.5
            axes.text(ts[k], tops[k, j] - shares[k, j] / 2, str(motif), ha="center", va="center", fontsize=5.5,
                      color="white" if dark else "black")  # fmt: skip
    axes.set_ylim(0, 1)
    iterations(axes)
    axes.grid(visible=False)


def _counts_in_rows(cell: Cell, assigned: Assigned, counts: NDArray[np.int64]) -> pd.DataFrame:
    total = counts.sum(axis=1)
    t, motif = (one.ravel() for one in np.meshgrid(assigned.ts, np.arange(assigned.k), indexing="ij"))
    flat = counts.ravel()
    of = np.repeat(total, assigned.k)
    return pd.DataFrame({
        "cell": cell.name or "all", "modality": assigned.modality, "embedder": assigned.embedder, "t": t,
        "motif": motif, "count": flat, "share": np.divide(flat, of, out=np.full(len(flat), np.nan), where=of > 0),
    })  # fmt: skip


def _alt(assigned: dict[str, Assigned]) -> str:
    said = [
        f"{m}s: the largest of {one.k} motifs is number {one.by_share()[0]} with {one.shares().max():.0%} of the states"
        for m, one in assigned.items()
        if one.by_share()
    ]
    return f"Share of the trajectories in each motif over iterations. {'; '.join(said)}."


# ---- transitions -----------------------------------------------------------------------------------------------------

_MOST_MATRICES = 6


def transitions(source: Source) -> Drawing:
    """Where trajectories go from each motif in one iteration: a matrix of shares, with counts."""
    counted = source.rows(_counted(source))
    by = source.by
    modalities = [m for m in ("image", "text") if (counted["modality"] == m).any()]
    names = _cell_names(counted, by)
    notes: tuple[str, ...] = ()
    if names.nunique() * len(modalities) > _MOST_MATRICES:
        notes = (f"counts of all {names.nunique()} cells are added up; choose with --where, or group with --by",)
        names = pd.Series("", index=counted.index)
    cells = [(name, m) for name in dict.fromkeys(names) for m in modalities]
    sizes = {m: _motifs_of(source, m) for m in modalities}
    matrices = [
        (name, m, _matrix(counted[(names == name) & (counted["modality"] == m)], sizes[m])) for name, m in cells
    ]
    width = WIDTHS[source.request.width]
    across = 1 if source.request.width == "column" else min(2, len(cells))
    down = math.ceil(len(cells) / across)
    figure = Figure(figsize=(width, down * (width / across * 1.02) + 0.3), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, modality, counts) in zip(grid, matrices, strict=False):
        _draw_matrix(axes, counts, width / across)
        title(axes, f"{modality}s{': ' + name if name else ''}", width / across)
    for axes in grid[len(cells) :]:
        axes.set_visible(False)
    add_note(
        figure,
        f"embedder {source.embedder}; shade: share of the moves out of a motif; numbers: moves, staying included",
    )
    data = pd.concat([_matrix_in_rows(n, m, counts, source.embedder) for n, m, counts in matrices], ignore_index=True)
    return Drawing(figure, data, notes, "Matrix of moves from motif to motif in one iteration.")


def _counted(source: Source) -> tuple[str, ...]:
    """The metric to look for: where no move was counted, the one that says why."""
    there = set(source.measured["metric"])
    return ("transition_count",) if "transition_count" in there else ("transition_memory",)


def _cell_names(counted: pd.DataFrame, by: str | None) -> pd.Series:
    from loopsim.report.lines import lines_of

    lines = lines_of(counted, by)
    names = pd.Series("", index=counted.index, dtype=object)
    for line in lines.lines:
        names[line.rows.index] = line.level if by is not None else line.name
    return names


def _motifs_of(source: Source, modality: str) -> int:
    """Motifs of the codebook: each has a dwell time, visited or not."""
    frame = source.measured
    mine = frame[frame["metric"].isin(("dwell_time", "transition_count")) & (frame["modality"] == modality)]
    mine = mine[mine["embedder"] == source.embedder]
    return 1 + max(int(one) for item in mine["item"].dropna() for one in re.findall(r"\d+", str(item)))


def _matrix(rows: pd.DataFrame, k: int) -> NDArray[np.int64]:
    """Counts of moves, shape (k, k), from row to column."""
    pairs = [re.findall(r"\d+", str(item)) for item in rows["item"].dropna()]
    found = [(int(a), int(b), int(v)) for (a, b), v in zip(pairs, rows.loc[rows["item"].notna(), "value"], strict=True)]
    counts = np.zeros((k, k), dtype=np.int64)
    for a, b, value in found:
        counts[a, b] += value
    return counts


def _draw_matrix(axes: Axes, counts: NDArray[np.int64], inches: float) -> None:
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    k = len(counts)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = min(6.0, 46 * inches / 3.5 / k)
    if size >= 2.5:
        for i, j in np.argwhere(counts > 0):
            colour = "white" if shares[i, j] > 0.55 else "black"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=size, color=colour)
    step = max(1, k // 16)
    axes.set_xticks(range(0, k, step), [str(i) for i in range(0, k, step)])
    axes.set_yticks(range(0, k, step), [str(i) for i in range(0, k, step)])
    axes.tick_params(length=0, labelsize=6)
    axes.grid(visible=False)
    axes.set_xlabel("to motif")
    axes.set_ylabel("from motif")
    for i in np.flatnonzero(total[:, 0] == 0):
        axes.text((k - 1) / 2, float(i), "no moves", ha="center", va="center", fontsize=5, color=GREY)


def _matrix_in_rows(name: str, modality: str, counts: NDArray[np.int64], embedder: str) -> pd.DataFrame:
    i, j = (one.ravel() for one in np.indices(counts.shape))
    total = counts.sum(axis=1)[i]
    flat = counts.ravel()
    return pd.DataFrame({
        "cell": name or "all", "modality": modality, "embedder": embedder, "from_motif": i, "to_motif": j,
        "count": flat, "share": np.divide(flat, total, out=np.full(len(flat), np.nan), where=total > 0),
    })  # fmt: skip
