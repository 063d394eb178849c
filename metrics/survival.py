"""How long something lasts when not everything is seen to end: Kaplan–Meier and log-rank, clustered by prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from metrics._checks import FloatArray, IntArray, as_array, as_codes, as_confidence
from metrics.result import Estimate, signature, undefined

__all__ = ["LogRank", "Survival", "kaplan_meier", "log_rank"]

Labels = ArrayLike | Sequence[object] | None


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """The share that lasts beyond each time, with an interval at each time (not for the whole curve at once)."""

    times: FloatArray
    """0 and the different times of end or censoring, shape (J,)."""
    survival: FloatArray
    """S(t), the share that lasts longer than t, shape (J,)."""
    ci_low: FloatArray
    """Lower limits; nan where S is 1 or 0, or with fewer than 2 prompts."""
    ci_high: FloatArray
    """Upper limits; nan likewise."""
    at_risk: IntArray
    """Trajectories still followed just before each time."""
    ended: IntArray
    """Trajectories that end at each time."""
    median: Estimate
    """First time at which S is at most ½; nan if more than half last."""


def kaplan_meier(
    times: ArrayLike, observed: ArrayLike, prompts: Labels = None, *, confidence: float = 0.95
) -> Survival:
    """Estimate the survival function from times some of which are censored.

    S(t) = Π_{t_j ≤ t} (1 − d_j/n_j), with d_j ends among n_j at risk. The variance of ln S sums squared
    influences of whole prompts, which is Greenwood's Σ d_j/(n_j(n_j − d_j)) where each prompt has one
    trajectory; limits are symmetric in ln(−ln S), with Student's t at G − 1 degrees of freedom.

    Args:
        times: (n,), the iteration of the end, or the last one followed; ≥ 0.
        observed: (n,) booleans, True where the end was seen, False where censored.
        prompts: (n,), the prompt of each, the independent unit; None makes each a unit of its own.
        confidence: of the intervals.

    Returns:
        A `Survival`. Censoring must not depend on what would have happened: a trajectory that failed because
        of its content is not censored at random (see `metrics.missing`).

    Raises:
        ValueError: empty, non-finite or unequal input, negative times.

    References:
        Kaplan & Meier (1958); Williams (1995) for clusters; Brookmeyer & Crowley (1982) for the median.
    """
    t, ended, codes = _checked(times, observed, prompts)
    level = as_confidence(confidence)
    at = np.unique(np.append(t, 0.0))
    at_risk = (t[:, None] >= at).astype(float)
    ends = ((t[:, None] == at) & ended[:, None]).astype(float)
    n, d = at_risk.sum(axis=0), ends.sum(axis=0)
    hazard = np.divide(d, n, out=np.zeros_like(n), where=n > 0)
    survival = np.cumprod(1 - hazard)
    alive = survival > 0
    weight = np.divide(1.0, n * (1 - hazard), out=np.zeros_like(n), where=alive)
    influence = -np.cumsum((ends - at_risk * hazard) * weight, axis=1)
    low, high = _limits(survival, _by_unit(influence, codes), level)
    units = int(codes.max()) + 1
    sign = signature("median_survival", {"ci": "loglog", "unit": "prompt", "level": level})
    return Survival(
        at, survival, low, high, n.astype(np.intp), d.astype(np.intp), _median(at, survival, low, high, units, sign)
    )


@dataclass(frozen=True, slots=True, eq=False)
class LogRank:
    """A comparison of survival between conditions."""

    statistic: float
    """χ² with the variance that takes all trajectories for independent: for comparison with other software."""
    p_independent: float
    """Its p-value: too small where prompts have several trajectories of one condition."""
    p: float
    """p-value with the variance between prompts (Hotelling's F): the one to report."""
    observed: FloatArray
    """Ends seen under each condition, in sorted order, shape (K,)."""
    expected: FloatArray
    """Ends expected if survival were the same, shape (K,)."""
    n: int
    """Number of prompts."""
    signature: str
    """Every choice that could change the numbers."""
    undefined: str = ""
    """Why a p-value is nan; empty where none is."""


def log_rank(
    times: ArrayLike,
    observed: ArrayLike,
    conditions: ArrayLike | Sequence[object],
    prompts: Labels = None,
    *,
    stratify: bool = True,
) -> LogRank:
    """Test whether survival differs between conditions that share their prompts.

    U = Σ_j (ends under a condition − its share at risk × all ends), summed within strata, one a prompt. Its
    variance is estimated twice: hypergeometrically, for independent trajectories, and from the
    prompts' own U, so that trajectories of one prompt may depend on each other; p = Hotelling's F on the
    latter with K − 1 and G − K + 1 degrees of freedom.

    Args:
        times: (n,), the iteration of the end, or the last one followed.
        observed: (n,) booleans, False where censored.
        conditions: (n,), K different ones.
        prompts: (n,), the prompt of each; None makes each trajectory its own unit, and `stratify` is ignored.
        stratify: compare within prompts only. False if conditions do not share prompts.

    Returns:
        A `LogRank`; p is nan, with the reason, with fewer than K + 1 prompts, or where no prompt has anything
        to compare (one condition at risk, or both ending at once).

    Raises:
        ValueError: empty, non-finite or unequal input, or one condition only.

    References:
        Mantel (1966); Peto & Peto (1972); Lin & Wei (1989) for clusters.
    """
    t, ended, units = _checked(times, observed, prompts)
    kinds = as_codes(conditions, t.size, "conditions")
    groups, count = int(kinds.max()) + 1, int(units.max()) + 1
    if groups < 2:
        raise ValueError("conditions has one condition only; there is nothing to compare")
    strata = units if stratify and prompts is not None else np.zeros(t.size, dtype=np.intp)
    scores = np.zeros((t.size, groups))
    variance = np.zeros((groups, groups))
    seen, expected = np.zeros(groups), np.zeros(groups)
    for stratum in range(int(strata.max()) + 1):
        rows = np.flatnonzero(strata == stratum)
        score, v, e = _scores(t[rows], ended[rows], kinds[rows], groups)
        scores[rows] = score
        variance += v
        expected += e
        seen += np.bincount(kinds[rows][ended[rows]], minlength=groups)
    u = (seen - expected)[:-1]
    sign = signature("log_rank", {"strata": "prompt" if strata is units else "none", "unit": "prompt"})
    rank = int(np.linalg.matrix_rank(variance[:-1, :-1])) if variance.any() else 0
    if rank < groups - 1:
        why = "at no end could another condition have ended instead: nothing to compare"
        return LogRank(math.nan, math.nan, math.nan, seen, expected, count, sign, why)
    chi = float(u @ np.linalg.solve(variance[:-1, :-1], u))
    p, why = _hotelling(_by_unit(scores, units)[:, :-1])
    return LogRank(chi, float(stats.chi2.sf(chi, groups - 1)), p, seen, expected, count, sign, why)


def _checked(times: ArrayLike, observed: ArrayLike, prompts: Labels) -> tuple[FloatArray, NDArray[np.bool_], IntArray]:
    t = as_array(times, "times", 1)
    ended = np.asarray(observed)
    if ended.dtype != bool or ended.shape != t.shape:
        raise ValueError(f"observed must be booleans of shape {t.shape}; it is {ended.dtype} of {ended.shape}")
    if t.min() < 0:
        raise ValueError(f"times must be 0 or later; the earliest is {t.min():g}")
    return t, ended, as_codes(prompts, t.size, "prompts")


def _by_unit(rows: FloatArray, codes: IntArray) -> FloatArray:
    """Sum (n, J) over the trajectories of each unit: (G, J)."""
    out = np.zeros((int(codes.max()) + 1, rows.shape[1]))
    np.add.at(out, codes, rows)
    return out


def _limits(survival: FloatArray, influence: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Return limits at each time, symmetric in ln(−ln S)."""
    units = len(influence)
    inside = (survival > 0) & (survival < 1)
    low, high = np.full(survival.size, np.nan), np.full(survival.size, np.nan)
    if units < 2 or not inside.any():
        return low, high
    error = np.sqrt(units / (units - 1) * (influence[:, inside] ** 2).sum(axis=0))
    log_s = np.log(survival[inside])
    half = float(stats.t.isf((1 - level) / 2, units - 1)) * error / -log_s
    low[inside] = np.exp(log_s * np.exp(half))
    high[inside] = np.exp(log_s * np.exp(-half))
    return low, high


def _median(at: FloatArray, survival: FloatArray, low: FloatArray, high: FloatArray, units: int, sign: str) -> Estimate:
    half = 0.5 + 1e-12  # a product that should be ½ may come out a few ulp above
    if survival[-1] > half:
        return undefined(f"{survival[-1]:.0%} last beyond the last iteration followed, {at[-1]:g}", units, sign)
    value = float(at[np.argmax(survival <= half)])
    if np.isnan(low).all():
        return Estimate(value, math.nan, math.nan, units, sign, "one prompt, or all ended at once: no interval")
    early = at[(low <= 0.5) | (survival == 0)]
    late = at[high <= 0.5]
    return Estimate(value, float(early[0]), float(late[0]) if late.size else math.inf, units, sign)


def _scores(
    t: FloatArray, ended: NDArray[np.bool_], kinds: IntArray, groups: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return score residuals (n, K), their hypergeometric variance (K, K) and the expected ends (K,)."""
    at = np.unique(t[ended])
    member = np.eye(groups)[kinds]
    at_risk = (t[:, None] >= at).astype(float)
    ends = ((t[:, None] == at) & ended[:, None]).astype(float)
    n, d = at_risk.sum(axis=0), ends.sum(axis=0)
    share = member.T @ at_risk / n
    residual = ends - at_risk * (d / n)
    scores = member * residual.sum(axis=1, keepdims=True) - residual @ share.T
    # With one at risk there is no choice, hence no variance.
    spread = d * np.divide(n - d, n - 1, out=np.zeros_like(n), where=n > 1)
    variance = np.diag(share @ spread) - (share * spread) @ share.T
    return scores, variance, share @ d


def _hotelling(scores: FloatArray) -> tuple[float, str]:
    """Return the p-value that the (G, K − 1) scores of units have mean zero."""
    units, columns = scores.shape
    if units <= columns + 1:
        return math.nan, f"{units} prompts are too few to see how they vary"
    mean = scores.mean(axis=0)
    covariance = np.atleast_2d(np.cov(scores, rowvar=False))
    if np.linalg.matrix_rank(covariance) < columns:
        return math.nan, "the prompts' scores do not vary in every direction"
    size = units * float(mean @ np.linalg.solve(covariance, mean))
    f = size * (units - columns) / (columns * (units - 1))
    return float(stats.f.sf(f, columns, units - columns)), ""
