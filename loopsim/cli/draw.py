"""`loopsim plot` and `loopsim cite`: figures of a run, and what to cite for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopsim.cli._shared import RunArgument, app, print_text, reporting, say, table
from loopsim.cli.analyse import split
from loopsim.errors import UsageError


def _pairs(where: list[str] | None) -> tuple[tuple[str, str], ...]:
    """`COLUMN=VALUE` as pairs; a label's value has = signs of its own."""
    pairs = []
    for one in where or ():
        column, equals, value = one.partition("=")
        if not equals or not column:
            raise UsageError(f"--where {one!r}: write COLUMN=VALUE, such as --where group=even")
        pairs.append((column.strip(), value.strip()))
    return tuple(pairs)


def _list_kinds() -> None:
    from loopsim.report.figures import KINDS

    table("Figures: loopsim plot KIND DIR", ("kind", "what it shows"), [(k, kind.line) for k, kind in KINDS.items()])


@app.command()
def plot(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Which figure; see --list.")] = None,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A run directory.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Colours (or panels) by this column: condition, group, or a factor.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only these. May be repeated.")
    ] = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="With --by: the cells of `loopsim measure DIR --by FACTOR`.")
    ] = False,
    metric: Annotated[list[str] | None, typer.Option(help="Curves of these instead.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="image, text.", show_default="both")] = None,
    embedder: Annotated[str | None, typer.Option(help="Whose vectors.", show_default="the first")] = None,
    trajectory: Annotated[
        list[str] | None, typer.Option(help="Show these, by id or its first characters. May be repeated.")
    ] = None,
    choose: Annotated[
        str, typer.Option(help="Or choose: spread, most-drifted, least-drifted, motifs (through their medoids).")
    ] = "spread",
    rows: Annotated[int | None, typer.Option(min=1, help="Trajectories shown.", show_default="6 or 8")] = None,
    columns: Annotated[int | None, typer.Option(min=1, help="Iterations shown.", show_default="8 or 4")] = None,
    method: Annotated[str, typer.Option(help="Of the map: pca, umap.")] = "pca",
    width: Annotated[str, typer.Option(help="page (183 mm), column (89 mm).")] = "page",
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file or a folder.", show_default="DIR/figures")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="png, svg, pdf; of a mosaic gif, mp4.", show_default="all")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the kinds.")] = False,
) -> None:
    """Draw one figure of a run, with its numbers as CSV beside it. Without KIND: list the kinds."""
    with reporting():
        if listed or kind is None:
            _list_kinds()
            return
        from loopsim.report.figures import KINDS, Request
        from loopsim.report.figures import plot as draw_one
        from loopsim.store import open_run

        if directory is None:
            if kind not in KINDS and Path(kind).is_dir():
                raise UsageError(
                    f"say which figure of {kind}: `loopsim plot KIND {kind}`, KIND one of {', '.join(KINDS)}"
                )
            raise UsageError(f"say of which run: `loopsim plot {kind} DIR`")
        request = Request(
            by=by, where=_pairs(where), pooled=pooled, metrics=split(metric), modalities=split(modality),
            embedder=embedder, trajectories=split(trajectory), choose=choose, rows=rows, columns=columns,
            method=method, width=width,
        )  # fmt: skip
        paths, notes = draw_one(open_run(directory), kind, request, out, split(formats))
        for note in notes:
            say(note, "note:", "yellow")
        for path in paths:
            print_text(str(path))


@app.command()
def cite(
    directory: RunArgument,
    as_text: Annotated[bool, typer.Option("--text", help="Plain text instead of BibTeX.")] = False,
) -> None:
    """What to cite for a run: loopsim, the protocol, the measures, models and libraries it used. BibTeX."""
    with reporting():
        from loopsim.cite import bibtex, citations, text
        from loopsim.store import open_run

        found = citations(open_run(directory))
        print_text((text(found) if as_text else bibtex(found)).rstrip("\n"))
