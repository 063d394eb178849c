"""Distances between trajectories, and what is left of the prompt in them.

*Twins* are replicates of one prompt, *strangers* trajectories of different prompts, both in one condition and at
one iteration: `x` of shape (n, d), and `prompts` of shape (n,) naming each row's prompt. Prompts count equally,
however many replicates they have. Vectors are scaled to unit length and distance is cosine distance 1 − x·y.

`metrics.panel` puts these distances together: what a step keeps, what the prompt still fixes, memory.

Empty or non-finite input raises ValueError; a zero row or a missing pair makes a result nan, with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from metrics import _pairs, drift, jackknife
from metrics._checks import (
    FloatArray,
    UndefinedError,
    as_array,
    as_codes,
    as_rows,
    nan_if_undefined,
    unit,
    unit_rows,
)
from metrics.result import Estimate, reason_of, undefined

__all__ = [
    "seed_noise_from_lags",
    "seed_noise_from_redraws",
    "shared_movement",
    "shared_movement_estimate",
    "stranger_distance",
    "stranger_distance_estimate",
    "twin_distance",
    "twin_distance_estimate",
]

Labels = ArrayLike | Sequence[object]


@nan_if_undefined
def stranger_distance(x: ArrayLike, prompts: Labels) -> float:
    """Mean cosine distance between trajectories of different prompts.

    Formula: the mean over pairs of prompts p ≠ q of the mean distance of a row of p to a row of q,
    1 − (‖Σ m_p‖² − Σ‖m_p‖²)/(P(P − 1)) with m_p the mean unit row of prompt p; cost O(n·d).

    Returns:
        A distance in [0, P/(P − 1)]: 0 all prompts have led to the same state. nan for one prompt or a zero row.
    """
    rows = unit_rows(x)
    return _pairs.stranger(_pairs.prompt_means(rows, as_codes(prompts, len(rows), "prompts")))


def stranger_distance_estimate(x: ArrayLike, prompts: Labels, confidence: float = 0.95) -> Estimate:
    """Estimate `stranger_distance` with a delete-one-prompt jackknife interval."""
    rows = as_rows(x)
    codes = as_codes(prompts, len(rows), "prompts")
    return jackknife.from_deleted(
        stranger_distance(rows, codes),
        lambda: _pairs.stranger_without_each(_pairs.prompt_means(unit_rows(rows), codes)),
        codes,
        name="stranger",
        parameters={"dist": "cos"},
        confidence=confidence,
        low=0.0,
    )


@nan_if_undefined
def twin_distance(x: ArrayLike, prompts: Labels) -> float:
    """Mean cosine distance between replicates of one prompt.

    Formula: the mean over prompts with at least 2 replicates of the mean over their pairs.

    Returns:
        A distance in [0, 2]: 0 replicates agree. nan where no prompt has 2 replicates, or at a zero row.
    """
    rows = unit_rows(x)
    return float(np.mean(_pairs.twins(rows, as_codes(prompts, len(rows), "prompts"))))


def twin_distance_estimate(x: ArrayLike, prompts: Labels, confidence: float = 0.95) -> Estimate:
    """Estimate `twin_distance` with an interval over prompts; its n counts prompts with at least 2 replicates."""
    rows = as_rows(x)
    codes = as_codes(prompts, len(rows), "prompts")
    value = twin_distance(rows, codes)
    values = [value] if math.isnan(value) else _pairs.twins(unit_rows(rows), codes)
    made = jackknife.mean_estimate(values, name="twin", parameters={"dist": "cos"}, confidence=confidence, low=0.0)
    return undefined(reason_of(value), made.n, made.signature) if math.isnan(value) else made


@nan_if_undefined
def seed_noise_from_redraws(redraws: ArrayLike) -> float:
    """Seed noise s: mean cosine distance of two draws of the same step with different seeds.

    Formula: the mean over steps of the mean over pairs of draws. This is the primary estimate of s: it assumes
    nothing about how the chain moves.

    Args:
        redraws: shape (m, r, d), r draws of each of m steps.

    Returns:
        A distance in [0, 2]. nan for one draw a step, or a zero vector.
    """
    return float(np.mean(_pairs.pair_means(unit(as_array(redraws, "redraws", 3), "redraws"))))


@nan_if_undefined
def seed_noise_from_lags(x: ArrayLike, start: int = 1, mask: ArrayLike | None = None) -> float:
    """Seed noise s = 2·D(1) − D(2), from trajectories alone, assuming a random walk observed with noise.

    If every state is a slowly walking position plus fresh noise, D(k) = s + k·(kept per step). A chain that is
    pulled back (AR(1)) or cycles breaks the assumption; use re-draws where there are any.

    Args:
        x: shape (n, T, d); states at t < `start` are not used.
        start: first t past the burn-in.
        mask: shape (n, T), False where a state is missing.

    Returns:
        A distance. nan where the data contradict the assumption: D(2) < D(1), which no such walk has (a
        cycle), or D(2) > 2·D(1) (steps that keep their direction). A stationary chain of independent draws has
        D(2) = D(1) and falls on either side by chance; `metrics.panel` judges by intervals instead.
    """
    first, second = _lag_means(x, start, mask)
    return _noise_from_lags(float(np.nanmean(first)), float(np.nanmean(second)))


@nan_if_undefined
def shared_movement(before: ArrayLike, after: ArrayLike, prompts: Labels) -> float:
    """Share of the movement between two iterations that trajectories of different prompts have in common.

    Formula: mean over p ≠ q of Δ_p·Δ_q, over the mean of ‖Δ‖², with Δ = after − before of unit rows and Δ_p
    its mean over the replicates of prompt p.

    Args:
        before: shape (n, d), one row a trajectory.
        after: shape (n, d), the same trajectories later.
        prompts: shape (n,).

    Returns:
        A share in [−1/(P − 1), 1]: 1 all move by the same vector (a register shift), 0 each its own way. nan
        for one prompt, a zero row, or where nothing moves.
    """
    means, squares = _movements(before, after, prompts)
    return _shared(means.sum(axis=0), float(np.sum(means**2)), float(squares.sum()), len(means))


def shared_movement_estimate(
    before: ArrayLike, after: ArrayLike, prompts: Labels, confidence: float = 0.95
) -> Estimate:
    """Estimate `shared_movement` with a delete-one-prompt jackknife interval."""
    codes = as_codes(prompts, len(as_rows(before, "before")), "prompts")

    def without_each() -> list[float]:
        means, squares = _movements(before, after, codes)
        total, own = means.sum(axis=0), np.sum(means**2, axis=1)
        share = nan_if_undefined(_shared)
        return [
            share(total - mean, own.sum() - one, squares.sum() - square, len(means) - 1)
            for mean, one, square in zip(means, own, squares, strict=True)
        ]

    return jackknife.from_deleted(
        shared_movement(before, after, codes),
        without_each,
        codes,
        name="shared-movement",
        confidence=confidence,
        high=1.0,
    )


def _lag_means(x: ArrayLike, start: int, mask: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """D(1) and D(2) of each trajectory past `start`, from the same range of t; nan where there is none."""
    profile = drift.lag_profile(x, [1, 2], start, mask)
    if np.isnan(profile).all(axis=0).any():
        raise UndefinedError("no trajectory has two states 1 and two states 2 steps apart")
    return profile[:, 0], profile[:, 1]


def _noise_from_lags(first: float, second: float) -> float:
    if second < first:
        raise UndefinedError("D(2) < D(1), so this is no random walk with noise: a cycle, or a chain at rest")
    if second > 2.0 * first:
        raise UndefinedError("D(2) > 2·D(1), so this is no random walk with noise: steps keep their direction")
    return 2.0 * first - second


def _movements(before: ArrayLike, after: ArrayLike, prompts: Labels) -> tuple[FloatArray, FloatArray]:
    """Mean displacement of each prompt, (P, d), and its mean squared displacement, (P,)."""
    first, last = as_rows(before, "before"), as_rows(after, "after")
    if first.shape != last.shape:
        raise ValueError(f"before and after must have one shape; they have {first.shape} and {last.shape}")
    codes = as_codes(prompts, len(first), "prompts")
    moved = unit(last, "after") - unit(first, "before")
    squares = np.bincount(codes, weights=np.sum(moved**2, axis=1)) / np.bincount(codes)
    return _pairs.prompt_means(moved, codes), squares


def _shared(total: FloatArray, own: float, squares: float, count: int) -> float:
    if count < 2:
        raise UndefinedError("one prompt has no strangers to move with")
    if squares <= 1e-14 * count:
        raise UndefinedError("nothing moves")
    return (float(total @ total) - own) / (count - 1) / squares
