"""Which prompts of a pool: far apart, at random, typical, or a tight neighbourhood; and how far apart they are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopsim.errors import UsageError
from loopsim.prompts.pools import Pool, Prompt
from loopsim.prompts.spaces import TFIDF, Space, default_embedder, embed_texts
from metrics import selection

METHODS: Mapping[str, str] = {
    "farthest": "each next one is the farthest from all that are chosen",
    "dpp": "greedy most probable set of a determinantal point process",
    "random": "a random sample",
    "typical": "nearest to the centre of the pool",
    "narrow": "the tightest neighbourhood of the pool",
}
"""Name to what it does."""
AT_MOST = 20_000
"""Prompts that are embedded and chosen from; a larger pool is sampled first."""
_SUBSETS, _SUBSETS_OF_LARGE, _LARGE = 500, 200, 300


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how far apart it is."""

    prompts: tuple[Prompt, ...]
    """In the order chosen; a random sample is in the pool's order."""
    method: str
    """One of `METHODS`."""
    pool: Pool
    """What was there to choose from."""
    embedder: str | None
    """Whose space was looked at; None where none was."""
    weights: Mapping[str, Any]
    """What tells the embedder from others."""
    spread: selection.Spread | None
    """Distances in this space; None where none was looked at, or one prompt was chosen."""


def choose(
    pool: Pool,
    n: int,
    *,
    method: str = "farthest",
    embedder: str | None = None,
    balance: str | None = None,
    at_most: int = AT_MOST,
    seed: int = 0,
    device: str = "auto",
    on_load: Callable[[str], None] | None = None,
) -> Choice:
    """`n` prompts of a pool; the same arguments give the same prompts.

    Args:
        pool: what to choose from.
        n: how many.
        method: one of `METHODS`.
        embedder: in whose space; None takes word counts (`tfidf`), for postcards the embedder of their world, and for a
            random sample none.
        at_most: of a larger pool, so many drawn by `seed` are embedded and chosen from.
        balance: a column of which each value gets equally many prompts, up to one; for `farthest` and `dpp`.
        seed: of a random sample, of `at_most`, and of the random subsets that the distances are compared with.
        device: where to embed.
        on_load: called with a line when a model is loaded.

    Raises:
        UsageError: something of this cannot be.
        ModelError: the embedder is unknown or cannot be loaded.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method}: is not known; known are {', '.join(METHODS)}")
    if method != "random" or embedder is not None:
        pool = _part(pool, n, at_most, seed)
    groups = None if balance is None else _groups(pool, balance, method, n)
    space = None
    if method != "random" or embedder is not None:
        name = embedder or default_embedder(pool.name)
        space = embed_texts(pool.tagged if name == TFIDF else pool.texts, name, device, on_load)
    chosen = _rows(pool, space, n, method, groups, seed)
    spread = None
    if space is not None and n > 1:
        subsets = _SUBSETS if n <= _LARGE else _SUBSETS_OF_LARGE
        spread = selection.spread_against_random(space.vectors, chosen, subsets=subsets, seed=seed)
    return Choice(
        tuple(pool.prompts[i] for i in chosen),
        method,
        pool,
        None if space is None else space.name,
        {} if space is None else space.weights,
        spread,
    )


def _part(pool: Pool, n: int, at_most: int, seed: int) -> Pool:
    size = len(pool.prompts)
    if size <= at_most:
        return pool
    if n > at_most:
        raise UsageError(f"--at-most {at_most}: is fewer than the {n} prompts to choose; raise it")
    rows = sorted(np.random.default_rng(seed).choice(size, at_most, replace=False).tolist())
    note = f"all but {at_most} of {size} prompts, drawn by --seed {seed} (--at-most takes more, and longer)"
    return dataclasses.replace(pool, prompts=tuple(pool.prompts[i] for i in rows), notices=(*pool.notices, note))


def _rows(pool: Pool, space: Space | None, n: int, method: str, groups: list[str] | None, seed: int) -> list[int]:
    if space is None or method == "random":
        m = len(pool.prompts)
        # A drawn pool is in random order, of which every beginning is a sample.
        drawn = range(n) if pool.drawn else np.random.default_rng(seed).choice(m, n, replace=False).tolist()
        return sorted(int(i) for i in drawn)
    try:
        if method == "farthest":
            return [int(i) for i in selection.farthest(space.vectors, n, groups=groups)]
        if method == "dpp":
            return [int(i) for i in selection.determinantal(space.vectors, n, groups=groups)]
        if method == "typical":
            return [int(i) for i in selection.central(space.vectors, n)]
        return [int(i) for i in selection.nearby(space.vectors, n)]
    except ValueError as error:
        raise UsageError(f"{pool.name} in the space of {space.name}: {error}") from None


def _groups(pool: Pool, balance: str, method: str, n: int) -> list[str]:
    if method not in ("farthest", "dpp"):
        raise UsageError(f"--balance is for the methods farthest and dpp, not for {method}; leave it out")
    if balance not in pool.prompts[0].facts:
        has = ", ".join(pool.prompts[0].facts) or "none"
        raise UsageError(f"--balance {balance}: {pool.name} has no such column beside the prompts; it has {has}")
    groups = [str(prompt.facts[balance]) for prompt in pool.prompts]
    counts = Counter(groups)
    fewest = min(counts, key=lambda one: counts[one])
    if counts[fewest] < n // len(counts):
        raise UsageError(
            f"--balance {balance}: {n} prompts in {len(counts)} equal shares are {n // len(counts)} each, and "
            f"{pool.name} has {counts[fewest]} of {fewest}; ask for at most {counts[fewest] * len(counts)}"
        )
    return groups
