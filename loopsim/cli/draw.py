"""`loopsim cite`: what to cite for a run."""

from __future__ import annotations

from typing import Annotated

import typer

from loopsim.cli._shared import RunArgument, app, print_text, reporting


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
