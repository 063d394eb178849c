"""Survival: against lifelines and statsmodels, clustered coverage and levels by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from scipy import stats
from statsmodels.duration.survfunc import survdiff

from metrics.survival import kaplan_meier, log_rank


def sample(seed: int, n: int = 40, rate: float = 0.1, end: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    times = rng.geometric(rate, n)
    return np.minimum(times, end), times <= end


def at_most(rate: float, trials: int) -> int:
    return int(stats.binom.ppf(0.999, trials, rate))


def test_survival_by_hand():
    # 4 at risk, 1 ends: 3/4; 3 at risk, 1 ends: 3/4 · 2/3 = 1/2; then one censored at 2 and the last ends: 0.
    got = kaplan_meier([1, 2, 2, 5], np.array([True, True, False, True]))
    assert got.times.tolist() == [0, 1, 2, 5]
    assert got.survival.tolist() == pytest.approx([1.0, 0.75, 0.5, 0.0])
    assert got.at_risk.tolist() == [4, 4, 3, 1]
    assert got.ended.tolist() == [0, 1, 1, 1]
    assert got.median.value == 2.0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_curve_and_median_are_those_of_lifelines(seed: int):
    times, observed = sample(seed)
    expected = KaplanMeierFitter().fit(times, observed)
    got = kaplan_meier(times, observed)
    np.testing.assert_allclose(got.survival, expected.survival_function_.loc[got.times].to_numpy()[:, 0], atol=1e-12)
    if not got.median.undefined:
        assert got.median.value == expected.median_survival_time_


def test_limits_are_those_of_lifelines_but_for_the_quantile():
    # lifelines: ln(−ln S) with the normal quantile and Greenwood; here Student's t and n/(n − 1), all known.
    times, observed = sample(1)
    expected = KaplanMeierFitter().fit(times, observed).confidence_interval_
    got = kaplan_meier(times, observed)
    ratio = stats.t.isf(0.025, 39) / stats.norm.isf(0.025) * math.sqrt(40 / 39)
    at = 8.0
    s = float(got.survival[got.times == at][0])
    low, high = expected.loc[at]
    for theirs, ours in ((low, got.ci_low), (high, got.ci_high)):
        width = math.log(-math.log(theirs)) - math.log(-math.log(s))
        mine = math.log(-math.log(float(ours[got.times == at][0]))) - math.log(-math.log(s))
        assert mine == pytest.approx(width * ratio)


def test_copies_of_a_prompt_do_not_narrow_the_limits():
    times, observed = sample(2, 25)
    once = kaplan_meier(times, observed)
    often = kaplan_meier(np.repeat(times, 8), np.repeat(observed, 8), np.repeat(np.arange(25), 8))
    np.testing.assert_allclose(often.ci_low, once.ci_low)
    assert often.median.ci_high == once.median.ci_high


def test_limits_and_median_cover_with_prompts_that_differ():
    # A frailty of the prompt multiplies its hazard; truth from the closed form of the mixture.
    rng = np.random.default_rng(3)
    frail, trials = np.array([0.05, 0.2]), 300
    truth = float(np.mean((1 - frail) ** 8))
    curve = np.mean((1 - frail[:, None]) ** np.arange(60), axis=0)
    median = int(np.argmax(curve <= 0.5))
    hits = middle = 0
    prompts = np.repeat(np.arange(40), 5)
    for _ in range(trials):
        times = rng.geometric(frail[rng.integers(0, 2, 40)][prompts])
        got = kaplan_meier(np.minimum(times, 30), times <= 30, prompts)
        place = int(np.searchsorted(got.times, 8, side="right")) - 1
        hits += got.ci_low[place] <= truth <= got.ci_high[place]
        middle += got.median.ci_low <= median <= got.median.ci_high
    assert stats.binom.ppf(0.001, trials, 0.92) <= hits <= stats.binom.ppf(0.999, trials, 0.98)
    # The median jumps in whole iterations, so its interval may only be too wide.
    assert middle >= stats.binom.ppf(0.001, trials, 0.92)


def test_a_median_that_is_not_reached_is_undefined():
    got = kaplan_meier([3, 9, 9, 9], np.array([True, False, False, False]))
    assert math.isnan(got.median.value)
    assert got.median.undefined == "75% last beyond the last iteration followed, 9"


# --- log-rank ------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), groups=st.integers(2, 3))
def test_the_statistic_is_statsmodels_with_and_without_strata(seed: int, groups: int):
    times, observed = sample(seed, 60)
    conditions = np.arange(60) % groups
    prompts = np.arange(60) // 6
    plain = survdiff(times, observed.astype(int), conditions)
    got = log_rank(times, observed, conditions, prompts, stratify=False)
    assert (got.statistic, got.p_independent) == (pytest.approx(plain[0]), pytest.approx(plain[1]))
    within = survdiff(times, observed.astype(int), conditions, strata=prompts)
    stratified = log_rank(times, observed, conditions, prompts)
    assert stratified.statistic == pytest.approx(within[0])
    assert stratified.observed.sum() == pytest.approx(stratified.expected.sum())


@pytest.mark.parametrize("stratify", [True, False])
def test_the_clustered_test_keeps_its_level_where_the_plain_one_does_not(stratify: bool):
    # Shared prompts and, for one condition each, shared trajectories: rows of a cell end together.
    rng = np.random.default_rng(4)
    prompts = np.repeat(np.arange(24), 8)
    conditions = np.tile(np.repeat([0, 1], 4), 24)
    trials, clustered, plain = 250, 0, 0
    for _ in range(trials):
        cell = rng.uniform(0.02, 0.3, (24, 2))[prompts, conditions]
        times = rng.geometric(cell)
        got = log_rank(np.minimum(times, 25), times <= 25, conditions, prompts, stratify=stratify)
        clustered += got.p <= 0.05
        plain += got.p_independent <= 0.05
    assert clustered <= at_most(0.05, trials)
    assert plain > at_most(0.05, trials)


def test_stratifying_finds_what_differences_between_prompts_hide():
    rng = np.random.default_rng(5)
    prompts, conditions = np.repeat(np.arange(30), 8), np.tile(np.repeat([0, 1], 4), 30)
    base = np.where(np.arange(30) % 2, 0.02, 0.4)[prompts]
    times = rng.geometric(base * np.where(conditions == 1, 1.8, 1.0))
    within = log_rank(np.minimum(times, 60), times <= 60, conditions, prompts)
    pooled = log_rank(np.minimum(times, 60), times <= 60, conditions, prompts, stratify=False)
    assert within.p < 0.01
    assert within.statistic > pooled.statistic


def test_identical_conditions_have_no_difference_and_pairs_that_end_at_once_no_test():
    times, observed = sample(6, 30)
    both = (np.tile(times, 2), np.tile(observed, 2), np.repeat(["a", "b"], 30), np.tile(np.arange(30), 2))
    got = log_rank(*both, stratify=False)
    assert got.statistic == pytest.approx(0.0, abs=1e-20)
    np.testing.assert_allclose(got.observed, got.expected)
    assert "could another condition have ended" in log_rank(*both).undefined


def test_nothing_to_compare_is_undefined():
    got = log_rank([5, 5, 5, 5], np.zeros(4, dtype=bool), [0, 0, 1, 1], [0, 1, 0, 1])
    assert math.isnan(got.p)
    assert "nothing to compare" in got.undefined
    few = log_rank([1, 2, 3, 4], np.ones(4, dtype=bool), [0, 0, 1, 1], [0, 1, 0, 1])
    assert "2 prompts are too few" in few.undefined


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kaplan_meier([], np.zeros(0, dtype=bool)), "empty"),
        (lambda: kaplan_meier([1.0, math.nan], np.ones(2, dtype=bool)), "non-finite"),
        (lambda: kaplan_meier([1.0, -1.0], np.ones(2, dtype=bool)), "0 or later"),
        (lambda: kaplan_meier([1.0, 2.0], [1, 0]), "booleans"),
        (lambda: log_rank([1.0, 2.0], np.ones(2, dtype=bool), [0, 0]), "one condition only"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
