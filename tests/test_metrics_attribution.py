"""Attribution: against statsmodels and scikit-bio, levels, coverage of ω² and refusals."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix
from skbio.stats.distance import permanova
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from metrics.attribution import attribution


def design(prompts: int = 8, generators: int = 3, captioners: int = 2, replicates: int = 2) -> dict[str, np.ndarray]:
    grid = np.meshgrid(*(np.arange(k) for k in (prompts, generators, captioners, replicates)), indexing="ij")
    return dict(zip(["prompt", "generator", "captioner", "replicate"], (g.ravel() for g in grid), strict=True))


def response(rng: np.random.Generator, d: dict[str, np.ndarray], captioner: float = 0.8) -> np.ndarray:
    prompts = rng.standard_normal(d["prompt"].max() + 1)
    return prompts[d["prompt"]] + captioner * (d["captioner"] - 0.5) + rng.standard_normal(d["prompt"].size)


def factors(d: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: d[name] for name in names}


@pytest.mark.parametrize("pairs", [False, True])
def test_sums_of_squares_f_and_omega_are_those_of_statsmodels(pairs: bool):
    d = design()
    y = response(np.random.default_rng(0), d)
    formula = "y ~ C(prompt) + C(generator) + C(captioner)"
    if pairs:
        formula = "y ~ (C(prompt) + C(generator) + C(captioner))**2"
    table = anova_lm(ols(formula, pd.DataFrame({"y": y, **d})).fit(), typ=2)
    total, error = table["sum_sq"].sum(), table["sum_sq"]["Residual"] / table["df"]["Residual"]
    got = attribution(y, d["prompt"], factors(d, "generator", "captioner"), name="y", pairs=pairs, n_permutations=19)
    for effect in got.effects:
        row = table.loc[":".join(f"C({name})" for name in effect.name.split("×"))]
        assert effect.df == row["df"]
        assert effect.share == pytest.approx(row["sum_sq"] / total)
        assert effect.f == pytest.approx(row["F"])
        # Hays (1963), written out from the table.
        omega = (row["sum_sq"] - row["df"] * error) / (total + error)
        assert effect.omega_squared.value == pytest.approx(omega)
    assert got.residual_df == table["df"]["Residual"]


def test_pseudo_f_of_one_factor_is_that_of_scikit_bio():
    # scikit-bio knows one factor only, so the prompt's sum of squares has to be put back into its residual.
    rng = np.random.default_rng(1)
    d = design(10, 3, 2, 1)
    x = rng.standard_normal((60, 5)) + d["captioner"][:, None]
    got = attribution(x, d["prompt"], factors(d, "captioner"), name="x", n_permutations=19)
    prompt, captioner = got.effects
    rest = got.residual_share + prompt.share
    pseudo_f = captioner.share / (rest / (60 - 2))
    expected = permanova(DistanceMatrix(squareform(pdist(x))), [str(c) for c in d["captioner"]], permutations=0)
    assert pseudo_f == pytest.approx(expected["test statistic"])


def test_one_column_of_embeddings_is_a_number():
    d = design()
    y = response(np.random.default_rng(2), d)
    one = attribution(y, d["prompt"], factors(d, "captioner"), name="y", n_permutations=49)
    other = attribution(y[:, None], d["prompt"], factors(d, "captioner"), name="y", n_permutations=49)
    assert [e.f for e in one.effects] == pytest.approx([e.f for e in other.effects])
    assert [e.p for e in one.effects] == [e.p for e in other.effects]


def test_shares_add_up_and_the_reading_keeps_to_these_models():
    d = design()
    y = response(np.random.default_rng(3), d)
    got = attribution(y, d["prompt"], factors(d, "generator", "captioner"), name="drift", n_permutations=99)
    assert sum(e.share for e in got.effects) + got.residual_share == pytest.approx(1.0)
    assert got.effects[2].p <= 0.02
    assert got.effects[1].p > 0.05
    assert "3 levels of generator, 2 levels of captioner" in got.reading
    assert "nothing follows for models or settings that were not run" in got.reading
    assert "of:drift|effect:captioner" in got.effects[2].omega_squared.signature


@pytest.mark.parametrize("factor", [0, 1])
def test_permutation_keeps_its_level_even_where_prompts_respond_each_in_their_own_way(factor: int):
    # A random prompt × captioner interaction is no effect of the captioner; F on the residual would say so.
    rng = np.random.default_rng(4)
    d = design(10, 2, 2, 3)
    trials, called, plain = 150, 0, 0
    for seed in range(trials):
        own = rng.standard_normal((10, 2)) if factor else np.zeros((10, 2))
        y = own[d["prompt"], d["captioner"]] + rng.standard_normal(d["prompt"].size)
        got = attribution(y, d["prompt"], factors(d, "captioner"), name="y", n_permutations=79, seed=seed)
        effect = got.effects[factor]
        called += effect.p <= 0.05
        plain += stats.f.sf(effect.f, effect.df, got.residual_df) <= 0.05
    most = stats.binom.ppf(0.999, trials, 0.05)
    assert called <= most
    assert plain > most or factor == 0


def test_noise_has_an_omega_of_zero_on_average_and_a_share_above():
    rng = np.random.default_rng(5)
    d = design(6, 4, 2, 2)
    got = [
        attribution(rng.standard_normal(96), d["prompt"], factors(d, "generator"), name="y", n_permutations=1).effects[
            1
        ]
        for _ in range(200)
    ]
    assert np.mean([e.omega_squared.value for e in got]) == pytest.approx(0.0, abs=0.005)
    assert np.mean([e.share for e in got]) > 0.02
    assert min(e.omega_squared.value for e in got) < 0


@pytest.mark.parametrize("columns", [1, 6])
def test_intervals_of_omega_cover(columns: int):
    # Closed form: with fixed captioner effects ±a in one column, prompt variance s² and noise 1 in each of d
    # columns, the captioner's share of the variance is a²/(a² + d·(s² + 1)).
    rng = np.random.default_rng(6)
    d = design(30, 2, 2, 1)
    a, s = 0.7 * math.sqrt(columns), 0.6
    truth = a * a / (a * a + columns * (s * s + 1))
    trials, hits = 150, 0
    for _ in range(trials):
        y = s * rng.standard_normal((30, columns))[d["prompt"]] + rng.standard_normal((120, columns))
        y[:, 0] += a * (2 * d["captioner"] - 1)
        effect = attribution(y, d["prompt"], factors(d, "generator", "captioner"), name="y", n_permutations=1).effects[
            2
        ]
        hits += effect.omega_squared.ci_low <= truth <= effect.omega_squared.ci_high
    assert stats.binom.ppf(0.001, trials, 0.92) <= hits <= stats.binom.ppf(0.999, trials, 0.98)


def test_two_prompts_have_no_interval_and_pairs_no_p_value():
    d = design(2, 3, 2, 2)
    y = response(np.random.default_rng(7), d)
    got = attribution(y, d["prompt"], factors(d, "captioner"), name="y", pairs=True, n_permutations=19)
    assert "3 groups" in got.effects[1].omega_squared.undefined
    assert math.isnan(got.effects[2].p)
    assert "no exact test" in got.effects[2].undefined


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": []}, "empty"),
        ({"response": np.full(96, np.nan)}, "non-finite"),
        ({"response": np.ones(96)}, "same everywhere"),
        ({"prompts": np.zeros(96)}, "one level only"),
        ({"prompts": np.zeros(95)}, "one group for each"),
        ({"factors": {"prompt": np.arange(96) % 2}}, "called `prompt`"),
        ({"factors": {"g": np.arange(96) % 2 * (np.arange(96) > 40)}}, "balanced panel"),
        ({"factors": {"row": np.tile(np.arange(12), 8)}, "pairs": True}, "nothing is left"),
    ],
)
def test_bad_input_is_a_message(change, message: str):
    d = design()
    good = {"response": response(np.random.default_rng(8), d), "prompts": d["prompt"], "factors": {"g": d["generator"]}}
    with pytest.raises(ValueError, match=message):
        attribution(**{"name": "y", **good, **change})
