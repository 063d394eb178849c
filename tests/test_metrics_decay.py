"""Decay: closed forms, negative controls, calibration against stationary chains, coverage of intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metrics._curves import draw_ar1, fit_ar1, fit_exponential, pooled_ar1
from metrics.decay import decay, naive_form


def exponential(tau: float, points: int = 61, amplitude: float = 0.3, plateau: float = 0.6) -> np.ndarray:
    return amplitude * np.exp(-(np.arange(points) - 1) / tau) + plateau


def at_most(rate: float, trials: int) -> int:
    """More successes than this happen in 1 of 1,000 test runs where the rate is as stated."""
    return int(stats.binom.ppf(0.999, trials, rate))


def test_an_exact_exponential_gives_back_its_parameters():
    # Closed form: half-life is τ·ln 2, rate 1/τ, the value at t = 1 amplitude + plateau.
    result = decay(exponential(8.0))
    assert result.verdict == "decay"
    assert result.form == "exponential"
    assert result.half_life.value == pytest.approx(8.0 * math.log(2), rel=1e-3)
    assert result.rate.value == pytest.approx(1 / 8, rel=1e-3)
    assert result.plateau.value == pytest.approx(0.6, rel=1e-3)
    assert result.start.value == pytest.approx(0.9)
    assert result.change.value == pytest.approx(result.end.value - result.start.value, abs=1e-12)
    assert "stationary chain" in result.reason


@settings(max_examples=30, deadline=None)
@given(
    tau=st.floats(1.0, 40.0),
    amplitude=st.floats(-5, 5).filter(lambda a: abs(a) > 0.1),
    level=st.floats(-9, 9),
)
def test_the_search_over_tau_finds_any_exponential(tau: float, amplitude: float, level: float):
    curve = amplitude * np.exp(-np.arange(60) / tau) + level
    a, found, c, rss = (float(v[0]) for v in fit_exponential(curve[None]))
    assert found == pytest.approx(tau, rel=2e-3)
    assert a == pytest.approx(amplitude, rel=1e-2)
    assert c == pytest.approx(level, abs=1e-2 * abs(amplitude))
    assert rss <= 1e-5 * amplitude**2


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 99))
def test_units_do_not_matter_and_a_mirrored_decay_is_a_rise(scale: float, seed: int):
    curve = exponential(6.0, 40) + draw_ar1(0.3, 0.02, (1, 40), np.random.default_rng(seed))[0]
    here = decay(curve, smallest_effect=0.05, n_resamples=99)
    scaled = decay(scale * curve, smallest_effect=0.05 * scale, n_resamples=99)
    mirrored = decay(3.0 - curve, smallest_effect=0.05, n_resamples=99)
    assert here.verdict == scaled.verdict == "decay"
    assert mirrored.verdict == "rise"
    assert here.p_change == scaled.p_change == mirrored.p_change
    assert scaled.half_life.value == pytest.approx(here.half_life.value, rel=1e-6, nan_ok=True)
    assert mirrored.half_life.value == pytest.approx(here.half_life.value, rel=1e-6, nan_ok=True)
    assert scaled.plateau.value == pytest.approx(scale * here.plateau.value, rel=1e-6, nan_ok=True)


def test_a_logarithm_has_no_half_life():
    result = decay(1.0 - 0.1 * np.log(np.maximum(np.arange(61), 0.5)))
    assert result.verdict == "decay"
    assert result.form == "logarithm"
    assert math.isnan(result.half_life.value)
    assert "logarithm" in result.half_life.undefined
    assert "logarithm" in result.plateau.undefined


def test_a_straight_fall_has_no_plateau_yet():
    rng = np.random.default_rng(1)
    prompts = 1.0 - 0.005 * np.arange(41) + draw_ar1(0.2, 0.01, (20, 41), rng)
    result = decay(prompts.mean(axis=0), prompts)
    assert result.verdict == "decay"
    assert "still straight" in result.half_life.undefined


# --- negative controls ---------------------------------------------------------------------------------


def register_shift(rng: np.random.Generator, n: int = 20, points: int = 41) -> np.ndarray:
    prompts = 0.7 + 0.1 * rng.standard_normal((n, 1)) + draw_ar1(0.5, 0.05, (n, points), rng)
    prompts[:, 0] += 0.3
    return prompts


def test_a_register_shift_is_no_decay_from_one_on_and_looks_like_one_from_zero_on():
    prompts = register_shift(np.random.default_rng(2))
    curve = prompts.mean(axis=0)
    assert decay(curve, prompts).verdict == "no decay"
    assert decay(curve, prompts, start=0).verdict == "decay"


def test_a_period_two_cycle_is_no_decay():
    rng = np.random.default_rng(3)
    cycle = 0.02 * (-1.0) ** np.arange(60)
    prompts = 0.6 + cycle + draw_ar1(0.0, 0.02, (15, 60), rng)
    result = decay(prompts.mean(axis=0), prompts)
    assert result.verdict == "no decay"
    assert math.isnan(result.half_life.value)
    assert "no change is established" in result.half_life.undefined


def test_a_constant_curve_is_no_decay_and_a_short_one_is_undecided():
    flat = decay(np.full(30, 0.5))
    assert (flat.verdict, flat.p_change) == ("no decay", 1.0)
    assert flat.change.value == pytest.approx(0.0, abs=1e-15)
    short = decay(exponential(3.0, 8))
    assert short.verdict == "undecided"
    assert "needs at least 8" in short.start.undefined


def test_without_a_smallest_effect_there_is_no_equivalence():
    curve = np.concatenate([[0.0, 0.0], np.tile([1e-3, -1e-3], 20)])
    result = decay(curve)
    assert math.isnan(result.smallest_effect)
    assert result.verdict == "undecided"
    assert "no smallest effect" in result.reason


def test_a_detectable_change_below_the_smallest_effect_is_named_but_is_no_decay():
    rng = np.random.default_rng(4)
    prompts = exponential(5.0, 61, amplitude=0.02) + draw_ar1(0.3, 0.02, (40, 61), rng)
    result = decay(prompts.mean(axis=0), prompts)
    assert result.verdict == "no decay"
    assert result.p_change < 0.01
    assert "a fall is detectable" in result.reason
    assert decay(prompts.mean(axis=0), prompts, smallest_share=0.01).verdict == "decay"


@pytest.mark.parametrize(("rho", "naive_at_least"), [(0.0, 0.10), (0.5, 0.35), (0.9, 0.65)])
def test_stationary_chains_are_called_changing_at_the_stated_rate_and_naive_aicc_is_not(
    rho: float, naive_at_least: float
):
    # AICc alone: 16/31/81 % in the field's own simulation, 16/43/78 % here with 40 steps.
    rng = np.random.default_rng(5)
    trials, called, naive = 150, 0, 0
    for seed in range(trials):
        curve = 5.0 + draw_ar1(rho, 1.0, (1, 41), rng)[0]
        called += decay(curve, smallest_share=0.01, n_resamples=199, seed=seed).verdict in ("decay", "rise")
        naive += naive_form(curve[1:]) != "constant"
    assert naive / trials >= naive_at_least
    assert called <= at_most(0.05, trials)


@pytest.mark.parametrize("kind", ["ar1", "drifting prompts", "slow and fast noise"])
def test_prompts_that_wander_each_their_own_way_are_no_common_change(kind: str):
    # A random slope per prompt or two time scales break the AR(1) null; resampling prompts must hold.
    rng = np.random.default_rng(6)
    trials, called = 150, 0
    for seed in range(trials):
        prompts = 5.0 + draw_ar1(0.5, 1.0, (16, 41), rng)
        if kind == "drifting prompts":
            prompts += rng.standard_normal((16, 1)) * np.linspace(-2, 2, 41)
        if kind == "slow and fast noise":
            prompts += draw_ar1(0.97, 1.5, (16, 41), rng)
        result = decay(prompts.mean(axis=0), prompts, smallest_share=0.001, n_resamples=199, seed=seed)
        called += result.verdict in ("decay", "rise")
    assert called <= at_most(0.05, trials)


def test_a_change_of_exactly_the_smallest_effect_is_seldom_called_no_decay():
    rng = np.random.default_rng(7)
    trials, called = 300, 0
    step = np.where(np.arange(31) > 1, 0.9, 1.0)
    for seed in range(trials):
        prompts = step + draw_ar1(0.4, 0.1, (12, 31), rng)
        result = decay(prompts.mean(axis=0), prompts, smallest_effect=0.1, n_resamples=40, seed=seed)
        called += result.verdict == "no decay"
    assert called <= at_most(0.05, trials)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_true_decay_is_found(rho: float):
    rng = np.random.default_rng(8)
    found = 0
    for seed in range(40):
        prompts = exponential(8.0, 41, amplitude=0.2) + draw_ar1(rho, 0.1, (20, 41), rng)
        found += decay(prompts.mean(axis=0), prompts, n_resamples=199, seed=seed).verdict == "decay"
    assert found >= 39


# --- intervals -----------------------------------------------------------------------------------------


def coverage(tau: float, noise: str, trials: int = 150) -> dict[str, tuple[int, int]]:
    rng = np.random.default_rng(9)
    truth = {"half_life": tau * math.log(2), "rate": 1 / tau, "plateau": 0.6, "start": 0.9}
    hits = dict.fromkeys(truth, 0)
    given_ = dict.fromkeys(truth, 0)
    for seed in range(trials):
        n = 1 if noise == "ar1" else 20
        amplitude = 0.3 * (1 + (n > 1) * 0.3 * rng.standard_normal((n, 1)))
        shape = np.exp(-(np.arange(61) - 1) / tau)
        prompts = 0.6 + amplitude * shape + draw_ar1(0.4, 0.01 if n == 1 else 0.05, (n, 61), rng)
        curve = prompts.mean(axis=0)
        result = decay(curve, None if n == 1 else prompts, seed=seed, n_resamples=200)
        for name, value in truth.items():
            interval = getattr(result, name)
            given_[name] += not interval.undefined
            hits[name] += bool(interval.ci_low <= value <= interval.ci_high)
    return {name: (hits[name], given_[name]) for name in truth}


@pytest.mark.slow
@pytest.mark.parametrize(("tau", "noise"), [(4.0, "prompts"), (12.0, "ar1")])
def test_intervals_cover_the_known_half_life_rate_plateau_and_start(tau: float, noise: str):
    for name, (hits, trials) in coverage(tau, noise).items():
        assert trials >= 140, name
        # 95 % nominal; outside of this band in 1 of 1,000 runs if the true coverage is 92 or 98 %.
        assert stats.binom.ppf(0.001, trials, 0.92) <= hits <= stats.binom.ppf(0.999, trials, 0.98), name


def test_leave_one_out_of_a_mean_gives_the_intervals_of_the_prompts():
    rng = np.random.default_rng(10)
    prompts = exponential(7.0, 41) + draw_ar1(0.3, 0.05, (12, 41), rng)
    curve = prompts.mean(axis=0)
    by_prompt = decay(curve, prompts)
    by_deletion = decay(curve, leave_one_out=(12 * curve - prompts) / 11)
    assert by_deletion.half_life.ci_low == pytest.approx(by_prompt.half_life.ci_low, rel=1e-6)
    assert by_deletion.change.ci_high == pytest.approx(by_prompt.change.ci_high, rel=1e-9)
    assert "ci:prompts" in by_prompt.half_life.signature
    assert "ci:jackknife" in by_deletion.half_life.signature


def test_a_barely_bent_curve_has_an_unbounded_half_life():
    rng = np.random.default_rng(11)
    prompts = exponential(60.0, 31) + draw_ar1(0.3, 0.04, (12, 31), rng)
    result = decay(prompts.mean(axis=0), prompts)
    assert result.half_life.ci_high == math.inf
    assert result.rate.ci_low == 0.0
    assert result.plateau.ci_low == -math.inf


def test_same_seed_same_numbers_and_the_signature_names_every_choice():
    curve = exponential(5.0, 31) + draw_ar1(0.5, 0.02, (1, 31), np.random.default_rng(12))[0]
    first, again = decay(curve, seed=3), decay(curve, seed=3)
    assert first.half_life == again.half_life
    # Written out by hand from the parameters of the call.
    assert first.half_life.signature == ("decay_half_life|start:1|share:0.1|ci:ar1|alpha:0.05|boot:1000|seed:3|v:0.1.0")


# --- the null's parameters -----------------------------------------------------------------------------


def test_rho_and_deviation_are_estimated_without_bias():
    # The uncorrected estimate at T = 40, ρ = 0.5 is 0.5 − (1 + 1.5)/40 ≈ 0.44 (Kendall 1954).
    rng = np.random.default_rng(13)
    curves = draw_ar1(0.5, 2.0, (2000, 40), rng)
    rho, sd = np.array([fit_ar1(curve) for curve in curves]).T
    assert rho.mean() == pytest.approx(0.5, abs=0.02)
    assert np.sqrt((sd**2).mean()) == pytest.approx(2.0, rel=0.05)
    assert pooled_ar1(curves + rng.standard_normal((2000, 1))) == pytest.approx(0.5, abs=0.015)


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"curve": []}, "empty"),
        ({"curve": [0.1, float("nan")] * 10}, "non-finite"),
        ({"curve": np.ones(20), "start": 20}, "only t = 0"),
        ({"curve": np.ones(20), "start": -1}, "start must be"),
        ({"curve": np.ones(20), "prompts": np.zeros((5, 20))}, "not the mean"),
        ({"curve": np.ones(20), "prompts": np.ones((2, 20))}, "need 3 or more"),
        ({"curve": np.ones(20), "prompts": np.ones((5, 19))}, "19 iterations"),
        ({"curve": np.ones(20), "prompts": np.ones((5, 20)), "leave_one_out": np.ones((5, 20))}, "not both"),
        ({"curve": np.ones(20), "smallest_effect": 0.0}, "positive number"),
        ({"curve": np.ones(20), "smallest_share": 1.0}, "between 0 and 1"),
        ({"curve": np.ones(20), "alpha": 0.7}, "alpha"),
        ({"curve": np.ones(20), "n_resamples": 10}, "at least 40"),
    ],
)
def test_bad_input_is_a_message(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        decay(**arguments)


def test_naive_form_needs_eight_points():
    with pytest.raises(ValueError, match="at least 8"):
        naive_form(np.arange(7.0))
