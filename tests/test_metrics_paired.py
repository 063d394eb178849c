"""Comparing statistics of sets: right size under the null, power where there is a difference, and refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from metrics import comparison, diversity
from metrics.paired import set_difference, set_omnibus, smallest_p


def blocks(start, count, each=1):
    return [np.arange(start + g * each, start + (g + 1) * each) for g in range(count)]


def test_a_mean_is_compared_as_the_paired_test_compares_it():
    rng = np.random.default_rng(0)
    values = rng.normal(size=16)
    values[8:] += 0.8
    found = set_difference(lambda rows: values[rows].mean(), blocks(0, 8), blocks(8, 8), margin=1.0, name="mean")
    other = comparison.paired_test(values[:8], values[8:])
    assert found.difference.value == pytest.approx(other.value)
    assert found.p == pytest.approx(other.p)
    assert found.smallest_p == pytest.approx(2 / 256)
    # The jackknife of a mean is Student's interval.
    d = values[8:] - values[:8]
    half = 2.364624 * d.std(ddof=1) / math.sqrt(8)
    assert found.difference.ci_high == pytest.approx(d.mean() + half, rel=1e-5)
    equal = comparison.equivalence(d, 1.0)
    assert found.p_equivalence == pytest.approx(equal.p)


def test_prompts_that_share_their_noise_are_told_apart_only_when_paired():
    rng = np.random.default_rng(1)
    prompt = rng.normal(size=12) * 5
    values = np.concatenate([prompt, prompt + 0.5 + 0.1 * rng.normal(size=12)])

    def mean(rows):
        return values[rows].mean()

    paired = set_difference(mean, blocks(0, 12), blocks(12, 12), margin=1, name="mean")
    loose = set_difference(mean, blocks(0, 12), blocks(12, 12), margin=1, name="mean", paired=False)
    assert paired.p < 0.01 < 0.5 < loose.p
    assert paired.p_equivalence < 0.01 < loose.p_equivalence


@pytest.mark.parametrize(
    ("first", "second", "floor"), [(3, 3, 2 / 20), (3, 4, 1 / 35), (4, 3, 1 / 35), (3, 5, 1 / 56), (4, 4, 2 / 70)]
)
def test_few_prompts_of_two_kinds_are_split_in_every_way_and_none_does_more_than_separated_ones(first, second, floor):
    def differences(values):
        """Of every split, listed here by themselves; of a statistic that is no mean of its rows."""
        for chosen in itertools.combinations(range(first + second), first):
            rest = [k for k in range(first + second) if k not in chosen]
            yield abs(values[rest].mean() ** 3 - values[list(chosen)].mean() ** 3)

    def tested(values, most):
        return set_difference(
            lambda rows: values[rows].mean() ** 3, blocks(0, first), blocks(first, second),
            margin=1.0, name="cube", paired=False, n_permutations=most,
        )  # fmt: skip

    rng, ways = np.random.default_rng(4), math.comb(first + second, first)
    for _ in range(20):
        values = rng.normal(size=first + second)
        sizes = np.array(list(differences(values)))
        found = tested(values, ways - 1)
        assert found.p == pytest.approx((sizes >= sizes[0] - 1e-9).mean())  # the first split is that of the data
        assert found.p >= found.smallest_p == smallest_p(first, second, paired=False) == pytest.approx(floor)
        if ways > 20:
            assert tested(values, ways - 2).smallest_p == 1 / (ways - 1), "drawn: chance may leave out the others"
    apart = np.arange(first + second) / 1000 + np.repeat([0.0, 1.0], [first, second])
    found = tested(apart, 999)
    assert found.p == found.smallest_p == pytest.approx(floor)


@pytest.mark.parametrize("paired", [True, False])
def test_diversity_without_a_difference_is_rarely_called_one(paired):
    rng = np.random.default_rng(2)
    ps, covered = [], 0
    for k in range(120):
        prompt = rng.normal(size=(12, 1, 6)) * paired
        x = (prompt + rng.normal(size=(12, 4, 6)) + 1).transpose(1, 0, 2).reshape(48, 6)
        first = [np.array([g, g + 12]) for g in range(12)]
        second = [np.array([g + 24, g + 36]) for g in range(12)]
        found = set_difference(
            lambda rows, x=x: diversity.mean_pairwise_distance(x[rows]),
            first, second, margin=0.1, name="d", paired=paired, n_permutations=59, seed=k,
        )  # fmt: skip
        ps.append(found.p)
        covered += found.difference.ci_low <= 0 <= found.difference.ci_high
    # 120 draws: 5 % ± 3.9, 95 % ± 3.9 (two standard errors).
    assert np.mean(np.array(ps) <= 0.05) < 0.09
    assert covered / 120 > 0.91


def test_a_collapse_is_found_by_two_and_by_three_conditions():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(45, 8))
    x[30:] = x[30:] * 0.3 + 2

    def vendi(rows):
        return diversity.vendi(x[rows])

    wide, also, narrow = blocks(0, 15), blocks(15, 15), blocks(30, 15)
    found = set_difference(vendi, wide, narrow, margin=0.5, name="vendi", n_permutations=199)
    assert found.p == pytest.approx(1 / 200)
    assert found.difference.ci_high < 0
    assert found.p_equivalence > 0.5
    assert set_omnibus(vendi, [wide, also, narrow], name="vendi", n_permutations=99).p == pytest.approx(0.01)
    assert set_omnibus(vendi, [wide, also, wide[::-1]], name="vendi", n_permutations=99).n == 15


def test_what_cannot_be_said_is_not_said():
    x = np.eye(4)

    def spread(rows):
        return diversity.mean_pairwise_distance(x[rows])

    few = set_difference(spread, blocks(0, 2), blocks(2, 2), margin=0.1, name="d")
    assert math.isnan(few.p)
    assert "2 prompts" in few.difference.undefined
    one = set_difference(spread, blocks(0, 1), blocks(1, 1), margin=0.1, name="d")
    assert "one row has no pair" in one.difference.undefined
    same = set_difference(lambda rows: 1.0, blocks(0, 4), blocks(0, 4), margin=0.1, name="d")
    assert (same.p, same.difference.value) == (1.0, 0.0)
    assert math.isnan(same.p_equivalence)
    assert "changes nothing" in same.difference.undefined
    no_margin = set_difference(spread, blocks(0, 3), blocks(1, 3), margin=math.nan, name="d")
    assert math.isnan(no_margin.p_equivalence)
    for bad, message in (
        ({"first": [np.array([], dtype=int)]}, "at least one row"),
        ({"first": blocks(0, 3)}, "paired conditions have the same ones"),
        ({"margin": 0.0}, "margin must be above 0"),
        ({"n_permutations": 5}, "too few"),
    ):
        arguments = {"first": blocks(0, 2), "second": blocks(2, 2), "margin": 1.0, "name": "d"} | bad
        with pytest.raises(ValueError, match=message):
            set_difference(spread, **arguments)
    with pytest.raises(ValueError, match="nothing to compare"):
        set_omnibus(spread, [blocks(0, 2)], name="d")
