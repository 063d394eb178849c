"""The motif of every state as it was measured: occupancy, shares and medoids, for figures and pages alike.

Nothing is clustered here. The assignments are those that `loopsim measure` stored beside its codebook.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsim.measure.cells import first_fitted
from loopsim.measure.motifs import stored_codebook, stored_motifs
from loopsim.store import Run


@dataclass(frozen=True, eq=False)
class Assigned:
    """Which motif each state of a run is in."""

    embedder: str
    """Whose vectors the codebook was fitted on."""
    modality: str
    """`image` or `text`."""
    k: int
    """Motifs of the codebook; they are numbered 0 … k − 1, as in the measurements' `item`."""
    ids: NDArray[np.object_]
    """Trajectory ids in the order of `Run.trajectories`, shape (n,)."""
    ts: NDArray[np.int64]
    """Iterations without gaps, shape (T,)."""
    labels: NDArray[np.int64]
    """Shape (n, T); −1 where there is no state."""
    distances: NDArray[np.float64]
    """Squared distance to the centre of the motif, shape (n, T); nan where there is no state."""

    @property
    def first(self) -> int:
        """Index of the first iteration that counts for a motif: starts are in somebody else's words."""
        return first_fitted(self.ts)

    def counts(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """How many of some trajectories are in each motif at each iteration, shape (T, k)."""
        labels = self.labels if rows is None else self.labels[rows]
        return np.stack([np.bincount(column[column >= 0], minlength=self.k) for column in labels.T])

    def shares(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Share of the states after the start that each motif holds, shape (k,); nan where there is no such state."""
        total = self.counts(rows)[self.first :].sum(axis=0).astype(np.float64)
        return total / total.sum() if total.sum() else np.full(self.k, np.nan)

    def by_share(self, rows: NDArray[np.bool_] | None = None) -> list[int]:
        """Motifs that hold any state after the start, the largest first; of equals the lower number."""
        shares = self.shares(rows)
        return [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] > 0]


@dataclass(frozen=True)
class Medoid:
    """The state that stands for a motif."""

    motif: int
    """Its number."""
    trajectory_id: str
    """Whose state it is."""
    t: int
    """At which iteration."""
    share: float
    """Share of the states after the start that the motif holds."""
    distance: float
    """Squared distance of the state to the centre of the motif."""


def assigned_motifs(run: Run, embedder: str, modality: str) -> Assigned:
    """The motifs of one embedder and modality, as they were measured.

    Raises:
        StoreError: there are none, or they cannot be read; the message names the command that makes them.
        UsageError: the codebook is missing.
    """
    table = stored_motifs(run, embedder, modality)
    k = len(stored_codebook(run, embedder, modality).centres)
    ids = run.trajectories()["trajectory_id"].to_numpy(dtype=object)
    row_of = {name: i for i, name in enumerate(ids)}
    rows = np.array([row_of[name] for name in table["trajectory_id"].to_pylist()], dtype=np.intp)
    at = table["t"].to_numpy().astype(np.int64)
    ts = np.arange(at.min(), at.max() + 1)
    labels = np.full((len(ids), len(ts)), -1, dtype=np.int64)
    distances = np.full(labels.shape, np.nan)
    labels[rows, at - ts[0]] = table["motif"].to_numpy()
    distances[rows, at - ts[0]] = table["distance"].to_numpy()
    return Assigned(embedder, modality, k, ids, ts, labels, distances)


def medoids(assigned: Assigned, rows: NDArray[np.bool_] | None = None) -> list[Medoid]:
    """The state nearest to the centre of each motif, the largest motif first; motifs without a state are left out.

    The centre is the mean of what the motif was fitted on, so the nearest state is the one with the least mean squared
    distance to the others. Of equally near ones it is the first, by trajectory and then iteration.
    """
    shares, found = assigned.shares(rows), []
    distances = assigned.distances.copy()
    distances[:, : assigned.first] = np.nan
    if rows is not None:
        distances[~rows] = np.nan
    for motif in assigned.by_share(rows):
        mine = np.where(assigned.labels == motif, distances, np.nan)
        i, k = np.unravel_index(int(np.nanargmin(mine)), mine.shape)
        name, t = str(assigned.ids[i]), int(assigned.ts[k])
        found.append(Medoid(motif, name, t, float(shares[motif]), float(mine[i, k])))
    return found
