"""Contact sheet: the state that stands for each motif, with the share that the motif holds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from loopsim.errors import NothingToDraw
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.filmstrip import decoded
from loopsim.report.figures.style import FAINT, WIDTHS, add_note, percent, wrap
from loopsim.report.motifs import Medoid, medoids

_ACROSS = {"page": 6, "column": 3}


def sheet(source: Source) -> Drawing:
    """Medoids of the motifs, the largest first: picture, share, caption."""
    modality = source.modalities[0]
    assigned = source.motifs(modality)
    inside = np.isin(assigned.ids, source.trajectories["trajectory_id"].to_numpy(dtype=object))
    found = medoids(assigned, inside)
    if not found:
        raise NothingToDraw(f"{source.path}: no {modality} state after the start is in any motif")
    ids, ts = [one.trajectory_id for one in found], [one.t for one in found]
    pictures = source.run.pictures(ids, ts)
    steps = source.run.steps(["trajectory_id", "t", "text"])
    steps = steps[steps["trajectory_id"].isin(ids) & steps["t"].isin(ts)]
    texts = {(one.trajectory_id, one.t): one.text for one in steps.itertuples()}
    width = WIDTHS[source.request.width]
    across = min(_ACROSS[source.request.width], len(found))
    down = math.ceil(len(found) / across)
    cell = width / max(across, 3)
    figure = Figure(figsize=(width, (cell + 0.62) * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, one in zip(grid, found, strict=False):
        key = (one.trajectory_id, one.t)
        _card(axes, one, pictures.get(key), texts.get(key), cell)
    for axes in grid[len(found) :]:
        axes.axis("off")
    n = int((assigned.labels[inside][:, assigned.first :] >= 0).sum())
    add_note(
        figure,
        f"embedder {source.embedder}, codebook of {modality}s; the state nearest to each motif's centre, and the share "
        f"of all {n} {modality} states after the start that the motif holds. k-means finds as many motifs in noise",
    )
    table = pd.DataFrame([{"modality": modality, "embedder": source.embedder, **vars(one)} for one in found])
    table["text"] = [texts.get((one.trajectory_id, one.t)) for one in found]
    alt = f"{len(found)} motifs by their medoids; the largest holds {found[0].share:.0%} of the states."
    return Drawing(figure, table, (), alt)


def _card(axes: Axes, one: Medoid, picture: bytes | None, text: str | None, inches: float) -> None:
    axes.set_title(f"motif {one.motif}: {percent(one.share)}", fontsize=7, pad=3)
    letters = max(14, int(inches * 21))
    if picture is None:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[], yticks=[])
        axes.axis("off")
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f7f7f7", edgecolor=FAINT, linewidth=0.5))
        axes.text(0.5, 0.5, wrap(text or "(nothing was said)", int(letters * 0.85), 9), ha="center", va="center",
                  fontsize=6)  # fmt: skip
    else:
        axes.imshow(decoded(picture), interpolation="nearest")
        axes.axis("off")
    said = wrap(text or "", letters, 3) + "\n" if picture is not None else ""
    axes.text(0.5, -0.03, f"{said}({one.trajectory_id[:8]}, t = {one.t})", transform=axes.transAxes, ha="center",
              va="top", fontsize=5.5)  # fmt: skip
    axes.set_anchor("N")
