import math

import numpy as np
import pytest
from scipy.special import comb

from metrics import diversity
from metrics.rarefaction import rarefied, rarefied_estimate
from metrics.result import NanBecause, reason_of


def distinct(items: list[str]) -> float:
    return float(len(set(items)))


def test_expected_number_of_kinds_is_hurlberts_formula() -> None:
    # Hurlbert 1971: E[kinds in m of N] = Σ 1 − C(N − nᵢ, m)/C(N, m).
    counts = np.array([20, 10, 6, 3, 1])
    items = [str(kind) for kind, count in enumerate(counts) for _ in range(count)]
    expected = float(np.sum(1 - comb(40 - counts, 8) / comb(40, 8)))
    assert rarefied(distinct, items, 8, draws=4000) == pytest.approx(expected, abs=0.05)


def test_at_full_size_nothing_is_drawn() -> None:
    x = np.random.default_rng(0).normal(size=(12, 4))
    assert rarefied(diversity.vendi, x, 12, draws=1) == pytest.approx(diversity.vendi(x))


def test_subsets_are_of_whole_groups_and_follow_the_seed() -> None:
    x, groups = np.arange(12.0)[:, None], np.repeat(["a", "b", "c", "d"], 3)
    sizes: list[int] = []
    rarefied(lambda s: float(sizes.append(len(s)) or len(s) == len(set((s[:, 0] // 3).tolist())) * 3), x, 2, groups)
    assert set(sizes) == {6}
    first, again, other = (rarefied(np.mean, x, 2, groups, draws=5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_equal_sizes_make_sets_of_one_population_comparable() -> None:
    rng = np.random.default_rng(1)
    small, large = rng.normal(size=(30, 16)) + 0.5, rng.normal(size=(300, 16)) + 0.5
    assert diversity.vendi(large) - diversity.vendi(small) > 1.5
    assert rarefied(diversity.vendi, large, 30) == pytest.approx(diversity.vendi(small), abs=0.7)


@pytest.mark.parametrize("size", [0, 5])
def test_an_impossible_size_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="between 1 and the 4 groups"):
        rarefied(distinct, list("abcd"), size)


def test_bad_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="x is empty"):
        rarefied(distinct, [], 1)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        rarefied(distinct, ["a"], 1, draws=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rarefied_estimate(distinct, list("abcd"), 2, name="m", confidence=95)


def test_an_undefined_subset_makes_the_whole_undefined() -> None:
    x = np.vstack([np.ones((5, 2)), np.zeros((1, 2))])
    assert "zero vectors" in reason_of(rarefied(diversity.vendi, x, 3))
    assert "zero vectors" in rarefied_estimate(diversity.vendi, x, 3, name="m").undefined
    assert reason_of(rarefied(lambda s: NanBecause("no"), x, 3)) == "no"


def test_an_estimate_says_why_it_has_no_interval() -> None:
    x = np.random.default_rng(2).normal(size=(20, 4))
    assert "leave too little out" in rarefied_estimate(diversity.vendi, x, 19, name="m").undefined
    assert "one draw" in rarefied_estimate(diversity.vendi, x, 10, name="m", draws=1).undefined
    constant = rarefied_estimate(lambda s: 1.0, x, 10, name="m")
    assert constant.value == 1.0
    assert math.isnan(constant.ci_low)
    assert "more draws" in constant.undefined


def test_the_signature_names_subset_draws_and_seed() -> None:
    x = np.random.default_rng(2).normal(size=(20, 4))
    made = rarefied_estimate(diversity.vendi, x, 5, np.arange(20) // 2, name="vendi", draws=50, seed=3)
    assert made.signature == "vendi|n:20|rarefied:5|groups:10|draws:50|seed:3|ci:ij|level:0.95|v:0.1.0"


def test_intervals_cover_the_expected_value_at_their_stated_rate() -> None:
    # The number of different motifs among m draws from shares p has expectation Σ 1 − (1 − p)^m.
    shares = (1 / np.arange(1, 13)) / (1 / np.arange(1, 13)).sum()
    truth = np.sum(1 - (1 - shares) ** 12)
    rng = np.random.default_rng(6)
    made = []
    for seed in range(400):
        motifs = rng.choice(12, 40, p=shares)
        made.append(rarefied_estimate(distinct, motifs.tolist(), 12, name="m", draws=200, seed=seed))
    assert 0.92 <= np.mean([e.ci_low <= truth <= e.ci_high for e in made]) <= 0.98
