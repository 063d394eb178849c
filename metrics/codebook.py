"""A frozen codebook of motifs: fitted once on a stated reference set, then used to label every state.

k-means always returns k clusters, of noise too, so a codebook says nothing about convergence by itself: only
the change of its occupancy does, against the same codebook. Fit it on states pooled over iterations with each
captioner's mean removed, or the register shift at t = 1 will look like a change of motifs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.cluster import KMeans

from metrics._checks import FloatArray, IntArray, UndefinedError, as_rows, nan_if_undefined, unit_rows
from metrics.entropy import effective_number

__all__ = ["Codebook", "fit", "soft_effective_number"]


@dataclass(frozen=True)
class Codebook:
    """Motif centres and where they came from; equal signatures mean equal centres."""

    centres: FloatArray
    """Shape (k, d): means of unit rows, not themselves of unit length. Read-only."""
    reference: str
    """The reference set in words, for the signature: `pooled-t1-t50-centred`."""
    seed: int
    """Seed of the k-means starts."""

    def __post_init__(self) -> None:
        centres = as_rows(self.centres, "centres").copy()
        centres.setflags(write=False)
        object.__setattr__(self, "centres", centres)

    @property
    def parameters(self) -> dict[str, object]:
        """What to put into the signature of anything measured with this codebook."""
        digest = hashlib.sha256(np.ascontiguousarray(self.centres).tobytes()).hexdigest()[:8]
        return {"k": len(self.centres), "ref": self.reference, "codebook": digest}

    def assign(self, x: ArrayLike) -> IntArray:
        """Label each row of `x`, shape (n, d), with its nearest centre; return labels 0..k−1 of shape (n,).

        Raises:
            ValueError: `x` is empty, non-finite, of another width, or has a zero row.
        """
        return np.asarray(np.argmin(self._squared_distances(x), axis=1), dtype=np.intp)

    def occupancy(self, x: ArrayLike) -> IntArray:
        """Count the rows of `x` in each motif; shape (k,), for `metrics.entropy`."""
        return np.bincount(self.assign(x), minlength=len(self.centres))

    def memberships(self, x: ArrayLike, temperature: float = 0.1) -> FloatArray:
        """Share each row of `x` among the motifs; shape (n, k), rows sum to 1.

        Formula: softmax over k of −‖x − c_k‖²/(2·temperature), the posterior of an equal mixture of spheres of
        variance `temperature`. As temperature → 0 it becomes `assign`; as it grows, every row is shared evenly.

        Raises:
            ValueError: as in `assign`, or the temperature is not above 0.
        """
        if not temperature > 0.0:
            raise ValueError(f"temperature must be above 0; it is {temperature}")
        return np.asarray(softmax(-self._squared_distances(x) / (2.0 * temperature), axis=1), dtype=np.float64)

    def _squared_distances(self, x: ArrayLike) -> FloatArray:
        rows = _directions(x, "x")
        if rows.shape[1] != self.centres.shape[1]:
            raise ValueError(f"x has {rows.shape[1]} columns, the codebook {self.centres.shape[1]}")
        squared = 1.0 - 2.0 * rows @ self.centres.T + np.sum(self.centres**2, axis=1)
        return np.asarray(squared, dtype=np.float64)


def fit(x: ArrayLike, k: int, reference: str, seed: int = 0, starts: int = 4, max_rows: int = 10_000) -> Codebook:
    """Fit a codebook of `k` motifs by k-means on unit rows.

    Args:
        x: the reference set, shape (n, d).
        k: number of motifs.
        reference: the reference set in words, without spaces, for the signature.
        seed: of the k-means starts and of the choice of rows.
        starts: k-means++ starts; the best is kept.
        max_rows: where there are more, a random subset of this size is used.

    Raises:
        ValueError: `x` is empty, non-finite or has a zero row, or fewer than `k` different rows.

    References:
        Lloyd 1982; Arthur and Vassilvitskii 2007.
    """
    rows = _directions(x, "x")
    if len(rows) > max_rows:
        rows = rows[np.random.default_rng(seed).choice(len(rows), max_rows, replace=False)]
    # Rounded, because k-means counts rows that differ in the last digit as one.
    different = len(np.unique(rows.round(12), axis=0))
    if not 1 <= k <= different:
        raise ValueError(f"k must lie between 1 and the {different} different rows; it is {k}")
    model = KMeans(n_clusters=k, n_init=starts, random_state=seed).fit(rows)
    return Codebook(np.asarray(model.cluster_centers_, dtype=np.float64), reference, seed)


@nan_if_undefined
def soft_effective_number(memberships: ArrayLike) -> float:
    """Effective number of motifs where every item is shared among several.

    Formula: 2^H of the mean of `memberships` over items, a matrix of shape (n, k) whose rows sum to 1, as
    `Codebook.memberships` returns. For an interval pass this function to `metrics.jackknife.estimate`.

    Returns:
        A number in [1, k]. It cannot fall below what one item's own spread gives, so compare only values made
        with one codebook and one temperature.

    Raises:
        ValueError: `memberships` is empty, non-finite or negative, or a row does not sum to 1.
    """
    shares = as_rows(memberships, "memberships")
    if shares.min() < 0.0 or np.abs(shares.sum(axis=1) - 1.0).max() > 1e-6:
        raise ValueError("memberships must be shares: not negative, and each row summing to 1")
    return effective_number(shares.mean(axis=0))


def _directions(x: ArrayLike, name: str) -> FloatArray:
    """Unit rows; a zero row, which belongs to no motif, is an error here, where labels are wanted."""
    try:
        return unit_rows(x, name)
    except UndefinedError as error:
        raise ValueError(str(error)) from error
