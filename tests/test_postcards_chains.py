"""Confusions of one step and where they lead, against chains whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from loopsim.models.postcards import chains, world


def codes_of(values: list[int], attribute: str = "number") -> np.ndarray:
    codes = np.zeros((len(values), len(world.ATTRIBUTES)), dtype=np.int64)
    codes[:, world.ATTRIBUTES.index(attribute)] = values
    return codes


def test_a_confusion_counts_from_row_to_column_and_not_named_last():
    table = chains.confusion(codes_of([0, 0, 1, -1]), codes_of([0, 2, -1, 1]), "number")
    assert table.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_two_states_settle_where_the_flows_balance():
    # Leaving 0 with 1/10 and 1 with 3/10: the stationary distribution is 3/4, 1/4; the second eigenvalue is 0.6.
    found = chains.settling(np.array([[90, 10, 0], [30, 70, 0], [0, 0, 0]]))
    assert found.distribution == pytest.approx([0.75, 0.25, 0.0])
    assert found.relaxation == pytest.approx(-1 / np.log(0.6))


def test_what_never_turns_into_each_other_has_no_one_end():
    found = chains.settling(np.array([[5, 0], [0, 7]]))
    assert found.distribution is None
    assert found.relaxation == float("inf")
    assert "end of its own" in (found.undefined or "")


def test_a_state_that_is_only_reached_is_not_guessed_at():
    assert chains.settling(np.array([[0, 4], [0, 0]])).distribution is None


def test_a_simulated_chain_settles_where_its_confusion_says():
    rng = np.random.default_rng(1)
    step = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.3, 0.3, 0.4]])
    states = [0]
    for _ in range(40_000):
        states.append(int(rng.choice(3, p=step[states[-1]])))
    table = chains.confusion(codes_of(states[:-1]), codes_of(states[1:]), "number")
    found = chains.settling(table)
    shares = np.bincount(states, minlength=4) / len(states)
    assert found.distribution is not None
    assert chains.total_variation(found.distribution, shares) < 0.01


def test_a_circle_has_a_distribution_but_does_not_settle():
    found = chains.settling(np.array([[0, 5, 0], [5, 0, 0], [0, 0, 0]]))
    assert found.distribution == pytest.approx([0.5, 0.5, 0.0])
    assert found.relaxation == float("inf")
    assert "circle" in (found.undefined or "")


def test_chains_that_forget_at_once_vary_as_independent_draws_do():
    p = world.prior_marginals()["number"]
    found = chains.variation_of_chains(p, 60, 2, 25, 32, 0.0, draws=2000)
    draws = np.random.default_rng(1).multinomial(60 * 2 * 8, p, size=20_000) / (60 * 2 * 8)
    exact = np.abs(draws - p).sum(axis=1) / 2
    assert np.mean(found) == pytest.approx(exact.mean(), rel=0.05)
    assert np.quantile(found, 0.975) == pytest.approx(np.quantile(exact, 0.975), rel=0.05)


def test_chains_that_never_forget_vary_as_their_starts_do():
    p = world.prior_marginals()["number"]
    found = chains.variation_of_chains(p, 60, 2, 25, 32, float("inf"), draws=2000)
    exact = np.abs(np.random.default_rng(1).multinomial(60, p, size=20_000) / 60 - p).sum(axis=1) / 2
    assert np.mean(found) == pytest.approx(exact.mean(), rel=0.05)


def test_slower_chains_fewer_chains_and_fewer_words_vary_more():
    p = world.prior_marginals()["subject"]
    base, slow, few, silent = (
        np.quantile(chains.variation_of_chains(p, *arguments), 0.975)
        for arguments in (
            (60, 2, 25, 32, 1.0), (60, 2, 25, 32, 20.0), (20, 2, 25, 32, 1.0), (60, 2, 25, 32, 1.0, 0.2)
        )
    )  # fmt: skip
    assert base < min(slow, few, silent)
    assert chains.prior_of("even", "mood") == pytest.approx(np.full(6, 1 / 6))


def test_a_distribution_is_carried_on_by_the_confusion_and_goes_to_its_rest():
    counts = np.array([[90, 10, 0], [30, 70, 0], [0, 0, 0]])
    start = np.array([0.0, 1.0, 0.0])
    assert chains.carried_on(counts, start, 0) == pytest.approx(start)
    assert chains.carried_on(counts, start, 1) == pytest.approx([0.3, 0.7, 0.0])
    assert chains.carried_on(counts, start, 100) == pytest.approx([0.75, 0.25, 0.0])
    # A state that no step was seen to leave is kept.
    assert chains.carried_on(counts, np.array([0.0, 0.0, 1.0]), 5) == pytest.approx([0.0, 0.0, 1.0])
