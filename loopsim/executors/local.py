"""Carrying cohorts on in this process, on one device."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from loopsim.engine import CohortRun, advance
from loopsim.executors.base import Advanced, Job
from loopsim.executors.writer import Writer
from loopsim.models.pool import ModelPool


class LocalExecutor:
    """One process, one device; what is made is encoded and stored while the next is drawn.

    Args:
        pool: the models.
    """

    def __init__(self, pool: ModelPool) -> None:
        self.pool = pool

    def carry(self, job: Job) -> Generator[Advanced, None, None]:
        """Make what a job asks for."""
        writer = Writer(job.run)
        with ThreadPoolExecutor(2, thread_name_prefix="loopsim-encode") as encoder:
            try:
                runs = [
                    CohortRun(span.cohort, job.settings, span.last, span.failed, encoder, span.until)
                    for span in job.spans
                ]
                for iteration in advance(runs, self.pool):
                    writer.put(iteration)
                    yield Advanced(iteration.cohort, iteration.t, len(iteration.steps), iteration.failures)
            finally:
                writer.close()

    def described(self) -> list[dict[str, object]]:
        """What each loaded model pinned, for the log."""
        return self.pool.described()
