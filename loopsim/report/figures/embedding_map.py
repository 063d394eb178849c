"""The states of a run in the plane, with the ways that some trajectories take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from loopsim.measure.design import varying_factors
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.pick import picked
from loopsim.report.figures.style import FAINT, GREY, WIDTHS, add_legend, add_note, legend_rows, title
from loopsim.report.lines import CROWD, DASHES, PALETTE, short, value_in_words
from loopsim.report.maps import Map, make_map

_ROWS = 8
_MOST_POINTS = 20_000
"""Points drawn; an SVG of more opens nowhere."""


@dataclass(frozen=True, eq=False)
class _Colours:
    """Level of each trajectory, and how levels look; no levels where colours are iterations."""

    of: dict[str, str]
    looks: dict[str, tuple[str, str]]
    column: str


def embedding_map(source: Source) -> Drawing:
    """Principal axes (or UMAP) of all states pooled, and some trajectories from start to end."""
    maps = {m: make_map(source.states(m), source.request.method) for m in source.modalities}
    colours = _colours(source)
    chosen = picked(source, source.request.rows or _ROWS)
    width = WIDTHS[source.request.width]
    across = 1 if source.request.width == "column" else len(maps)
    down = -(-len(maps) // across)
    head = 0.15 * legend_rows(list(colours.looks), width) + 0.3
    side = min(width / across, 3.9)
    figure = Figure(figsize=(width, down * side * 0.92 + head + 0.3), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    data, notes = [], picked_notes(source, chosen)
    for axes, (modality, found) in zip(grid, maps.items(), strict=True):
        table = _points(source, modality, found, chosen, colours)
        data.append(table)
        _draw(axes, table, colours, chosen, source)
        share = found.axes
        axes.set_xlabel(share[0])
        axes.set_ylabel(share[1])
        title(axes, f"{modality}s", width / across)
        if len(table) > _MOST_POINTS:
            notes += (f"{_MOST_POINTS} of {len(table)} {modality} states are drawn, at random; the CSV has all",)
    _legend(figure, colours, grid)
    fitted = " and ".join(f"{found.fitted} {m} states" for m, found in maps.items())
    how = "principal axes" if source.request.method == "pca" else "UMAP (distances between far points mean nothing)"
    add_note(
        figure,
        f"embedder {source.embedder}; {how} of the {fitted} of the whole run after the start; "
        f"lines: {len(chosen)} trajectories, {_choice(source)}, from the ring to the dot",
    )
    alt = f"Map of the states of {', '.join(maps)} in two dimensions with {len(chosen)} trajectories."
    return Drawing(figure, pd.concat(data, ignore_index=True), notes, alt)


def _choice(source: Source) -> str:
    return "chosen by id" if source.request.trajectories else source.request.choose.replace("-", " ")


def picked_notes(source: Source, chosen: list[str]) -> tuple[str, ...]:
    """What a reader should know where fewer trajectories are there than were asked for."""
    wanted = source.request.rows
    if wanted is not None and len(chosen) < wanted and not source.request.trajectories:
        return (f"--rows {wanted}: there are {len(chosen)} to show",)
    return ()


def _colours(source: Source) -> _Colours:
    """By what is asked for; by condition or group where there are several; by iteration otherwise."""
    table, by = source.trajectories, source.by
    if by is None:
        by = next((c for c in ("label", "group") if table[c].nunique(dropna=False) > 1), "t")
        if by != "t" and table[by].nunique() > CROWD:  # a crowd by the first factor of few levels
            few = [c for c in varying_factors(table) if table[c].nunique(dropna=False) <= len(PALETTE)]
            by = few[0] if few else "t"
    column = "label" if by == "condition" else by
    if column == "t":
        return _Colours({}, {}, "t")
    of = dict(zip(table["trajectory_id"], table[column].map(value_in_words), strict=True))
    levels = list(dict.fromkeys(of.values()))
    looks = {one: (PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)]) for i, one in enumerate(levels)}
    return _Colours(of, looks, column)


def _points(source: Source, modality: str, found: Map, chosen: list[str], colours: _Colours) -> pd.DataFrame:
    """A row a state: trajectory, t, place, colour level, whether its trajectory is drawn as a line."""
    states = source.states(modality)
    i, k = np.nonzero(states.present)
    ids = states.trajectories["trajectory_id"].to_numpy(dtype=object)[i]
    table = pd.DataFrame({
        "modality": modality, "embedder": states.embedder, "method": found.method, "trajectory_id": ids,
        "t": states.ts[k], "x": found.points[i, k, 0], "y": found.points[i, k, 1],
    })  # fmt: skip
    table["x_explained"], table["y_explained"] = found.explained
    table["level"] = [colours.of.get(one, "") for one in ids]
    table["line"] = np.isin(ids, chosen)
    return table[np.isin(ids, source.trajectories["trajectory_id"].to_numpy(dtype=object))]


def _draw(axes: Axes, table: pd.DataFrame, colours: _Colours, chosen: list[str], source: Source) -> None:
    some = table
    if len(table) > _MOST_POINTS:
        some = table.iloc[np.sort(np.random.default_rng(0).choice(len(table), _MOST_POINTS, replace=False))]
    size = 5.0 if len(some) < 2000 else 2.0
    last = table["t"].max()
    if colours.looks:
        shades: list[str] | NDArray[np.float64] = [colours.looks[one][0] for one in some["level"]]
        axes.scatter(some["x"], some["y"], s=size, c=shades, alpha=0.22, linewidth=0, rasterized=len(some) > 3000)
    else:
        first, many = table["t"].min(), len(some) > 3000
        axes.scatter(some["x"], some["y"], s=size, c=some["t"], cmap="cividis_r", linewidth=0, alpha=0.6, vmin=first,
                     vmax=max(last, first + 1), rasterized=many)  # fmt: skip
    for name in chosen:
        mine = table[table["trajectory_id"] == name].sort_values("t")
        if mine.empty:
            continue
        level = colours.of.get(name, "")
        colour, dashes = colours.looks.get(level, (GREY, "-"))
        axes.plot(mine["x"], mine["y"], dashes, color=colour, linewidth=0.8, alpha=0.9)
        axes.plot(mine["x"].iloc[:1], mine["y"].iloc[:1], "o", markersize=4.5, markerfacecolor="white", color=colour)
        axes.plot(mine["x"].iloc[-1:], mine["y"].iloc[-1:], "o", markersize=4.5, color=colour)
    if source.request.method == "umap":  # its axes have no scale
        axes.set(xticks=[], yticks=[])
    else:
        axes.axhline(0, color=FAINT, linewidth=0.5, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.5, zorder=0)
    axes.grid(visible=False)
    axes.set_aspect("equal", adjustable="datalim")


def _legend(figure: Figure, colours: _Colours, grid: NDArray[np.object_]) -> None:
    if colours.looks:
        handles: list[Artist] = [
            Line2D([], [], color=colour, linestyle=dashes, marker="o", markersize=4)
            for colour, dashes in colours.looks.values()
        ]
        several = list(colours.looks) if len(colours.looks) > 1 else []
        add_legend(figure, handles[: len(several)], several, "" if colours.column in ("label", "group") else
                   short(colours.column))  # fmt: skip
        return
    dots = grid[0].collections[0]
    bar = figure.colorbar(
        ScalarMappable(Normalize(*dots.get_clim()), "cividis_r"), ax=list(grid), shrink=0.6, aspect=30
    )
    bar.set_label("iteration")
    bar.locator = MaxNLocator(integer=True)
    bar.update_ticks()
    bar.outline.set_visible(False)
