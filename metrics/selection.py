"""Choosing some of many: far apart, diverse, typical, or close together; and how far apart what was chosen is.

Every function takes `x` of shape (m, d), one embedding a row, scales rows to unit length, and returns the
indices of n different rows as an integer array of shape (n,). Distance is cosine distance 1 − x·y (0 same, 1
unrelated, 2 opposite). Nothing is drawn at random: the same input gives the same rows. Of equally good candidates
`farthest` and `determinantal` take the one nearest to the centre of all rows, which stands for most of them, and
then the one with the lowest index. Bad input, a zero row included, raises ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metrics._checks import BoolArray, FloatArray, IntArray, UndefinedError, as_codes, as_confidence, unit_rows

__all__ = ["Spread", "central", "determinantal", "farthest", "nearby", "spread_against_random"]

Groups = ArrayLike | Sequence[object] | None
_BLOCK = 1 << 23  # entries of one block of similarities: 64 MiB
_TIE = 1e-12


@dataclass(frozen=True, slots=True)
class Spread:
    """How far apart chosen rows are, beside random subsets of the same size from the same rows."""

    mean: float
    """Mean cosine distance over all pairs of chosen rows."""
    minimum: float
    """Smallest distance of a pair of them."""
    random_mean: float
    """What `mean` is for a random subset, on average."""
    random_mean_interval: tuple[float, float]
    """The central interval that holds `confidence` of the random subsets' means."""
    random_minimum: float
    """What `minimum` is for a random subset, on average."""
    random_minimum_interval: tuple[float, float]
    """The same interval of their smallest distances."""
    share_as_far: float
    """(1 + random subsets whose mean is at least `mean`)/(1 + subsets): the p-value of "no farther than by chance"."""
    subsets: int
    """Random subsets drawn."""
    confidence: float
    """Share of the random subsets inside the intervals."""


def farthest(x: ArrayLike, n: int, first: int | None = None, groups: Groups = None) -> IntArray:
    """Farthest-point selection: begin somewhere, then take again and again the row farthest from all taken so far.

    The smallest distance of a pair of the result is, as a chord, at least half of what any n rows can have. Cost
    O(n·m·d).

    Args:
        x: shape (m, d).
        n: how many, 1 to m.
        first: the row that it begins with; None takes the one farthest from the centre.
        groups: shape (m,); if given, the same number is taken of each, up to one.

    Returns:
        n indices, in the order taken: every beginning is a selection too.

    Raises:
        ValueError: bad input, or a group with fewer rows than its share.

    References:
        Gonzalez 1985, Theoretical Computer Science 38:293–306; Hochbaum and Shmoys 1985.
    """
    rows = _rows(x)
    quota = _Quota(groups, len(rows), n)
    if first is not None and not 0 <= first < len(rows):
        raise ValueError(f"first must be a row of x, 0 to {len(rows) - 1}; it is {first}")
    typical = _rounded(rows @ _centre(rows))
    taken = [int(np.argmin(typical)) if first is None else int(first)]
    quota.take(taken[0])
    nearest = 1.0 - rows @ rows[taken[0]]
    while len(taken) < n:
        best = _best(nearest, typical, quota.free)
        taken.append(best)
        quota.take(best)
        nearest = np.minimum(nearest, 1.0 - rows @ rows[best])
    return np.array(taken, dtype=np.intp)


def determinantal(x: ArrayLike, n: int, groups: Groups = None) -> IntArray:
    """Greedy most probable set of a determinantal point process: rows that span the largest volume.

    The kernel is exp(−‖x − y‖²/s) of unit rows, s being their mean squared distance, which is positive definite
    for different rows, so n may exceed d. Each step takes the row that multiplies det(K_S) most, from an incremental
    Cholesky factor; cost O(n·m·(n + d)), memory O(n·m). The first is the row least like the others; rows equal to
    taken ones come last.

    Args:
        x: shape (m, d).
        n: how many, 1 to m.
        groups: shape (m,); if given, the same number is taken of each, up to one.

    Returns:
        n indices, in the order taken.

    Raises:
        ValueError: bad input, or a group with fewer rows than its share.

    References:
        Kulesza and Taskar 2012, Foundations and Trends in Machine Learning 5:123–286; Chen, Zhang and Zhou 2018,
        Fast greedy MAP inference for determinantal point process, NeurIPS.
    """
    rows = _rows(x)
    m = len(rows)
    quota = _Quota(groups, m, n)
    scale = 2.0 * float(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))) or 1.0
    # The diagonal of the kernel is 1, so all gains are equal at first: what tells them apart is how much each row is
    # like the rest. The first is the row with the least in common with the others.
    similar, typical = _kernel_sums(rows, scale), _rounded(rows @ _centre(rows))
    factor = np.zeros((n, m))
    gain = np.ones(m)
    taken: list[int] = []
    while len(taken) < n:
        best = _best(gain if taken else -similar, typical, quota.free)
        k = len(taken)
        taken.append(best)
        quota.take(best)
        if gain[best] > _TIE:
            row = np.exp(-2.0 * (1.0 - rows @ rows[best]) / scale)
            factor[k] = (row - factor[:k, best] @ factor[:k]) / np.sqrt(gain[best])
            gain = np.maximum(gain - factor[k] ** 2, 0.0)
    return np.array(taken, dtype=np.intp)


def central(x: ArrayLike, n: int) -> IntArray:
    """The n rows nearest to the centre, which is the mean of the unit rows; nearest first.

    Raises:
        ValueError: bad input, or rows that cancel out, so that there is no centre.
    """
    rows = _rows(x)
    _check_size(n, len(rows))
    centre = _centre(rows)
    if float(np.linalg.norm(centre)) < _TIE:
        raise ValueError("the rows cancel out, so no row is nearer to their centre than another")
    return np.asarray(np.argsort(-_rounded(rows @ centre), kind="stable")[:n], dtype=np.intp)


def nearby(x: ArrayLike, n: int) -> IntArray:
    """A tight neighbourhood: the row whose n − 1 nearest others are nearest on average, and these; nearest first.

    Cost O(m²·d).

    Raises:
        ValueError: bad input.
    """
    rows = _rows(x)
    m = len(rows)
    _check_size(n, m)
    best, chosen = np.inf, np.zeros(1, dtype=np.intp)
    step = max(1, _BLOCK // m)
    for start in range(0, m, step):
        distance = 1.0 - rows[start : start + step] @ rows.T
        here = np.arange(len(distance))
        distance[here, start + here] = -1.0  # itself comes first, even before rows that are equal to it
        near = np.partition(distance, n - 1, axis=1)[:, :n].sum(axis=1) + 1.0
        winner = int(np.argmin(_rounded(near)))
        if near[winner] < best - _TIE:
            best = float(near[winner])
            chosen = np.argsort(_rounded(distance[winner]), kind="stable")[:n]
    return np.asarray(chosen, dtype=np.intp)


def spread_against_random(
    x: ArrayLike, chosen: ArrayLike, subsets: int = 500, seed: int = 0, confidence: float = 0.95
) -> Spread:
    """How far apart chosen rows are, and how far apart as many rows are that are drawn at random from the same.

    Args:
        x: shape (m, d), all rows there were to choose from.
        chosen: indices of at least 2 different rows.
        subsets: random subsets to draw, without replacement within each.
        seed: of these draws.
        confidence: share of the random subsets inside the intervals.

    Raises:
        ValueError: bad input.
    """
    rows, level = _rows(x), as_confidence(confidence)
    picked = np.asarray(chosen, dtype=np.intp)
    if picked.ndim != 1 or len(picked) < 2 or len(set(picked.tolist())) < len(picked):
        raise ValueError("chosen must name at least 2 different rows of x")
    if picked.min() < 0 or picked.max() >= len(rows):
        raise ValueError(f"chosen must name rows of x, 0 to {len(rows) - 1}")
    if subsets < 1:
        raise ValueError(f"subsets must be 1 or more; it is {subsets}")
    rng = np.random.default_rng(seed)
    drawn = np.array([_spread(rows[rng.choice(len(rows), len(picked), replace=False)]) for _ in range(subsets)])
    mean, minimum = _spread(rows[picked])
    limits = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Spread(
        mean=mean,
        minimum=minimum,
        random_mean=float(drawn[:, 0].mean()),
        random_mean_interval=(float(limits[0, 0]), float(limits[1, 0])),
        random_minimum=float(drawn[:, 1].mean()),
        random_minimum_interval=(float(limits[0, 1]), float(limits[1, 1])),
        share_as_far=float((1 + np.sum(drawn[:, 0] >= mean - _TIE)) / (1 + subsets)),
        subsets=subsets,
        confidence=level,
    )


class _Quota:
    """Which rows may still be taken: each once, and of each group its share."""

    def __init__(self, groups: Groups, m: int, n: int) -> None:
        _check_size(n, m)
        self.free: BoolArray = np.ones(m, dtype=np.bool_)
        self._codes = np.zeros(m, dtype=np.intp) if groups is None else as_codes(groups, m)
        sizes = np.bincount(self._codes)
        self._left = np.full(len(sizes), n // len(sizes))
        self._extra = n % len(sizes)
        if sizes.min() < self._left[0]:
            raise ValueError(
                f"a group has {sizes.min()} rows, which is less than its share, {self._left[0]} of the {n} rows to take"
            )
        if self._extra > int((sizes > self._left[0]).sum()):
            raise ValueError(f"the groups are too small for {n} rows in equal shares")
        self._given = np.zeros(len(sizes), dtype=np.bool_)
        self._close()

    def take(self, row: int) -> None:
        """Take a row that is free."""
        self.free[row] = False
        group = self._codes[row]
        if self._left[group]:
            self._left[group] -= 1
        else:
            self._extra -= 1
            self._given[group] = True
        self._close()

    def _close(self) -> None:
        full = (self._left == 0) & (self._given | (self._extra == 0))
        self.free &= ~full[self._codes]


def _rows(x: ArrayLike) -> FloatArray:
    try:
        return unit_rows(x)
    except UndefinedError as error:
        raise ValueError(str(error)) from error


def _check_size(n: int, m: int) -> None:
    if not 1 <= n <= m:
        raise ValueError(f"n must be 1 to {m}, the number of rows; it is {n}")


def _centre(rows: FloatArray) -> FloatArray:
    return np.asarray(rows.mean(axis=0), dtype=np.float64)


def _rounded(values: FloatArray) -> FloatArray:
    """Values without their last digits, which differ from machine to machine: so ties are ties everywhere."""
    return np.asarray(np.round(values, 10), dtype=np.float64)


def _best(score: FloatArray, typical: FloatArray, free: BoolArray) -> int:
    """The free row with the best score; of equal ones the most typical."""
    ranked = np.where(free, _rounded(score), -np.inf)
    return int(np.argmax(np.where(ranked == ranked.max(), typical, -np.inf)))


def _kernel_sums(rows: FloatArray, scale: float) -> FloatArray:
    m = len(rows)
    step = max(1, _BLOCK // m)
    parts = [
        np.exp(-2.0 * (1.0 - rows[start : start + step] @ rows.T) / scale).sum(axis=1) for start in range(0, m, step)
    ]
    return np.asarray(np.concatenate(parts), dtype=np.float64)


def _spread(rows: FloatArray) -> tuple[float, float]:
    """Mean and smallest distance of a pair of unit rows."""
    n = len(rows)
    similarity = rows @ rows.T
    similarity[np.arange(n), np.arange(n)] = -np.inf
    mean = float(np.sum((rows - rows.mean(axis=0)) ** 2) / (n - 1))
    return mean, max(0.0, float(1.0 - similarity.max()))
