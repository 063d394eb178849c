"""Mean distances over pairs of unit vectors, without a loop over pairs."""

from __future__ import annotations

import numpy as np

from metrics._checks import FloatArray, IntArray, UndefinedError


def row_means(values: FloatArray) -> FloatArray:
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(sums / np.where(count > 0, count, np.nan), dtype=np.float64)


def prompt_means(rows: FloatArray, codes: IntArray) -> FloatArray:
    sums = np.zeros((int(codes.max()) + 1, rows.shape[1]))
    np.add.at(sums, codes, rows)
    return np.asarray(sums / np.bincount(codes)[:, None], dtype=np.float64)


def stranger(means: FloatArray) -> float:
    if len(means) < 2:
        raise UndefinedError("one prompt has no strangers")
    return _cross_distance(means.sum(axis=0), float(np.sum(means**2)), len(means))


def stranger_without_each(means: FloatArray) -> list[float]:
    total, own = means.sum(axis=0), np.sum(means**2, axis=1)
    everything = float(own.sum())
    return [
        _cross_distance(total - mean, everything - one, len(means) - 1) for mean, one in zip(means, own, strict=True)
    ]


def _cross_distance(total: FloatArray, own: float, count: int) -> float:
    return max(0.0, 1.0 - (float(total @ total) - own) / (count * (count - 1)))


def twins(rows: FloatArray, codes: IntArray) -> FloatArray:
    """Mean distance over pairs of replicates, for each prompt that has 2 or more."""
    sizes = np.bincount(codes)
    spread = np.bincount(codes, weights=np.sum((rows - prompt_means(rows, codes)[codes]) ** 2, axis=1))
    if sizes.max() < 2:
        raise UndefinedError("no prompt has 2 replicates")
    # Σ‖x − mean‖²/(r − 1) is the mean cosine distance of the r(r − 1)/2 pairs of unit vectors.
    return np.asarray(spread[sizes > 1] / (sizes[sizes > 1] - 1), dtype=np.float64)


def pair_means(draws: FloatArray) -> FloatArray:
    """Mean distance over pairs along axis 1, for unit vectors of shape (m, r, d)."""
    if draws.shape[1] < 2:
        raise UndefinedError("one draw a step has no other to differ from")
    centred = draws - draws.mean(axis=1, keepdims=True)
    return np.asarray(np.sum(centred**2, axis=(1, 2)) / (draws.shape[1] - 1), dtype=np.float64)
