"""Missing trajectories: bounds by hand, and that they hold whatever was missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.missing import balanced_panel, worst_case_difference, worst_case_mean


def test_the_balanced_panel_by_hand():
    present = np.array([[True, True], [True, False], [False, False], [True, True]])
    assert balanced_panel(present).tolist() == [True, False, False, True]
    replicates = np.ones((2, 2, 3), dtype=bool)
    replicates[1, 0, 2] = False
    assert balanced_panel(replicates).tolist() == [True, False]


def test_bounds_by_hand():
    # Known 1 + 1 + 0.5, one of four missing, range 0 … 2: between 2.5/4 and 4.5/4.
    got = worst_case_mean([1.0, 1.0, 0.5, math.nan], np.array([True, True, True, False]), 0.0, 2.0)
    assert (got.low, got.high) == (2.5 / 4, 4.5 / 4)
    assert got.missing == 0.25
    assert got.ci_low < got.low
    assert got.ci_high > got.high


def test_without_gaps_the_bounds_are_the_mean_and_its_t_interval():
    got = worst_case_mean([0.1, 0.4, 0.4], np.ones(3, dtype=bool), 0.0, 1.0)
    assert got.low == got.high == pytest.approx(0.3)
    # s = 0.1·√3, t(2) = 4.302653 from a table: 0.3 ± 4.302653 · 0.1.
    assert got.ci_high == pytest.approx(0.3 + 0.4302653, rel=1e-6)


@given(seed=st.integers(0, 10**6))
def test_the_truth_is_never_outside(seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 8, 2))
    seen_a, seen_b = rng.random((2, 8, 2)) < 0.7
    mean = worst_case_mean(a, seen_a, 0.0, 1.0)
    assert mean.low - 1e-12 <= a.mean() <= mean.high + 1e-12
    assert mean.high - mean.low == pytest.approx(mean.missing)
    difference = worst_case_difference(a, b, seen_a, seen_b, 0.0, 1.0)
    assert difference.low - 1e-12 <= (b - a).mean() <= difference.high + 1e-12


def test_failures_that_depend_on_content_can_explain_a_difference_and_the_bounds_say_so():
    # Everything above 0.5 fails under b: complete cases suggest that b is lower, yet both are alike.
    rng = np.random.default_rng(0)
    a = rng.random(60)
    seen_b = a < 0.5
    complete = a[seen_b].mean() - a.mean()
    bounds = worst_case_difference(a, a, np.ones(60, dtype=bool), seen_b, 0.0, 1.0)
    assert complete < -0.2
    assert bounds.low < 0 < bounds.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: worst_case_mean([0.5, 3.0], np.ones(2, dtype=bool), 0.0, 1.0), "outside of the possible"),
        (lambda: worst_case_mean([0.5, math.nan], np.ones(2, dtype=bool), 0.0, 1.0), "non-finite"),
        (lambda: worst_case_mean([0.5, 0.6], np.ones(3, dtype=bool), 0.0, 1.0), "booleans of shape"),
        (lambda: worst_case_mean([0.5, 0.6], np.ones(2), 0.0, 1.0), "booleans"),
        (lambda: worst_case_mean([0.5], np.ones(1, dtype=bool), 1.0, 1.0), "not empty"),
        (lambda: worst_case_mean([], np.ones(0, dtype=bool), 0.0, 1.0), "empty"),
        (lambda: balanced_panel([[1, 0]]), "booleans"),
        (
            lambda: worst_case_difference([0.1], [0.1, 0.2], np.ones(1, dtype=bool), np.ones(2, dtype=bool), 0, 1),
            "same prompts",
        ),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_two_prompts_have_bounds_but_no_interval():
    got = worst_case_mean([0.1, 0.2], np.array([True, False]), 0.0, 1.0)
    assert (got.low, got.high) == (pytest.approx(0.05), pytest.approx(0.55))
    assert math.isnan(got.ci_low)
    assert "2 prompts" in got.undefined
