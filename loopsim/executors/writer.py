"""Storing iterations in the background."""

from __future__ import annotations

import contextlib
import queue
import threading
import time

from loopsim.engine import Iteration
from loopsim.executors.batch import Batch, picture_bytes
from loopsim.store import Run

FLUSH_SECONDS = 5.0
"""Steps wait at most this long to be stored: slow models commit every iteration, fast ones do not make a file each."""
FLUSH_BYTES = 8 << 20
"""… or until this much has gathered: memory holds it several times while it is made into a file."""
BACKLOG_BYTES = 16 << 20
"""Pictures of iterations that wait for the writer, beyond one: memory stays flat where the disk is slow."""


class Writer:
    """Stores iterations in the background, in order; the loop only waits for it when it is far behind."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.error: BaseException | None = None
        self._ended = False
        self._queue: queue.Queue[Iteration | None] = queue.Queue(maxsize=64)
        self._waiting = 0
        self._room = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="loopsim-writer", daemon=True)
        self._thread.start()

    def put(self, iteration: Iteration) -> None:
        """Hand over an iteration; raises what went wrong with an earlier one."""
        size = picture_bytes(iteration)
        while True:
            self._raise()
            with self._room:
                if not self._waiting or self._waiting + size <= BACKLOG_BYTES:
                    self._waiting += size
                    break
                self._room.wait(1.0)
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
        batch = Batch(self.run)
        while True:
            try:
                item = self._queue.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                batch.flush()
                continue
            if item is None:
                self._ended = True
                batch.flush()
                return
            with self._room:
                self._waiting -= picture_bytes(item)
                self._room.notify()
            batch.add(item)
            if time.monotonic() - batch.since > FLUSH_SECONDS or batch.size > FLUSH_BYTES:
                batch.flush()
