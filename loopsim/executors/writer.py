"""Storing iterations in the background, in order."""

from __future__ import annotations

import contextlib
import queue
import threading
import time

from loopsim.engine import Iteration
from loopsim.records import Step
from loopsim.store import Run

FLUSH_SECONDS = 5.0
"""Steps wait at most this long to be stored: slow models commit every iteration, fast ones do not make a file each."""
FLUSH_BYTES = 64 << 20
"""… or until this much has gathered."""


class Writer:
    """Stores iterations in the background, in order; the loop only waits for it when it is far behind."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.error: BaseException | None = None
        self._ended = False
        self._queue: queue.Queue[Iteration | None] = queue.Queue(maxsize=64)
        self._thread = threading.Thread(target=self._work, name="loopsim-writer", daemon=True)
        self._thread.start()

    def put(self, iteration: Iteration) -> None:
        """Hand over an iteration; raises what went wrong with an earlier one."""
        while True:
            self._raise()
            with contextlib.suppress(queue.Full):
                self._queue.put(iteration, timeout=1.0)
                return

    def close(self) -> None:
        """Store what is left; raises what went wrong."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            self._store()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            self.error = error
            while not self._ended and self._queue.get() is not None:  # let no one wait for a place
                pass

    def _store(self) -> None:
        held: list[Step] = []
        cohort, size, since = "", 0, time.monotonic()

        def flush() -> None:
            nonlocal size, since
            if held:
                self.run.commit(cohort, held)
                held.clear()
            size, since = 0, time.monotonic()

        while True:
            try:
                item = self._queue.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                flush()
                continue
            if item is None:
                self._ended = True
                flush()
                return
            if item.cohort.id != cohort or (held and held[-1].t + 1 != item.t):
                flush()
                cohort = item.cohort.id
            if item.failures:
                flush()  # what came before must be there when the failure is: a resumed run leaves the failed one out
            for failure in item.failures:
                self.run.record_failure(cohort, failure)
            held += item.steps
            size += sum(len(step.image or b"") for step in item.steps)
            if time.monotonic() - since > FLUSH_SECONDS or size > FLUSH_BYTES:
                flush()
