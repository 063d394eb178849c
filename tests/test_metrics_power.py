"""Power planning: against statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from metrics._curves import draw_ar1
from metrics.comparison import equivalence
from metrics.power import Components, components, detectable, mean_variance, plan, power, prompts_needed

PLAIN = Components(prompt=4.0, replicate=math.nan, iteration=0.0, rho=0.0, prompts=20, contrast="level")
FULL = Components(prompt=1.0, replicate=2.0, iteration=3.0, rho=0.6, prompts=20, contrast="level")


def simulate(rng: np.random.Generator, prompts: int, replicates: int, points: int, parts: Components) -> np.ndarray:
    level = math.sqrt(parts.prompt) * rng.standard_normal((prompts, 1, 1))
    own = math.sqrt(parts.replicate) * rng.standard_normal((prompts, replicates, 1))
    noise = draw_ar1(parts.rho, math.sqrt(parts.iteration), (prompts * replicates, points), rng)
    return level + own + noise.reshape(prompts, replicates, points)


# --- power ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompts", [5, 20, 80])
@pytest.mark.parametrize("change", [0.3, 1.0, -2.0])
def test_power_is_that_of_statsmodels(prompts: int, change: float):
    expected = TTestPower().power(abs(change) / 2.0, prompts, 0.05)
    assert power(PLAIN, change, prompts) == pytest.approx(expected, abs=1e-6)


def test_prompts_needed_are_those_of_statsmodels_rounded_up():
    expected = TTestPower().solve_power(effect_size=0.5, alpha=0.05, power=0.8)
    assert prompts_needed(PLAIN, 1.0) == math.ceil(expected)
    # 90 % of power at a fifth of a deviation needs about (1.96 + 1.28)²/0.2² = 263 prompts, and two for the t.
    assert prompts_needed(PLAIN, 0.4, target=0.9) == pytest.approx(264, abs=2)


def test_needed_and_detectable_are_inverse_to_power():
    g = int(prompts_needed(FULL, 0.8, replicates=3, iterations=10))
    assert power(FULL, 0.8, g, replicates=3, iterations=10) >= 0.8
    assert power(FULL, 0.8, g - 1, replicates=3, iterations=10) < 0.8
    smallest = detectable(FULL, g, replicates=3, iterations=10)
    assert smallest <= 0.8
    assert power(FULL, smallest, g, replicates=3, iterations=10) == pytest.approx(0.8, abs=1e-6)


def test_equivalence_power_is_what_simulated_tests_reach():
    rng = np.random.default_rng(0)
    trials = 3000
    predicted = power(PLAIN, 1.2, 30, goal="equivalence")
    shown = np.mean([equivalence(2.0 * rng.standard_normal(30), 1.2).equivalent for _ in range(trials)])
    assert 0.5 < predicted < 0.95
    assert shown == pytest.approx(predicted, abs=3.3 * math.sqrt(predicted * (1 - predicted) / trials))


def test_more_of_anything_helps_and_only_prompts_average_prompts_out():
    base = power(FULL, 0.8, 20)
    assert power(FULL, 0.8, 20, replicates=2) > base
    assert power(FULL, 0.8, 20, iterations=5) > base
    assert power(FULL, 0.8, 21) > base
    assert FULL.variance(10**9, 1) == pytest.approx(FULL.prompt)
    assert prompts_needed(FULL, 0.8, assurance=0.8) > prompts_needed(FULL, 0.8)


def test_the_variance_of_a_mean_of_autocorrelated_iterations():
    # By hand: L = 2, (2 + 2ρ)/4; independent, 1/L.
    assert mean_variance(0.6, 2) == pytest.approx(0.8)
    assert mean_variance(0.0, 25) == pytest.approx(0.04)
    assert FULL.variance(2, 2) == pytest.approx(1.0 + (2.0 + 3.0 * 0.8) / 2)


# --- components ----------------------------------------------------------------------------------------------


def test_components_of_one_value_a_prompt_are_its_variance():
    values = np.random.default_rng(1).standard_normal(30)
    got = components(values)
    assert got.prompt == pytest.approx(values.var(ddof=1))
    assert math.isnan(got.replicate)
    two = power(got, 1.0, 10, replicates=2)
    assert math.isnan(two)
    assert "one replicate" in two.reason


def test_nested_components_by_hand():
    # Prompt means 1 and 3 and 5 (variance 4), replicates ±1 about them (variance 2): prompt 4 − 2/2.
    got = components([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    assert (got.prompt, got.replicate) == (pytest.approx(3.0), pytest.approx(2.0))


@pytest.mark.parametrize("contrast", ["level", "change"])
def test_known_components_are_recovered(contrast: str):
    rng = np.random.default_rng(2)
    values = simulate(rng, 400, 4, 41, FULL)
    if contrast == "change":
        # What varies between trajectories is the change, not the place it starts from.
        values[:, :, :2] = draw_ar1(0.0, math.sqrt(3.0), (1600, 2), rng).reshape(400, 4, 2)
    got = components(values, contrast=contrast)
    assert got.prompt == pytest.approx(1.0, rel=0.35)
    assert got.replicate == pytest.approx(2.0, rel=0.25)
    assert got.iteration == pytest.approx(3.0, rel=0.1)
    assert got.rho == pytest.approx(0.6, abs=0.03)


def test_a_plan_from_a_pilot_reaches_its_power_in_simulated_experiments():
    # Paired differences between two conditions: pilot, plan, then the planned experiment with t-tests.
    rng = np.random.default_rng(3)
    pilot = components(simulate(rng, 200, 3, 33, FULL))
    design = next(d for d in plan(pilot, 0.9, iterations=(16,)) if d.replicates == 2)
    trials, found = 600, 0
    for _ in range(trials):
        late = simulate(rng, design.prompts, 2, design.iterations // 4, FULL).mean(axis=(1, 2)) + 0.9
        found += stats.ttest_1samp(late, 0.0).pvalue <= 0.05
    assert design.power >= 0.8
    # The pilot's own error of about a tenth in the variance moves the power by about 0.05.
    assert found / trials == pytest.approx(design.power, abs=0.1)


def test_assurance_makes_a_plan_from_a_small_pilot_suffice_as_often_as_stated():
    rng = np.random.default_rng(4)
    enough = {0.5: 0, 0.8: 0}
    for _ in range(200):
        pilot = components(2.0 * rng.standard_normal(12))
        for assurance in enough:
            g = prompts_needed(pilot, 1.0, assurance=assurance)
            enough[assurance] += power(PLAIN, 1.0, int(g)) >= 0.8
    assert enough[0.8] / 200 == pytest.approx(0.8, abs=0.09)
    assert enough[0.5] / 200 < 0.6


# --- plans ---------------------------------------------------------------------------------------------------


def test_plans_are_sorted_by_cost_and_all_reach_the_target():
    designs = plan(FULL, 0.5)
    assert len(designs) == 12
    assert [d.steps for d in designs] == sorted(d.steps for d in designs)
    assert all(d.power >= 0.8 and d.steps == d.prompts * d.replicates * d.iterations for d in designs)


def test_a_slow_change_needs_longer_runs():
    # After 15 … 19 steps of a half-life of 40 the visible share averages 1 − mean 2^(−s/40), by hand 0.255.
    designs = {d.iterations: d for d in plan(FULL, 1.0, replicates=(1,), half_life=40)}
    assert designs[20].visible == pytest.approx(1 - np.mean([2 ** (-s / 40) for s in range(15, 20)]))
    assert designs[20].visible == pytest.approx(0.255, abs=0.001)
    assert designs[20].prompts > 5 * designs[100].prompts
    assert plan(FULL, 1.0, replicates=(1,))[0].visible == 1.0


def test_a_change_too_small_for_the_noise_is_said_to_be():
    hopeless = prompts_needed(PLAIN, 1e-4)
    assert math.isnan(hopeless)
    assert "too small" in hopeless.reason
    assert plan(PLAIN, 1e-4) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: components([]), "empty"),
        (lambda: components([1.0, 2.0]), "3 or more"),
        (lambda: components([1.0, 2.0, math.nan]), "non-finite"),
        (lambda: components(np.ones((4, 2, 5))), "needs 8"),
        (lambda: components(np.ones((4, 2, 20)), contrast="slope"), "'level' or 'change'"),
        (lambda: power(PLAIN, 0.0, 10), "other than 0"),
        (lambda: power(PLAIN, 1.0, 1), "2 or more"),
        (lambda: power(PLAIN, 1.0, 10, goal="same"), "goal"),
        (lambda: power(PLAIN, 1.0, 10, assurance=0.3), "assurance"),
        (lambda: power(FULL, 1.0, 10, replicates=0), "1 or more"),
        (lambda: prompts_needed(PLAIN, 1.0, target=0.01), "target"),
        (lambda: plan(PLAIN, 1.0, iterations=(4,)), "8 iterations"),
        (lambda: plan(PLAIN, 1.0, half_life=0.0), "half_life"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
