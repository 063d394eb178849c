import dataclasses
import math

import numpy as np
import pytest

from metrics import codebook, entropy, jackknife

CENTRES = np.eye(8)[:4]


def states(rng: np.random.Generator, shares: list[float], n: int = 200, noise: float = 0.05) -> np.ndarray:
    return CENTRES[rng.choice(4, n, p=shares)] + noise * rng.normal(size=(n, 8))


@pytest.fixture(scope="module")
def book() -> codebook.Codebook:
    return codebook.fit(states(np.random.default_rng(0), [0.25] * 4), 4, "even")


def test_it_finds_separated_motifs_and_counts_them(book: codebook.Codebook) -> None:
    x = np.repeat(CENTRES, [5, 3, 2, 1], axis=0)
    assert sorted(book.occupancy(x).tolist(), reverse=True) == [5, 3, 2, 1]
    labels = book.assign(x)
    assert [len(set(labels[i:j])) for i, j in [(0, 5), (5, 8), (8, 10)]] == [1, 1, 1]


def test_empty_motifs_are_counted_as_zero(book: codebook.Codebook) -> None:
    assert sorted(book.occupancy(CENTRES[:1]).tolist()) == [0, 0, 0, 1]


def test_assignment_ignores_length_and_batch(book: codebook.Codebook) -> None:
    x = states(np.random.default_rng(1), [0.4, 0.3, 0.2, 0.1])
    together = book.assign(x)
    assert np.array_equal(together, book.assign(7.0 * x))
    assert np.array_equal(together, np.concatenate([book.assign(part) for part in np.array_split(x, 9)]))


def test_collapse_onto_one_motif_lowers_occupancy_entropy_hard_and_soft(book: codebook.Codebook) -> None:
    rng = np.random.default_rng(2)
    hard, soft = [], []
    for shares in ([0.25] * 4, [0.6, 0.2, 0.1, 0.1], [0.97, 0.01, 0.01, 0.01]):
        x = states(rng, shares)
        hard.append(entropy.effective_number(book.occupancy(x)))
        soft.append(codebook.soft_effective_number(book.memberships(x)))
    assert hard[0] > hard[1] + 0.5 > hard[2] + 1
    assert soft[0] > soft[1] > soft[2]


def test_memberships_run_from_hard_to_even(book: codebook.Codebook) -> None:
    x = states(np.random.default_rng(3), [0.25] * 4, 20)
    sharp = book.memberships(x, 1e-4)
    assert np.array_equal(sharp.argmax(axis=1), book.assign(x))
    assert sharp.max(axis=1) == pytest.approx(np.ones(20), abs=1e-9)
    assert book.memberships(x, 1e6) == pytest.approx(np.full((20, 4), 0.25), abs=1e-5)
    assert book.memberships(x).sum(axis=1) == pytest.approx(np.ones(20))


def test_memberships_are_the_posterior_of_a_mixture_of_spheres(book: codebook.Codebook) -> None:
    x = states(np.random.default_rng(4), [0.25] * 4, 3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    density = np.array([[math.exp(-np.sum((row - c) ** 2) / (2 * 0.2)) for c in book.centres] for row in x])
    assert book.memberships(x, 0.2) == pytest.approx(density / density.sum(axis=1, keepdims=True))


def test_soft_effective_number_closed_forms_and_interval(book: codebook.Codebook) -> None:
    assert codebook.soft_effective_number(np.eye(3)) == pytest.approx(3.0)
    assert codebook.soft_effective_number(np.eye(3)[[0, 0]]) == pytest.approx(1.0)
    memberships = book.memberships(states(np.random.default_rng(5), [0.4, 0.3, 0.2, 0.1], 30))
    made = jackknife.estimate(
        codebook.soft_effective_number, memberships, np.arange(30) // 2, name="soft", parameters=book.parameters
    )
    assert 1.0 < made.ci_low < made.value < made.ci_high < 5.0
    assert "|k:4|ref:even|codebook:" in made.signature


def test_a_codebook_is_frozen_and_named_by_its_centres(book: codebook.Codebook) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        book.seed = 1
    with pytest.raises(ValueError, match="read-only"):
        book.centres[0, 0] = 9.0
    again = codebook.fit(states(np.random.default_rng(0), [0.25] * 4), 4, "even")
    other = codebook.fit(states(np.random.default_rng(9), [0.25] * 4), 4, "even")
    assert again.parameters == book.parameters != other.parameters


def test_a_large_reference_is_subsampled_by_seed() -> None:
    x = states(np.random.default_rng(6), [0.25] * 4, 500)
    first, again, other = (codebook.fit(x, 4, "r", seed, max_rows=100) for seed in (0, 0, 1))
    assert np.array_equal(first.centres, again.centres)
    assert not np.array_equal(first.centres, other.centres)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: codebook.fit(np.repeat(CENTRES, 3, axis=0), 5, "r"), "between 1 and the 4 different rows; it is 5"),
        (lambda b: codebook.fit(CENTRES, 0, "r"), "it is 0"),
        (lambda b: codebook.fit(np.zeros((3, 2)), 1, "r"), "3 zero vectors"),
        (lambda b: b.assign(np.ones((2, 5))), "x has 5 columns, the codebook 8"),
        (lambda b: b.assign(np.zeros((1, 8))), "zero vectors"),
        (lambda b: b.assign(np.full((1, 8), np.nan)), "non-finite"),
        (lambda b: b.memberships(CENTRES, 0.0), "temperature must be above 0"),
        (lambda b: codebook.soft_effective_number([[0.5, 0.4]]), "summing to 1"),
        (lambda b: codebook.soft_effective_number([[1.5, -0.5]]), "not negative"),
    ],
)
def test_bad_input_is_an_error(book: codebook.Codebook, call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(book)


def test_noise_too_yields_k_clusters_so_they_prove_nothing() -> None:
    # Negative control 1: a codebook fitted to shapeless noise is nearly evenly used, at every iteration alike.
    rng = np.random.default_rng(8)
    noise = codebook.fit(rng.normal(size=(600, 16)), 12, "noise")
    used = [entropy.effective_number(noise.occupancy(rng.normal(size=(600, 16)))) for _ in range(5)]
    assert min(used) > 10.5
    assert max(used) - min(used) < 0.7
