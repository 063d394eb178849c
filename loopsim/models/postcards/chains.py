"""What a chain of postcards models does to attributes in one step, and where that alone would lead it.

An attribute that a caption names is a state; not named is one more. The confusion of one step, counted over all stored
steps of a condition, is a Markov chain, and its stationary distribution is where the attribute would settle if one step
depended on the attribute alone. Iterated learning (Griffiths & Kalish 2007) says that it is the learners' prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsim.models.postcards import world

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Settling:
    """Where the confusion of one step leads."""

    distribution: NDArray[np.float64] | None
    """The stationary distribution, (k + 1,): the values, and not named; None where there is more than one."""
    relaxation: float
    """Iterations in which a deviation falls to 1/e: −1/ln |λ₂|; infinite where there are parts or circles."""
    undefined: str | None
    """Why nothing settles; None where it does."""


def confusion(before: Codes, after: Codes, attribute: str) -> NDArray[np.int64]:
    """Counts of what one step makes of an attribute, (k + 1, k + 1): from row to column, not named last.

    Args:
        before: codes of the captions drawn, (m, 5), −1 where an attribute is not named.
        after: codes of the captions that came back, (m, 5).
        attribute: one of `world.ATTRIBUTES`.
    """
    k, size = world.ATTRIBUTES.index(attribute), len(world.VALUES[attribute])
    table = np.zeros((size + 1, size + 1), dtype=np.int64)
    # −1 is the last row and column.
    np.add.at(table, (before[:, k], after[:, k]), 1)
    return table


def settling(counts: NDArray[np.int64]) -> Settling:
    """The stationary distribution of a confusion, over the states that some step was seen to leave.

    Args:
        counts: (s, s) transitions from row to column. Steps into states that none was seen to leave are left out.
    """
    seen = np.flatnonzero(counts.sum(axis=1))
    inside = counts[np.ix_(seen, seen)].astype(np.float64)
    if len(seen) == 0 or (inside.sum(axis=1) == 0).any():
        return Settling(None, float("inf"), "a value occurs that no step was seen to leave")
    step = inside / inside.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(step.T)
    if int((np.abs(values - 1) < 1e-9).sum()) > 1:
        return Settling(None, float("inf"), "values that never turn into each other: every start has an end of its own")
    rest = int(np.argmin(np.abs(values - 1)))
    second = float(np.abs(np.delete(values, rest)).max(initial=0.0))
    vector = np.abs(np.real(vectors[:, rest]))
    distribution = np.zeros(len(counts))
    distribution[seen] = vector / vector.sum()
    if second > 1 - 1e-9:
        return Settling(distribution, float("inf"), "values that turn into each other in a circle: they never settle")
    return Settling(distribution, 0.0 if second == 0 else -1 / float(np.log(second)), None)


def total_variation(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences of two distributions of one length: 0 the same, 1 disjoint."""
    return float(np.abs(p - q).sum() / 2)


def variation_of_chains(
    p: NDArray[np.float64], starts: int, replicates: int, first: int, last: int, relaxation: float, named: float = 1.0,
    draws: int = 500, seed: int = 0,
) -> NDArray[np.float64]:  # fmt: skip
    """Total variation between p and what chains at rest in p show: the null of "they have settled in p".

    A chain begins at a value drawn from p, which replicates of a start share, and draws its value anew from p with
    probability 1 − exp(−1/relaxation) in each iteration, so it forgets as fast as measured chains do. What it shows
    in the iterations `first` to `last` is pooled, as that of measured chains is.

    Args:
        p: (k,), a distribution.
        starts: how many, ≥ 1.
        replicates: chains of each start, ≥ 1.
        first: first iteration that counts, ≥ 1.
        last: last iteration that counts.
        relaxation: iterations in which a deviation falls to 1/e; infinite where a value is kept for ever.
        named: share of captions that name the attribute, in (0, 1], independently.
        draws: simulations.
        seed: of the simulations.

    Returns:
        Shape (draws,), in increasing order; nan where nothing was named.
    """
    rng = np.random.default_rng(seed)
    k, shape = len(p), (draws, starts, replicates)
    p = p / p.sum()
    x = np.repeat(rng.choice(k, size=shape[:2], p=p)[..., None], replicates, axis=2)
    simulation = np.arange(draws)[:, None, None] * k
    counts = np.zeros((draws, k))
    for t in range(first, last + 1):
        passed = first if t == first else 1  # iterations up to the first that counts are taken at once
        anew = 1.0 if relaxation == 0 else 1 - float(np.exp(-passed / relaxation))
        x = np.where(rng.random(shape) < anew, rng.choice(k, size=shape, p=p), x)
        said = (x + simulation)[rng.random(shape) < named]
        counts += np.bincount(said, minlength=draws * k).reshape(draws, k)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return np.asarray(np.sort(np.abs(shares - p).sum(axis=1) / 2), dtype=np.float64)


def prior_of(world_name: str, attribute: str) -> NDArray[np.float64]:
    """The prior of an attribute, (k,): `prior` for the long-tailed world, `even` for the flat one."""
    size = len(world.VALUES[attribute])
    return world.prior_marginals()[attribute] if world_name == "prior" else np.full(size, 1 / size)


def carried_on(counts: NDArray[np.int64], start: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Where a distribution is after some steps, if one step depended on the attribute alone.

    Args:
        counts: (s, s) transitions from row to column. A state that none was seen to leave is kept.
        start: (s,), the distribution before, summing to 1.
        steps: how many, ≥ 0.
    """
    left = counts.sum(axis=1, keepdims=True)
    step = np.where(left > 0, counts / np.maximum(left, 1), np.eye(len(counts)))
    return np.asarray(start @ np.linalg.matrix_power(step, steps), dtype=np.float64)
