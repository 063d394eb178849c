"""The runs of a report, and what is stored of them: rows are trajectories, numbered through all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.store import Run

COLUMNS = (
    "text", "text_in", "flags", "generator_seed", "captioner_seed", "prompt_tokens", "caption_tokens", "seconds",
    "parent", "details",
)  # fmt: skip
"""What is shown of a step."""


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a report."""

    run: Run
    """The run."""
    index: int
    """Its number in the report."""
    first: int
    """The row of its first trajectory."""
    trajectories: pd.DataFrame
    """One row a trajectory, in plan order."""
    steps: pd.DataFrame
    """One row a state: `row` (of the report), `t` and `COLUMNS`, in order of row and t."""
    last: NDArray[np.int64]
    """Last iteration stored of each trajectory, shape (n,); t0 − 1 where nothing is."""

    @property
    def rows(self) -> range:
        """Its rows."""
        return range(self.first, self.first + len(self.trajectories))

    @property
    def t0(self) -> NDArray[np.int64]:
        """Iteration that each trajectory begins at, shape (n,)."""
        t0: NDArray[np.int64] = self.trajectories["t0"].to_numpy(dtype=np.int64)
        return t0


def members(runs: Sequence[Run]) -> list[Member]:
    """Read the steps of the runs, without pictures.

    Raises:
        StoreError: a run is damaged.
    """
    found: list[Member] = []
    first = 0
    for index, run in enumerate(runs):
        table = run.trajectories()
        row_of = {name: first + i for i, name in enumerate(table["trajectory_id"])}
        steps = run.steps(["trajectory_id", "t", *COLUMNS])
        steps.insert(0, "row", steps.pop("trajectory_id").map(row_of).astype("int64"))
        steps = steps.sort_values(["row", "t"], kind="stable", ignore_index=True)
        last = table["t0"].to_numpy(dtype=np.int64) - 1
        np.maximum.at(last, steps["row"].to_numpy() - first, steps["t"].to_numpy(dtype=np.int64))
        found.append(Member(run, index, first, table, steps, last))
        first += len(table)
    return found


def states_in(t0: NDArray[np.int64], last: NDArray[np.int64], rows: int, iterations: int) -> dict[tuple[int, int], int]:
    """How many states each block of a grid has: the version of what is made of it.

    Args:
        t0: first iteration of each row, shape (n,).
        last: last iteration stored of each row, shape (n,).
        rows: rows of a block.
        iterations: iterations of a block.

    Returns:
        (block of rows, block of iterations) to the number of states; blocks without any are left out.
    """
    counts: dict[tuple[int, int], int] = {}
    for row, (begin, end) in enumerate(zip(t0.tolist(), last.tolist(), strict=True)):
        for block in range(begin // iterations, end // iterations + 1 if end >= begin else 0):
            low, high = max(begin, block * iterations), min(end, (block + 1) * iterations - 1)
            key = (row // rows, block)
            counts[key] = counts.get(key, 0) + high - low + 1
    return counts


def span_of(parts: Sequence[Member]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last iteration of every row of a report."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([m.t0 for m in parts]), np.concatenate([m.last for m in parts])


def parent_rows(member: Member) -> dict[str, int]:
    """Trajectory id to row, for texts that came from elsewhere."""
    return {name: member.first + i for i, name in enumerate(member.trajectories["trajectory_id"])}


def missing(value: Any) -> bool:
    """Whether a cell of a frame holds nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)
