"""Seeds: from identity, never from order; golden, since another seed is another experiment."""

from __future__ import annotations

import dataclasses
import itertools
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopsim.records import Condition, ModelSpec, Noise, Start, Trajectory
from loopsim.seeds import digest, seed, step_seed

PAIR = (ModelSpec("generator", "mock"), ModelSpec("captioner", "mock"))


def trajectory(
    noise: Noise = "fresh", condition: str = "c", start: str = "s", replicate: int = 0, lineage: tuple | None = None
) -> Trajectory:
    return Trajectory(
        "t",
        Condition(condition, PAIR, noise, MappingProxyType({}), "all"),
        Start(start, "text", "a boat", None, "all", 0, lineage),
        replicate,
    )


# Changing any of these numbers breaks resuming and repeating every run that was made before.
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "000000000000", 0, 1, "generator"), 17354034697411050932),
        ((0, "000000000000", 0, 1, "captioner"), 12104529269825194755),
        ((7, "0f3c0f3c0f3c", 2, 100, "generator"), 14755677167089398817),
        ((7, "0f3c0f3c0f3c", 2, None, "generator"), 6518516127466380060),
        ((7, "0f3c0f3c0f3c", 2, 100, "generator", "aabbccdd"), 4823347324695768238),
    ],
)
def test_seeds_are_what_they_were(arguments: tuple, expected: int):
    assert seed(*arguments) == expected


def test_digests_are_what_they_were():
    assert digest(["a", 1, None, 0.5]) == "85ea07df567c"
    assert digest({"é": [True, "日本"]}, 16) == "d526517794b4dc99"


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize("length", [1, 8, 12, 16, 64])
def test_a_digest_has_the_length_asked_for_and_begins_alike(length: int):
    assert len(digest(["x"], length)) == length
    assert digest(["x"], 64).startswith(digest(["x"], length))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_has_not_is_refused(value: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest([value])


@given(
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.text(),
        st.integers(0, 10**6),
        st.none() | st.integers(0, 10**6),
        st.sampled_from(["generator", "captioner"]),
        st.none() | st.text(),
    )
)
def test_a_seed_is_64_bits_and_always_the_same(arguments: tuple):
    value = seed(*arguments)
    assert 0 <= value < 2**64
    assert seed(*arguments) == value


def test_no_two_calls_of_a_large_grid_share_a_seed():
    grid = itertools.product(
        (0, 1, 10), ("1", "10", "11", "101"), range(10), [None, *range(50)], ("generator", "captioner"), (None, "c")
    )
    seeds = [seed(*cell) for cell in grid]
    assert len(seeds) == 3 * 4 * 10 * 51 * 2 * 2
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    "change", [{"start": "other"}, {"replicate": 1}, {"noise": "fixed"}, {"lineage": (7, "parent", 3)}]
)
def test_what_belongs_to_the_key_changes_the_seed(change: dict):
    assert step_seed(trajectory(**change), 3, "generator", 7, False) != step_seed(
        trajectory(), 3, "generator", 7, False
    )


def test_conditions_share_seeds_unless_independent():
    a, b = trajectory(condition="a"), trajectory(condition="b")
    assert step_seed(a, 3, "generator", 7, False) == step_seed(b, 3, "generator", 7, False)
    assert step_seed(a, 3, "generator", 7, True) != step_seed(b, 3, "generator", 7, True)
    assert step_seed(a, 3, "generator", 7, True) != step_seed(a, 3, "generator", 7, False)


def test_models_and_settings_are_not_in_the_key():
    one = trajectory()
    other = dataclasses.replace(
        one, id="u", condition=dataclasses.replace(one.condition, chain=(ModelSpec("generator", "sdxl"), PAIR[1]))
    )
    assert step_seed(one, 3, "generator", 7, False) == step_seed(other, 3, "generator", 7, False)


@pytest.mark.parametrize("role", ["generator", "captioner"])
def test_fixed_noise_leaves_the_iteration_out_for_both_roles(role):
    fixed, fresh = trajectory("fixed"), trajectory("fresh")
    assert len({step_seed(fixed, t, role, 7, False) for t in range(20)}) == 1
    assert len({step_seed(fresh, t, role, 7, False) for t in range(20)}) == 20


def test_fixed_noise_still_differs_between_roles_and_replicates():
    seeds = {
        step_seed(trajectory("fixed", replicate=r), 1, role, 7, False)
        for r in (0, 1)
        for role in ("generator", "captioner")
    }
    assert len(seeds) == 4


def test_a_branch_goes_on_with_the_noise_of_its_parent():
    branch = trajectory(start="branch", lineage=(99, "parent", 3))
    parent = trajectory(start="parent", replicate=3)
    for t in (5, 6):
        assert step_seed(branch, t, "generator", 7, False) == step_seed(parent, t, "generator", 99, False)


def test_further_replicates_of_a_branch_have_noise_of_their_own():
    second = trajectory(start="branch", replicate=1, lineage=(99, "parent", 3))
    assert step_seed(second, 5, "generator", 7, False) == seed(7, "branch", 1, 5, "generator")
