"""Chosen prompts as a file that `starts` of an experiment reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from loopsim.errors import StoreError, UsageError
from loopsim.prompts.pools import Prompt
from loopsim.starts.tables import PROMPT

FORMATS = (".csv", ".tsv", ".jsonl", ".txt")
_FIRST = ("tier", "id")


def check_out(out: Path, force: bool) -> None:
    """Refuse a file that prompts cannot be written to, before anything is embedded.

    Raises:
        UsageError: another ending, or it is there.
    """
    if out.suffix.lower() not in FORMATS:
        raise UsageError(f"--out {out}: must end in {', '.join(FORMATS)}; .txt holds the prompts alone")
    if out.is_dir() or (out.exists() and not force):
        raise UsageError(f"--out {out}: is there already; choose another, or --force replaces it")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it first: mkdir -p {out.parent}")


def write_prompts(out: Path, prompts: Sequence[Prompt]) -> None:
    """Write prompts to a new file, whole or not at all; the ending says how.

    A table has the column `prompt`, then `tier` and `id` where the pool has them, then the pool's others.

    Raises:
        StoreError: the disk is full or refuses.
    """
    new = out.with_name(out.name + ".new")
    try:
        new.write_text(_written(prompts, out.suffix.lower()), encoding="utf-8", newline="")
        new.replace(out)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"--out {out}: cannot be written: {error.strerror or error}") from None


def _written(prompts: Sequence[Prompt], suffix: str) -> str:
    if suffix == ".txt":
        return "".join(prompt.text + "\n" for prompt in prompts)
    rows = [{PROMPT: prompt.text, **{name: prompt.facts[name] for name in _names(prompts)}} for prompt in prompts]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    handle = io.StringIO()
    writer = csv.DictWriter(
        handle, [PROMPT, *_names(prompts)], delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return handle.getvalue()


def _names(prompts: Sequence[Prompt]) -> list[str]:
    names = list(prompts[0].facts) if prompts else []
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
