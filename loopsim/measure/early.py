"""Curves of a run that is still going: those that need captions only, of the trajectories that have got farthest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from loopsim.measure import wording
from loopsim.measure.cells import Cell, cells_of, key_columns
from loopsim.measure.rows import COLUMNS
from loopsim.states import Captions

BY = ("condition", "group")
_BEHIND = 1
"""Iterations that a trajectory may be behind the first of its cell: cohorts take turns."""


def early_curves(captions: Captions, failed: Sequence[str] = ()) -> pd.DataFrame:
    """The curves of words by condition and group of starts, from the captions so far; nothing is written.

    In each cell they are of the trajectories that have got farthest (one iteration behind at most) and have not failed,
    up to the iteration that all of these have reached. So a curve is of the same trajectories at all its points, and
    `n` says how many; it is of others once more have come as far.

    Args:
        captions: of the run.
        failed: ids of trajectories that failed.

    Returns:
        Rows as `loopsim.measure.measure_run` gives them.
    """
    trajectories = captions.trajectories
    world = "generator" in trajectories and bool((trajectories["generator"] == "postcards").all())
    said = [(cell, found) for cell in cells_of(trajectories, BY) if (found := _farthest(captions, cell, failed))]
    budgets = wording.token_budgets([found for _, found in said])
    rows = []
    for cell, found in said:
        keys = {**cell.keys, "modality": "text", "embedder": None}
        rows += [{**keys, **row} for row in wording.wording_rows(found, budgets, world)]
    frame = pd.DataFrame(rows, columns=[*key_columns(trajectories), *COLUMNS])
    frame = frame.astype({"t": "Int64", "n": "Int64", **dict.fromkeys(("value", "ci_low", "ci_high"), "float64")})
    for name in ("item", "modality", "embedder", "verdict"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame


def _farthest(captions: Captions, cell: Cell, failed: Sequence[str]) -> Captions | None:
    """The captions of the trajectories of a cell that have got farthest; None where none has made a step."""
    there = captions.texts != None  # noqa: E711 - element by element
    last = np.where(there.any(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1), -1) if there.size else None
    mine = cell.rows & ~captions.trajectories["trajectory_id"].isin(list(failed)).to_numpy()
    if last is None or not mine.any():
        return None
    chosen = mine & (last >= last[mine].max() - _BEHIND)
    begun = chosen & (there[:, :-1].any(axis=1) | (captions.trajectories["start_kind"] == "image").to_numpy())
    if not begun.any():  # prompts only: nothing was said yet
        return None
    end = int(last[chosen].min()) + 1
    found = captions.of(chosen)
    return Captions(found.trajectories, found.ts[found.ts < captions.ts[0] + end],
                    found.texts[:, found.ts < captions.ts[0] + end])  # fmt: skip
