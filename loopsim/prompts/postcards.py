"""Prompts of the postcards world, drawn with a seed: a pool of them is as large as one asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import UsageError
from loopsim.models.postcards import world

Draw: TypeAlias = Callable[[int, np.random.Generator], NDArray[np.int64]]
_TRIES = 2_000
"""Draws in a row without anything new, after which there is taken to be no more."""


def _narrow(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Boats at one place under one sky; only colour and number differ."""
    scenes = world.draw_even(n, rng)
    for name, value in (("subject", "boat"), ("place", world.VALUES["place"][0]), ("mood", world.VALUES["mood"][0])):
        scenes[:, world.ATTRIBUTES.index(name)] = world.VALUES[name].index(value)
    return scenes


# Name: draw of scenes, second part of the generator's key, wording.
_KINDS: dict[str, tuple[Draw, int, Callable[[world.Scene, np.random.Generator], str]]] = {
    "postcards-even": (world.draw_stratified, 0, world.caption),
    "postcards-prior": (world.draw_prior, 1, world.caption),
    "postcards-narrow": (_narrow, 2, world.caption),
    "postcards-terse": (world.draw_stratified, 3, world.terse_caption),
}

POSTCARDS = {
    "postcards-even": "each attribute's values equally often",
    "postcards-prior": "typical of the world: drawn from its prior",
    "postcards-narrow": "boats on a street in the sun; colour and number differ",
    "postcards-terse": "drawn evenly, two or three attributes named",
}
"""Name to what it is."""


def draw_prompts(name: str, n: int, seed: int) -> list[str]:
    """`n` different prompts of a kind; the same seed gives the same.

    Raises:
        UsageError: there are not so many.
    """
    draw, key, wording = _KINDS[name]
    rng = np.random.default_rng((seed, key))
    said = dict.fromkeys(wording(world.Scene.from_codes(row), rng) for row in draw(n, rng))
    idle = 0
    while len(said) < n:  # a loop takes each prompt once
        before = len(said)
        said[wording(world.Scene.from_codes(draw(1, rng)[0]), rng)] = None
        idle = 0 if len(said) > before else idle + 1
        if idle == _TRIES:
            raise UsageError(
                f"{name}: {n} different prompts are not to be had; about {len(said)} are: use a smaller --n"
            )
    return list(said)
