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


class Request:
    """What was asked for while `stopping` was on."""

    def __init__(self) -> None:
        self.received: str | None = None
        """The name of the first signal; None where none came."""

    def heed(self) -> None:
        """Stop now where a signal came: an exception that is raised inside a destructor goes no further."""
        if self.received is not None:
            raise Stopped(self.received)


@contextlib.contextmanager
def stopping() -> Iterator[Request]:
    """Turn the first such signal into `Stopped`, and take no notice of further ones.

    Python drops an exception that a signal raises inside a destructor or a callback, so what takes long asks the
    request now and then.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():  # only that one may have handlers
        yield request
        return

    def stop(number: int, frame: FrameType | None) -> None:
        request.received = signal.Signals(number).name
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(request.received)

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield request
    except KeyboardInterrupt:
        request.heed()  # what waits in native code, such as Ray, makes a plain one of it
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
