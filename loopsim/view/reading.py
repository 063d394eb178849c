"""Steps of a run that grows: read once, and after that only what is new."""

from __future__ import annotations

import numpy as np
import pandas as pd

from loopsim.errors import StoreError
from loopsim.report.members import COLUMNS, Member
from loopsim.store import Run
from loopsim.store.shards import Shard
from loopsim.store.spans import Range, joined, missing

_TRIES = 5
"""Shards are merged and the old ones removed while we look: what was listed may be gone a moment later."""


class GrowingSteps:
    """The steps of one run, without pictures.

    Shards are only ever added, or merged into one that holds the same, so what was read stays true.
    """

    def __init__(self, run: Run) -> None:
        self.renew(run)
        self._read: dict[str, list[Range]] = {}
        self._frames: dict[str, pd.DataFrame] = {}

    def renew(self, run: Run) -> None:
        """The same run was opened again: it may have more iterations to make, and other names of groups."""
        self._run = run
        self._table = run.trajectories()
        self._row_of = {name: i for i, name in enumerate(self._table["trajectory_id"])}

    def update(self) -> bool:
        """Read what was stored since; whether there was anything.

        Raises:
            StoreError: a shard is damaged.
        """
        grew = False
        for more in reversed(range(_TRIES)):
            try:
                for shard in self._run.step_shards():
                    new = missing(self._read.get(shard.cohort, ()), shard.first, shard.last)
                    if new:
                        self._add(shard, new)
                        grew = True
                return grew
            except StoreError as error:
                if not more or not isinstance(error.__cause__, FileNotFoundError):
                    raise
        raise AssertionError("the last try returns or raises")

    def _add(self, shard: Shard, new: list[Range]) -> None:
        found = self._run.shard_steps(shard, ["trajectory_id", "t", *COLUMNS], new)
        found.insert(0, "row", found.pop("trajectory_id").map(self._row_of).astype("int64"))
        known = self._frames.get(shard.cohort)
        whole = found if known is None else pd.concat([known, found], ignore_index=True)
        self._frames[shard.cohort] = whole.sort_values(["row", "t"], kind="stable", ignore_index=True)
        self._read[shard.cohort] = joined([*self._read.get(shard.cohort, ()), *new])

    def member(self) -> Member:
        """The run as a report takes it, with the steps read so far."""
        # Rows are in the order of cohorts, so cohorts one after the other are in the order of rows.
        frames = [self._frames[cohort] for cohort in sorted(self._frames)]
        steps = pd.concat(frames, ignore_index=True) if frames else self._nothing()
        if not steps["row"].is_monotonic_increasing:
            steps = steps.sort_values(["row", "t"], kind="stable", ignore_index=True)
        last = self._table["t0"].to_numpy(dtype=np.int64) - 1
        np.maximum.at(last, steps["row"].to_numpy(dtype=np.int64), steps["t"].to_numpy(dtype=np.int64))
        return Member(self._run, 0, 0, self._table, steps, last)

    def _nothing(self) -> pd.DataFrame:
        empty = self._run.steps(["trajectory_id", "t", *COLUMNS]).iloc[:0]
        empty.insert(0, "row", empty.pop("trajectory_id").astype("int64"))
        return empty
