"""Full crossings of factors, and samples of them in which every level occurs equally often."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ROUNDS = 40
"""Exchanges tried for each row of a sample."""

Codes = tuple[int, ...]


def full_crossing(sizes: Sequence[int]) -> list[Codes]:
    """Every combination of levels, the last factor fastest."""
    return list(itertools.product(*(range(size) for size in sizes)))


def balanced_sample(sizes: Sequence[int], n: int, seed: int) -> list[Codes]:
    """`n` different combinations in which the levels of each factor occur equally often, up to one.

    Pairs of levels are balanced as far as exchanges that keep the rest can do it, so that a small sample does not
    confound two factors more than it must.

    Args:
        sizes: levels of each factor.
        n: how many; at most the product of the sizes.
        seed: of the choice: the same seed gives the same sample.

    Returns:
        The combinations in the order of the full crossing.
    """
    rng = np.random.default_rng(seed)
    names = [rng.permutation(size) for size in sizes]
    rows = [[int(names[k][code]) for k, code in enumerate(row)] for row in itertools.islice(_diagonal(sizes), n)]
    if len(sizes) > 1 and 1 < n < math.prod(sizes):
        _spread_pairs(rows, rng)
    return sorted(tuple(row) for row in rows)


def _diagonal(sizes: Sequence[int]) -> list[Codes]:
    """The full crossing in an order of which every beginning is balanced.

    Two factors of sizes a and b go along their diagonal, (k mod a, (k + k div lcm(a, b)) mod b), and so does each
    further factor with the index of those before it.
    """
    rows: list[Codes] = [(code,) for code in range(sizes[0])]
    for size in sizes[1:]:
        before, period = len(rows), math.lcm(len(rows), size)
        rows = [(*rows[k % before], (k + k // period) % size) for k in range(before * size)]
    return rows


def _spread_pairs(rows: list[list[int]], rng: np.random.Generator) -> None:
    """Exchange levels between rows, in place, while that makes pairs of levels more even and no two rows equal."""
    factors = len(rows[0])
    pairs: Counter[tuple[int, int, int, int]] = Counter()
    seen = {tuple(row) for row in rows}

    def count(row: Sequence[int], by: int) -> None:
        for a, b in itertools.combinations(range(factors), 2):
            pairs[a, b, row[a], row[b]] += by

    def cost(row: Sequence[int]) -> int:
        return sum(pairs[a, b, row[a], row[b]] for a, b in itertools.combinations(range(factors), 2))

    for row in rows:
        count(row, 1)
    tries = [rng.integers(0, high, _ROUNDS * len(rows)).tolist() for high in (len(rows), len(rows), factors)]
    for i, j, k in zip(*tries, strict=True):
        one, other = rows[i], rows[j]
        if one[k] == other[k]:
            continue
        swapped = [list(one), list(other)]
        swapped[0][k], swapped[1][k] = other[k], one[k]
        if tuple(swapped[0]) in seen or tuple(swapped[1]) in seen:
            continue
        # Σ count² changes by 2 (Σ of what is entered − Σ of what is left) once the old pairs are taken out.
        before = 0
        for row in (one, other):
            count(row, -1)
        before = cost(one) + cost(other) + _common(one, other)
        after = cost(swapped[0]) + cost(swapped[1]) + _common(*swapped)
        better = after < before
        for row in swapped if better else (one, other):
            count(row, 1)
        if better:
            seen -= {tuple(one), tuple(other)}
            seen |= {tuple(swapped[0]), tuple(swapped[1])}
            rows[i], rows[j] = swapped


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Pairs of levels that two rows share; each counts for the other."""
    return sum(one[a] == other[a] and one[b] == other[b] for a, b in itertools.combinations(range(len(one)), 2))
