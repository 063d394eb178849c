"""The rows of a table of prompts that an experiment asks for: filtered, sampled, checked, with the columns it keeps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsim.errors import ExperimentError
from loopsim.experiment import StartSettings
from loopsim.records import Setting
from loopsim.seeds import digest
from loopsim.starts.columns import as_setting, check_name
from loopsim.starts.tables import PROMPT, PromptTable, read_table, separator_hint


@dataclass(frozen=True)
class PromptRow:
    """One row of a table."""

    text: str
    """The prompt, white space evened out."""
    facts: Mapping[str, Setting]
    """The columns that go into the results."""


def rows_of(group: StartSettings, where: str) -> list[PromptRow]:
    """The rows of a group's file that are wanted, in the order of the file.

    First come the filters (`where`), then what is skipped, then `limit` or `sample`; only what is left is checked.

    Raises:
        ExperimentError: the file or a column is missing, or a prompt is empty, no text, or there twice.
    """
    table = read_table(Path(group.file or ""), group.split, where)
    column = group.column or PROMPT
    at = f"{where}.file: {table.path}"
    if column not in table.names:
        raise ExperimentError(_no_column(table, group, at))
    if not len(table):
        raise ExperimentError(f"{at}: holds no prompts (one a line, or a CSV with a column 'prompt')")
    chosen = _filtered(table, group.where or {}, where)
    texts = dict(zip(chosen, table.values(column, chosen), strict=True))
    chosen = _without(chosen, texts, group.skip or ())
    if group.sample is not None:
        chosen = _sampled(chosen, texts, group.sample, group.sample_seed or 0, f"{where}.sample: {table.path}")
    chosen = chosen[: group.limit]
    _check(table, chosen, texts, column, at)
    kept = _kept(table, group, column, where)
    facts: dict[str, list[Setting]] = {}
    for called, name in kept.items():
        try:
            facts[called] = [as_setting(value) for value in table.values(name, chosen)]
        except TypeError as error:
            raise ExperimentError(f"{at}: the column {name!r}: {error}; leave it out of columns") from None
    return [
        PromptRow(_even(texts[row]), {name: values[i] for name, values in facts.items()})
        for i, row in enumerate(chosen)
    ]


def _even(text: Any) -> str:
    return " ".join(str(text).split())


def _no_column(table: PromptTable, group: StartSettings, at: str) -> str:
    has = ", ".join(table.names) or "no columns"
    separator = separator_hint(table.path, table.names)
    if group.column is None:
        fix = separator or ". Say which holds the prompts, such as column: caption"
        return f"{at}: needs a column named {PROMPT!r}; it has {has}{fix}"
    close = difflib.get_close_matches(group.column, table.names, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{at}: has no column {group.column!r}; {hint}it has {has}{separator}"


def _filtered(table: PromptTable, wanted: Mapping[str, Sequence[Any]], where: str) -> list[int]:
    rows = list(range(len(table)))
    for name, allowed in wanted.items():
        if name not in table.names:
            raise ExperimentError(
                f"{where}.where: {table.path} has no column {name!r}; it has {', '.join(table.names)}"
            )
        values = table.values(name, rows)
        keys = {_key(one) for one in allowed}
        left = [row for row, value in zip(rows, values, strict=True) if _key(value) in keys]
        if not left:
            known = ", ".join(dict.fromkeys(str(value) for value in values))
            raise ExperimentError(
                f"{where}.where: {table.path}: nothing is left of {name} = {', '.join(map(str, allowed))}; "
                f"values of {name}: {known:.300}"
            )
        rows = left
    return rows


def _key(value: Any) -> object:
    """What makes two values equal: 20, 20.0 and "20" are."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else ""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _without(rows: list[int], texts: Mapping[int, Any], skip: Sequence[str]) -> list[int]:
    """The rows less those that are to be skipped: without text, or with one that a row before has."""
    if "empty" in skip:
        rows = [row for row in rows if texts[row] is not None and _even(texts[row])]
    if "duplicates" in skip:
        first: dict[str, int] = {}
        for row in rows:
            first.setdefault(_even(texts[row]), row)
        rows = list(first.values())
    return rows


def _sampled(rows: list[int], texts: Mapping[int, Any], n: int, seed: int, at: str) -> list[int]:
    """`n` rows by a hash of seed and text, so that another order of the file, or more rows, change few of them."""
    if n > len(rows):
        raise ExperimentError(f"{at}: {n} of {len(rows)} rows; there are no more")
    ordered = sorted(rows, key=lambda row: (digest(["sample", seed, _even(texts[row])], 16), row))
    return sorted(ordered[:n])


def _check(table: PromptTable, rows: Sequence[int], texts: Mapping[int, Any], column: str, at: str) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        number, text = f"{table.unit} {table.number(row)}", texts[row]
        if text is not None and not isinstance(text, str):
            raise ExperimentError(
                f"{at}: {number}: the prompt is no text, but {text!r:.80}; is {column!r} the right column? "
                f"It has {', '.join(table.names)}"
            )
        even = "" if text is None else _even(text)
        if not even:
            raise ExperimentError(
                f"{at}: {number}: the prompt is empty; fill it in, or leave such rows out: skip: empty"
            )
        if even in seen:
            raise ExperimentError(
                f"{at}: {table.unit}s {table.number(seen[even])} and {table.number(row)} have the same prompt "
                f"({even!r:.90}); remove one, or keep the first of each: skip: duplicates"
            )
        seen[even] = row


def _kept(table: PromptTable, group: StartSettings, column: str, where: str) -> dict[str, str]:
    """Column of the results to column of the table."""
    columns = group.columns
    if columns is None:
        names = [name for name in table.names if name != column and not table.nested(name)]
        kept = dict(zip(names, names, strict=True))
    else:
        kept = dict(columns) if isinstance(columns, dict) else {name: name for name in columns}
    for called, name in kept.items():
        if name not in table.names:
            close = difflib.get_close_matches(name, table.names, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ExperimentError(
                f"{where}.columns: {table.path} has no column {name!r}; {hint}it has {', '.join(table.names)}"
            )
        others = [one for one in kept if one != called]
        fix = (
            f"rename it: columns: {{{', '.join([f'{called}_of_start: {name}', *(f'{o}: {kept[o]}' for o in others)])}}}"
        )
        check_name(
            called, f"{where}.file: {table.path}", f"{fix:.200}, or leave it out: columns: [{', '.join(others):.120}]"
        )
    return kept
