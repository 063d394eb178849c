"""Two or more conditions compared by any statistic of a set: paired by prompt where they share prompts.

Diversity and entropy are numbers of a whole set, so a condition has one value, not one a prompt. The pairing is kept
all the same: labels are dealt anew within prompts, and intervals leave the same prompt out of both conditions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metrics._checks import FloatArray, IntArray, as_confidence
from metrics.jackknife import float_of
from metrics.result import Estimate, reason_of, signature, undefined

__all__ = ["SetDifference", "SetOmnibus", "set_difference", "set_omnibus", "smallest_p"]

Statistic = Callable[[IntArray], float]
Blocks = Sequence[IntArray]

_FEWEST = 3


@dataclass(frozen=True, slots=True)
class SetDifference:
    """A statistic of two sets, their difference, and what chance within prompts does."""

    first: float
    """The statistic under the first condition."""
    second: float
    """The statistic under the second."""
    difference: Estimate
    """Second minus first, with a delete-one-prompt interval; n counts prompts."""
    p: float
    """Two-sided permutation p-value of a difference; nan where `difference.undefined` says why."""
    smallest_p: float
    """The smallest p-value that so few prompts or permutations can give."""
    p_equivalence: float
    """Larger p of two one-sided t-tests that the difference lies within ±margin; small shows equality."""
    margin: float
    """The smallest effect of interest, in the units of the statistic."""


def set_difference(
    statistic: Statistic,
    first: Blocks,
    second: Blocks,
    *,
    margin: float,
    name: str,
    paired: bool = True,
    confidence: float = 0.95,
    n_permutations: int = 999,
    seed: int = 0,
) -> SetDifference:
    """Compare a statistic of the trajectories of two conditions.

    Under the null hypothesis the conditions of a prompt are exchangeable: paired, each prompt's two blocks swap
    labels or not; unpaired, whole prompts are dealt to the conditions anew. The interval is
    difference ± t·√[(G−1)/G · Σ_g (δ₍₋g₎ − mean)²], δ₍₋g₎ the difference without prompt g in both (paired, G − 1
    degrees of freedom), or the root of the two sets' jackknife variances added (unpaired, Welch's degrees of
    freedom).

    Args:
        statistic: function of row numbers to a number, such as the Vendi score of those rows.
        first: for each prompt, the row numbers of its trajectories under the first condition; none empty.
        second: the same under the second; paired, prompt by prompt in the same order.
        margin: the smallest effect of interest, above 0; nan where none can be stated.
        name: of the statistic, for the signature.
        paired: whether both conditions have the same prompts.
        confidence: of the interval.
        n_permutations: most permutations looked at, drawn at random; all of them where there are no more: 2^G patterns
            of labels paired, C(G₁ + G₂, G₁) splits unpaired.
        seed: of the random ones.

    Returns:
        A `SetDifference`; nan with the reason for fewer than 3 prompts, where the statistic is undefined,
        and (interval and equivalence) where no prompt makes a difference.

    Raises:
        ValueError: empty blocks, unequal numbers of paired prompts, or parameters out of range.

    References:
        Fisher (1935); Phipson & Smyth (2010); Efron & Stein (1981); Schuirmann (1987).
    """
    level = _checked(first, second, margin, paired, confidence, n_permutations)
    count = len(first) if paired else len(first) + len(second)
    sign = signature(name, {"paired": paired, "ci": "jackknife", "level": level, "perm": n_permutations, "seed": seed})
    whole = (float_of(statistic(np.concatenate(list(first)))), float_of(statistic(np.concatenate(list(second)))))
    nan = math.nan
    if any(math.isnan(value) for value in whole):
        why = next(reason_of(value) for value in whole if math.isnan(value))
        return SetDifference(*whole, undefined(why, count, sign), nan, nan, nan, margin)
    difference = whole[1] - whole[0]
    if min(len(first), len(second)) < _FEWEST:
        why = f"{min(len(first), len(second))} prompts; a comparison needs at least {_FEWEST}"
        estimate = Estimate(difference, nan, nan, count, sign, why)
        return SetDifference(*whole, estimate, nan, nan, nan, margin)
    error, free = _error(statistic, first, second, paired)
    if math.isnan(error):
        estimate = Estimate(difference, nan, nan, count, sign, "without one of the prompts the statistic is undefined")
        return SetDifference(*whole, estimate, nan, nan, nan, margin)
    half = float(stats.t.isf((1 - level) / 2, free)) * error
    p, smallest = _permuted(statistic, first, second, paired, difference, n_permutations, seed)
    # A width at the level of rounding error means that no prompt mattered, not that the difference is certain.
    if error <= 1e-12 * max(1.0, *map(abs, whole)):
        why = "no interval: leaving out any one prompt changes nothing, so the spread is unknown"
        return SetDifference(*whole, Estimate(difference, nan, nan, count, sign, why), p, smallest, nan, margin)
    equivalence = float(stats.t.sf((margin - abs(difference)) / error, free))
    estimate = Estimate(difference, difference - half, difference + half, count, sign)
    return SetDifference(*whole, estimate, p, smallest, equivalence, margin)


@dataclass(frozen=True, slots=True)
class SetOmnibus:
    """Whether K conditions differ at all in a statistic of their sets."""

    values: tuple[float, ...]
    """The statistic under each condition."""
    p: float
    """Permutation p-value of the spread of the values; nan where `undefined` says why."""
    n: int
    """Number of prompts."""
    signature: str
    """Every choice that could change the numbers."""
    undefined: str = ""
    """Why p is nan."""


def set_omnibus(
    statistic: Statistic, conditions: Sequence[Blocks], *, name: str, n_permutations: int = 999, seed: int = 0
) -> SetOmnibus:
    """Test whether K conditions that share their prompts have the same value of a set statistic.

    The spread of the K values is compared with what it is when each prompt's blocks are dealt to the conditions anew.

    Args:
        statistic: as in `set_difference`.
        conditions: for each condition, for each prompt in the same order, row numbers.
        name: of the statistic.
        n_permutations: random permutations.
        seed: of them.

    Raises:
        ValueError: as `set_difference`, or fewer than 2 conditions.
    """
    if len(conditions) < 2:
        raise ValueError(f"{len(conditions)} condition; there is nothing to compare")
    for blocks in conditions[1:]:
        _checked(conditions[0], blocks, math.nan, True, 0.95, n_permutations)
    prompts = len(conditions[0])
    sign = signature(name, {"conditions": len(conditions), "perm": n_permutations, "seed": seed})
    values = [float_of(statistic(np.concatenate(list(blocks)))) for blocks in conditions]
    if prompts < _FEWEST:
        return SetOmnibus(tuple(values), math.nan, prompts, sign, f"{prompts} prompts; it needs at least {_FEWEST}")
    if any(math.isnan(value) for value in values):
        why = next(reason_of(value) for value in values if math.isnan(value))
        return SetOmnibus(tuple(values), math.nan, prompts, sign, why)
    rng = np.random.default_rng(seed)
    spread, more = float(np.var(values)), 0
    for _ in range(n_permutations):
        orders = [rng.permutation(len(conditions)) for _ in range(prompts)]
        drawn = [
            float(statistic(np.concatenate([conditions[orders[g][k]][g] for g in range(prompts)])))
            for k in range(len(conditions))
        ]
        more += float(np.var(drawn)) >= spread * (1 - 1e-12)
    return SetOmnibus(tuple(values), (1 + more) / (1 + n_permutations), prompts, sign)


def smallest_p(first: int, second: int, *, paired: bool = True, n_permutations: float = math.inf) -> float:
    """Return the smallest p-value that `set_difference` can give to conditions of so many prompts.

    What counts is the size of the difference, and the data themselves are among the ways to deal the labels. With as
    many prompts on both sides so are the data with the sides exchanged, whose difference has the same size. So it is
    2/2^G paired, 2/C(2G, G) unpaired, and 1/C(G₁ + G₂, G₁) for unequal numbers; 1/(1 + permutations) where there are
    more ways than are looked at.

    Args:
        first: prompts of the first condition.
        second: of the second.
        paired: whether they are the same ones.
        n_permutations: most permutations looked at; without a limit what so few prompts allow at all.
    """
    ways = _ways(first, second, paired)
    return (2 if paired or first == second else 1) / ways if ways <= n_permutations + 1 else 1 / (1 + n_permutations)


def _checked(
    first: Blocks, second: Blocks, margin: float, paired: bool, confidence: float, n_permutations: int
) -> float:
    for blocks in (first, second):
        if not len(blocks) or any(not len(rows) for rows in blocks):
            raise ValueError("every prompt needs at least one row under every condition")
    if paired and len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} prompts: paired conditions have the same ones")
    if margin <= 0:
        raise ValueError(f"margin must be above 0; it is {margin}")
    if n_permutations < 19:
        raise ValueError(f"{n_permutations} permutations are too few for a level of 5 %; take 19 or more")
    return as_confidence(confidence)


def _without_each(statistic: Statistic, blocks: Blocks) -> FloatArray:
    rows = list(blocks)
    values = [float(statistic(np.concatenate(rows[:g] + rows[g + 1 :]))) for g in range(len(rows))]
    return np.asarray(values, dtype=np.float64)


def _error(statistic: Statistic, first: Blocks, second: Blocks, paired: bool) -> tuple[float, float]:
    """Return the standard error of the difference and its degrees of freedom."""
    without = [_without_each(statistic, blocks) for blocks in (first, second)]
    if paired:
        deleted = without[1] - without[0]
        variance = float((len(deleted) - 1) / len(deleted) * ((deleted - deleted.mean()) ** 2).sum())
        return math.sqrt(variance), len(deleted) - 1
    parts = [(len(v) - 1) / len(v) * float(((v - v.mean()) ** 2).sum()) for v in without]
    total = sum(parts)
    if total == 0:
        return 0.0, 1.0
    free = total**2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, without, strict=True))
    return math.sqrt(total), free


def _ways(first: int, second: int, paired: bool) -> int:
    """In how many ways labels can be dealt."""
    return 2**first if paired else math.comb(first + second, first)


def _permuted(
    statistic: Statistic, first: Blocks, second: Blocks, paired: bool, difference: float, most: int, seed: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    observed = abs(difference) * (1 - 1e-12)
    count, ways = len(first), _ways(len(first), len(second), paired)
    exact = ways <= most + 1
    if paired:
        signs = (np.arange(ways)[:, None] >> np.arange(count)) & 1 == 1 if exact else rng.random((most, count)) < 0.5
        drawn = (_swapped(statistic, first, second, flips) for flips in signs)
    else:
        pool = [*first, *second]
        orders = _splits(len(pool), count) if exact else (rng.permutation(len(pool)) for _ in range(most))
        drawn = (_split(statistic, pool, count, order) for order in orders)
    more = sum(abs(value) >= observed for value in drawn)
    p = more / ways if exact else (1 + more) / (1 + most)
    return p, smallest_p(len(first), len(second), paired=paired, n_permutations=most)


def _splits(total: int, count: int) -> Iterable[Sequence[int]]:
    """Every choice of so many, with the others behind; each in order, so that a split and its mirror image agree."""
    for chosen in itertools.combinations(range(total), count):
        yield [*chosen, *(k for k in range(total) if k not in chosen)]


def _split(statistic: Statistic, pool: Blocks, count: int, order: Iterable[int]) -> float:
    dealt = [pool[k] for k in order]
    low, high = (float(statistic(np.concatenate(part))) for part in (dealt[:count], dealt[count:]))
    return high - low


def _swapped(statistic: Statistic, first: Blocks, second: Blocks, flips: np.ndarray) -> float:
    low = np.concatenate([b if flip else a for a, b, flip in zip(first, second, flips, strict=True)])
    high = np.concatenate([a if flip else b for a, b, flip in zip(first, second, flips, strict=True)])
    return float(statistic(high)) - float(statistic(low))
