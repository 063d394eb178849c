"""Progress on stderr: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from loopsim.cli._shared import say, stderr

if TYPE_CHECKING:
    from loopsim.runner import Progress


@contextlib.contextmanager
def progress_shown() -> Iterator[Any]:
    """A bar on a terminal, a plain line every now and then otherwise."""
    if not stderr.is_terminal:
        yield _PlainLines()
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("steps"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    with bars.Progress(*columns, console=stderr) as bar:
        task = bar.add_task("steps", total=None, rate="")

        def watch(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.total, rate=_rate(now))

        yield watch


def _rate(now: Progress) -> str:
    """Images a second, or seconds an image where a model is slow."""
    if not now.made or now.seconds <= 0:
        return ""
    rate = now.made / now.seconds
    return f"{rate:.1f} images/s" if rate >= 1 else f"{1 / rate:.1f} s an image"


def _left(now: Progress) -> str:
    minutes = (now.total - now.done) * now.seconds / now.made / 60
    return f"{minutes:.1f} min left" if minutes < 100 else f"{minutes / 60:.1f} h left"


class _PlainLines:
    """Progress for logs: at the first and last step, and at most every ten seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, now: Progress) -> None:
        if now.done < now.total and time.monotonic() - self.last < 10:
            return
        self.last = time.monotonic()
        if not now.made:  # nothing is known of the rate
            say(f"{now.done}/{now.total} steps")
            return
        say(f"{now.done}/{now.total} steps, {_rate(now)}, {_left(now)}")
