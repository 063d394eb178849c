"""Failed trajectories depend on content: the balanced panel, and bounds that assume nothing about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from metrics._checks import FloatArray, as_array, as_confidence
from metrics.result import signature

__all__ = ["Bounds", "balanced_panel", "worst_case_difference", "worst_case_mean"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a mean must lie whatever the missing trajectories would have shown."""

    low: float
    """The mean if every missing value were the worst one on this side."""
    high: float
    """The mean if every missing value were the worst one on the other side."""
    ci_low: float
    """Lower confidence limit of `low`; nan with fewer than 3 prompts."""
    ci_high: float
    """Upper confidence limit of `high`; nan with fewer than 3 prompts."""
    missing: float
    """Share of cells missing."""
    n: int
    """Number of prompts, those without any value counted too."""
    signature: str
    """Every choice that could change the numbers."""
    undefined: str = ""
    """Why the limits are nan; empty where they are not."""


def balanced_panel(present: ArrayLike) -> NDArray[np.bool_]:
    """Return which prompts were completed under every condition: (G,) from (G, K), or from (G, K, R).

    With replicates, a cell counts as present where all of its replicates are. What is compared on this panel
    is a difference between conditions for the same prompts, not for all prompts: report the bounds beside it.

    Args:
        present: booleans, True where the trajectory exists.

    Raises:
        ValueError: not boolean, empty, or not of 2 or 3 axes.
    """
    mask = _mask(present)
    complete: NDArray[np.bool_] = np.asarray(mask.reshape(len(mask), -1).all(axis=1))
    return complete


def worst_case_mean(
    values: ArrayLike, present: ArrayLike, lowest: float, highest: float, *, confidence: float = 0.95
) -> Bounds:
    """Bound the mean over prompts when some values are missing for unknown reasons.

    low = mean of the values with `lowest` in the gaps, high with `highest`; the width is the missing share
    times the range. The interval runs from the lower t limit of the one to the upper t limit of the other, and covers
    the mean at no less than the stated confidence.

    Args:
        values: (G,) or (G, R); what stands in missing cells is ignored, and may be nan.
        present: booleans of the same shape.
        lowest: smallest value possible, e.g. 0 for a cosine distance.
        highest: largest value possible, e.g. 2.
        confidence: of the interval.

    Returns:
        `Bounds`. Wide bounds mean that the failures could explain the result.

    Raises:
        ValueError: shapes that differ, a non-finite value that is present, or values outside of the range.

    References:
        Manski (1990); Horowitz & Manski (2000).
    """
    low, high, mask = _filled(values, present, lowest, highest)
    return _bounds("worst_case_mean", low, high, 1 - float(mask.mean()), lowest, highest, confidence)


def worst_case_difference(
    a: ArrayLike,
    b: ArrayLike,
    present_a: ArrayLike,
    present_b: ArrayLike,
    lowest: float,
    highest: float,
    *,
    confidence: float = 0.95,
) -> Bounds:
    """Bound the mean over prompts of b − a, two conditions of the same prompts with gaps in either.

    low fills the gaps of b with `lowest` and those of a with `highest`; high the other way round. If the interval
    excludes 0, no pattern of failures can explain the difference.

    Args:
        a: (G,) or (G, R) under the first condition.
        b: the same prompts under the second; replicates may differ in number.
        present_a: booleans of the shape of a.
        present_b: booleans of the shape of b.
        lowest: smallest value possible.
        highest: largest value possible.
        confidence: of the interval.

    Returns:
        `Bounds` of the difference.

    Raises:
        ValueError: as `worst_case_mean`, or different numbers of prompts.

    References:
        Manski (1990).
    """
    low_a, high_a, mask_a = _filled(a, present_a, lowest, highest)
    low_b, high_b, mask_b = _filled(b, present_b, lowest, highest)
    if low_a.size != low_b.size:
        raise ValueError(f"a has {low_a.size} prompts and b has {low_b.size}; they must be the same prompts")
    missing = 1 - float((mask_a.sum() + mask_b.sum()) / (mask_a.size + mask_b.size))
    return _bounds("worst_case_difference", low_b - high_a, high_b - low_a, missing, lowest, highest, confidence)


def _bounds(
    name: str, low: FloatArray, high: FloatArray, missing: float, lowest: float, highest: float, confidence: float
) -> Bounds:  # fmt: skip
    level = as_confidence(confidence)
    count = low.size
    sign = signature(name, {"lowest": float(lowest), "highest": float(highest), "ci": "t", "level": level})
    ends = (float(low.mean()), float(high.mean()))
    if count < 3:
        return Bounds(*ends, math.nan, math.nan, missing, count, sign, f"{count} prompts give no interval")
    factor = float(stats.t.isf((1 - level) / 2, count - 1)) / math.sqrt(count)
    return Bounds(
        *ends,
        ends[0] - factor * float(low.std(ddof=1)),
        ends[1] + factor * float(high.std(ddof=1)),
        missing,
        count,
        sign,
    )


def _filled(
    values: ArrayLike, present: ArrayLike, lowest: float, highest: float
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the per-prompt means with gaps filled low and high, and the mask."""
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
        raise ValueError(f"the possible range {lowest} to {highest} must be finite and not empty")
    raw = np.asarray(values, dtype=np.float64)
    if raw.ndim not in (1, 2):
        raise ValueError(f"values must be (prompts,) or (prompts, replicates); the shape is {raw.shape}")
    mask = np.asarray(present)
    if mask.dtype != bool or mask.shape != raw.shape:
        raise ValueError(f"present must be booleans of shape {raw.shape}; it is {mask.dtype} of shape {mask.shape}")
    known = as_array(np.where(mask, raw, lowest), "values (where present)", raw.ndim)
    if known.min() < lowest or known.max() > highest:
        raise ValueError(
            f"values run from {known.min():g} to {known.max():g}, outside of the possible {lowest:g} to {highest:g}"
        )
    low = known.reshape(len(known), -1).mean(axis=1)
    high = np.where(mask, raw, highest).reshape(len(known), -1).mean(axis=1)
    return low, high, mask


def _mask(present: ArrayLike) -> NDArray[np.bool_]:
    mask = np.asarray(present)
    if mask.dtype != bool or mask.ndim not in (2, 3) or mask.size == 0:
        raise ValueError(
            "present must be booleans of shape (prompts, conditions) or (prompts, conditions, replicates); "
            f"it is {mask.dtype} of shape {mask.shape}"
        )
    return mask
