"""Who is writing to a run: a lock that one process holds, and that the system lets go of however that process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loopsim.errors import RunBusy
from loopsim.store.shards import storing

NAME = ".lock"
"""The file of a run directory that is locked; while it is, it holds `HOST PID`."""
BEGIN = ".begin"
"""The file that is locked for the moment in which a process makes a run, or joins those who write to it."""
_TRIES, _PAUSE = 5, 0.05
"""Asking whether a run is being written to holds the lock for a moment: a writer tries again before it gives up."""
_PATIENCE = 900.0
"""Seconds to wait for others to begin: long enough to copy thousands of start pictures, or for an array of shards."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock, or held it last and died."""

    held: bool
    """Whether a process holds it, as far as this machine can see."""
    host: str = ""
    """The machine of the writer; empty where it let go in good order, or there was none."""
    pid: int | None = None
    """Its process there."""

    @property
    def elsewhere(self) -> bool:
        """Whether the writer is, or was, on another machine: some file systems show locks to their own machine only."""
        return self.host not in ("", socket.gethostname())

    def __str__(self) -> str:
        return f" (process {self.pid} on {self.host})" if self.host else ""


@contextlib.contextmanager
def holding(path: Path, unlocked: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run directory.

    Args:
        path: the run directory.
        unlocked: called with the reason where the file system has no locks; the run is written to all the same.

    Raises:
        RunBusy: another process holds it.
        StoreError: the file cannot be made.
    """

    def busy(_: Holder) -> str:
        return f"{path}: another process is writing to this run{holder(path)}; wait for it to end"

    with holding_file(path / NAME, busy, unlocked):
        yield


@contextlib.contextmanager
def beginning(path: Path) -> Iterator[None]:
    """Be the only one that makes a run in this directory, or joins those who write to it: for a moment, others wait.

    What holds for all writers (the experiment, the cohorts) is read, compared and written in here. Where the file
    system has no locks, nobody waits.

    Raises:
        RunBusy: another process takes very long to begin.
        StoreError: the file cannot be made.
    """

    def busy(holder: Holder) -> str:
        return f"{path}: another process is beginning with this run{holder}; wait for it"

    with holding_file(path / BEGIN, busy, lambda _: None, patience=_PATIENCE):
        yield


@contextlib.contextmanager
def holding_file(
    file: Path,
    busy: Callable[[Holder], str],
    unlocked: Callable[[str], None],
    shared: bool = False,
    patience: float = _TRIES * _PAUSE,
) -> Iterator[None]:
    """Hold a lock file, and write into it who holds it.

    Args:
        file: the file, made if it is not there.
        busy: what is said where another holds it.
        unlocked: called with the reason where the file system has no locks.
        shared: hold it beside others who share it; then nobody's name is written.
        patience: seconds to wait for another who holds it.

    Raises:
        RunBusy: another process holds it.
        StoreError: the file cannot be made.
    """
    with contextlib.ExitStack() as stack:
        with storing(file):
            handle = stack.enter_context(file.open("a+"))
        locked = False
        for more in reversed(range(round(patience / _PAUSE))):
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                locked = True
                break
            except BlockingIOError:
                if not more:
                    raise RunBusy(busy(holder_of(file))) from None
                time.sleep(_PAUSE)
            except OSError as error:  # a file system without locks, as some clusters have
                unlocked(str(error))
                break
        if not shared:
            with storing(file):
                handle.truncate(0)
                handle.write(f"{socket.gethostname()} {os.getpid()}\n")
                handle.flush()
        try:
            yield
        finally:
            if locked and not shared:
                with contextlib.suppress(OSError):  # a full disk: the name of a dead process stays, and misleads nobody
                    handle.truncate(0)


def holder(path: Path) -> Holder:
    """Who is writing to a run directory, to all of it or to a share. Nothing is written, no writer is disturbed."""
    whole = holder_of(path / NAME)
    if whole.held:
        return whole
    shares = [holder_of(file) for file in sorted((path / ".shards").glob("*.lock"))]
    # One on another machine may be alive although its lock is not seen from here.
    for sign in ("held", "elsewhere", "host"):
        found = next((one for one in shares if getattr(one, sign)), None)
        if found is not None:
            return found
    return whole


def holder_of(file: Path) -> Holder:
    """Who holds a lock file, or held it last and died."""
    try:
        with file.open() as handle:
            host, _, pid = handle.readline().strip().partition(" ")
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                held = False
            except BlockingIOError:
                held = True
    except OSError:  # no such file, or a file system without locks
        return Holder(False)
    return Holder(held, host, int(pid) if pid.isdigit() else None)
