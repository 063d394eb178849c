import gzip
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lexicalrichness import LexicalRichness
from sacrebleu.metrics.helpers import extract_all_word_ngrams
from skbio.diversity import alpha

from metrics import jackknife, text
from metrics.result import reason_of

# A machine that is busy with something else is no failure of the code.
TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = [f"w{i}" for i in range(60)]
ZIPF = (1 / np.arange(1, 61)) / (1 / np.arange(1, 61)).sum()


def caption(rng: np.random.Generator, length: int = 12, kinds: int = 60) -> str:
    return " ".join(rng.choice(WORDS[:kinds], length, p=ZIPF[:kinds] / ZIPF[:kinds].sum()))


caption_lists = st.lists(st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Two BLUE boats, by the sea.", ["two", "blue", "boats", "by", "the", "sea"]),
        ("don't — an old-fashioned l’été", ["don't", "an", "old-fashioned", "l’été"]),
        ("snake_case 3 x 2.5", ["snake", "case", "3", "x", "2", "5"]),
        ("'quoted' -dash- ÄÖÜ 東京", ["quoted", "dash", "äöü", "東京"]),
        (" \n.!?", []),
    ],
)
def test_words(caption: str, expected: list[str]) -> None:
    assert text.words(caption) == expected


def test_closed_forms() -> None:
    assert text.ngram_entropy(["a b", "c d"]) == pytest.approx(2.0)
    assert text.ngram_entropy(["a b", "a b"], 2) == 0.0
    assert text.distinct_n(["a b c", "a b d"], 2) == pytest.approx(3 / 4)
    assert text.caption_entropy(["x", "x", "y", "y"]) == pytest.approx(1.0)
    assert text.caption_entropy(["A", "a"]) == pytest.approx(1.0)  # letter by letter
    assert text.duplicate_share(["x", "x", "y", "z"]) == 0.5
    assert text.mean_length(["a b c", "", "d"]) == pytest.approx(4 / 3)


def test_ngrams_do_not_cross_captions() -> None:
    assert text.distinct_n(["a b", "a b"], 2) == 0.5
    assert reason_of(text.distinct_n(["a", "b", "c"], 2)) == "no caption has 2 words"


def test_self_repetition_by_hand() -> None:
    # "a b" is in one other caption for the first two, "b c" in none: ln 2, ln 2, ln 1.
    assert text.self_repetition(["a b c", "a b", "d e"], 2) == pytest.approx(2 * math.log(2) / 3)
    # Repeating oneself inside a caption is not counted, repeating others is, however often.
    assert text.self_repetition(["a b a b", "c d"], 2) == 0.0


def test_compression_ratio_is_gzips() -> None:
    captions = ["a boat by the sea"] * 20
    raw = b" ".join(c.encode() for c in captions)
    assert text.compression_ratio(captions) == len(raw) / len(gzip.compress(raw, mtime=0))


# Independent implementations.


@settings(TIMELESS)
@given(caption_lists.filter(lambda c: any(x.strip() for x in c)))
def test_word_entropy_against_scikit_bio(captions: list[str]) -> None:
    counts = list(Counter(" ".join(captions).split()).values())
    assert text.ngram_entropy(captions) == pytest.approx(alpha.shannon(counts, base=2), abs=1e-12)


@settings(TIMELESS)
@given(caption_lists, st.integers(1, 3))
def test_ngrams_against_sacrebleu(captions: list[str], n: int) -> None:
    counted: Counter = Counter()
    for one in captions:
        counted += Counter({k: v for k, v in extract_all_word_ngrams(one, n, n)[0].items() if len(k) == n})
    value = text.distinct_n(captions, n)
    if counted:
        assert value == pytest.approx(len(counted) / sum(counted.values()))
    else:
        assert reason_of(value) == f"no caption has {n} words"


@pytest.mark.parametrize("seed", range(5))
def test_distinct_words_at_42_tokens_is_hdd_of_lexicalrichness(seed: int) -> None:
    captions = [caption(np.random.default_rng([seed, i])) for i in range(10)]
    tokens = " ".join(captions).split()
    expected = LexicalRichness(tokens, preprocessor=None, tokenizer=None).hdd(draws=42)
    assert text.distinct_n(captions, 1, 42) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_mtld_against_lexicalrichness(seed: int) -> None:
    one = caption(np.random.default_rng(seed), 150)
    expected = LexicalRichness(one.split(), preprocessor=None, tokenizer=None).mtld(threshold=0.72)
    assert text.mtld([one]) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [text.ngram_entropy, text.distinct_n])
def test_rarefied_closed_forms_against_drawing(measure) -> None:
    rng = np.random.default_rng(0)
    pool = caption(rng, 90, 20).split()
    drawn = [measure([" ".join(rng.choice(pool, 30, replace=False))], 1) for _ in range(3000)]
    tolerance = 4 * np.std(drawn) / math.sqrt(3000)
    assert measure([" ".join(pool)], 1, 30) == pytest.approx(np.mean(drawn), abs=tolerance)


# Properties and directions.


@settings(TIMELESS)
@given(caption_lists.filter(lambda c: any(x.strip() for x in c)), st.data())
def test_rarefying_to_everything_changes_nothing_and_to_one_leaves_one(captions: list[str], data) -> None:
    total = len(" ".join(captions).split())
    assert text.ngram_entropy(captions, 1, total) == pytest.approx(text.ngram_entropy(captions))
    assert text.distinct_n(captions, 1, total) == pytest.approx(text.distinct_n(captions, 1))
    assert text.ngram_entropy(captions, 1, 1) == 0.0
    assert text.distinct_n(captions, 1, 1) == pytest.approx(1.0)
    m = data.draw(st.integers(1, total))
    assert 0.0 <= text.ngram_entropy(captions, 1, m) <= math.log2(m) + 1e-9
    assert text.ngram_entropy(captions, 1, m) <= text.ngram_entropy(captions) + 1e-9


def test_collapse_of_the_vocabulary_is_seen_by_all() -> None:
    rng = np.random.default_rng(1)
    values = []
    for kinds in (60, 20, 5):
        captions = [caption(rng, 10, kinds) for _ in range(60)]
        values.append(
            [
                text.ngram_entropy(captions, 1, 300),
                text.ngram_entropy(captions, 2, 300),
                text.distinct_n(captions, 2, 300),
                text.mtld(captions),
                -text.compression_ratio(captions),
                -text.self_repetition(captions, 3),
            ]
        )
    assert np.all(np.diff(values, axis=0) < 0)


def test_collapse_to_one_caption() -> None:
    rng = np.random.default_rng(2)
    captions = [caption(rng) for _ in range(30)]
    collapsed = [captions[0]] * 25 + captions[:5]
    assert text.caption_entropy(collapsed) < text.caption_entropy(captions)
    assert text.duplicate_share(collapsed) == pytest.approx(26 / 30)
    assert text.duplicate_share(captions) == 0.0


def test_equal_token_counts_make_short_and_long_captions_comparable() -> None:
    rng = np.random.default_rng(3)
    short, long = [caption(rng, 5) for _ in range(80)], [caption(rng, 50) for _ in range(80)]
    assert text.distinct_n(short, 1) > 2 * text.distinct_n(long, 1)
    assert text.distinct_n(short, 1, 300) == pytest.approx(text.distinct_n(long, 1, 300), rel=0.05)


def test_mtld_follows_its_seed_and_not_the_order_given() -> None:
    rng = np.random.default_rng(4)
    captions = [caption(rng) for _ in range(40)]
    assert text.mtld(captions, seed=1) == text.mtld(captions, seed=1) != text.mtld(captions, seed=2)
    assert text.mtld(captions[::-1], draws=60) == pytest.approx(text.mtld(captions, draws=60), rel=0.05)


# Undefined and refused.


@pytest.mark.parametrize(
    "function",
    [
        text.ngram_entropy,
        text.distinct_n,
        text.caption_entropy,
        text.duplicate_share,
        text.compression_ratio,
        text.self_repetition,
        text.mtld,
        text.mean_length,
        text.ngram_entropy_estimate,
        text.distinct_n_estimate,
        text.caption_entropy_estimate,
    ],
)
def test_bad_input_is_an_error(function) -> None:
    with pytest.raises(ValueError, match="captions is empty"):
        function([])
    with pytest.raises(ValueError, match="not one string"):
        function("a boat")
    with pytest.raises(ValueError, match="caption 1 is None, not a string"):
        function(["a boat", None])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: text.ngram_entropy(["", "!"]), "no caption has 1 words"),
        (lambda: text.ngram_entropy(["a b"], 1, 3), "there are only 2 1-grams; 3 were asked for"),
        (lambda: text.compression_ratio(["", ""]), "nothing to compress"),
        (lambda: text.self_repetition(["a b c d"]), "one caption has no other"),
        (lambda: text.self_repetition(["a", "b"]), "no caption has 4 words"),
        (lambda: text.mtld(["a boat"]), "unreliable below 100 words; there are 2"),
        (lambda: text.mtld([" ".join(f"v{i}" for i in range(120))]), "no word is repeated"),
    ],
)
def test_undefined_is_nan_with_its_reason(value, reason: str) -> None:
    assert reason in reason_of(value())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: text.distinct_n(["a"], 0), "n must be at least 1"),
        (lambda: text.distinct_n(["a"], 1, 0), "tokens must be at least 1"),
        (lambda: text.mtld(["a"], 1.0), "threshold must lie"),
        (lambda: text.mtld(["a"], draws=0), "draws must be at least 1"),
    ],
)
def test_bad_parameters_are_an_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Intervals.


@pytest.mark.parametrize(
    ("estimate", "statistic"),
    [(text.ngram_entropy_estimate, text.ngram_entropy), (text.distinct_n_estimate, text.distinct_n)],
)
def test_estimates_equal_brute_force(estimate, statistic) -> None:
    rng = np.random.default_rng(5)
    captions, groups = [caption(rng) for _ in range(30)], np.arange(30) // 2
    brute = jackknife.estimate(lambda c: statistic(c, 2, 150), captions, groups, name="m", low=0.0)
    quick = estimate(captions, groups, 2, 150)
    assert (quick.value, quick.n) == (pytest.approx(brute.value), 30)
    assert (quick.ci_low, quick.ci_high) == pytest.approx((brute.ci_low, brute.ci_high))
    assert "|ngram:2|tokens:150|n:30|groups:15|" in quick.signature


def test_an_interval_needs_enough_tokens_without_any_group() -> None:
    captions = ["a b c", "a d e", "a f g h i j"]
    assert (
        "without one of the groups: there are only 9 1-grams"
        in text.ngram_entropy_estimate(captions, None, 1, 10).undefined
    )


def test_caption_entropy_estimate_is_that_of_the_captions_as_labels() -> None:
    made = text.caption_entropy_estimate(["x", "x", "y", "z", "x", "y"])
    assert made.value == text.caption_entropy(["x", "x", "y", "z", "x", "y"])
    assert made.ci_low < made.value < made.ci_high
    assert "|of:captions|" in made.signature


@pytest.mark.parametrize(
    ("estimate", "statistic"),
    [(text.ngram_entropy_estimate, text.ngram_entropy), (text.distinct_n_estimate, text.distinct_n)],
)
def test_intervals_cover_the_expected_value_at_their_stated_rate(estimate, statistic) -> None:
    # Each prompt has a vocabulary of its own that its two captions share, so captions are not independent.
    def drawn(rng: np.random.Generator) -> list[str]:
        own = np.searchsorted(np.cumsum(ZIPF)[:-1], rng.random((30, 8)))
        chosen = np.take_along_axis(own, rng.integers(0, 8, (30, 16)), axis=1).reshape(60, 8)
        return [" ".join(WORDS[i] for i in row) for row in chosen]

    rng = np.random.default_rng(6)
    truth = np.mean([statistic(drawn(rng), 1, 200) for _ in range(800)])
    groups = np.arange(60) // 2
    made = [estimate(drawn(rng), groups, 1, 200) for _ in range(250)]
    assert 0.92 <= np.mean([e.ci_low <= truth <= e.ci_high for e in made]) <= 0.98
