"""Draws of the same step: the seed noise of a run, from a `redraw` beside it or a second run that branches from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.measure.cells import first_fitted, key_columns
from loopsim.records import NO_CONTROL, redraw_at
from loopsim.seeds import digest
from loopsim.states import Captions, States


@dataclass(frozen=True, eq=False)
class Drawn:
    """Several draws of one step."""

    vectors: NDArray[np.float32]
    """Shape (r, d), r ≥ 2."""
    trajectory: str
    """Whose step."""
    start: str
    """The start of that trajectory."""
    t: int
    """The iteration that was drawn again."""


@dataclass(frozen=True)
class Redraws:
    """All steps that were drawn again."""

    draws: tuple[Drawn, ...]
    """One element a step."""
    source: str
    """Which draws these are, for signatures; `` where they are of the run's own controls."""

    @property
    def parameters(self) -> dict[str, object]:
        """For the signatures of a cell that was to be measured with them."""
        return {"redraws_of": self.source} if self.source else {}

    @property
    def ts(self) -> list[int]:
        """Iterations that have steps drawn again."""
        return sorted({one.t for one in self.draws})

    def of(self, states: States) -> Redraws:
        """Those of the trajectories of one cell."""
        known = set(states.trajectories["trajectory_id"])
        return replace(self, draws=tuple(one for one in self.draws if one.trajectory in known))

    def within(self, first: int, last: int) -> Block | None:
        """Draws of steps first ≤ t ≤ last; None where the run's own controls have none.

        Raises:
            ValueError: there are none in the run that was to give them.
        """
        found: Sequence[Drawn] = [one for one in self.draws if first <= one.t <= last]
        if not found:
            if not self.source:
                return None
            raise ValueError(f"no step of t = {first} to {last} was drawn again under this condition")
        fewest = min(len(one.vectors) for one in found)
        source = self.source or "control-" + "+".join(f"t{t}" for t in sorted({one.t for one in found}))
        return Block(np.stack([one.vectors[:fewest] for one in found]), [one.start for one in found], source)


@dataclass(frozen=True, eq=False)
class Block:
    """Draws of some steps."""

    vectors: NDArray[np.float32]
    """Shape (m, r, d): as many of each step as the least drawn has."""
    starts: list[str]
    """The start of each step."""
    source: str
    """Which draws these are."""


def find_redraws(states: States, branches: States, name: str) -> Redraws:
    """The draws that a run of branches made of steps of this one, each under the condition that the step was made in.

    A branch under another condition is no re-draw: it is a causal edit.
    """
    table = states.trajectories.set_index("trajectory_id")
    draws = []
    branched = branches.trajectories[branches.trajectories["parent"].notna()]
    for (parent, condition), block in branched.groupby(["parent", "condition"], sort=False):
        at = int(block["t0"].iloc[0]) + 1 - int(branches.ts[0])
        rows = [i for i in block.index if at < len(branches.ts) and branches.present[i, at]]
        trajectory = str(parent).partition("@")[0]
        if len(rows) > 1 and trajectory in table.index and table.at[trajectory, "condition"] == condition:
            start = str(table.at[trajectory, "start_id"])
            draws.append(Drawn(branches.vectors[rows, at], trajectory, start, int(branches.ts[at])))
    return Redraws(tuple(draws), digest([name, sorted(branched["trajectory_id"])], 6))


def first_told(found: States | Captions) -> int:
    """Index of the first state of a cell that tells of it: after the register shift, and of a `redraw` its first draw.

    Up to there a `redraw` is the loop.
    """
    first, table = first_fitted(found.ts), found.trajectories
    ats = {redraw_at(label) for label in table["control"].unique()} if "control" in table else set()
    (at, *more) = ats or {None}
    if at is None or more:
        return first
    drawn = max(at, int(table["t0"].max())) + 1 - int(found.ts[0])
    return max(first, min(drawn, len(found.ts) - 1))


def told_since(found: States | Captions) -> dict[str, object]:
    """For the signature of what looks at these states only; nothing where they are all of them."""
    first = first_told(found)
    return {"since": f"t{found.ts[first]}"} if first > first_fitted(found.ts) else {}


def redraws_of_controls(states: States) -> Redraws:
    """The draws that the `redraw` arms of a run made of one step of each trajectory of its loop.

    With several pairs of models in the chain, those count that the pair of that step made.
    """
    table = states.trajectories
    if "control" not in table:
        return Redraws((), "")
    shared = [name for name in key_columns(table) if name not in ("condition", "label", "control")]
    shared += ["start_id", "replicate", "t0", *({"parent", "lineage"} & set(table.columns))]
    keys = pd.Series(list(zip(*(table[name].map(repr) for name in shared), strict=True)), index=table.index)
    whole = {key: str(name) for key, name, label in zip(keys, table["trajectory_id"], table["control"], strict=True)
             if label == NO_CONTROL}  # fmt: skip
    pairs = max(len(table.filter(regex=r"^generator\d*$").columns), 1)
    draws = []
    for i, (key, label, t0, start) in enumerate(
        zip(keys, table["control"], table["t0"], table["start_id"], strict=True)
    ):
        at = redraw_at(label)
        if at is None or key not in whole:
            continue
        t = max(at, int(t0)) + 1
        columns = [k for k in range(t - int(states.ts[0]), len(states.ts), pairs) if states.present[i, k]]
        if len(columns) > 1:
            draws.append(Drawn(states.vectors[i, columns], whole[key], str(start), t))
    return Redraws(tuple(draws), "")
