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
    """Iterations in which a deviation falls to 1/e: −1/ln |λ₂|; infinite where the chain falls into parts."""
    undefined: str | None
    """Why there is no one distribution."""


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
    """The stationary distribution of a confusion, over the states that occur.

    Args:
        counts: (s, s) transitions from row to column.
    """
    seen = np.flatnonzero(counts.sum(axis=1))
    inside = counts[np.ix_(seen, seen)].astype(np.float64)
    if len(seen) == 0 or (inside.sum(axis=1) == 0).any():
        return Settling(None, float("inf"), "a value occurs that no step was seen to leave")
    step = inside / inside.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(step.T)
    order = np.argsort(-np.abs(values))
    second = float(np.abs(values[order[1]])) if len(order) > 1 else 0.0
    if second > 1 - 1e-9:
        return Settling(None, float("inf"), "values that never turn into each other: every start has an end of its own")
    vector = np.real(vectors[:, order[0]])
    distribution = np.zeros(len(counts))
    distribution[seen] = np.abs(vector) / np.abs(vector).sum()
    return Settling(distribution, 0.0 if second == 0 else -1 / float(np.log(second)), None)


def total_variation(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences of two distributions of one length: 0 the same, 1 disjoint."""
    return float(np.abs(p - q).sum() / 2)


def variation_of_draws(p: NDArray[np.float64], n: int, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Total variation between p and n independent draws from it: mean, 2.5 % and 97.5 % quantile of simulations."""
    counts = np.random.default_rng(seed).multinomial(n, p / p.sum(), size=draws)
    distances = np.abs(counts / n - p).sum(axis=1) / 2
    low, high = np.quantile(distances, (0.025, 0.975))
    return float(distances.mean()), float(low), float(high)


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
