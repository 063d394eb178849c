"""`loopsim report`: a folder that shows a run to whoever opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loopsim.cli._shared import app, print_text, reporting, say, stderr
from loopsim.errors import UsageError

if TYPE_CHECKING:
    from loopsim.store import Run


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="One run directory, or several.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where to.", show_default="DIR/report, of one run")
    ] = None,
    thumbnails: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Longer side of a picture.", show_default="256, less in large runs"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What to call it.", show_default="the run's name")] = None,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Compare the runs, or the conditions of one.",
            show_default="where there are several",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Compare by condition, group (of starts), or a factor.", show_default="condition, or group"),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compare with cells of this name only.", show_default="all pairs")
    ] = None,
    margin: Annotated[float, typer.Option(help="Smallest effect of interest, as a share of the first value.")] = 0.1,
    permutations: Annotated[int, typer.Option(min=19, help="Permutations a test of the comparison.")] = 999,
) -> None:
    """Write a page that shows runs: finding, comparison, curves, map, filmstrips. It needs no network."""
    with reporting():
        from loopsim.report.folder import build, check_place
        from loopsim.report.site import Options
        from loopsim.store import open_run

        runs = [open_run(directory) for directory in directories]
        if out is None and len(runs) > 1:
            raise UsageError("a report of several runs belongs to none of them: say where to with --out FOLDER")
        where = out or runs[0].path / "report"
        check_place(where)
        options = Options(title=title, thumbnails=thumbnails)  # refused before a comparison, which takes long
        found = _comparison(runs, compare, by, reference, margin, permutations)
        with _progress() as on_sheet:
            built = build(runs, where, replace(options, comparison=found), on_sheet)
        for run in runs:
            _say_unmeasured(run)
        print_text(f"{built.page}: {built.files} files, {built.bytes / 1e6:.1f} MB; open it in a browser")


def _comparison(
    runs: list[Run], wanted: bool | None, by: str | None, reference: str | None, margin: float, permutations: int
) -> dict[str, Any] | None:
    """What the report says of how its runs or conditions compare; None where there is nothing to compare."""
    from loopsim.compare import Settings
    from loopsim.report.comparison import comparison, default_by

    if wanted is False:
        return None
    chosen = by or default_by(runs)
    if chosen is None:
        if wanted:
            raise UsageError(f"--compare: {runs[0].path} has one condition and one group of starts; give a second run")
        return None
    if len(runs) == 1 and not runs[0].embedder_names():
        return None  # not embedded yet: said below
    say("comparing")
    return comparison(runs, Settings(by=chosen, reference=reference, margin=margin, n_permutations=permutations))


def _say_unmeasured(run: Run) -> None:
    if not (run.path / "measurements.parquet").exists():
        say(f"not measured yet, so there are no curves; `loopsim measure {run.path}` measures", "note:", "yellow")
    elif not run.is_measured():
        say(f"measured before its last steps; `loopsim measure {run.path}` measures anew", "note:", "yellow")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar of sprite sheets, which take the time; nothing where nobody looks."""
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("pictures", total=None)

        def on_sheet(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield on_sheet
