"""Curves of words while a run is going, made beside everything else, for they take longer than a look."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

import pandas as pd

from loopsim.measure import early_curves
from loopsim.report.members import Member
from loopsim.states import captions_of

SHARE = 0.1
"""Of the time, at most, that is spent on them: the run needs the processor more."""

log = logging.getLogger("loopsim.view")


@dataclass(frozen=True, eq=False)
class Early:
    """The curves at some moment."""

    frame: pd.DataFrame
    """Rows as of `measurements.parquet`; `n` says of how many trajectories."""
    number: int
    """1, 2, …: which one it is."""


class EarlyCurves:
    """Makes the curves again whenever there are new captions and time."""

    def __init__(self) -> None:
        self._wanted: Member | None = None
        self._latest: Early | None = None
        self._news = threading.Condition()
        self._over = False
        self._thread: threading.Thread | None = None

    def want(self, member: Member) -> None:
        """There is more to draw: begin as soon as there is time."""
        with self._news:
            self._wanted = member
            self._news.notify()
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._work, name="loopsim-early", daemon=True)
                self._thread.start()

    def latest(self) -> Early | None:
        """The newest there are; None before the first."""
        return self._latest

    def forget(self) -> None:
        """The run is another one."""
        with self._news:
            self._wanted = self._latest = None

    def stop(self, patience: float = 0.0) -> bool:
        """Make no more; whether the last had been made after so many seconds at most."""
        with self._news:
            self._over = True
            self._news.notify()
        if self._thread is None:
            return True
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _work(self) -> None:
        number = 0
        while True:
            with self._news:
                while self._wanted is None and not self._over:
                    self._news.wait()
                if self._over:
                    return
                member, self._wanted = self._wanted, None
            assert member is not None
            began = time.monotonic()
            try:
                failed = [failure.trajectory_id for failure in member.run.failures()]
                frame = early_curves(captions_of(member.trajectories, member.steps), failed)
            except Exception:  # a view without curves is still a view
                log.exception("curves of %s", member.run.path)
                continue
            number += 1
            with self._news:
                self._latest = Early(frame, number)
                self._news.wait_for(lambda: self._over, (time.monotonic() - began) * (1 - SHARE) / SHARE)
