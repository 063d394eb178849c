"""`loopsim view`: the report's page of a run, served to this machine, following it while it goes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from loopsim.cli._shared import RunArgument, app, print_text, reporting, say, stderr

if TYPE_CHECKING:
    from loopsim.view import PageServer


@app.command()
def view(
    directory: RunArgument,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on, at 127.0.0.1; 0 is any free one.", show_default=True)
    ] = 0,
    open_: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the browser.", show_default="where there is a screen"),
    ] = None,
    thumbnails: Annotated[
        int | None,
        typer.Option(min=32, max=512, help="Pixels of a picture's longer side.", show_default="by their number"),
    ] = None,
) -> None:
    """Look at a run in the browser while it goes; Ctrl-C ends. Nothing is written."""
    with reporting():
        from loopsim.view import view as viewing

        say(f"reading {directory}")
        with viewing(directory, port, thumbnails) as (server, follower):
            print_text(server.url)
            sys.stdout.flush()
            if follower.seen is None:
                say(f"{directory}: no run has begun here yet; the page waits for it")
            say("only this machine can open it; Ctrl-C ends")
            if has_screen() if open_ is None else open_:
                import webbrowser

                webbrowser.open(server.url)
            _serve_until_interrupted(server)
            say("\nended; nothing was changed in the run")
            follower.stop()
            sys.stdout.flush()
            sys.stderr.flush()
            # A thread in the middle of a computation would be cut off while Python shuts down, and may hold what that
            # waits for. Nothing is being written that could be lost.
            os._exit(0)


def _serve_until_interrupted(server: PageServer) -> None:
    """Answer in a thread until Ctrl-C: a handler that only notes it cannot be lost, as an exception raised inside a
    destructor or a library's callback is."""
    over = threading.Event()
    before = signal.signal(signal.SIGINT, lambda number, frame: over.set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not over.wait(0.2):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    server.shutdown()


def has_screen() -> bool:
    """Whether somebody sits at this terminal and at a screen: no browser opens in the middle of a remote shell."""
    if not stderr.is_terminal or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
