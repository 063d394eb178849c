"""Embeddings laid out in the plane: the principal axes of the pooled states, or UMAP of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import UsageError
from loopsim.measure.cells import first_fitted
from loopsim.states import States

METHODS = ("pca", "umap")
"""Ways to lay states out."""
_MOST = 10_000
"""States that UMAP is fitted on; the rest are placed into what it found."""
_NEIGHBOURS = 15

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Map:
    """Where each state lies."""

    method: str
    """A name from `METHODS`."""
    points: FloatArray
    """Shape (n, T, 2), in the order of the states; nan where there is no state."""
    explained: tuple[float, float]
    """Share of the variance of the fitted states that each axis has, 0 to 1; nan for UMAP, whose axes mean nothing."""
    fitted: int
    """States that the layout was fitted on: those after the start, of all cells and iterations together."""

    @property
    def axes(self) -> tuple[str, str]:
        """What to write at the axes."""
        if self.method == "umap":
            return "UMAP 1", "UMAP 2"
        shares = ["" if np.isnan(one) else f" ({one:.0%} of the variance)" for one in self.explained]
        return f"PC 1{shares[0]}", f"PC 2{shares[1]}"


def make_map(states: States, method: str = "pca") -> Map:
    """Lay out every state, the starts too; fitted on all states after the start.

    Raises:
        UsageError: the method is unknown, or UMAP is not installed or has too few states.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method!r} is not known; known: {', '.join(METHODS)}")
    fitted = states.present.copy()
    if fitted[:, first_fitted(states.ts) :].any():
        fitted[:, : first_fitted(states.ts)] = False
    unit = states.vectors[states.present].astype(np.float64)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = np.divide(unit, norms, out=np.zeros_like(unit), where=norms > 0)
    inside = fitted[states.present]
    placed, explained = _pca(unit, inside) if method == "pca" else (_umap(unit, inside), (np.nan, np.nan))
    points = np.full((*states.present.shape, 2), np.nan)
    points[states.present] = placed
    return Map(method, points, (float(explained[0]), float(explained[1])), int(inside.sum()))


def _pca(unit: FloatArray, inside: NDArray[np.bool_]) -> tuple[FloatArray, tuple[float, float]]:
    """Positions on the two main axes of the rows inside, shape (m, 2), and the share of variance of each."""
    mean = unit[inside].mean(axis=0)
    centred = unit[inside] - mean
    # d × d is small beside the states; float64, as near-copies make it singular.
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    # An axis has no sign of its own: let its largest entry be positive.
    axes = axes * np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])])
    total = float(values.clip(min=0).sum())
    shares = [float(v) / total if total > 1e-12 else np.nan for v in values[::-1][:2].clip(min=0)]
    placed = np.zeros((len(unit), 2))
    placed[:, : axes.shape[1]] = (unit - mean) @ axes
    return placed, (shares[0], shares[1] if len(shares) > 1 else np.nan)


def _umap(unit: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Positions, shape (m, 2); the same every time on one machine."""
    count = int(inside.sum())
    if count < 2 * _NEIGHBOURS:
        raise UsageError(f"UMAP needs {2 * _NEIGHBOURS} states or more; there are {count}: use --method pca")
    try:
        import umap
    except ImportError:
        raise UsageError('UMAP is not installed; `pip install "loopsim[umap]"`, or use --method pca') from None
    rows = np.flatnonzero(inside)
    if count > _MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))
    # One thread and a seed: the layout differs from run to run otherwise.
    layout = umap.UMAP(n_components=2, n_neighbors=_NEIGHBOURS, metric="cosine", random_state=0, n_jobs=1)
    placed = np.zeros((len(unit), 2))
    placed[rows] = layout.fit_transform(unit[rows])
    rest = np.setdiff1d(np.arange(len(unit)), rows)
    if rest.size:
        placed[rest] = layout.transform(unit[rest])
    return placed
