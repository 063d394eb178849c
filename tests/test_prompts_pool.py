"""The pool that ships: enough of it, short enough, and no two prompts alike."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.prompts import TIERS, choose, read_pool
from loopsim.prompts.pools import Pool


@pytest.fixture(scope="module")
def pool() -> Pool:
    return read_pool("general", n=1, max_words=10_000)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_every_tier_has_two_hundred_and_all_have_a_thousand(pool: Pool):
    counts = Counter(prompt.facts["tier"] for prompt in pool.prompts)
    assert tuple(counts) == TIERS
    assert min(counts.values()) >= 200
    assert len(pool.prompts) >= 1000


def test_ids_are_one_each_and_say_the_tier(pool: Pool):
    ids = [str(prompt.facts["id"]) for prompt in pool.prompts]
    assert len(set(ids)) == len(ids)
    assert all(i.startswith(f"{p.facts['tier']}-") for i, p in zip(ids, pool.prompts, strict=True))
    assert all(p.facts["topic"] for p in pool.prompts)


def test_none_is_long_and_lengths_differ(pool: Pool):
    lengths = [len(text.split()) for text in pool.texts]
    assert max(lengths) <= 30
    assert min(lengths) == 1
    assert np.std(lengths) > 4


def test_no_two_are_alike(pool: Pool):
    assert len({" ".join(words(text)) for text in pool.texts}) == len(pool.texts)
    for options in ({"token_pattern": r"\w+"}, {"analyzer": "char_wb", "ngram_range": (3, 5)}):
        rows = TfidfVectorizer(sublinear_tf=True, **options).fit_transform(pool.texts)
        similar = (rows @ rows.T).toarray()
        np.fill_diagonal(similar, 0.0)
        assert similar.max() < 0.6
        assert np.median(similar.max(axis=1)) < 0.3


def test_they_are_no_template_filled_a_thousand_times(pool: Pool):
    said = [words(text) for text in pool.texts]
    pairs = [pair for one in said for pair in itertools.pairwise(one)]
    assert len(set(pairs)) / len(pairs) > 0.7
    triples = [triple for one in said for triple in zip(one, one[1:], one[2:], strict=False)]
    assert max(Counter(triples).values()) < 0.01 * len(said)
    assert max(Counter(tuple(one[:2]) for one in said).values()) < 0.02 * len(said)
    # A capital opens, no full stop closes: the same hand throughout.
    assert all(text[0].isupper() and not text.endswith((".", " ")) for text in pool.texts)


def test_a_hundred_far_apart_ones_share_less_than_chance(pool: Pool):
    for method in ("farthest", "dpp"):
        spread = choose(pool, 100, method=method, embedder="tfidf").spread
        assert spread is not None
        assert spread.mean > spread.random_mean_interval[1]
        assert spread.minimum > spread.random_minimum_interval[1]


def test_the_documentation_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["prompts", "--n", "100", "--out", "far.csv"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout in (Path(__file__).parent.parent / "docs/prompts.md").read_text(encoding="utf-8")
