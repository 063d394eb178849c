"""The `loopsim` command, and `python -m loopsim`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from loopsim.errors import RESUME


def main() -> None:
    """Entry point of the command: listen to signals first, since importing the commands takes a while."""
    if sys.argv[1:2] == ["run"]:
        for each in (signal.SIGTERM, signal.SIGUSR1):  # until `stopping` does more for them
            signal.signal(each, _again)
    from loopsim.cli import main as command

    command()


def _again(number: int, frame: FrameType | None) -> None:
    """Ask to be run again; nothing is being made yet, or any more."""
    os.write(2, f"stopped by {signal.Signals(number).name}; nothing is half done. The same command resumes.\n".encode())
    os._exit(RESUME)


if __name__ == "__main__":
    main()
