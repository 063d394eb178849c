"""The postcards world: scenes, their written-down prior, their captions, and the parser that reads captions back.

A scene has five attributes: subject, colour, number, place and mood. The prior is a small directed model,

    P(scene) = P(subject) · P(colour | subject) · P(number | subject) · P(place | subject) · P(mood | place),

long-tailed as the web's is (Zipf) and correlated (boats belong to the sea). Every factor is mixed with a share of
the uniform distribution (`FLOOR`), so that nothing is impossible and a learner has seen everything. Models trained on
prior-drawn scenes have this prior, so what a chain of such learners must converge to is known: iterated learning
converges to the prior (Griffiths & Kalish 2007). Pictures are drawn by `loopsim.models.postcards.draw`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ATTRIBUTES = ("subject", "colour", "number", "place", "mood")
"""The five attributes, in the order used everywhere."""

# Subjects in order of frequency: rank r has weight r^-ZIPF before the floor.
SUBJECTS = (
    "house", "person", "tree", "car", "boat", "church", "flower", "dog", "bird", "bridge",
    "castle", "lighthouse", "clock", "umbrella", "balloon", "robot", "fish", "mushroom", "rocket", "cactus",
)  # fmt: skip
COLOURS = ("white", "red", "blue", "green", "yellow", "black", "orange", "purple")
NUMBERS = ("one", "two", "three")
PLACES = ("street", "sea", "meadow", "city", "forest", "room", "snow", "desert")
MOODS = ("sunny", "sunset", "night", "rain", "fog", "storm")

VALUES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "colour": COLOURS,
    "number": NUMBERS,
    "place": PLACES,
    "mood": MOODS,
}
"""The values of each attribute; index in the tuple is the code used in arrays."""

ZIPF = 1.8
"""Exponent of the subjects' frequencies."""
FLOOR = 0.15
"""Share of the uniform distribution mixed into every factor of the prior."""

# Which places (in order of fit) and colours go with which subject: the correlations of the prior.
_HOME_PLACES: dict[str, tuple[str, ...]] = {
    "house": ("meadow", "street", "snow"),
    "person": ("street", "room", "city"),
    "tree": ("meadow", "forest", "snow"),
    "car": ("street", "city", "desert"),
    "boat": ("sea", "sea", "city"),
    "church": ("city", "meadow", "snow"),
    "flower": ("meadow", "room", "forest"),
    "dog": ("street", "meadow", "room"),
    "bird": ("forest", "sea", "meadow"),
    "bridge": ("sea", "city", "forest"),
    "castle": ("meadow", "forest", "sea"),
    "lighthouse": ("sea", "sea", "snow"),
    "clock": ("room", "room", "city"),
    "umbrella": ("street", "sea", "city"),
    "balloon": ("city", "meadow", "desert"),
    "robot": ("city", "room", "street"),
    "fish": ("sea", "room", "street"),
    "mushroom": ("forest", "meadow", "forest"),
    "rocket": ("desert", "city", "snow"),
    "cactus": ("desert", "desert", "room"),
}
_HOME_COLOURS: dict[str, tuple[str, ...]] = {
    "house": ("white", "red"),
    "person": ("blue", "red"),
    "tree": ("green", "orange"),
    "car": ("red", "black"),
    "boat": ("white", "blue"),
    "church": ("white", "yellow"),
    "flower": ("red", "yellow"),
    "dog": ("black", "orange"),
    "bird": ("black", "blue"),
    "bridge": ("red", "black"),
    "castle": ("white", "purple"),
    "lighthouse": ("white", "red"),
    "clock": ("black", "white"),
    "umbrella": ("red", "yellow"),
    "balloon": ("red", "orange"),
    "robot": ("blue", "white"),
    "fish": ("orange", "yellow"),
    "mushroom": ("red", "white"),
    "rocket": ("white", "red"),
    "cactus": ("green", "green"),
}
_CROWDS = frozenset({"tree", "flower", "bird", "balloon", "fish", "mushroom", "boat", "umbrella"})
_MOOD_WEIGHTS: dict[str, tuple[float, ...]] = {
    # sunny, sunset, night, rain, fog, storm
    "street": (4, 1, 2, 3, 1, 0.5),
    "sea": (4, 5, 1, 1, 1, 2),
    "meadow": (8, 2, 1, 1, 1, 0.5),
    "city": (2, 1, 6, 3, 1, 0.5),
    "forest": (3, 1, 2, 2, 4, 0.5),
    "room": (3, 1, 6, 3, 0.5, 0.5),
    "snow": (4, 1, 3, 0.5, 3, 1),
    "desert": (8, 4, 2, 0.2, 0.2, 1),
}


@dataclass(frozen=True)
class Scene:
    """One scene of the world; every field is one of the values in `VALUES`."""

    subject: str
    colour: str
    number: str
    place: str
    mood: str

    @property
    def codes(self) -> tuple[int, int, int, int, int]:
        """The five attributes as indices into `VALUES`."""
        return (
            SUBJECTS.index(self.subject),
            COLOURS.index(self.colour),
            NUMBERS.index(self.number),
            PLACES.index(self.place),
            MOODS.index(self.mood),
        )

    @classmethod
    def from_codes(cls, codes: Sequence[int]) -> Scene:
        """The scene with these five indices."""
        return cls(*(VALUES[name][int(code)] for name, code in zip(ATTRIBUTES, codes, strict=True)))


# ---- the prior -----------------------------------------------------------------------------------------------------


def _mixed(weights: Sequence[float]) -> NDArray[np.float64]:
    p = np.asarray(weights, dtype=np.float64)
    p = p / p.sum()
    return np.asarray((1 - FLOOR) * p + FLOOR / len(p), dtype=np.float64)


@lru_cache(maxsize=1)
def prior() -> dict[str, NDArray[np.float64]]:
    """The prior's factors as arrays of probabilities.

    Returns:
        `subject` (20,), `colour` (20, 8) given subject, `number` (20, 3) given subject, `place` (20, 8) given
        subject, `mood` (8, 6) given place. Every row sums to 1 and no entry is 0.
    """
    place, colour, number = [], [], []
    for subject in SUBJECTS:
        weights = np.full(len(PLACES), 0.15)
        for fit, home in zip((6.0, 3.0, 1.5), _HOME_PLACES[subject], strict=True):
            weights[PLACES.index(home)] += fit
        place.append(_mixed(weights.tolist()))
        # Colours are long-tailed on their own, and each subject has two favourites.
        weights = np.arange(1, len(COLOURS) + 1) ** -1.3
        for fit, home in zip((3.0, 1.5), _HOME_COLOURS[subject], strict=True):
            weights[COLOURS.index(home)] += fit
        colour.append(_mixed(weights.tolist()))
        number.append(_mixed((2, 2, 2.5) if subject in _CROWDS else (8, 1.5, 0.5)))
    return {
        "subject": _mixed([rank**-ZIPF for rank in range(1, len(SUBJECTS) + 1)]),
        "colour": np.stack(colour),
        "number": np.stack(number),
        "place": np.stack(place),
        "mood": np.stack([_mixed(_MOOD_WEIGHTS[p]) for p in PLACES]),
    }


@lru_cache(maxsize=1)
def prior_marginals() -> dict[str, NDArray[np.float64]]:
    """P(value) of each attribute under the prior, in the order of `VALUES`; each sums to 1."""
    p = prior()
    place = p["subject"] @ p["place"]
    return {
        "subject": p["subject"],
        "colour": p["subject"] @ p["colour"],
        "number": p["subject"] @ p["number"],
        "place": place,
        "mood": place @ p["mood"],
    }


def prior_entropies() -> dict[str, float]:
    """Shannon entropy of each attribute's marginal under the prior, in bits."""
    return {name: float(-(p * np.log2(p)).sum()) for name, p in prior_marginals().items()}


def draw_prior(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` scenes from the prior, as codes of shape (n, 5)."""
    p = prior()

    def pick(rows: NDArray[np.float64]) -> NDArray[np.int64]:
        cumulative = rows.cumsum(axis=1)
        u = rng.random((len(rows), 1)) * cumulative[:, -1:]
        return np.asarray((u > cumulative).sum(axis=1), dtype=np.int64)

    subject = pick(np.broadcast_to(p["subject"], (n, len(SUBJECTS))))
    colour, number, place = (pick(p[name][subject]) for name in ("colour", "number", "place"))
    return np.stack([subject, colour, number, place, pick(p["mood"][place])], axis=1)


def draw_even(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` scenes with every attribute uniform and independent, as codes of shape (n, 5)."""
    return np.stack([rng.integers(len(VALUES[name]), size=n) for name in ATTRIBUTES], axis=1)


def draw_stratified(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` scenes in which the values of each attribute occur equally often, up to one; codes of shape (n, 5)."""
    columns = []
    for name in ATTRIBUTES:
        size = len(VALUES[name])
        rounds = [rng.permutation(size) for _ in range(-(-n // size))]
        columns.append(rng.permutation(np.concatenate(rounds)[:n]))
    return np.stack(columns, axis=1)


# ---- language ------------------------------------------------------------------------------------------------------

# First entry of each list is the plain one. Nouns are (singular, plural).
_NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "house": (("house", "houses"), ("cottage", "cottages")),
    "person": (("person", "people"), ("figure", "figures")),
    "tree": (("tree", "trees"),),
    "car": (("car", "cars"), ("automobile", "automobiles")),
    "boat": (("boat", "boats"), ("sailboat", "sailboats")),
    "church": (("church", "churches"), ("chapel", "chapels")),
    "flower": (("flower", "flowers"), ("blossom", "blossoms")),
    "dog": (("dog", "dogs"), ("hound", "hounds")),
    "bird": (("bird", "birds"),),
    "bridge": (("bridge", "bridges"),),
    "castle": (("castle", "castles"), ("fortress", "fortresses")),
    "lighthouse": (("lighthouse", "lighthouses"),),
    "clock": (("clock", "clocks"),),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
    "balloon": (("balloon", "balloons"),),
    "robot": (("robot", "robots"), ("android", "androids")),
    "fish": (("fish", "fish"),),
    "mushroom": (("mushroom", "mushrooms"), ("toadstool", "toadstools")),
    "rocket": (("rocket", "rockets"), ("spaceship", "spaceships")),
    "cactus": (("cactus", "cactuses"), ("cactus", "cacti")),
}
_NUMBER_WORDS: dict[str, tuple[str, ...]] = {
    "one": ("one", "a", "a single"),
    "two": ("two", "a pair of", "a couple of"),
    "three": ("three", "a trio of", "a group of three"),
}
_PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "street": ("on a street", "beside the road", "on an avenue"),
    "sea": ("by the sea", "on the water", "at the coast"),
    "meadow": ("in a meadow", "in a green field", "on the grass"),
    "city": ("in the city", "downtown", "in front of a skyline"),
    "forest": ("in the forest", "in the woods", "among pines"),
    "room": ("in a room", "indoors", "beside a window"),
    "snow": ("in the snow", "on a snowfield", "in a winter landscape"),
    "desert": ("in the desert", "on the dunes", "on hot sand"),
}
_MOOD_PHRASES: dict[str, tuple[str, ...]] = {
    "sunny": ("on a sunny day", "in bright daylight", "under a clear sky"),
    "sunset": ("at sunset", "at dusk", "in the evening glow"),
    "night": ("at night", "in the moonlight", "after dark"),
    "rain": ("in the rain", "on a rainy day", "in a shower"),
    "fog": ("in the fog", "in the mist", "on a hazy morning"),
    "storm": ("in a storm", "under lightning", "in a thunderstorm"),
}
_TEMPLATES = (
    "{thing} {place} {mood}",
    "{thing} {mood} {place}",
    "{place} {mood}, {thing}",
    "{mood}, {thing} {place}",
    "a picture of {thing} {place} {mood}",
    "there {be} {thing} {place} {mood}",
    "{thing} standing {place} {mood}",
    "a postcard showing {thing} {place}, {mood}",
)


def _thing(scene: Scene, number: str, noun: tuple[str, str]) -> str:
    words = f"{number} {scene.colour} {noun[0] if scene.number == 'one' else noun[1]}"
    # The only vowel that can follow the article is the colour's, and of these only "orange" has one.
    return words.replace("a orange", "an orange", 1)


def plain_caption(scene: Scene) -> str:
    """The first phrasing of everything: "two blue boats by the sea at sunset"."""
    thing = _thing(scene, _NUMBER_WORDS[scene.number][0], _NOUNS[scene.subject][0])
    return f"{thing} {_PLACE_PHRASES[scene.place][0]} {_MOOD_PHRASES[scene.mood][0]}"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the hundreds of phrasings of a scene, drawn with `rng`; all five attributes are always named.

    Plain wordings are twice as likely as each alternative, as common words are in language.
    """

    def pick(options: Sequence[str]) -> str:
        return options[max(0, int(rng.integers(-1, len(options))))]

    nouns = _NOUNS[scene.subject]
    noun = nouns[max(0, int(rng.integers(-1, len(nouns))))]
    return pick(_TEMPLATES).format(
        thing=_thing(scene, pick(_NUMBER_WORDS[scene.number]), noun),
        place=pick(_PLACE_PHRASES[scene.place]),
        mood=pick(_MOOD_PHRASES[scene.mood]),
        be="is" if scene.number == "one" else "are",
    )


TERSE_WEIGHTS = {"colour": 4.0, "number": 3.0, "place": 2.0, "mood": 1.0}
"""How likely a terse caption is to name each attribute beside the subject, relative to each other."""


def terse_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of few words that names the subject and one or two more attributes: "blue boat at sunset".

    What is not named is nowhere implied: without a number there is no article and no plural. One further attribute
    and two are equally likely; which ones is drawn without replacement with the weights `TERSE_WEIGHTS`.
    """
    weights = np.array(list(TERSE_WEIGHTS.values()))
    chosen = rng.choice(list(TERSE_WEIGHTS), size=int(rng.integers(1, 3)), replace=False, p=weights / weights.sum())

    def pick(options: Sequence[str]) -> str:
        return options[max(0, int(rng.integers(-1, len(options))))]

    nouns = _NOUNS[scene.subject]
    one, many = nouns[max(0, int(rng.integers(-1, len(nouns))))]
    words = [scene.colour] * ("colour" in chosen) + [one]
    if "number" in chosen:
        words[-1] = one if scene.number == "one" else many
        words = [pick(_NUMBER_WORDS[scene.number]), *words]
    text = " ".join(words)
    # As in full captions, an article may stand before the only colour that begins with a vowel, or before such a noun.
    text = re.sub(r"^a(?= [aeiou])", "an", text)
    phrases = [_PLACE_PHRASES[scene.place]] * ("place" in chosen) + [_MOOD_PHRASES[scene.mood]] * ("mood" in chosen)
    return " ".join([text, *(pick(options) for options in phrases)])


def _phrase_table() -> dict[str, tuple[str, str]]:
    table: dict[str, tuple[str, str]] = {colour: ("colour", colour) for colour in COLOURS}
    for subject, nouns in _NOUNS.items():
        table |= {form: ("subject", subject) for noun in nouns for form in noun}
    # A bare article says "one" only by default: "a pair of", "a trio of" start with it too.
    for attribute, phrases in (
        ("number", {k: [w for w in v if w != "a"] for k, v in _NUMBER_WORDS.items()}),
        ("place", _PLACE_PHRASES),
        ("mood", _MOOD_PHRASES),
    ):
        table |= {phrase: (attribute, value) for value, options in phrases.items() for phrase in options}
    return table


_PHRASES = _phrase_table()
# Longest first, so that "a group of three" and "in a green field" win over "three" and "green".
_PATTERN = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _PHRASES), key=len, reverse=True)) + r")\b")
# "in a green field" is a place and says nothing about how many.
_ARTICLE = re.compile(
    r"\ban?\s+(?!green field\b)(?:" + "|".join((*COLOURS, *(n[0] for v in _NOUNS.values() for n in v))) + r")\b"
)
_WORD = re.compile(r"[a-z]+")


def parse(text: str) -> dict[str, str | None]:
    """Read a caption back to its attributes; the first mention of each attribute counts, `None` where not named.

    Exact on everything `caption` can say. Free text gets what it names: `parse("a cat in the rain")` has only a mood.
    """
    text = " ".join(text.lower().split())
    found: dict[str, str | None] = dict.fromkeys(ATTRIBUTES)
    for match in _PATTERN.finditer(text):
        attribute, value = _PHRASES[match.group(1)]
        if found[attribute] is None:
            found[attribute] = value
    if found["number"] is None and _ARTICLE.search(text):
        found["number"] = "one"
    return found


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word that a caption of the world can contain, in lower case."""
    texts = [*_PHRASES, *(w for v in _NUMBER_WORDS.values() for w in v), *_TEMPLATES, "an is are"]
    words = _WORD.findall(" ".join(texts).replace("{thing}", "").replace("{be}", ""))
    return frozenset(words)


def unknown_words(text: str) -> list[str]:
    """The words of `text` that no caption of the world contains, in order, repeats kept."""
    return [word for word in re.findall(r"\w+", text.lower()) if word not in vocabulary()]
