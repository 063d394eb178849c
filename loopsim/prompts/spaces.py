"""The space in which prompts are far apart or near: a text embedder's, or counts of words where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import ModelError, NotAtHand, UsageError

TFIDF = "tfidf"
"""Counts of words, weighted by how rare they are: no model, no download, no meaning."""
_WORDS = 8192
_COMMON, _MANY = 0.25, 40
_ENTRIES = 1 << 25
"""Numbers that the word counts of a pool may be: 256 MiB; of a large pool rarer words are left out."""


@dataclass(frozen=True)
class Space:
    """Vectors of texts and where they come from."""

    vectors: NDArray[Any]
    """Shape (n, d); no row is zero."""
    name: str
    """Of the embedder, or `tfidf`."""
    weights: Mapping[str, Any]
    """What tells this embedder from others: hashes of its files, or location and commit."""


def default_embedder(pool: str) -> str:
    """The embedder where none is named: the one of the pool's world, else word counts, which run everywhere."""
    return "postcards" if pool.startswith("postcards-") else TFIDF


def embed_texts(
    texts: Sequence[str], name: str, device: str = "auto", on_load: Callable[[str], None] | None = None
) -> Space:
    """The texts in a space.

    Args:
        texts: n texts.
        name: `tfidf`, an embedder of `loopsim models`, `MODEL/PRETRAINED` of open_clip, a hub id or a directory.
        device: where to embed.
        on_load: called with a line when a model is loaded.

    Raises:
        UsageError: the embedder reads no texts, or is none.
        ModelError: it cannot be loaded.
    """
    if name == TFIDF:
        return Space(_tfidf(texts), TFIDF, {"embedder": TFIDF, "library": _scikit_learn()})
    _check(name)
    from loopsim.models import load_embedder
    from loopsim.provenance import describe_embedder

    try:
        weights = describe_embedder(name)
        if on_load is not None:
            on_load(f"embedding {len(texts)} prompts with {name}")
        vectors = load_embedder(name, device, weights.get("commit")).embed_texts(list(texts))
    except NotAtHand as error:
        raise NotAtHand(f"--embedder {name}: {error}\n  Without a download: --embedder {TFIDF}") from None
    return Space(np.asarray(vectors, dtype=np.float64), name, weights)


def _check(name: str) -> None:
    from loopsim.models import modalities_of
    from loopsim.presets.embedders import EMBEDDERS

    if "/" not in name and not Path(name).exists() and all(name != entry.name for entry in EMBEDDERS):
        readers = [TFIDF, *(entry.name for entry in EMBEDDERS if entry.reads and "text" in entry.reads)]
        close = difflib.get_close_matches(name, readers, 1)
        known = f"did you mean {close[0]}? Known" if close else "known"
        raise ModelError(f"--embedder {name}: is not known; {known}: {', '.join(readers)}; or a hub id or a directory")
    if "text" not in modalities_of(name):
        raise UsageError(f"--embedder {name}: sees pictures only; name one that reads texts, such as all-mpnet-base-v2")


def _tfidf(texts: Sequence[str]) -> NDArray[Any]:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    # What a quarter of the prompts say tells none apart, in any language; in a small pool that may be what it is about.
    common = _COMMON if len(texts) >= _MANY else 1.0
    kept = min(_WORDS, max(1, _ENTRIES // len(texts)))
    vectorizer = CountVectorizer(token_pattern=r"\w+", max_df=common, max_features=kept, dtype=np.float64)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # "empty vocabulary"
        raise UsageError("no prompt of the pool has a word, so none is far from another") from None
    vectors = TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray()
    # Without any of the words that count, all are equal: a column of their own.
    return np.column_stack([vectors, (~vectors.any(axis=1)).astype(np.float64)])


def _scikit_learn() -> str:
    import sklearn

    return f"scikit-learn {sklearn.__version__}"
