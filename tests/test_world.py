"""The postcards world: its prior, its language, the parser that reads captions back, its pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopsim.models.postcards import truth, world
from loopsim.models.postcards.draw import draw

scenes = st.builds(world.Scene, *(st.sampled_from(world.VALUES[name]) for name in world.ATTRIBUTES))


def test_every_factor_of_the_prior_is_a_distribution_without_zeros():
    for p in world.prior().values():
        np.testing.assert_allclose(p.sum(axis=-1), 1)
        assert (p > 0).all()


def test_the_prior_is_long_tailed_and_correlated():
    subject = world.prior_marginals()["subject"]
    assert (np.diff(subject) < 0).all()
    assert subject[0] > 25 * subject[-1]
    boat, cactus = (world.prior()["place"][world.SUBJECTS.index(s)] for s in ("boat", "cactus"))
    assert boat[world.PLACES.index("sea")] > 5 * cactus[world.PLACES.index("sea")]


def test_draws_from_the_prior_have_its_marginals():
    codes = world.draw_prior(40_000, np.random.default_rng(0))
    for k, name in enumerate(world.ATTRIBUTES):
        shares = np.bincount(codes[:, k], minlength=len(world.VALUES[name])) / len(codes)
        np.testing.assert_allclose(shares, world.prior_marginals()[name], atol=0.012)


def test_even_draws_are_uniform_and_stratified_ones_exactly_so():
    rng = np.random.default_rng(0)
    counts = np.bincount(world.draw_even(20_000, rng)[:, 0], minlength=20)
    assert counts.min() > 850
    stratified = world.draw_stratified(12, rng)
    for k, name in enumerate(world.ATTRIBUTES):
        counts = np.bincount(stratified[:, k], minlength=len(world.VALUES[name]))
        assert counts.max() - counts.min() <= 1


def test_entropies_are_those_of_the_marginals():
    p = world.prior_marginals()["number"]
    assert world.prior_entropies()["number"] == pytest.approx(-sum(q * np.log2(q) for q in p))
    assert all(world.prior_entropies()[n] < np.log2(len(world.VALUES[n])) for n in world.ATTRIBUTES)


@given(scenes, st.integers(0, 2**32))
def test_any_caption_is_read_back_to_its_scene(scene, seed):
    text = world.caption(scene, np.random.default_rng(seed))
    assert world.parse(text) == {name: getattr(scene, name) for name in world.ATTRIBUTES}
    assert world.unknown_words(text) == []


@given(scenes)
def test_codes_and_plain_captions_name_the_same_scene(scene):
    assert world.Scene.from_codes(scene.codes) == scene
    assert world.parse(world.plain_caption(scene)) == {name: getattr(scene, name) for name in world.ATTRIBUTES}


def test_a_scene_has_many_phrasings():
    rng, scene = np.random.default_rng(0), world.Scene("boat", "blue", "two", "sea", "sunset")
    assert len({world.caption(scene, rng) for _ in range(300)}) > 200
    assert world.plain_caption(scene) == "two blue boats by the sea at sunset"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A CAT in the rain", {"mood": "rain"}),
        ("a red house", {"number": "one", "colour": "red", "subject": "house"}),
        ("an orange robot", {"number": "one", "colour": "orange", "subject": "robot"}),
        ("a group of three trees in a green field", {"number": "three", "subject": "tree", "place": "meadow"}),
        ("two boats and three cars", {"number": "two", "subject": "boat"}),
        ("redwood boathouse", {}),
        ("", {}),
    ],
)
def test_free_text_gives_what_it_names(text, found):
    assert {k: v for k, v in world.parse(text).items() if v is not None} == found


def test_unknown_words_are_told():
    assert world.unknown_words("A Wolf by the sea, smiling") == ["wolf", "smiling"]


def test_pictures_are_deterministic_in_the_generator_and_vary_with_it():
    scene = world.Scene("lighthouse", "red", "one", "sea", "storm")
    a, b, c = (draw(scene, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a.shape == (64, 64, 3)
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("name", world.ATTRIBUTES)
def test_every_value_of_every_attribute_changes_the_picture(name):
    base = {"subject": "house", "colour": "red", "number": "one", "place": "meadow", "mood": "sunny"}
    pictures = [draw(world.Scene(**(base | {name: v})), np.random.default_rng(0)) for v in world.VALUES[name]]
    for i, a in enumerate(pictures):
        for b in pictures[:i]:
            assert np.abs(a.astype(int) - b.astype(int)).mean() > 0.5


# ---- the known answer ------------------------------------------------------------------------------------------------


def test_attribute_entropy_of_one_scene_is_zero_and_of_all_values_is_the_maximum():
    one = truth.caption_codes(["two blue boats by the sea at sunset"] * 5)
    assert truth.attribute_entropy(one) == 0
    n = 20 * 8 * 3
    every = np.stack([np.arange(n) % len(world.VALUES[name]) for name in world.ATTRIBUTES], axis=1)
    assert truth.attribute_entropy(every) == pytest.approx(
        np.mean([np.log2(len(world.VALUES[name])) for name in world.ATTRIBUTES])
    )


def test_one_attributes_entropy_is_its_own():
    codes = truth.caption_codes(["a red house at night", "a blue house at night"])
    assert truth.attribute_entropy(codes, "colour") == 1
    assert truth.attribute_entropy(codes, "subject") == 0
    assert truth.entropy_of_draws(24, "prior", "subject")[2] < truth.entropy_of_draws(24, "even", "subject")[0]


def test_attributes_that_are_not_named_are_left_out():
    codes = truth.caption_codes(["a red house", "a blue house"])
    assert codes[:, 3:].tolist() == [[-1, -1], [-1, -1]]


def test_draws_from_the_prior_show_less_entropy_than_even_ones_and_both_less_than_the_truth():
    prior, even = truth.entropy_of_draws(24), truth.entropy_of_draws(24, "even")
    assert prior[1] < prior[0] < prior[2] < even[0]
    assert prior[0] < np.mean(list(world.prior_entropies().values()))  # the plug-in bias, which equal n cancels


def test_terse_captions_name_the_subject_and_one_or_two_more_and_imply_nothing_else():
    rng = np.random.default_rng(5)
    numbers = set()
    for row in world.draw_even(3000, rng):
        scene = world.Scene.from_codes(row)
        found = world.parse(world.terse_caption(scene, rng))
        named = {name: value for name, value in found.items() if value is not None}
        assert "subject" in named
        numbers.add(len(named))
        assert all(value == getattr(scene, name) for name, value in named.items())
    assert numbers == {2, 3}


def test_a_green_field_is_a_place_and_says_nothing_about_how_many():
    assert world.parse("umbrella in a green field")["number"] is None
    assert world.parse("an umbrella in a green field")["number"] == "one"
