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

    received: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(received[0])

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        if received:  # what waits in native code, such as Ray, makes a plain one of it
            raise Stopped(received[0]) from None
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
