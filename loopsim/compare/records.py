"""What is compared, how, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Statistic = Callable[[IntArray], float]
MEASURES: Mapping[str, str] = {
    "late distance": "mean cosine distance of different starts over the last quarter: the level it ends at",
    "change": "the same less its first value: how much diversity was lost",
    "vendi": "Vendi score at the last iteration",
    "memory": "share of what sets trajectories apart that is the start, over the last quarter",
    "motifs": "effective number of motifs over the last quarter, one codebook for all",
    "drift": "cosine distance to the start at the last iteration",
    "step": "cosine distance to the previous iteration over the last quarter",
    "survival": "share of the concepts named at the start that last (log-rank test, stratified by start)",
}
"""What is compared."""
RISES_WITH_N = ("vendi", "motifs")
"""Measures that are larger for more trajectories of the same kind: both cells are thinned to equally many."""
OMNIBUS_PERMUTATIONS = 499
"""Most permutations of a test of three or more cells, where each takes as many statistics as there are cells; more only
where so many tests share the level that none of them could come out."""


@dataclass(frozen=True)
class Comparison:
    """One line: one measure of two cells."""

    first: str
    """The first cell: condition, group of starts, run."""
    second: str
    """The second cell."""
    modality: str
    """`image` or `text`."""
    measure: str
    """A key of `MEASURES`."""
    first_value: float
    """Its value in the first cell."""
    second_value: float
    """Its value in the second."""
    difference: float
    """Second minus first."""
    ci_low: float
    """Lower limit of the 95 % interval of the difference."""
    ci_high: float
    """Upper limit."""
    p: float
    """Permutation p-value of a difference."""
    p_adjusted: float
    """The same, Holm-adjusted over all lines."""
    margin: float
    """Smallest effect of interest, in the units of the measure."""
    p_equivalence: float
    """p-value of a difference beyond the margin: small shows equality."""
    p_equivalence_adjusted: float
    """The same, Holm-adjusted over all lines."""
    verdict: str
    """`differs`, `equivalent`, `differs by less than the margin` or `undecided`."""
    starts: int
    """Starts that it rests on."""
    first_starts: int
    """Those of the first cell: all of them where they are shared."""
    second_starts: int
    """Those of the second cell."""
    paired: bool
    """Whether the cells share them."""
    signature: str
    """Everything that could change the numbers."""
    undefined: str
    """Why a number is missing."""


@dataclass(frozen=True)
class Omnibus:
    """Whether three or more cells differ at all in a measure."""

    cells: tuple[str, ...]
    """Their names."""
    modality: str
    """`image` or `text`."""
    measure: str
    """A key of `MEASURES`."""
    p: float
    """Permutation p-value."""
    p_adjusted: float
    """Holm-adjusted over all omnibus tests."""
    starts: int
    """Starts that it rests on."""
    undefined: str
    """Why p is nan."""


@dataclass(frozen=True)
class Settings:
    """How to compare."""

    by: str = "condition"
    """`condition` (within groups of starts), `group` (within conditions), or a factor's column."""
    reference: str | None = None
    """Compare only with cells of this name; all pairs where None."""
    embedder: str | None = None
    """Whose vectors; the first that all runs have where None."""
    modalities: tuple[str, ...] = ("image", "text")
    """Of what."""
    measures: tuple[str, ...] = tuple(MEASURES)
    """Keys of `MEASURES`: the fewer that are asked about, the less Holm's adjustment costs."""
    margin: float = 0.1
    """Smallest effect of interest, as a share of the first cell's value (of `change`: of the first distance)."""
    alpha: float = 0.05
    """Level of both tests."""
    n_permutations: int = 999
    """Permutations a test."""
    seed: int = 0
    """Of the permutations."""
