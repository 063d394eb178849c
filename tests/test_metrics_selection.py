"""Choosing rows: against closed forms and brute force on small sets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metrics import diversity, selection


def circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def cloud(m: int = 9, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(m, d)) + 0.5


def smallest(x: np.ndarray, rows: tuple[int, ...]) -> float:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return min(float(1 - unit[a] @ unit[b]) for a, b in itertools.combinations(rows, 2))


def test_farthest_points_of_a_circle_are_the_opposite_and_then_the_quarters():
    x = circle(0, 10, 90, 180, 200, 270)
    # 90° and 270° are equally far from both; the centre of all six lies below.
    assert selection.farthest(x, 4, first=0).tolist() == [0, 3, 5, 2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [2, 3, 4])
def test_farthest_points_are_at_least_half_as_far_apart_as_any_can_be(seed: int, n: int):
    x = cloud(seed=seed)
    best = max(smallest(x, rows) for rows in itertools.combinations(range(len(x)), n))
    found = smallest(x, tuple(selection.farthest(x, n).tolist()))
    # Gonzalez' bound is for a metric; the chord of a cosine distance c is √(2c).
    assert np.sqrt(2 * found) >= np.sqrt(2 * best) / 2 - 1e-12


@pytest.mark.parametrize("method", [selection.farthest, selection.determinantal])
def test_each_beginning_of_a_selection_is_the_smaller_selection(method):
    x = cloud(20)
    assert method(x, 7).tolist()[:4] == method(x, 4).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_each_step_of_the_determinantal_choice_is_the_best_by_brute_force(seed: int):
    x = cloud(8, seed=seed)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    squared = ((unit[:, None] - unit[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-squared / squared.mean())
    taken = [int(np.argmin(kernel.sum(axis=1)))]
    while len(taken) < 5:
        volume = {i: np.linalg.det(kernel[np.ix_([*taken, i], [*taken, i])]) for i in set(range(8)) - set(taken)}
        taken.append(max(volume, key=lambda i: volume[i]))
    assert selection.determinantal(x, 5).tolist() == taken


def test_a_pair_of_the_determinantal_choice_is_the_most_distant_partner_of_its_first():
    x = circle(0, 5, 100, 175, 240)
    first, second = selection.determinantal(x, 2).tolist()
    distance = 1 - x @ x[first]
    assert second == int(np.argmax(distance))


@pytest.mark.parametrize("method", [selection.farthest, selection.determinantal])
def test_copies_are_taken_last_and_more_rows_than_dimensions_can_be(method):
    x = np.concatenate([np.eye(4), np.eye(4), circle(30) @ np.eye(2, 4)])
    taken = method(x, 9).tolist()
    assert sorted(taken) == list(range(9))
    # The last four are the copies of what was taken before.
    assert {row % 4 for row in taken[5:]} == {0, 1, 2, 3}
    assert 8 in taken[:5]


@pytest.mark.parametrize("method", [selection.farthest, selection.determinantal])
def test_groups_get_equal_shares_up_to_one(method):
    groups = ["a"] * 15 + ["b"] * 4 + ["c"] * 5
    taken = method(cloud(24), 11, groups=groups)
    counts = {g: sum(groups[i] == g for i in taken) for g in "abc"}
    assert sorted(counts.values()) == [3, 4, 4]
    assert len(set(taken.tolist())) == 11
    with pytest.raises(ValueError, match="less than its share"):
        method(cloud(24), 15, groups=groups)


def test_the_central_rows_are_the_nearest_to_the_mean():
    x = circle(0, 40, 50, 60, 100)  # the mean direction is 50°
    assert selection.central(x, 3).tolist()[0] == 2
    assert set(selection.central(x, 3).tolist()) == {1, 2, 3}
    with pytest.raises(ValueError, match="cancel out"):
        selection.central(circle(0, 180), 1)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_neighbourhood_is_the_tightest_by_brute_force(n: int):
    x = cloud(12, seed=3)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    found = selection.nearby(x, n).tolist()
    radius = [sorted(np.delete(distance[i], i))[: n - 1] for i in range(12)]
    assert found[0] == int(np.argmin([sum(r) for r in radius]))
    assert len(set(found)) == n
    assert sorted(distance[found[0], found[1:]]) == pytest.approx(radius[found[0]])


def test_a_spread_is_that_of_the_measures_of_diversity():
    x = cloud(30)
    chosen = selection.farthest(x, 6)
    spread = selection.spread_against_random(x, chosen, subsets=200, seed=1)
    assert spread.mean == pytest.approx(diversity.mean_pairwise_distance(x[chosen]))
    assert spread.minimum == pytest.approx(smallest(x, tuple(chosen.tolist())))
    # The mean of a random subset is unbiased for that of all rows.
    assert spread.random_mean == pytest.approx(diversity.mean_pairwise_distance(x), rel=0.05)
    low, high = spread.random_mean_interval
    assert low < spread.random_mean < high < spread.mean
    assert spread.share_as_far < 0.05
    assert spread == selection.spread_against_random(x, chosen, subsets=200, seed=1)


def test_near_rows_are_told_from_random_ones():
    x = cloud(30)
    spread = selection.spread_against_random(x, selection.nearby(x, 6), subsets=100)
    assert spread.mean < spread.random_mean_interval[0]
    assert spread.share_as_far == 1.0


def test_all_rows_are_one_subset_only():
    x = cloud(5)
    spread = selection.spread_against_random(x, np.arange(5), subsets=10)
    assert spread.random_mean_interval == pytest.approx((spread.mean, spread.mean))
    assert spread.share_as_far == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: selection.farthest(x, 0), "n must be 1 to 9"),
        (lambda x: selection.determinantal(x, 10), "n must be 1 to 9"),
        (lambda x: selection.farthest(x, 2, first=9), "first must be a row"),
        (lambda x: selection.central(x * 0, 2), "zero vectors"),
        (lambda x: selection.nearby(x, 10), "n must be 1 to 9"),
        (lambda x: selection.spread_against_random(x, [1]), "at least 2 different"),
        (lambda x: selection.spread_against_random(x, [1, 1]), "at least 2 different"),
        (lambda x: selection.spread_against_random(x, [1, 9]), "rows of x"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(cloud())
