"""Filmstrips: trajectories in rows, iterations in columns, captions under the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from loopsim import images
from loopsim.errors import NothingToDraw, StoreError
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.embedding_map import picked_notes
from loopsim.report.figures.pick import picked
from loopsim.report.figures.style import BAD, FAINT, GREY, WIDTHS, wrap
from loopsim.report.motifs import medoids
from loopsim.report.selection import drift

_ROWS = 6
_COLUMNS = {"page": 8, "column": 4}
_LONGEST = 2000 / 25.4
"""Inches of height that a figure may have."""


@dataclass(frozen=True)
class _Row:
    """One trajectory of the strip."""

    trajectory_id: str
    head: str
    marked: int | None


def filmstrip(source: Source) -> Drawing:
    """Pictures of some trajectories at some iterations, with what was said of them."""
    ids = picked(source, source.request.rows or _ROWS)
    rows, marked = _heads(source, ids)
    ts = _iterations(source, ids, marked)
    pictures = source.run.pictures(ids, ts)
    if not pictures:
        raise NothingToDraw(no_pictures(source, ids))
    said = source.run.steps(["trajectory_id", "t", "text"])
    said = said[said["trajectory_id"].isin(ids) & said["t"].isin(ts)]
    texts = {(one.trajectory_id, one.t): one.text for one in said.itertuples()}
    last = source.run.steps(["trajectory_id", "t"]).groupby("trajectory_id")["t"].max().to_dict()
    width = WIDTHS[source.request.width]
    cell = width / (len(ts) + 1.0)
    figure = Figure(figsize=(width, min((cell + 0.42) * len(rows) + 0.25, _LONGEST)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(rows), len(ts) + 1, squeeze=False)
    data = []
    for i, row in enumerate(rows):
        _head(grid[i, 0], row, cell)
        for axes, t in zip(grid[i, 1:], ts, strict=True):
            picture, text = pictures.get((row.trajectory_id, t)), texts.get((row.trajectory_id, t))
            status = _status(picture, t, last.get(row.trajectory_id, -1))
            _cell(axes, picture, text, status, cell, row.marked == t)
            if i == 0:
                axes.set_title(f"t = {t}", fontsize=7)
            data.append({"row": i, "trajectory_id": row.trajectory_id, "t": t, "text": text, "status": status})
    alt = f"{len(rows)} trajectories over iterations {ts[0]} to {ts[-1]}, each picture with its caption."
    table = pd.DataFrame(data).merge(source.trajectories[["trajectory_id", "label", "group", "start_text"]], how="left")
    return Drawing(figure, table, picked_notes(source, ids), alt)


def no_pictures(source: Source, ids: list[str]) -> str:
    """Why there is nothing to show."""
    if not ids:
        return f"{source.path}: no trajectory is left to show"
    if source.run.imported is not None:
        return (
            f"{source.path}: no pictures are stored: these trajectories were imported as texts or vectors; import "
            "them again with a column of pictures (`loopsim import … --out NEW`)"
        )
    return f"{source.path}: no pictures are stored yet; `loopsim run` with the same experiment goes on"


def _heads(source: Source, ids: list[str]) -> tuple[list[_Row], list[int]]:
    """What stands before each row, and the iterations that must be shown."""
    table = source.trajectories.set_index("trajectory_id")
    several = [c for c in ("label", "group") if table.loc[ids, c].nunique(dropna=False) > 1]
    extra: dict[str, str] = {}
    marked: dict[str, int] = {}
    if not source.request.trajectories:
        if source.request.choose == "motifs":
            inside = np.isin(source.motifs(source.modalities[0]).ids, source.trajectories["trajectory_id"])
            for one in medoids(source.motifs(source.modalities[0]), inside):
                if one.trajectory_id in ids and one.trajectory_id not in extra:
                    extra[one.trajectory_id] = f"motif {one.motif}, {one.share:.0%}"
                    marked[one.trajectory_id] = one.t
        elif source.request.choose.endswith("drifted"):
            distances = drift(source.states(source.modalities[0]))
            extra = {name: f"drift {distances[name]:.2f}" for name in ids}
    rows = []
    for name in ids:
        one = table.loc[name]
        start = one["start_text"] if isinstance(one["start_text"], str) else "(a picture)"
        notes = [str(one[c]) for c in several] + ([extra[name]] if name in extra else [])
        head = "\n".join([*(f"[{note}]".replace(", ", ",\n") for note in notes), start])
        rows.append(_Row(name, head, marked.get(name)))
    return rows, list(marked.values())


def _iterations(source: Source, ids: list[str], marked: list[int]) -> list[int]:
    """Iterations to show: evenly from first to last, and those that must be there."""
    steps = source.run.steps(["trajectory_id", "t"])
    there = sorted(int(t) for t in steps.loc[steps["trajectory_id"].isin(ids), "t"].unique())
    kinds = set(source.trajectories.set_index("trajectory_id").loc[ids, "start_kind"]) if ids else set()
    if kinds == {"text"} and len(there) > 1:  # at the start there is nothing to see
        there = there[1:]
    if not there:
        raise NothingToDraw(no_pictures(source, ids))
    count = min(source.request.columns or _COLUMNS[source.request.width], len(there))
    chosen = {there[round(i)] for i in np.linspace(0, len(there) - 1, count)}
    need = [t for t in dict.fromkeys(marked) if t in there and t not in chosen]
    free = sorted(chosen - {there[0], there[-1]} - set(marked), reverse=True)
    # What must be there takes the place of what is evenly there; where it cannot, the strip grows.
    for t in need:
        if free:
            chosen.discard(min(free, key=lambda one: abs(one - t)))
            free = [one for one in free if one in chosen]
        chosen.add(t)
    return sorted(chosen)


def _status(picture: bytes | None, t: int, last: int) -> str:
    if picture is not None:
        return "drawn"
    return "missing" if t <= last else "ended"


def _head(axes: Axes, row: _Row, inches: float) -> None:
    axes.axis("off")
    axes.set_box_aspect(1)
    axes.set_anchor("N")
    letters = max(10, int(inches * 21))
    note = wrap(row.head, letters, max(7, int(inches * 11))) + f"\n({row.trajectory_id[:8]})"
    axes.text(0.5, 1.0, note, transform=axes.transAxes, ha="center", va="top", fontsize=5.5, style="italic")


def _cell(axes: Axes, picture: bytes | None, text: str | None, status: str, inches: float, marked: bool) -> None:
    axes.axis("off")
    if picture is None:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f4f4f4", edgecolor=FAINT, linewidth=0.5))
        word = {"ended": "ended", "missing": "no picture"}[status]
        axes.text(0.5, 0.5, word, ha="center", va="center", fontsize=6, color=BAD if status == "ended" else GREY)
    else:
        axes.imshow(decoded(picture), interpolation="nearest")
        if marked:
            high, wide = axes.images[0].get_array().shape[:2]
            axes.add_patch(Rectangle((-0.5, -0.5), wide, high, fill=False, edgecolor=BAD, linewidth=1.6))
    letters = max(10, int(inches * 25))
    axes.text(0.5, -0.04, wrap(text or "", letters, 5), transform=axes.transAxes, ha="center", va="top", fontsize=5)
    axes.set_anchor("N")


def decoded(picture: bytes) -> np.ndarray:
    """Pixels, thinned to what print can show."""
    try:
        pixels = images.decode(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise StoreError(f"a stored picture cannot be read: {error}") from None
    step = max(1, min(pixels.shape[:2]) // 512)
    return pixels[::step, ::step]
