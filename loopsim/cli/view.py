"""`loopsim view`: the report's page of a run, served to this machine, following it while it goes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from loopsim.cli._shared import RunArgument, app, print_text, reporting, say, stderr


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
            try:
                server.serve_forever(poll_interval=0.2)
            except KeyboardInterrupt:
                say("\nended; nothing was changed in the run")
                if not follower.stop():
                    # A thread in the middle of a computation would be cut off while Python shuts down, and may hold
                    # what that waits for. Nothing is being written that could be lost.
                    os._exit(0)


def has_screen() -> bool:
    """Whether somebody sits at this terminal and at a screen: no browser opens in the middle of a remote shell."""
    if not stderr.is_terminal or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
