"""The concepts that are looked for, and where texts name them: from a file, or the content words of the starts."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import UsageError
from loopsim.seeds import digest
from metrics.text import words

MOST = 200
"""Content words taken from the starts at most, the most frequent first."""
NO_CATEGORY = "all"
"""The category of concepts of which none is said."""


@dataclass(frozen=True)
class Vocabulary:
    """Concepts that are looked for."""

    concepts: tuple[str, ...]
    """A word or a few words each, lower case."""
    categories: tuple[str, ...]
    """The category of each; a replacement is within one."""
    synonyms: tuple[tuple[str, ...], ...] = ()
    """What else names each, the concept itself left out; empty where nothing does."""
    listed: bool = False
    """Whether a file lists them, rather than the starts' words or a world that is known."""

    @property
    def parameters(self) -> dict[str, object]:
        """For the signature of what is measured with it."""
        parts: list[object] = [list(self.concepts), list(self.categories)]
        parts += [[list(more) for more in self.synonyms]] if self.synonyms else []
        if any(" " in phrase and category != NO_CATEGORY for _, category, phrase in self.phrases()):
            parts.append("longest")  # of phrases within each other the longer one counts
        return {"vocabulary": digest(parts, 6)}

    @property
    def categorised(self) -> list[int]:
        """Indices of the concepts that have a category."""
        return [index for index, category in enumerate(self.categories) if category != NO_CATEGORY]

    def phrases(self) -> Iterator[tuple[int, str, str]]:
        """What names a concept: its index, its category, and the word or words."""
        more = self.synonyms or ((),) * len(self.concepts)
        for index, (concept, category, others) in enumerate(zip(self.concepts, self.categories, more, strict=True)):
            for phrase in (concept, *others):
                yield index, category, phrase


_Phrase = tuple[tuple[str, ...], int, str]
"""Folded words, the index of the concept that they name, and its category."""


def read_vocabulary(path: Path) -> Vocabulary:
    """Concepts from a text file: `concept`, or `category: concept, concept`, a line each; `#` begins a comment.

    `woman|women|lady` is one concept, called by the first, which any of them names: synonyms, and plurals that do not
    end in s. A word may stand in several categories, but once in each, and a concept's name once in all.

    Raises:
        UsageError: the file cannot be read, is empty, or has a concept, or a word of a category, twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--concepts {path}: cannot be read as UTF-8 text: {error}") from None
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        category, colon, rest = line.partition("#")[0].strip().partition(":")
        for group in (rest if colon else category).split(","):
            named = [phrase for phrase in dict.fromkeys(" ".join(words(name)) for name in group.split("|")) if phrase]
            if named:
                found.append((category.strip() if colon else NO_CATEGORY, named))
    if not found:
        raise UsageError(
            f"--concepts {path}: there is no concept in it; write one a line, or `category: one, two|another word`"
        )
    counts = Counter(named[0] for _, named in found)
    within = Counter((category, phrase) for category, named in found for phrase in named)
    twice = [name for name, count in counts.items() if count > 1]
    twice += [phrase for (_, phrase), count in within.items() if count > 1]
    if twice:
        raise UsageError(f"--concepts {path}: {twice[0]!r} is there twice")
    synonyms = tuple(tuple(named[1:]) for _, named in found)
    return Vocabulary(
        tuple(named[0] for _, named in found), tuple(category for category, _ in found),
        synonyms if any(synonyms) else (), listed=True,
    )  # fmt: skip


def vocabulary_of(texts: Sequence[str]) -> Vocabulary:
    """The content words of the starts: three letters or more, no stop words, plurals folded."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    counts = Counter(
        folded for text in texts for folded in {fold(w) for w in words(text) if len(w) > 2 and not w.isdigit()}
        if folded not in ENGLISH_STOP_WORDS
    )  # fmt: skip
    chosen = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST]]
    return Vocabulary(tuple(chosen), (NO_CATEGORY,) * len(chosen))


@functools.lru_cache(maxsize=50_000)
def fold(word: str) -> str:
    """A word without its plural ending or 's: boats, boat's and boat, ladies and lady, churches and church are one."""
    word = re.sub("['’]s$", "", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(ch|sh|ss|x|z)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _folded(phrase: str) -> tuple[str, ...]:
    return tuple(fold(word) for word in words(phrase))


# ---- texts -----------------------------------------------------------------------------------------------------------


def named_in(texts: NDArray[np.object_], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Whether a text names each concept: shape (*texts.shape, C); False where there is no text.

    Plurals are folded. Within a category that a file names, what lies inside a longer phrase does not count by itself:
    "small crowd" is no "crowd" where both are listed.
    """
    wanted: dict[str, list[_Phrase]] = {}
    for index, category, phrase in vocabulary.phrases():
        folded = _folded(phrase)
        wanted.setdefault(folded[0], []).append((folded, index, category))
    known: dict[str | None, NDArray[np.bool_]] = {None: np.zeros(len(vocabulary.concepts), dtype=bool)}
    flat = []
    for text in texts.ravel():
        if text not in known:
            known[text] = np.zeros(len(vocabulary.concepts), dtype=bool)
            known[text][_named([fold(word) for word in words(text)], wanted)] = True
        flat.append(known[text])
    return np.array(flat, dtype=bool).reshape(*texts.shape, len(vocabulary.concepts))


def _named(said: Sequence[str], wanted: Mapping[str, Sequence[_Phrase]]) -> list[int]:
    """Indices of the concepts that folded words name; `wanted` has the phrases by their first word."""
    hits = [
        (len(phrase), first, index, category)
        for first, word in enumerate(said)
        for phrase, index, category in wanted.get(word, ())
        if len(phrase) == 1 or tuple(said[first : first + len(phrase)]) == phrase
    ]
    longer: dict[str, list[tuple[int, int]]] = {}
    found = []
    for length, first, index, category in sorted(hits, reverse=True):
        inside = any(a <= first and first + length <= b and length < b - a for a, b in longer.get(category, ()))
        if not inside or category == NO_CATEGORY:
            found.append(index)
            if length > 1:
                longer.setdefault(category, []).append((first, first + length))
    return found
