"""What the commands share: the application, messages, tables, and how errors end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import typer.core
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopsim import __version__
from loopsim.errors import LoopsimError
from loopsim.experiment import load_experiment

if TYPE_CHECKING:
    from loopsim.plan import Plan

_ORDER = (
    "prompts",
    "run",
    "plan",
    "status",
    "view",
    "verify",
    "models",
    "measure",
    "compare",
    "certify",
    "power",
    "plot",
    "report",
    "cite",
    "import",
    "export",
)


class _InOrder(typer.core.TyperGroup):
    """Lists the commands in the order of the work, not of the modules."""

    def list_commands(self, ctx: object) -> list[str]:
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrder,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Simulate image-caption feedback loops and measure whether anything converges.",
)
_PLAIN_WIDTH = 120
"""Columns where nobody's terminal says."""
stdout = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
stderr = Console(stderr=True)

ExperimentArgument = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="A YAML file, or a folder with one.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as iterations=5 generator.steps=4."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """One message and an exit status for what a user can mend; a bug keeps its traceback."""
    try:
        yield
    except LoopsimError as error:
        say(str(error), "loopsim:", "bold red")
        raise typer.Exit(error.exit_status) from None
    except BrokenPipeError:
        # Whoever read us has gone; nothing can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def say(text: str, label: str = "", style: str = "") -> None:
    """A line on stderr, as it is: brackets in a prompt or path are no markup."""
    line = Text.assemble((label, style), " ", text) if label else Text(text)
    stderr.print(line, highlight=False, soft_wrap=True)


def print_text(text: str) -> None:
    """A line on stdout, as it is."""
    stdout.print(Text(text), highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """A result as JSON on stdout; nan and infinity become null, which JSON has."""
    print(json.dumps(_plain(value), indent=1, ensure_ascii=False))  # noqa: T201 - a result, on stdout


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]], whole: str | None = None) -> None:
    """A table on stdout; the column `whole` is never broken, so that it can be copied."""
    drawn = Table(title=Text(title), title_justify="left", title_style="bold")
    for name in columns:
        drawn.add_column(Text(name), overflow="fold", no_wrap=name == whole)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    stdout.print(drawn)


def planned(path: Path, overrides: list[str] | None) -> Plan:
    """The plan of an experiment file, not checked yet."""
    from loopsim.plan import make_plan
    from loopsim.runner import read_branch

    return make_plan(load_experiment(path, overrides or ()), read_branch)


def say_notices(plan: Plan) -> None:
    """What a user should know of a plan that can be carried out."""
    from loopsim.runner import notices

    for line in notices(plan):
        say(line, "notice:", "yellow")


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"loopsim {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
