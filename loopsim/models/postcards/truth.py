"""The known answer on postcards: attributes parsed from captions, and what draws from the prior would give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loopsim.models.postcards import world


def caption_codes(captions: Sequence[str]) -> NDArray[np.int64]:
    """Attributes that captions name, as codes of shape (n, 5); −1 where one is not named."""
    rows = []
    for text in captions:
        found = world.parse(text)
        named = [(name, found[name]) for name in world.ATTRIBUTES]
        rows.append([-1 if value is None else world.VALUES[name].index(value) for name, value in named])
    return np.asarray(rows, dtype=np.int64).reshape(len(captions), len(world.ATTRIBUTES))


def attribute_entropy(codes: NDArray[np.int64], attribute: str | None = None) -> float:
    """Plug-in Shannon entropy of one attribute's values, or its mean over the five, in bits.

    Codes of −1 are left out of their attribute. The range of the mean is 0 (one scene) to 2.90
    (all values equally often). The
    plug-in entropy is biased low, so compare at equal n: `entropy_of_draws` gives what n scenes from a known
    distribution would show.
    """
    names = world.ATTRIBUTES if attribute is None else (attribute,)
    columns = [(codes[:, world.ATTRIBUTES.index(name)], len(world.VALUES[name])) for name in names]
    return float(np.mean([_entropy(values, size) for values, size in columns]))


def _entropy(values: NDArray[np.int64], size: int) -> float:
    counts = np.bincount(values[values >= 0], minlength=size)
    if counts.sum() == 0:
        return float("nan")
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


@lru_cache(maxsize=64)
def entropy_of_draws(
    n: int, source: str = "prior", attribute: str | None = None, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """`attribute_entropy` of n independent scenes: mean, 2.5 % and 97.5 % quantile over `draws` simulations.

    Args:
        n: number of scenes, ≥ 1.
        source: `prior` or `even`.
        attribute: as in `attribute_entropy`.
        draws: simulations.
        seed: of the simulations.
    """
    rng = np.random.default_rng(seed)
    draw = world.draw_prior if source == "prior" else world.draw_even
    codes = draw(n * draws, rng).reshape(draws, n, len(world.ATTRIBUTES))
    values = np.array([attribute_entropy(block, attribute) for block in codes])
    low, high = np.quantile(values, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
