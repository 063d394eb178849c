import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics import between, diversity, drift

# A machine that is busy with something else is no failure of the code.
TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def walk(angles: list[float]) -> np.ndarray:
    """One trajectory on the unit circle, at these angles; shape (1, T, 2)."""
    return np.array([[[math.cos(a), math.sin(a)] for a in angles]])


def chains(rng: np.random.Generator, n: int, steps: int, rho: float, start: float, d: int = 40) -> np.ndarray:
    """AR(1) about a common mean direction, with stationary spread 1, begun at spread `start`."""
    x = np.empty((n, steps, d))
    x[:, 0] = start * rng.normal(size=(n, d))
    for t in range(1, steps):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * rng.normal(size=(n, d))
    return x + 2.0


many = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).normal(size=(4, 6, 5)))


def test_distances_on_the_circle() -> None:
    x = walk([0.0, 0.3, 0.9, 0.2])
    assert drift.distance_to(x)[0] == pytest.approx(1 - np.cos([0.0, 0.3, 0.9, 0.2]))
    assert drift.distance_to(x, 1)[0] == pytest.approx(1 - np.cos([0.3, 0.0, 0.6, 0.1]))
    assert drift.distance_at_lag(x)[0] == pytest.approx([math.nan, *(1 - np.cos([0.3, 0.6, 0.7]))], nan_ok=True)
    assert drift.distance_at_lag(x, 3)[0, 3] == pytest.approx(1 - math.cos(0.2))
    assert np.isnan(drift.distance_at_lag(x, 3)[0, :3]).all()
    assert drift.path_length(x)[0] == pytest.approx(0.3 + 0.6 + 0.7)
    assert drift.tortuosity(x)[0] == pytest.approx(1.6 / 0.2)
    assert drift.path_length(x, start=1)[0] == pytest.approx(1.3)
    assert drift.tortuosity(walk([0.0, 0.1, 0.5, 0.6]))[0] == pytest.approx(1.0)


def test_lag_profile_averages_the_late_pairs_only() -> None:
    x = walk([2.0, 0.0, 0.1, 0.3])
    expected = [np.mean(1 - np.cos([0.1, 0.2])), 1 - math.cos(0.3)]
    assert drift.lag_profile(x, [1, 2])[0] == pytest.approx(expected)
    assert drift.lag_profile(x, [1], start=0)[0, 0] == pytest.approx(np.mean(1 - np.cos([2.0, 0.1, 0.2])))


@settings(TIMELESS, max_examples=25)
@given(many, st.floats(0.01, 100))
def test_invariances(x: np.ndarray, size: float) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    for function in (drift.distance_to, drift.distance_at_lag, drift.path_length, drift.tortuosity):
        assert function(size * x @ rotation) == pytest.approx(function(x), nan_ok=True, abs=1e-9)
    assert drift.path_length(x[:, ::-1]) == pytest.approx(drift.path_length(x))
    assert np.all(drift.tortuosity(x) >= 1 - 1e-12)


def test_tiny_angles_keep_their_digits() -> None:
    assert drift.path_length(walk([0.0, 1e-9]))[0] == pytest.approx(1e-9, rel=1e-6)


def test_masked_states_are_never_read_and_leave_nan_only_where_needed() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    full, mask = x.copy(), np.ones((2, 5), dtype=bool)
    mask[0, 2] = False
    x[0, 2] = np.nan
    for function, hit in [
        (lambda a, m=None: drift.distance_to(a, mask=m), [2]),
        (lambda a, m=None: drift.distance_to(a, 1, m), [2]),
        (lambda a, m=None: drift.distance_at_lag(a, 1, m), [0, 2, 3]),
        (lambda a, m=None: drift.distance_at_lag(a, 2, m), [0, 1, 2, 4]),
    ]:
        got, whole = function(x, mask), function(full)
        assert np.flatnonzero(np.isnan(got[0])).tolist() == hit
        assert got[~np.isnan(got)] == pytest.approx(whole[~np.isnan(got)])
    assert np.isnan(drift.path_length(x, mask)).tolist() == [True, False]
    assert np.isnan(drift.tortuosity(x, mask)).tolist() == [True, False]
    profile = drift.lag_profile(x, [1, 2], 0, mask)
    assert profile[0, 0] == pytest.approx(drift.distance_at_lag(full)[0, [1, 4]].mean())
    gone = np.zeros((2, 5), dtype=bool)
    gone[1] = True
    assert np.isnan(drift.lag_profile(x, [1], 0, gone)).ravel().tolist() == [True, False]


def test_a_trajectory_that_ends_where_it_began_has_no_tortuosity() -> None:
    assert np.isnan(drift.tortuosity(walk([0.0, 0.5, 0.0]))).all()


def test_group_means_are_taken_out_state_by_state() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 4, 3))
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    centred = drift.without_group_means(x, ["a", "a", "a", "b", "b", "b"])
    assert centred[:3] == pytest.approx(unit[:3] - unit[:3].mean(axis=(0, 1)))
    by_state = np.array([["prompt", "c1", "c1", "c1"]] * 3 + [["prompt", "c2", "c2", "c2"]] * 3)
    centred = drift.without_group_means(x, by_state)
    assert centred[:, 0].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    assert centred[3:, 1:].mean(axis=(0, 1)) == pytest.approx(np.zeros(3), abs=1e-12)
    mask = np.ones((6, 4), dtype=bool)
    mask[0, 1] = False
    kept = drift.without_group_means(x, by_state, mask)
    assert np.isnan(kept[0, 1]).all()
    assert kept[mask].shape == (23, 3)
    assert kept[:3, 1:][mask[:3, 1:]].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_clip_score() -> None:
    images, texts = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert drift.clip_score(images, texts) == pytest.approx([2.5, 2.5 * math.sqrt(0.5), 0.0])
    assert drift.clip_score(images, texts, 1.0) == pytest.approx([1.0, math.sqrt(0.5), 0.0])


def test_mean_curve_is_one_estimate_a_column_and_counts_what_is_missing() -> None:
    values = np.array([[math.nan, 0.1], [math.nan, 0.3], [math.nan, 0.5], [math.nan, math.nan]])
    first, second = drift.mean_curve(values, ["a", "b", "c", "d"], name="step")
    assert (first.n, first.undefined) == (0, "all values are missing")
    assert (second.n, second.value) == (3, pytest.approx(0.3))
    # Student's interval of three numbers: t(.975, 2) = 4.302653, sd/√n = 0.2/√3.
    assert second.ci_high - second.value == pytest.approx(4.302653 * 0.2 / math.sqrt(3), rel=1e-6)
    assert second.signature.startswith("step|t:1|missing:1|n:3|groups:3|")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: drift.distance_to(x[0]), r"must have shape \(n, T, d\)"),
        (lambda x: drift.distance_to(x[:0]), "not be empty"),
        (lambda x: drift.distance_to(x.astype(str)), "real numbers"),
        (lambda x: drift.distance_to(np.where(x == x[1, 2, 0], np.nan, x)), "not finite at trajectory 1, t = 2"),
        (
            lambda x: drift.distance_to(np.where(np.arange(4)[:, None] == 3, 0.0, x)),
            "zero vector.*at trajectory 0, t = 3",
        ),
        (lambda x: drift.distance_to(x, mask=np.ones((2, 3), dtype=bool)), "mask must be boolean of shape"),
        (lambda x: drift.distance_to(x, mask=np.ones((2, 4))), "mask must be boolean"),
        (lambda x: drift.distance_to(x, 4), "origin must lie between 0 and 3"),
        (lambda x: drift.distance_at_lag(x, 0), "lag must lie between 1 and 3"),
        (lambda x: drift.distance_at_lag(x, 4), "lag must lie between 1 and 3"),
        (lambda x: drift.lag_profile(x, [3]), "lags must lie between 1 and 2"),
        (lambda x: drift.lag_profile(x, [1], -1), "start must not be negative"),
        (lambda x: drift.path_length(x[:, :1]), "a path needs 2 states"),
        (lambda x: drift.without_group_means(x, ["a"]), "groups must have shape"),
        (lambda x: drift.clip_score(x[0], x[0, :2]), "must have one shape"),
        (lambda x: drift.clip_score(x[0], 0 * x[0]), "zero vectors"),
        (lambda x: drift.mean_curve(x[0, 0], name="m"), "two axes"),
    ],
)
def test_bad_input_is_an_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).normal(size=(2, 4, 3)))


# Negative controls of the field notes, §3.


def test_a_wide_stationary_chain_leaves_its_origin_but_does_not_diverge() -> None:
    # Control 2: distance from the origin grows, towards that of two random states, while step length and the
    # distance between trajectories stay where they were.
    x = chains(np.random.default_rng(2), 60, 25, 0.9, 1.0)
    origin = drift.distance_to(x).mean(axis=0)
    assert origin[20] > 4 * origin[1]
    strangers = [between.stranger_distance_estimate(x[:, t], np.arange(60)) for t in (0, 24)]
    assert strangers[0].ci_low < strangers[1].value < strangers[0].ci_high
    assert origin[24] < strangers[1].value
    steps = drift.mean_curve(drift.distance_at_lag(x), name="step")
    assert steps[1].ci_low < steps[24].value < steps[1].ci_high


def test_a_register_shift_is_drift_from_t0_and_none_from_t1_and_goes_with_the_group_mean() -> None:
    # Control 3: one and the same shift at t = 1, with a little noise; prompts keep their distances.
    rng = np.random.default_rng(3)
    own, shift = rng.normal(size=(40, 1, 30)), 6 * np.eye(30)[0]
    x = np.repeat(own, 12, axis=1) + 0.1 * rng.normal(size=(40, 12, 30))
    x[:, 1:] += shift
    assert drift.distance_to(x, 0).mean(axis=0)[11] > 0.2
    assert drift.distance_to(x, 1).mean(axis=0)[11] < 0.01
    # Raw diversity falls at t = 1 by the shift alone, and not after; this is why decay is fitted from t = 1.
    raw = [diversity.mean_pairwise_distance(x[:, t]) for t in (0, 1, 11)]
    assert raw[1] < 0.6 * raw[0]
    assert raw[2] == pytest.approx(raw[1], rel=0.02)
    register = np.broadcast_to(np.where(np.arange(12) == 0, "prompt", "captioner"), (40, 12))
    centred = drift.without_group_means(x, register)
    even = [diversity.mean_pairwise_distance(centred[:, t]) for t in (0, 1, 11)]
    assert even == pytest.approx([even[0]] * 3, rel=0.02)
    assert drift.distance_to(centred, 0).mean(axis=0)[11] < 0.1
    assert between.shared_movement(x[:, 0], x[:, 1], np.arange(40)) > 0.5


def test_a_two_cycle_has_large_steps_and_no_movement() -> None:
    # Control 4: two fixed states a trajectory, with a little noise.
    rng = np.random.default_rng(4)
    two = rng.normal(size=(30, 2, 20))
    x = two[:, np.arange(40) % 2] + 0.02 * rng.normal(size=(30, 40, 20))
    first, second, third = drift.lag_profile(x, [1, 2, 3]).mean(axis=0)
    assert first > 0.5
    assert third > 0.5
    assert second < 0.01
    assert np.median(drift.tortuosity(x[:, :39])) > 100
    early, late = (drift.distance_to(x)[:, t].mean() for t in (2, 38))
    assert late == pytest.approx(early, abs=0.005)


def test_true_contraction_shortens_steps_and_brings_trajectories_together() -> None:
    rng = np.random.default_rng(5)
    # Deterministic contraction by 0.8 a step towards one point.
    x = 2.0 + 0.8 ** np.arange(30)[:, None] * rng.normal(size=(30, 1, 20)) * 3
    steps = drift.distance_at_lag(x)[:, 1:].mean(axis=0)
    assert np.all(np.diff(steps[4:]) < 0)
    strangers = [between.stranger_distance(x[:, t], np.arange(30)) for t in range(30)]
    assert np.all(np.diff(strangers) < 0)
    assert np.all(drift.tortuosity(x) < 1.01)
