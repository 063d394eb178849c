"""Losses, reappearances, births and replacements, counted by hand; what misses alone do to a first loss."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.concepts import concept_events, concept_replacements, first_loss
from metrics.survival import kaplan_meier


def rows(*patterns: str) -> np.ndarray:
    return np.array([[c == "1" for c in p] for p in patterns])


def test_first_losses_by_hand():
    seen = rows("11011", "11111", "01111", "11100")
    times, observed = first_loss(seen)
    assert times.tolist() == [3, 5, 1, 4]
    assert observed.tolist() == [True, False, True, True]
    times, observed = first_loss(seen, confirm=2)
    assert times.tolist() == [4, 4, 4, 4]
    assert observed.tolist() == [False, False, False, True]


def test_five_per_cent_of_misses_kill_a_lasting_concept_at_a_median_of_fourteen():
    # Closed form: 0.95^t ≤ ½ from t = 14 on; with two in a row the median is near 280 (see the docstring).
    seen = np.random.default_rng(0).random((4000, 400)) > 0.05
    naive = kaplan_meier(*first_loss(seen))
    assert abs(naive.median.value - 14) <= 1
    confirmed = kaplan_meier(*first_loss(seen, confirm=2))
    assert 260 <= confirmed.median.value <= 310


def test_events_by_hand():
    # Concepts: boat and dog (subjects), red (colour). The start names boat and red.
    detected = np.zeros((1, 4, 3), dtype=bool)
    detected[0, :, 0] = [True, False, True, False]  # boat: lost, back, lost
    detected[0, :, 1] = [False, True, True, True]  # dog: born as boat goes
    detected[0, :, 2] = [True, True, True, False]  # red: lost, nothing of its kind is born
    got = concept_events(detected, np.array([[True, False, True]]), ["subject", "subject", "colour"])
    counts = [e.value for e in (got.losses, got.reappearances, got.births, got.replacements)]
    assert counts == [3.0, 1.0, 1.0, 1.0]
    assert got.losses_by_iteration.tolist() == [0.0, 1.0, 0.0, 2.0]
    assert got.births_by_iteration.tolist() == [0.0, 1.0, 0.0, 0.0]


def test_a_concept_that_comes_back_unnamed_is_born_once():
    detected = rows("0101")[:, :, None]
    got = concept_events(detected, np.array([[False]]))
    assert (got.births.value, got.losses.value, got.reappearances.value) == (1.0, 0.0, 0.0)


def test_prompts_are_the_unit():
    rng = np.random.default_rng(1)
    detected = rng.random((12, 6, 3)) < 0.6
    named = rng.random((12, 3)) < 0.5
    once = concept_events(detected, named)
    often = concept_events(np.repeat(detected, 5, axis=0), np.repeat(named, 5, axis=0), prompts=np.repeat(range(12), 5))
    assert often.births.n == 12
    assert often.births.ci_low == pytest.approx(once.births.ci_low)


def shown(*chains: str) -> np.ndarray:
    """Booleans (n, T, C) of chains that show one of a, b, c, or nothing (-), at each iteration."""
    return np.array([[[c == one for one in "abc"] for c in chain] for chain in chains])


def test_replacements_by_hand():
    # Starts name a, a, b. The first turns into b at t = 2 and goes back; the second into c at t = 3, where one of the
    # others shows a and one b: no majority. The third turns at t = 3 into c, which nobody else shows before.
    detected = shown("aba", "aac", "bbc")
    named = shown("a", "a", "b")[:, 0]
    got = concept_replacements(detected, named)
    assert got.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert [e.value for e in got.counts] == pytest.approx([1 / 3] * 3)
    assert concept_events(detected, named).replacements.value == 1
    # t = 2, others show a, b: only b can be born, as expected. t = 3: the second can take b or c, and the others show
    # a and c, so c; the third can take a or c, and the others show a and c, evenly.
    assert got.expected.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 6])
    assert "could be born" in got.to_majority[0].undefined
    # Others that are said: at t = 2 and 3 b is shown by five of six, c by one.
    others = np.broadcast_to([0, 5, 1], detected.shape)
    given = concept_replacements(detected, named, others=others)
    assert given.to_majority[0].value == 0.5  # b for the first, c for the second; of the third it is b that is lost
    assert given.to_majority_expected[0] == pytest.approx(5 / 6)
    assert given.expected.tolist() == pytest.approx([5 / 18 + 5 / 18, 1 / 18 + 1 / 18, 1 / 3])


def test_the_directions_sum_to_the_total_and_stay_within_categories():
    rng = np.random.default_rng(2)
    detected, named = rng.random((30, 12, 6)) < 0.4, rng.random((30, 6)) < 0.4
    kinds = ["a", "a", "a", "b", "b", "b"]
    prompts = np.repeat(range(10), 3)
    got = concept_replacements(detected, named, kinds, prompts)
    total = concept_events(detected, named, kinds, prompts).replacements
    assert sum(e.value for e in got.counts) == pytest.approx(total.value)
    assert {(a // 3, b // 3) for a, b in got.pairs.tolist()} == {(0, 0), (1, 1)}
    assert {e.n for e in got.counts} == {10}
    assert len({e.signature for e in got.counts}) == len(got.counts)


def chains(rng: np.random.Generator, n: int, prior: np.ndarray, settled: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Chains that redraw one of k values from a prior at one iteration in five; begun evenly, or drawn from it."""
    values = np.eye(len(prior), dtype=bool)
    state = rng.choice(len(prior), n, p=prior) if settled else np.arange(n) % len(prior)
    named, seen = values[state], []
    for _ in range(12):
        state = np.where(rng.random(n) < 0.2, rng.choice(len(prior), n, p=prior), state)
        seen.append(values[state])
    return np.stack(seen, axis=1), named


def test_where_new_values_come_from_the_prior_they_go_to_the_majority_as_often_as_expected():
    detected, named = chains(np.random.default_rng(3), 600, np.array([0.8, 0.15, 0.05]))
    got = concept_replacements(detected, named)
    count = {tuple(pair): e.value for pair, e in zip(got.pairs.tolist(), got.counts, strict=True)}
    assert count[2, 0] > 3 * count[2, 1] > 0  # the rare turn into the common
    assert count[0, 2] < count[2, 0] / 3
    # By then the others are on their way to the prior only, so that they expect a little less than its 0.8 of 0.85
    # (where the second is lost) or of 0.95 (the third).
    assert 0.7 < got.to_majority_expected[0] < got.to_majority[0].ci_low
    assert 0.84 < got.to_majority[0].value < 0.95


def test_with_few_even_chains_the_majority_is_chance_in_part_and_its_expectation_too_high_as_the_docs_say():
    rng = np.random.default_rng(5)
    found = [concept_replacements(*chains(rng, 60, np.full(5, 0.2))) for _ in range(60)]
    shares = [one.to_majority[0].value for one in found]
    assert abs(np.mean(shares) - 0.26) < 0.02
    assert abs(np.mean([one.to_majority_expected[0] for one in found]) - 0.33) < 0.02


def test_the_expectations_of_pairs_are_right_where_new_values_come_from_what_the_others_show():
    prior = np.array([0.5, 0.3, 0.2])
    made, drawn = np.zeros((3, 3)), np.zeros((3, 3))
    for seed in range(60):
        detected, named = chains(np.random.default_rng(seed), 90, prior, settled=True)
        got = concept_replacements(detected, named)
        made[tuple(got.pairs.T)] += [e.value for e in got.counts]
        drawn[tuple(got.pairs.T)] += got.expected
    off = ~np.eye(3, dtype=bool)
    assert made[off] == pytest.approx(drawn[off], rel=0.08)
    assert made[off].max() > 1.5 * made[off].min()


def test_chains_that_shun_the_majority_fall_below_what_is_expected():
    rng = np.random.default_rng(4)
    detected, _ = chains(rng, 300, np.array([0.98, 0.01, 0.01]))
    minority = np.zeros((60, 12, 3), dtype=bool)
    minority[:, :6, 1] = minority[:, 6:, 2] = True  # b that turns into c, never into a
    alone = concept_replacements(minority, minority[:, 0], others=np.broadcast_to(detected.sum(axis=0), minority.shape))
    assert alone.to_majority[0].value == 0
    assert alone.to_majority_expected[0] > 0.6
    assert alone.expected[0] < 0.2 < alone.counts[0].value == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: first_loss(np.ones((2, 3))), "booleans"),
        (lambda: first_loss(rows("111"), confirm=4), "1 to 3"),
        (lambda: first_loss(np.zeros((0, 3), dtype=bool)), "not empty"),
        (lambda: concept_events(rows("11")[:, :, None], rows("11")), "must be"),
        (lambda: concept_events(rows("11")[:, :, None], rows("1"), ["a", "b"]), "categories"),
        (lambda: concept_replacements(shown("ab"), shown("a")[:, 0], others=np.ones((1, 1, 3))), "others has shape"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
