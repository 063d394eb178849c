"""The trajectories that a figure shows, as its request says."""

from __future__ import annotations

import numpy as np

from loopsim.errors import UsageError
from loopsim.report import selection
from loopsim.report.figures.drawing import Source


def picked(source: Source, rows: int) -> list[str]:
    """Ids of the trajectories to show, at most `rows` unless they are named.

    Raises:
        UsageError: a named one is not there, or the way of choosing is unknown.
        NothingToDraw: choosing needs vectors or motifs that the run does not have.
    """
    table, request = source.trajectories, source.request
    if request.trajectories:
        return selection.by_ids(table, request.trajectories)
    if request.choose not in selection.CHOICES:
        raise UsageError(f"--choose {request.choose!r} is not known; known: {', '.join(selection.CHOICES)}")
    if request.choose == "spread":
        return selection.spread(table, rows)
    modality = source.modalities[0]
    if request.choose == "motifs":
        return selection.through_medoids(source.motifs(modality), rows, table["trajectory_id"].tolist())
    inside = np.isin(source.states(modality).trajectories["trajectory_id"], table["trajectory_id"])
    return selection.drifted(source.states(modality).of(inside), rows, request.choose == "least-drifted")
