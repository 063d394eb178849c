"""The live view: the report's page, served to this machine only, following a run that is going."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopsim.view.answers import Answers
from loopsim.view.follow import Follower
from loopsim.view.server import PageServer

__all__ = ["Answers", "Follower", "PageServer", "view"]


@contextmanager
def view(path: Path, port: int = 0, thumbnails: int | None = None) -> Iterator[tuple[PageServer, Follower]]:
    """Follow a run and make ready to serve it; call `serve_forever` of the server inside.

    Args:
        path: a run directory, or one that a run is about to begin in. Nothing is written into it.
        port: to listen on, on 127.0.0.1; any free one where 0.
        thumbnails: pixels of the longer side of a picture; by their number where None.

    Raises:
        UsageError: there is no run and none can begin there, or the port cannot be had.
        StoreError: the run is damaged.
    """
    follower = Follower(path, thumbnails)
    follower.look()
    with PageServer(Answers(follower), port) as server:
        follower.start()
        try:
            yield server, follower
        finally:
            follower.stop(0.0)
