"""What the analyses look at: embeddings and captions of a run as aligned arrays, one row a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.errors import UsageError
from loopsim.store import Run


@dataclass(frozen=True, eq=False)
class States:
    """Embeddings of one embedder and modality."""

    embedder: str
    """Whose vectors; `` where the states are texts only."""
    modality: str
    """`image` or `text`."""
    trajectories: pd.DataFrame
    """One row a trajectory, in the order of the arrays' first axis: trajectory_id, start_id, condition, factors, …"""
    ts: NDArray[np.int64]
    """Iterations of the second axis, without gaps, shape (T,)."""
    vectors: NDArray[np.float32]
    """Shape (n, T, d); zero where not present."""
    present: NDArray[np.bool_]
    """Shape (n, T): False where a trajectory failed, or began later, or a start has no such modality."""

    def span(self, rows: NDArray[np.bool_]) -> slice:
        """The iterations, as indices, from the first to the last that some of these trajectories have."""
        some = np.flatnonzero(self.present[rows].any(axis=0))
        return slice(int(some[0]), int(some[-1]) + 1) if some.size else slice(0, 0)

    def of(self, rows: NDArray[np.bool_]) -> States:
        """The states of some trajectories, over their `span`."""
        span = self.span(rows)
        return States(
            self.embedder, self.modality, self.trajectories[rows].reset_index(drop=True), self.ts[span],
            self.vectors[rows][:, span], self.present[rows][:, span],
        )  # fmt: skip

    @property
    def starts(self) -> NDArray[np.object_]:
        """The start of each trajectory, shape (n,): the independent unit."""
        starts: NDArray[np.object_] = self.trajectories["start_id"].to_numpy(dtype=object)
        return starts


def embedders_of(run: Run) -> list[str]:
    """The embedders that a run has vectors of, in the order of its experiment."""
    there = run.embedder_names()
    listed = [name for name in run.experiment.get("embedders", ()) if name in there]
    return [*listed, *(name for name in there if name not in listed)]


def states(run: Run, embedder: str | None = None, modality: str = "image") -> States:
    """The embeddings of a run.

    Args:
        run: the run.
        embedder: whose; the first of the run where None.
        modality: `image` or `text`.

    Raises:
        UsageError: there are none of that embedder or modality; the message lists those that are.
    """
    there = embedders_of(run)
    if embedder is None and there:
        embedder = there[0]
    if embedder is None or embedder not in there:
        known = f"it has {', '.join(there)}" if there else "it has none"
        raise UsageError(
            f"{run.path}: no embeddings{f' by {embedder!r}' if embedder else ''} ({known}); "
            f"make them with `loopsim measure {run.path} --embedder NAME`"
        )
    ids, at, matrix = run.vectors(embedder, modality)
    if not len(ids):
        raise UsageError(f"{run.path}: {embedder!r} has no {modality} embeddings here; try the other modality")
    trajectories = run.trajectories()
    row_of = {name: i for i, name in enumerate(trajectories["trajectory_id"])}
    rows = np.array([row_of[name] for name in ids], dtype=np.intp)
    ts = np.arange(int(at.min()), int(at.max()) + 1)
    vectors = np.zeros((len(trajectories), len(ts), matrix.shape[1]), dtype=np.float32)
    present = np.zeros(vectors.shape[:2], dtype=bool)
    vectors[rows, at - ts[0]] = matrix
    present[rows, at - ts[0]] = True
    return States(embedder, modality, trajectories, ts, vectors, present)


@dataclass(frozen=True, eq=False)
class Captions:
    """What was said, as a table of texts."""

    trajectories: pd.DataFrame
    """One row a trajectory."""
    ts: NDArray[np.int64]
    """Iterations of the second axis, shape (T,)."""
    texts: NDArray[np.object_]
    """Shape (n, T): strings, None where there is none, and `` where the captioner said nothing."""

    def of(self, rows: NDArray[np.bool_]) -> Captions:
        """The captions of some trajectories, iterations that none of them has left out at either end."""
        texts = self.texts[rows]
        some = np.flatnonzero((texts != None).any(axis=0))  # noqa: E711 - element by element
        span = slice(int(some[0]), int(some[-1]) + 1) if some.size else slice(0, 0)
        return Captions(self.trajectories[rows].reset_index(drop=True), self.ts[span], texts[:, span])


def captions(run: Run) -> Captions:
    """The captions of a run, prompts at t = 0 included.

    What stands in the store for a caption without words was never said, so it is `` here, which has no words to count.
    """
    trajectories = run.trajectories()
    steps = run.steps(["trajectory_id", "t", "text", "flags"])
    row_of = {name: i for i, name in enumerate(trajectories["trajectory_id"])}
    steps.insert(0, "row", steps.pop("trajectory_id").map(row_of))
    return captions_of(trajectories, steps)


def captions_of(trajectories: pd.DataFrame, steps: pd.DataFrame) -> Captions:
    """The captions of steps, a frame with the columns row (of the trajectories), t, text and flags."""
    if steps.empty:
        return Captions(trajectories, np.zeros(0, dtype=np.int64), np.empty((len(trajectories), 0), dtype=object))
    at = steps["t"].to_numpy(dtype=np.int64)
    ts = np.arange(at.min(), at.max() + 1)
    texts = np.full((len(trajectories), len(ts)), None, dtype=object)
    said = steps["text"].to_numpy(dtype=object, copy=True)
    silent = [flags is not None and "empty_caption" in flags for flags in steps["flags"]]
    said[np.array(silent) & (said != None)] = ""  # noqa: E711 - element by element
    texts[steps["row"].to_numpy(dtype=np.intp), at - ts[0]] = said
    return Captions(trajectories, ts, texts)
