"""Ending when the machine says so: what a scheduler sends before it kills."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Slurm sends at the end of the time, or when a job is preempted; and what `--signal=USR1` asks for."""


class Stopped(KeyboardInterrupt):
    """The machine asked to end; like Ctrl-C, it passes through whatever catches errors."""


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn the first such signal into `Stopped`, and take no notice of further ones."""
    if threading.current_thread() is not threading.main_thread():  # only that one may have handlers
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
