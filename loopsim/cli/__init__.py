"""The command line: parse, call one library function, format. Results on stdout, progress and messages on stderr."""

from __future__ import annotations

# Imported for their commands.
from loopsim.cli import analyse, certify, draw, exchange, look, models, prompts, report, run, status, verify, view
from loopsim.cli._shared import app

__all__ = [
    "analyse", "app", "certify", "draw", "exchange", "look", "main", "models", "prompts", "report", "run", "status",
    "verify", "view",
]  # fmt: skip


def main() -> None:
    """Entry point of the `loopsim` command."""
    app()
