"""`loopsim report`: a folder that shows a run to whoever opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loopsim.cli._shared import RunArgument, app, print_text, reporting, say, stderr


@app.command()
def report(
    directory: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where to.", show_default="DIR/report")
    ] = None,
    thumbnails: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Longer side of a picture.", show_default="256, less in large runs"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What to call it.", show_default="the run's name")] = None,
) -> None:
    """Write a page that shows a run: finding, curves, map, filmstrips. It opens from disk and needs no network."""
    with reporting():
        from loopsim.report.folder import build
        from loopsim.report.site import Options
        from loopsim.store import open_run

        run = open_run(directory)
        with _progress() as on_sheet:
            built = build([run], out or run.path / "report", Options(title=title, thumbnails=thumbnails), on_sheet)
        if not (run.path / "measurements.parquet").exists():
            say(f"not measured yet, so there are no curves; `loopsim measure {run.path}` measures", "note:", "yellow")
        elif not run.is_measured():
            say(f"measured before its last steps; `loopsim measure {run.path}` measures anew", "note:", "yellow")
        print_text(f"{built.page}: {built.files} files, {built.bytes / 1e6:.1f} MB; open it in a browser")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar of sprite sheets, which take the time; nothing where nobody looks."""
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("pictures", total=None)

        def on_sheet(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield on_sheet
