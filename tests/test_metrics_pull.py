"""Attractor regression and AR(1) chains with known parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metrics._curves import draw_ar1
from metrics.pull import attractor, serial_reproduction


def covered(hits: int, trials: int) -> bool:
    return bool(stats.binom.ppf(0.001, trials, 0.92) <= hits <= stats.binom.ppf(0.999, trials, 0.98))


def test_a_noiseless_line_by_hand():
    # final = 6 + 0.25·initial: strength 0.75, fixed point 6/(1 − 0.25) = 8.
    x = np.arange(10.0)
    got = attractor(x, 6 + 0.25 * x)
    assert got.slope.value == pytest.approx(0.25)
    assert got.strength.value == pytest.approx(0.75)
    assert got.position.value == pytest.approx(8.0)
    assert got.intercept.value == pytest.approx(6.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_line_is_scipys(seed: int):
    x, e = np.random.default_rng(seed).standard_normal((2, 30))
    y = 0.4 * x + e + 100
    expected = stats.linregress(x, y)
    got = attractor(x, y, n_resamples=40)
    assert got.slope.value == pytest.approx(expected.slope)
    assert got.intercept.value == pytest.approx(expected.intercept)


def test_no_contraction_no_attractor():
    x = np.linspace(0, 1, 20)
    got = attractor(x, 1.5 * x)
    assert got.strength.value == pytest.approx(-0.5)
    assert math.isnan(got.position.value)
    assert "no attractor" in got.position.undefined
    turned = attractor(x, -0.5 * x)
    assert turned.strength.value == pytest.approx(0.5)


def test_a_slope_that_might_be_one_has_no_position():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12)
    got = attractor(x, 0.9 * x + 0.5 * rng.standard_normal(12))
    assert got.slope.ci_high > 1
    assert math.isnan(got.position.value)


def test_a_slope_around_zero_leaves_a_strength_up_to_one():
    rng = np.random.default_rng(1)
    got = attractor(rng.standard_normal(40), rng.standard_normal(40))
    assert got.strength.ci_high == 1.0
    assert got.strength.ci_low < got.strength.value


@pytest.mark.parametrize("replicates", [1, 4])
def test_intervals_of_strength_and_position_cover(replicates: int):
    # Prompts have effects of their own on the end, so replicates are not independent.
    rng = np.random.default_rng(2)
    trials, strength, position = 300, 0, 0
    prompts = np.repeat(np.arange(25), replicates)
    for seed in range(trials):
        x = rng.standard_normal(25)[prompts]
        y = 2.0 + 0.4 * x + 0.3 * rng.standard_normal(25)[prompts] + 0.3 * rng.standard_normal(prompts.size)
        got = attractor(x, y, prompts, n_resamples=200, seed=seed)
        strength += got.strength.ci_low <= 0.6 <= got.strength.ci_high
        position += got.position.ci_low <= 2.0 / 0.6 <= got.position.ci_high
    assert covered(strength, trials)
    assert covered(position, trials)


def test_serial_reproduction_recovers_a_known_prior():
    # 200 chains, started far off: ρ = 0.8, prior mean 3, prior deviation 2.
    rng = np.random.default_rng(3)
    values = 3 + draw_ar1(0.8, 2.0, (200, 60), rng) + 10 * 0.8 ** np.arange(60)
    got = serial_reproduction(values, start=0)
    assert got.rate.value == pytest.approx(0.8, abs=0.02)
    assert got.half_life.value == pytest.approx(math.log(0.5) / math.log(0.8), rel=0.1)
    assert got.mean.value == pytest.approx(3.0, abs=0.2)
    assert got.deviation.value == pytest.approx(2.0, rel=0.05)
    assert got.half_life.ci_low == pytest.approx(math.log(0.5) / math.log(got.rate.ci_low))


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_intervals_of_rate_mean_and_deviation_cover(rho: float):
    rng = np.random.default_rng(4)
    trials = 300
    hits = dict.fromkeys(("rate", "mean", "deviation"), 0)
    for seed in range(trials):
        got = serial_reproduction(1 + draw_ar1(rho, 1.0, (30, 41), rng), n_resamples=200, seed=seed)
        for name, truth in (("rate", rho), ("mean", 1.0), ("deviation", 1.0)):
            interval = getattr(got, name)
            hits[name] += interval.ci_low <= truth <= interval.ci_high
    for name, count in hits.items():
        assert covered(count, trials), name


def test_a_random_walk_has_no_stationary_mean():
    walk = np.random.default_rng(5).standard_normal((20, 50)).cumsum(axis=1)
    got = serial_reproduction(walk)
    assert got.rate.value > 0.9
    assert "not within" in got.mean.undefined
    assert "not within 0 and 1" in got.half_life.undefined


def test_too_little_is_undefined_with_its_reason():
    assert "same value" in attractor(np.ones(8), np.arange(8.0)).slope.undefined
    assert "3 prompts" in attractor([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).strength.undefined
    assert "2 prompts" in serial_reproduction(np.random.default_rng(6).random((2, 9))).rate.undefined


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attractor([1.0], [1.0, 2.0]), "1 trajectories and final has 2"),
        (lambda: attractor([], []), "empty"),
        (lambda: attractor([1.0, math.nan], [1.0, 2.0]), "non-finite"),
        (lambda: attractor(np.arange(9.0), np.arange(9.0), n_resamples=9), "too few"),
        (lambda: serial_reproduction(np.ones((3, 2))), "two are needed"),
        (lambda: serial_reproduction(np.ones(3)), "2 axes"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
