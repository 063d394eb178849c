"""Tables of prompts: text, CSV, JSON Lines, Parquet, Arrow, and folders of Hugging Face datasets."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loopsim.errors import ExperimentError

PROMPT = "prompt"
"""The column of the prompts where nothing else is said."""


class PromptTable(ABC):
    """Rows with named columns, read no further than they are asked for."""

    unit: str = "row"
    """What a number in a message counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The columns, in order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values(self, column: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of a column, of some rows (counted from 0) or of all."""

    def nested(self, column: str) -> bool:
        """Whether the values are lists, pictures or other things that no column of the results can hold."""
        return any(isinstance(v, (list, dict, bytes, tuple)) for v in self.values(column))

    def number(self, row: int) -> int:
        """The number that a person finds the row by, from 1."""
        return row + 1


class RowTable(PromptTable):
    """Rows that were read as mappings, from a text format."""

    def __init__(
        self, path: Path, rows: list[Mapping[str, Any]], numbers: list[int], names: list[str], unit: str
    ) -> None:
        super().__init__(path)
        self._rows, self._numbers, self._names, self.unit = rows, numbers, names, unit

    @property
    def names(self) -> list[str]:
        """The columns, in order."""
        return self._names

    def __len__(self) -> int:
        return len(self._rows)

    def values(self, column: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of a column."""
        chosen = self._rows if rows is None else [self._rows[i] for i in rows]
        return [row.get(column) for row in chosen]

    def number(self, row: int) -> int:
        """The line, or the row of a CSV below its head."""
        return self._numbers[row]


def separator_hint(path: Path, names: Sequence[str]) -> str:
    """What a message adds where the head of a CSV looks like one column because another sign parts it; else empty."""
    expected = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower())
    head = names[0] if expected and len(names) == 1 else ""
    sign = next((sign for sign in ";\t|," if sign in head and sign != expected), None)
    if sign is None:
        return ""
    seems, wanted = ("tabs" if one == "\t" else repr(one) for one in (sign, expected))
    name = {"\t": ", or name it .tsv", ",": ", or name it .csv"}.get(sign, "")
    return f". It seems to be separated by {seems}: save it separated by {wanted}{name}"


def read_table(path: Path, split: str | None, where: str) -> PromptTable:
    """The table of prompts that a file or folder holds.

    Raises:
        ExperimentError: it is not there, cannot be read, or has several splits and none is said.
    """
    at = f"{where}.file: {path}"
    suffix = path.suffix.lower()
    try:
        if path.is_dir() or suffix in (".parquet", ".arrow"):
            from loopsim.starts.datasets import read_dataset

            return read_dataset(path, split, where)
        if split is not None and path.exists():
            raise ExperimentError(f"{where}.split: {path} is one file and has no splits; leave split out")
        if suffix in (".csv", ".tsv"):
            return _read_csv(path, "\t" if suffix == ".tsv" else ",", at)
        if suffix in (".jsonl", ".json"):
            return _read_json(path, at)
        return _read_lines(path)
    except FileNotFoundError:
        raise ExperimentError(f"{at}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{at}: cannot be read as UTF-8 text: {error}; save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise ExperimentError(f"{at}: cannot be read: {error}") from None


def _read_lines(path: Path) -> RowTable:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return RowTable(path, [{PROMPT: line} for _, line in found], [number for number, _ in found], [PROMPT], "line")


def _read_csv(path: Path, delimiter: str, at: str) -> RowTable:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, delimiter=delimiter)
        names = list(reader.fieldnames or ())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ExperimentError(f"{at}: two columns are named {twice!r}")
        rows: list[Mapping[str, Any]] = []
        for number, row in enumerate(reader, start=1):
            if None in row:
                fix = separator_hint(path, names) or f"; put a text that holds {delimiter!r} into double quotes"
                raise ExperimentError(f"{at}: row {number} has more values than the head has columns{fix}")
            rows.append(row)
    table = {name: _numbers([row[name] for row in rows]) for name in names}
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return RowTable(path, rows, list(range(1, len(rows) + 1)), names, "row")


def _numbers(values: list[Any]) -> list[Any]:
    """A column of nothing but plain numbers as numbers; a leading zero makes a name of it, such as 007."""

    def number(text: str) -> float | int | None:
        head = text.removeprefix("-")
        if not head[:1].isdigit() or (head.startswith("0") and head[1:2] not in ("", ".")):
            return None
        try:
            return int(text) if head.isdecimal() else float(text)
        except ValueError:
            return None

    found = [None if text in (None, "") else number(text) for text in values]
    known = [text for text in values if text not in (None, "")]
    if known and all(value is not None for value, text in zip(found, values, strict=True) if text not in (None, "")):
        return found
    return [None if text == "" else text for text in values]


def _read_json(path: Path, at: str) -> RowTable:
    text = path.read_text(encoding="utf-8-sig")
    items: Iterable[tuple[int, Any]]
    if path.suffix.lower() == ".json":
        try:
            whole = json.loads(text)
        except ValueError as error:
            raise ExperimentError(f"{at}: is not JSON: {error}") from None
        if not isinstance(whole, list):
            raise ExperimentError(f'{at}: must be a list of objects, such as [{{"prompt": "a boat"}}]')
        items, unit = enumerate(whole, start=1), "row"
    else:
        items, unit = _json_lines(text, at), "line"
    rows: list[Mapping[str, Any]] = []
    numbers = []
    for number, item in items:
        if isinstance(item, str):
            item = {PROMPT: item}
        if not isinstance(item, dict):
            raise ExperimentError(f'{at}: {unit} {number} is no object such as {{"prompt": "a boat"}}')
        rows.append(item)
        numbers.append(number)
    return RowTable(path, rows, numbers, list(dict.fromkeys(name for row in rows for name in row)), unit)


def _json_lines(text: str, at: str) -> Iterable[tuple[int, Any]]:
    # Only line feeds part the lines of JSON Lines; `splitlines` would part a text at every exotic separator too.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise ExperimentError(f"{at}: line {number} is not JSON: {error}") from None
