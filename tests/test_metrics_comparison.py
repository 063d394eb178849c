"""Comparisons of conditions: against SciPy and statsmodels, exact small cases, false-positive rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from metrics.comparison import benjamini_hochberg, equivalence, holm, omnibus_test, paired_test, permutation_test
from metrics.diversity import mean_pairwise_distance


def at_most(rate: float, trials: int) -> int:
    """More than this in 1 of 1,000 runs if the rate is as stated."""
    return int(stats.binom.ppf(0.999, trials, rate))


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_the_paired_test_is_scipys_exact_one(alternative: str):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 9))
    b += 0.6
    expected = stats.permutation_test(
        (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", alternative=alternative
    )
    got = paired_test(a, b, alternative=alternative)
    assert got.value == pytest.approx(expected.statistic)
    if alternative == "two-sided":
        # SciPy doubles the smaller tail, which is the same here as the null is symmetric.
        assert got.p == pytest.approx(expected.pvalue, abs=1e-9)
    else:
        assert got.p == pytest.approx(expected.pvalue)


def test_an_exact_p_value_by_hand_and_the_smallest_one_possible():
    # All five differences positive: 2 of 2⁵ sign patterns are as extreme.
    got = paired_test(np.zeros(5), np.ones(5))
    assert got.p == got.smallest_p == 2 / 32
    assert paired_test(np.zeros(5), np.ones(5), alternative="greater").p == 1 / 32
    single = paired_test([0.0], [1.0])
    assert math.isnan(single.p)
    assert "one prompt" in single.undefined


def test_drawn_and_listed_signs_agree():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 12))
    drawn = paired_test(a, b + 0.5, n_permutations=4000)
    assert drawn.p == pytest.approx(paired_test(a, b + 0.5).p, abs=0.03)


def test_pairing_by_prompt_finds_what_lies_below_the_differences_between_prompts():
    rng = np.random.default_rng(2)
    prompts = 10 * rng.standard_normal(30)
    a, b = prompts + 0.3 * rng.standard_normal((2, 30))
    assert paired_test(a, b + 0.5).p < 0.001
    assert stats.ttest_ind(a, b + 0.5).pvalue > 0.5


def test_the_omnibus_f_is_that_of_the_two_way_table():
    # Independent value: F of the treatment in a randomised block design, from the sums of squares by hand.
    table = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 3.0], [0.0, 2.0, 5.0], [1.0, 1.0, 4.0]])
    grand = table.mean()
    treatment = 4 * ((table.mean(axis=0) - grand) ** 2).sum()
    block = 3 * ((table.mean(axis=1) - grand) ** 2).sum()
    residual = ((table - grand) ** 2).sum() - treatment - block
    got = omnibus_test(table, n_permutations=999)
    assert got.value == pytest.approx((treatment / 2) / (residual / 6))
    assert got.p < 0.05


@pytest.mark.parametrize("kind", ["paired", "omnibus"])
def test_permutation_keeps_its_level_under_skewed_heteroscedastic_prompts(kind: str):
    rng = np.random.default_rng(3)
    trials, called = 300, 0
    for seed in range(trials):
        scale = rng.lognormal(size=(15, 1))
        table = 5 * rng.standard_normal((15, 1)) + scale * rng.exponential(size=(15, 3))
        if kind == "paired":
            called += paired_test(table[:, 0], table[:, 1], n_permutations=199, seed=seed).p <= 0.05
        else:
            called += omnibus_test(table, n_permutations=199, seed=seed).p <= 0.05
    assert called <= at_most(0.05, trials)


def sets(rng: np.random.Generator, spread: float, n: int = 14) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centre = rng.standard_normal((n, 6)) + 1
    values = np.concatenate([centre + 0.3 * rng.standard_normal((n, 6)), spread * centre + (1 - spread)])
    return values, np.repeat([0, 1], n), np.tile(np.arange(n), 2)


def spread_difference(x: np.ndarray, c: np.ndarray) -> float:
    return mean_pairwise_distance(x[c == 1]) - mean_pairwise_distance(x[c == 0])


def test_a_set_statistic_is_compared_within_prompts():
    rng = np.random.default_rng(4)
    values, conditions, prompts = sets(rng, spread=0.3)
    got = permutation_test(spread_difference, values, conditions, prompts, name="d", n_permutations=199)
    assert got.value < 0
    assert got.p == 1 / 200
    same = np.concatenate([values[:14], values[:14]])
    assert permutation_test(spread_difference, same, conditions, prompts, name="d", n_permutations=99).p == 1.0


def test_replicates_keep_together():
    # Two prompts with many replicates allow 2 labellings only, however many rows there are.
    values = np.concatenate([np.zeros(20), np.ones(20)])[:, None]
    got = permutation_test(
        lambda x, c: float(x[c == 1].mean() - x[c == 0].mean()),
        values,
        np.repeat([0, 1], 20),
        np.tile(np.repeat([0, 1], 10), 2),
        name="d",
        n_permutations=199,
    )
    assert got.smallest_p == 0.5
    assert got.p > 0.3


# --- equivalence -------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), margin=st.floats(0.05, 2.0))
def test_equivalence_is_statsmodels_tost(seed: int, margin: float):
    x = np.random.default_rng(seed).standard_normal(15) * 0.4 + 0.1
    got = equivalence(x, margin)
    assert got.p == pytest.approx(DescrStatsW(x).ttost_mean(-margin, margin)[0])
    inside = -margin <= got.difference.ci_low and got.difference.ci_high <= margin
    assert got.equivalent == inside


def test_a_difference_at_the_margin_is_called_equivalent_at_the_level_only():
    rng = np.random.default_rng(5)
    called = sum(equivalence(rng.standard_normal(20) + 1.0, 1.0).equivalent for _ in range(1000))
    assert stats.binom.ppf(0.001, 1000, 0.05) <= called <= at_most(0.05, 1000)


def test_a_large_p_value_is_no_equivalence():
    x = np.array([-3.0, 4.0, -2.0, 2.5])
    assert paired_test(np.zeros(4), x).p > 0.5
    assert not equivalence(x, 0.5).equivalent
    assert equivalence(np.full(5, 0.1), 0.2).p == 0.0
    assert equivalence(np.full(5, 0.3), 0.2).p == 1.0


# --- multiplicity ------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_are_statsmodels(p: list[float]):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


def test_adjustment_by_hand():
    # Holm: 3·0.01, 2·0.03, 1·0.04 → running maximum; BH: 3·0.01/1, 3·0.03/2, 3·0.04/3 → running minimum.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(benjamini_hochberg([0.03, 0.01, 0.04]), [0.04, 0.03, 0.04])


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_test([1.0, 2.0], [1.0]), "same prompts"),
        (lambda: paired_test([], []), "empty"),
        (lambda: paired_test([1.0, 2.0], [1.0, math.nan]), "non-finite"),
        (lambda: paired_test([1.0, 2.0], [1.0, 3.0], alternative="up"), "alternative must be"),
        (lambda: paired_test(np.zeros(20), np.ones(20), n_permutations=5), "19 or more"),
        (lambda: equivalence([1.0, 2.0], 1.0), "3 or more"),
        (lambda: equivalence([1.0, 2.0, 3.0], -1.0), "margin"),
        (lambda: holm([0.1, 1.2]), "between 0 and 1"),
        (lambda: holm([0.1, math.nan]), "non-finite"),
        (
            lambda: permutation_test(spread_difference, np.ones((3, 2)), ["a", "b", "a"], [0, 0, 1], name="d"),
            "1 cells are empty .*prompt 1, condition 1",
        ),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_to_compare_is_undefined_with_its_reason():
    assert "no prompt differs" in omnibus_test(np.ones((4, 3))).undefined
    assert "1 prompts" in omnibus_test(np.array([[1.0, 2.0]])).undefined
