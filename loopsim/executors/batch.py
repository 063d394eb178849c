"""Storing iterations in the order in which a killed process may lose them: what came before, the failures, the rest."""

from __future__ import annotations

import time

from loopsim.engine import Iteration
from loopsim.records import Step
from loopsim.store import Run


def picture_bytes(iteration: Iteration) -> int:
    """Bytes of the encoded pictures of an iteration."""
    return sum(len(step.image or b"") for step in iteration.steps)


class Batch:
    """Iterations that wait to be stored together.

    Args:
        run: where they go.
        once: leave out what another worker has stored meanwhile.
    """

    def __init__(self, run: Run, once: bool = False) -> None:
        self.run, self.once = run, once
        self.size, self.since = 0, time.monotonic()
        """Bytes of the pictures that wait, and since when."""
        self._cohort = ""
        self._held: list[Step] = []

    def add(self, iteration: Iteration) -> None:
        """Take an iteration; what does not follow on those that wait is stored first.

        Raises:
            StoreError: the disk is full or refuses.
        """
        if iteration.cohort.id != self._cohort or (self._held and self._held[-1].t + 1 != iteration.t):
            self.flush()
            self._cohort = iteration.cohort.id
        if iteration.failures:
            self.flush()  # what came before must be there when the failure is: a resumed run leaves the failed one out
        for failure in iteration.failures:
            self.run.record_failure(self._cohort, failure)
        self._held += iteration.steps
        self.size += picture_bytes(iteration)

    def flush(self) -> None:
        """Store what waits.

        Raises:
            StoreError: the disk is full or refuses.
        """
        if self._held:
            self.run.commit(self._cohort, self._held, once=self.once)
            self._held = []
        self.size, self.since = 0, time.monotonic()
