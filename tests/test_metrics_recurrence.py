"""Fixed points and cycles on chains made for the purpose."""

from __future__ import annotations

import numpy as np
import pytest

from metrics._curves import draw_ar1
from metrics.recurrence import absorption, absorption_of_texts, cycle_contrasts, lag_distances


def on_sphere(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def wandering(rng: np.random.Generator, n: int = 12, points: int = 60, rho: float = 0.6) -> np.ndarray:
    steps = draw_ar1(rho, 1.0, (n * 6, points), rng).reshape(n, 6, points).transpose(0, 2, 1)
    return on_sphere(steps + 2.0)


def test_captions_that_repeat_are_found_with_their_period_and_entry():
    rows = [
        ["x", "y", *["boat"] * 10],  # fixed point from 2 on
        ["x", *["cat", "dog"] * 5, "cat"],  # 2-cycle from 1 on
        ["a", "b", "c"] * 4,  # 3-cycle from the start
        [f"caption {i}" for i in range(12)],  # never
        [*["boat"] * 11, "cat"],  # left at the end
    ]
    got = absorption_of_texts(rows, hold=6)
    assert got.period.tolist() == [1, 2, 3, 0, 0]
    assert got.entry.tolist() == [2, 1, 0, 11, 11]
    assert got.absorbed.tolist() == [True, True, True, False, False]
    assert got.share.value == pytest.approx(0.6)
    assert [e.value for e in got.share_by_period[:3]] == pytest.approx([0.2, 0.2, 0.2])
    assert 0.0 < got.share.ci_low < 0.6 < got.share.ci_high < 1.0


def test_a_repeat_that_has_not_held_long_enough_is_censored():
    rows = [["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "k", "k"]]
    assert absorption_of_texts(rows, hold=4, max_period=3).period.tolist() == [0]
    assert absorption_of_texts(rows, hold=3, max_period=3).entry.tolist() == [10]


def test_embedded_cycles_are_found_within_a_tolerance():
    rng = np.random.default_rng(0)
    a, b = on_sphere(rng.standard_normal((2, 5)))
    states = wandering(rng, 2, 40, 0.0)[:, :, :5]
    states[0, 15::2], states[0, 16::2] = a, b
    states[1, 22:] = b
    noisy = states + 1e-4 * rng.standard_normal(states.shape)
    got = absorption(noisy, tolerance=1e-6)
    assert got.period.tolist() == [2, 1]
    assert got.entry.tolist() == [15, 22]
    assert absorption(noisy, tolerance=1e-10).period.tolist() == [0, 0]


def test_a_conveyor_belt_of_tiny_steps_is_no_fixed_point():
    # Consecutive cosine 0.9999, yet a quarter of the circle is travelled: lag 1 alone would be fooled.
    angle = np.linspace(0.0, np.pi / 2, 101)
    states = np.stack([np.cos(angle), np.sin(angle)], axis=1)[None]
    assert (np.einsum("td,td->t", states[0, 1:], states[0, :-1]) > 0.9998).all()
    assert absorption(states, tolerance=1e-3).period.tolist() == [0]


def test_nothing_absorbed_still_leaves_an_upper_limit():
    got = absorption(wandering(np.random.default_rng(1), 20))
    assert got.share.value == 0.0
    # Wilson for 0 of 20: z²/(n + z²), n = 20·(1.960/2.093)², by hand 0.18.
    assert got.share.ci_high == pytest.approx(0.180, abs=0.001)
    assert "unit:prompt" in got.share.signature


def test_lag_distances_of_an_alternation_by_hand():
    # Orthogonal states in turn: distance 1 at odd lags, 0 at even ones.
    states = np.tile(np.eye(2), (4, 10, 1))
    assert [e.value for e in lag_distances(states, max_lag=4)] == pytest.approx([1.0, 0.0, 1.0, 0.0])


def test_a_noisy_two_cycle_is_seen_and_a_wandering_chain_is_not():
    rng = np.random.default_rng(2)
    walk = wandering(rng)
    sign = (-1.0) ** np.arange(60)
    cycle = on_sphere(walk + 0.4 * sign[:, None])
    two, three = cycle_contrasts(cycle, max_period=3)
    assert two.ci_low > 0
    assert three.ci_high < 0
    assert all(contrast.ci_low <= 0 for contrast in cycle_contrasts(walk, max_period=4))


def test_a_three_cycle_shows_at_three():
    rng = np.random.default_rng(3)
    centres = on_sphere(rng.standard_normal((3, 6)))
    states = on_sphere(np.tile(centres, (8, 15, 1)) + 0.2 * rng.standard_normal((8, 45, 6)))
    two, three, four = cycle_contrasts(states, max_period=4)
    assert three.ci_low > 0
    assert two.ci_high < 0
    assert four.ci_high < 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: absorption(np.ones((2, 5, 3))), "held for 10"),
        (lambda: absorption(np.ones((2, 12))), "3 axes"),
        (lambda: absorption(np.ones((2, 20, 3)), tolerance=-1.0), "cosine distance"),
        (lambda: absorption(np.zeros((0, 20, 3))), "empty"),
        (lambda: absorption_of_texts([]), "empty"),
        (lambda: absorption_of_texts([["a"] * 12, ["a"] * 11]), "11 to 12 captions"),
        (lambda: lag_distances(np.ones((2, 5, 3)), max_lag=6), "lag 6 needs at least 7"),
        (lambda: cycle_contrasts(np.ones((2, 20, 3)), max_period=1), "2 or more"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
