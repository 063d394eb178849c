import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from metrics import between, jackknife
from metrics.result import reason_of

# A machine that is busy with something else is no failure of the code.
TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def naive(x: np.ndarray, prompts: np.ndarray) -> tuple[float, float]:
    """Stranger and twin distance by loops over pairs of prompts, with SciPy's cosine distance."""
    rows = [x[prompts == p] for p in np.unique(prompts)]
    stranger = [cdist(a, b, "cosine").mean() for i, a in enumerate(rows) for b in rows[i + 1 :]]
    twin = [cdist(a, a, "cosine")[np.triu_indices(len(a), 1)].mean() for a in rows if len(a) > 1]
    return float(np.mean(stranger)), float(np.mean(twin)) if twin else math.nan


@st.composite
def trajectories(draw) -> tuple[np.ndarray, np.ndarray]:
    sizes = draw(st.lists(st.integers(1, 4), min_size=4, max_size=7).filter(lambda s: sum(k > 1 for k in s) > 2))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    prompts = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.normal(size=(len(prompts), 5)) + 0.5, prompts


@settings(TIMELESS, max_examples=40)
@given(trajectories())
def test_against_loops_over_pairs(made: tuple[np.ndarray, np.ndarray]) -> None:
    x, prompts = made
    stranger, twin = naive(x, prompts)
    assert between.stranger_distance(x, prompts) == pytest.approx(stranger)
    assert between.twin_distance(x, prompts) == pytest.approx(twin)


@settings(TIMELESS, max_examples=25)
@given(trajectories())
def test_intervals_equal_brute_force(made: tuple[np.ndarray, np.ndarray]) -> None:
    x, prompts = made
    together = np.column_stack([x, prompts])
    brute = jackknife.estimate(
        lambda s: between.stranger_distance(s[:, :-1], s[:, -1]), together, prompts, name="m", low=0.0
    )
    quick = between.stranger_distance_estimate(x, prompts)
    assert (quick.ci_low, quick.ci_high) == pytest.approx((brute.ci_low, brute.ci_high))
    y = x[::-1] + np.arange(5)
    moves = np.column_stack([x, y, prompts])
    brute = jackknife.estimate(
        lambda s: between.shared_movement(s[:, :5], s[:, 5:10], s[:, -1]), moves, prompts, name="m", high=1.0
    )
    quick = between.shared_movement_estimate(x, y, prompts)
    assert (quick.value, quick.ci_low, quick.ci_high) == pytest.approx((brute.value, brute.ci_low, brute.ci_high))


def test_closed_forms() -> None:
    prompts = ["a", "a", "b", "b"]
    assert between.stranger_distance(np.eye(4), prompts) == pytest.approx(1.0)
    assert between.stranger_distance(np.ones((4, 3)), prompts) == pytest.approx(0.0)
    assert between.twin_distance(np.eye(4)[[0, 0, 1, 1]], prompts) == pytest.approx(0.0, abs=1e-15)
    assert between.twin_distance(np.eye(4), prompts) == pytest.approx(1.0)
    assert between.stranger_distance([[1.0, 0.0], [-1.0, 0.0]], ["a", "b"]) == pytest.approx(2.0)
    assert between.seed_noise_from_redraws(np.eye(6).reshape(2, 3, 6)) == pytest.approx(1.0)


def test_prompts_count_equally_however_many_replicates_they_have() -> None:
    x = np.array([[1.0, 0.0, 0.0]] * 9 + [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]] + [[0.0, 0.6, 0.8]])
    prompts = ["a"] * 9 + ["b"] * 2 + ["c"]
    assert between.stranger_distance(x, prompts) == pytest.approx((1.0 + 1.0 + 0.4) / 3)


def test_collapse_lowers_both_and_convergence_only_the_strangers() -> None:
    rng = np.random.default_rng(0)
    prompts = np.repeat(np.arange(10), 3)
    own, offset = rng.normal(size=(10, 20))[prompts], rng.normal(size=(30, 20))
    far, near = (between.stranger_distance(2 + share * own + offset, prompts) for share in (2.0, 0.2))
    assert near < far
    wide, narrow = (between.twin_distance(2 + own + share * offset, prompts) for share in (1.0, 0.1))
    assert narrow < 0.1 * wide


def test_shared_movement_of_a_register_shift_of_own_ways_and_of_opposites() -> None:
    rng = np.random.default_rng(1)
    prompts = np.arange(50)
    # Starts and shift in orthogonal subspaces and of equal length, so Δ = shift + what prompts share not at all.
    start = np.column_stack([np.zeros((50, 1)), np.eye(50)])
    after = np.column_stack([np.ones((50, 1)), np.eye(50)])
    # Unit rows: Δ = (1/√2, (1/√2 − 1)·eᵢ); shared part ½, own part (1 − 1/√2)² ≈ 0.0858.
    assert between.shared_movement(start, after, prompts) == pytest.approx(0.5 / (0.5 + (1 - math.sqrt(0.5)) ** 2))
    own_ways = between.shared_movement_estimate(rng.normal(size=(50, 80)), rng.normal(size=(50, 80)), prompts)
    assert own_ways.ci_low < 0.0 < own_ways.ci_high
    opposite = between.shared_movement([[1.0, 0.0], [1.0, 0.0]], [[0.6, 0.8], [0.6, -0.8]], ["a", "b"])
    # Δ = (−.4, ±.8): dot .16 − .64 over .16 + .64.
    assert opposite == pytest.approx(-0.6)


def noisy_walk(rng: np.random.Generator, walk: float, noise: float, n: int = 60, steps: int = 30) -> np.ndarray:
    """A random walk with steps of length `walk` about a far point, seen through noise; small enough to be flat."""
    d = 100
    position = np.cumsum(walk * rng.normal(size=(n, steps, d)), axis=1)
    seen = position + noise * rng.normal(size=(n, steps, d))
    return np.concatenate([seen / math.sqrt(d), np.full((n, steps, 1), 20.0)], axis=2)


def test_seed_noise_of_a_noisy_random_walk_is_that_of_its_noise() -> None:
    # Two draws differ by √2·noise at distance 20: cosine distance noise²/20², up to curvature.
    x = noisy_walk(np.random.default_rng(2), 0.3, 1.0)
    assert between.seed_noise_from_lags(x) == pytest.approx(1.0 / 400, rel=0.05)
    redraws = noisy_walk(np.random.default_rng(3), 0.0, 1.0).reshape(300, 6, 101)
    assert between.seed_noise_from_redraws(redraws) == pytest.approx(1.0 / 400, rel=0.05)


def test_seed_noise_from_lags_refuses_what_contradicts_it() -> None:
    rng = np.random.default_rng(4)
    cycle = rng.normal(size=(10, 2, 8))[:, np.arange(12) % 2]
    assert "D(2) < D(1)" in reason_of(between.seed_noise_from_lags(cycle))
    angles = 0.1 * np.arange(10)
    straight = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None]
    assert "keep their direction" in reason_of(between.seed_noise_from_lags(straight))
    mask = np.tile(np.array([True, False] * 6), (10, 1))
    assert "no trajectory has" in reason_of(between.seed_noise_from_lags(cycle, mask=mask))


def test_an_ar1_chain_fools_the_lags_as_documented() -> None:
    # Known truth: no observation noise at all, but D(k) = c(1 − ρᵏ), so 2D(1) − D(2) = c(1 − ρ)² is not 0.
    rng = np.random.default_rng(5)
    x = np.empty((80, 60, 30))
    x[:, 0] = rng.normal(size=(80, 30))
    for t in range(1, 60):
        x[:, t] = 0.5 * x[:, t - 1] + math.sqrt(0.75) * rng.normal(size=(80, 30))
    assert between.seed_noise_from_lags(x) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: between.stranger_distance(np.ones((2, 3)), ["a", "a"]), "one prompt has no strangers"),
        (lambda: between.twin_distance(np.ones((2, 3)), ["a", "b"]), "no prompt has 2 replicates"),
        (lambda: between.twin_distance(np.zeros((2, 3)), ["a", "a"]), "zero vectors"),
        (lambda: between.seed_noise_from_redraws(np.ones((2, 1, 3))), "one draw a step"),
        (lambda: between.seed_noise_from_redraws(np.zeros((2, 2, 3))), "zero vectors"),
        (lambda: between.shared_movement(np.eye(3), np.eye(3), [0, 1, 2]), "nothing moves"),
        (lambda: between.shared_movement(np.eye(3), np.ones((3, 3)), [0, 0, 0]), "one prompt has no strangers"),
    ],
)
def test_undefined_is_nan_with_its_reason(value, reason: str) -> None:
    assert reason in reason_of(value())


def test_estimates_keep_the_reason() -> None:
    assert between.twin_distance_estimate(np.eye(3), [0, 1, 2]).undefined == "no prompt has 2 replicates"
    assert between.stranger_distance_estimate(np.eye(3), [0, 0, 0]).undefined == "one prompt has no strangers"
    still = np.eye(4)
    moved = still.copy()
    moved[0] = [1.0, 1.0, 0.0, 0.0]
    made = between.shared_movement_estimate(still, moved, [0, 1, 2, 3])
    assert made.value == pytest.approx(0.0)
    assert "without one of the groups: nothing moves" in made.undefined


@pytest.mark.parametrize(
    "call",
    [
        lambda x: between.stranger_distance(x, [0, 1]),
        lambda x: between.twin_distance(x, [0, 1]),
        lambda x: between.shared_movement(x, x, [0, 1]),
    ],
)
def test_bad_input_is_an_error(call) -> None:
    with pytest.raises(ValueError, match="prompts must name one group"):
        call(np.ones((3, 2)))
    with pytest.raises(ValueError, match="empty"):
        call(np.ones((0, 2)))
    with pytest.raises(ValueError, match="non-finite"):
        call(np.full((2, 2), np.inf))


def test_movement_needs_the_same_trajectories_twice() -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        between.shared_movement(np.ones((3, 2)), np.ones((2, 2)), [0, 1, 2])


def drawn(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Three replicates a prompt, before and after a move; prompts differ in how far their replicates scatter."""
    own = 1.0 + rng.normal(size=(prompts, 1, 24))
    before = own + rng.uniform(0.3, 1.2, (prompts, 1, 1)) * rng.normal(size=(prompts, 3, 24))
    after = 0.7 * before + 0.4 * rng.normal(size=(prompts, 1, 24)) + np.r_[1.5, np.zeros(23)]
    return np.concatenate([before, after], axis=2).reshape(-1, 48)


@pytest.mark.parametrize("prompts", [12, 48])
@pytest.mark.parametrize(
    ("estimate", "statistic"),
    [
        (between.stranger_distance_estimate, between.stranger_distance),
        (between.twin_distance_estimate, between.twin_distance),
        (
            lambda x, p: between.shared_movement_estimate(x[:, :24], x[:, 24:], p),
            lambda x, p: between.shared_movement(x[:, :24], x[:, 24:], p),
        ),
    ],
    ids=["stranger", "twin", "shared"],
)
def test_intervals_cover_the_expected_value_at_their_stated_rate(estimate, statistic, prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    labels = np.repeat(np.arange(prompts), 3)
    truth = np.mean([statistic(drawn(rng, prompts), labels) for _ in range(1200)])
    made = [estimate(drawn(rng, prompts), labels) for _ in range(400)]
    assert 0.92 <= np.mean([e.ci_low <= truth <= e.ci_high for e in made]) <= 0.98
