"""Losses, reappearances, births and replacements, counted by hand; what misses alone do to a first loss."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.concepts import concept_events, first_loss
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: first_loss(np.ones((2, 3))), "booleans"),
        (lambda: first_loss(rows("111"), confirm=4), "1 to 3"),
        (lambda: first_loss(np.zeros((0, 3), dtype=bool)), "not empty"),
        (lambda: concept_events(rows("11")[:, :, None], rows("11")), "must be"),
        (lambda: concept_events(rows("11")[:, :, None], rows("1"), ["a", "b"]), "categories"),
    ],
)
def test_bad_input_is_a_message(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
