"""Two or more conditions that share their prompts: permutation within prompt, equivalence, multiplicity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from metrics._checks import FloatArray, IntArray, as_array, as_codes, as_confidence
from metrics.result import Estimate, signature

__all__ = [
    "Equivalence",
    "PermutationTest",
    "benjamini_hochberg",
    "equivalence",
    "holm",
    "omnibus_test",
    "paired_test",
    "permutation_test",
]

Alternative = Literal["two-sided", "less", "greater"]


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """A statistic and how often chance within prompts does as much."""

    value: float
    """The statistic on the data as they are."""
    p: float
    """p-value, (1 + as extreme)/(1 + permutations), or exact where all of them were listed."""
    smallest_p: float
    """The smallest p-value that so few prompts or permutations can give."""
    n: int
    """Number of prompts."""
    signature: str
    """Every choice that could change the numbers."""
    undefined: str = ""
    """Why value or p is nan; empty where neither is."""


def paired_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    n_permutations: int = 9999,
    seed: int = 0,
) -> PermutationTest:
    """Test whether the mean over prompts of b − a is 0, flipping the sign of each prompt's difference.

    Under the null hypothesis the two conditions of a prompt are exchangeable, so all 2^G signs are equally
    likely. They are listed where there are at most `n_permutations`, else drawn.

    Args:
        a: (G,), one value a prompt under the first condition (average its replicates first).
        b: (G,), the same prompts under the second.
        alternative: of the mean of b − a.
        n_permutations: most sign patterns looked at.
        seed: of the random ones.

    Returns:
        A `PermutationTest` whose value is the mean of b − a. With one prompt p is nan. With 5 prompts no
        two-sided p can be below 0.0625: look at `smallest_p`.

    Raises:
        ValueError: empty, non-finite or unequal input, or an unknown alternative.

    References:
        Fisher (1935); Phipson & Smyth (2010) for the 1 in the p-value.
    """
    first, second = as_array(a, "a", 1), as_array(b, "b", 1)
    if first.shape != second.shape:
        raise ValueError(f"a has {first.size} prompts and b has {second.size}; they must be the same prompts")
    differences = second - first
    count = differences.size
    sign = signature("paired_test", {"alt": alternative, "unit": "prompt", "perm": n_permutations, "seed": seed})
    value = float(differences.mean())
    _check_alternative(alternative)
    if count < 2:
        return PermutationTest(value, math.nan, math.nan, count, sign, "one prompt cannot be permuted against anything")
    exact = 2**count <= n_permutations
    if exact:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    else:
        rng = np.random.default_rng(seed)
        signs = rng.choice((1.0, -1.0), size=(_permutations(n_permutations), count))
    null = signs @ differences / count
    p = _p_value(value, null, alternative, exact)
    sides = 2 if alternative == "two-sided" else 1
    smallest = max(sides / 2.0**count, 0.0 if exact else 1 / (1 + n_permutations))
    return PermutationTest(value, p, smallest, count, sign)


def omnibus_test(values: ArrayLike, *, n_permutations: int = 9999, seed: int = 0) -> PermutationTest:
    """Test whether K conditions have the same mean, shuffling the conditions of each prompt.

    Statistic: G·Σ_k (mean_k − mean)², divided by the residual mean square of prompt + condition, so that it
    is the F of the two-way table (df K − 1 and (G − 1)(K − 1)).

    Args:
        values: (G, K), one value a prompt and condition (average replicates first).
        n_permutations: random shuffles.
        seed: of them.

    Returns:
        A `PermutationTest` whose value is F; nan with the reason for one prompt, one condition, or no residual.

    Raises:
        ValueError: empty, non-finite or misshapen input.

    References:
        Fisher (1935); Anderson (2001).
    """
    table = as_array(values, "values", 2)
    prompts, conditions = table.shape
    sign = signature("omnibus_test", {"unit": "prompt", "perm": n_permutations, "seed": seed})
    if prompts < 2 or conditions < 2:
        why = f"{prompts} prompts and {conditions} conditions; a test needs 2 of each"
        return PermutationTest(math.nan, math.nan, math.nan, prompts, sign, why)
    centred = table - table.mean(axis=1, keepdims=True)
    total = float((centred**2).sum())
    if total <= 1e-24 * float((table**2).sum()) or total == 0.0:
        why = "no prompt differs between conditions"
        return PermutationTest(math.nan, math.nan, math.nan, prompts, sign, why)
    rng = np.random.default_rng(seed)
    size = _permutations(n_permutations)
    # Prompt by prompt, so that memory stays at one table of column sums.
    sums = np.zeros((size, conditions))
    for row in centred:
        sums += rng.permuted(np.broadcast_to(row, (size, conditions)), axis=1)
    between = (sums**2).sum(axis=1) / prompts
    observed = float((centred.sum(axis=0) ** 2).sum()) / prompts
    # F grows with the between-condition sum of squares, as the total is the same under every shuffle.
    p = _p_value(observed, between, "greater", exact=False)
    residual = (total - observed) / ((prompts - 1) * (conditions - 1))
    value = observed / (conditions - 1) / residual if residual > 1e-15 * total else math.inf
    smallest = max(1 / (1 + size), math.factorial(conditions) ** (1.0 - prompts))
    return PermutationTest(value, p, smallest, prompts, sign)


def permutation_test(
    statistic: Callable[[NDArray[Any], IntArray], float],
    values: NDArray[Any],
    conditions: ArrayLike | Sequence[object],
    prompts: ArrayLike | Sequence[object],
    *,
    name: str,
    alternative: Alternative = "two-sided",
    n_permutations: int = 999,
    seed: int = 0,
) -> PermutationTest:
    """Test any statistic of conditions, for sets too: the labels of the conditions are dealt anew within prompts.

    For example the difference of two Vendi scores: `lambda x, c: vendi(x[c == 1]) - vendi(x[c == 0])`. All
    trajectories of one prompt and condition keep together, and only whole blocks change labels, because
    replicates are not independent of each other where prompts respond differently to the conditions.

    Args:
        statistic: function of the values and the condition codes 0 … K − 1 (sorted labels) to a number.
        values: (n, …), one row a trajectory.
        conditions: (n,), the condition of each; every prompt must have been run under every condition.
        prompts: (n,), the prompt of each.
        name: the statistic's name in the signature.
        alternative: two-sided compares absolute values, so the statistic should be 0 under the null.
        n_permutations: random shuffles.
        seed: of them.

    Returns:
        A `PermutationTest`; nan with the reason for one prompt or a statistic that is nan.

    Raises:
        ValueError: empty input, labels that do not match, an incomplete design (see `metrics.missing`).

    References:
        Anderson (2001); Phipson & Smyth (2010).
    """
    if len(values) == 0:
        raise ValueError("values is empty")
    _check_alternative(alternative)
    cond, prompt = as_codes(conditions, len(values), "conditions"), as_codes(prompts, len(values), "prompts")
    count, kinds = int(prompt.max()) + 1, int(cond.max()) + 1
    seen = np.zeros((count, kinds), dtype=bool)
    seen[prompt, cond] = True
    if not seen.all():
        p, c = (int(v) for v in np.argwhere(~seen)[0])
        raise ValueError(
            f"{int((~seen).sum())} cells are empty (the first: prompt {p}, condition {c}, in sorted order); "
            "take the balanced panel of metrics.missing first"
        )
    sign = signature(name, {"perm": n_permutations, "within": "prompt", "alt": alternative, "seed": seed})
    value = float(statistic(values, cond))
    if math.isnan(value) or count < 2 or kinds < 2:
        why = "the statistic is nan" if math.isnan(value) else f"{count} prompts and {kinds} conditions"
        return PermutationTest(value, math.nan, math.nan, count, sign, why)
    rng = np.random.default_rng(seed)
    deck = np.broadcast_to(np.arange(kinds), (count, kinds))
    null = np.array(
        [
            float(statistic(values, rng.permuted(deck, axis=1)[prompt, cond]))
            for _ in range(_permutations(n_permutations))
        ]
    )
    if np.isnan(null).any():
        return PermutationTest(value, math.nan, math.nan, count, sign, "the statistic is nan for some permutations")
    smallest = max(1 / (1 + n_permutations), math.factorial(kinds) ** (1.0 - count))
    return PermutationTest(value, _p_value(value, null, alternative, exact=False), smallest, count, sign)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests that a mean difference lies within a margin."""

    difference: Estimate
    """Mean over prompts, with its 1 − 2α interval, the one that decides."""
    p: float
    """The larger of the two one-sided p-values."""
    margin: float
    """The smallest effect of interest, in the units of the difference."""
    equivalent: bool
    """p ≤ α: the interval lies within ±margin."""


def equivalence(differences: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Show that a mean difference between conditions is smaller than a smallest effect of interest.

    p = max over both sides of P(t_{G−1} > (margin ∓ mean)/s), s the standard error over prompts. A large
    p-value of a difference is no evidence of equality; this is.

    Args:
        differences: (G,), one difference a prompt.
        margin: the smallest effect of interest, positive, in the same units; to be stated beforehand.
        alpha: level.

    Returns:
        An `Equivalence`. Where the differences do not vary, p is 0 or 1.

    Raises:
        ValueError: fewer than 3 prompts, non-finite input, a margin or level out of range.

    References:
        Schuirmann (1987); Lakens (2017).
    """
    values = as_array(differences, "differences", 1)
    if values.size < 3:
        raise ValueError(f"differences has {values.size} prompts; an equivalence test needs 3 or more")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a positive number in the units of the difference; it is {margin}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5; it is {alpha}")
    level = as_confidence(1 - 2 * alpha)
    mean, free = float(values.mean()), values.size - 1
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    room = margin - abs(mean)
    p = float(stats.t.sf(room / error, free)) if error > 0 else float(room <= 0)
    half = float(stats.t.isf(alpha, free)) * error
    sign = signature("equivalence", {"margin": margin, "ci": "t", "unit": "prompt", "level": level})
    return Equivalence(Estimate(mean, mean - half, mean + half, values.size, sign), p, float(margin), p <= alpha)


def holm(p: ArrayLike) -> FloatArray:
    """Adjust p-values so that the chance of any false rejection stays at the level: step-down Bonferroni.

    p₍ᵢ₎ adjusted = max_{j ≤ i} min(1, (m − j + 1)·p₍ⱼ₎), in the order given. Valid under any dependence.

    Raises:
        ValueError: empty, nan, or outside of 0 … 1.

    References:
        Holm (1979).
    """
    values, order = _ordered(p)
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    return _restored(stepped, order)


def benjamini_hochberg(p: ArrayLike) -> FloatArray:
    """Adjust p-values so that the expected share of false ones among the rejected stays at the level.

    p₍ᵢ₎ adjusted = min_{j ≥ i} min(1, m·p₍ⱼ₎/j), in the order given. For independent or positively dependent tests.

    Raises:
        ValueError: empty, nan, or outside of 0 … 1.

    References:
        Benjamini & Hochberg (1995).
    """
    values, order = _ordered(p)
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _ordered(p: ArrayLike) -> tuple[FloatArray, IntArray]:
    values = as_array(p, "p", 1)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"p-values lie between 0 and 1; these run from {values.min():g} to {values.max():g}")
    return values, np.argsort(values, kind="stable")


def _restored(stepped: FloatArray, order: IntArray) -> FloatArray:
    out = np.empty_like(stepped)
    out[order] = np.minimum(stepped, 1.0)
    return out


def _p_value(value: float, null: FloatArray, alternative: Alternative, exact: bool) -> float:
    # Equal permutations differ in the last bit, and the observed one must count itself.
    slack = 1e-12 * float(np.abs(null).max(initial=abs(value)))
    if alternative == "two-sided":
        extreme = np.abs(null) >= abs(value) - slack
    elif alternative == "greater":
        extreme = null >= value - slack
    else:
        extreme = null <= value + slack
    return float(extreme.mean()) if exact else float((1 + extreme.sum()) / (1 + null.size))


def _check_alternative(alternative: str) -> None:
    if alternative not in ("two-sided", "less", "greater"):
        raise ValueError(f"alternative must be 'two-sided', 'less' or 'greater'; it is {alternative!r}")


def _permutations(number: int) -> int:
    if number < 19:
        raise ValueError(f"{number} permutations cannot give p ≤ 0.05; take 19 or more")
    return number
