"""Parquet and Arrow files, and folders of them as Hugging Face `datasets` and the hub keep them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from loopsim.errors import ExperimentError
from loopsim.starts.tables import PromptTable

_SHARD = re.compile(r"(.+?)-\d{5}(?:-of-\d{5})?")
"""A file of a split: `train-00000-of-00003.parquet`."""


class ArrowTable(PromptTable):
    """Columns of Parquet or Arrow files; only those that are asked for are read."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        super().__init__(path)
        self._files = files
        self._schema = self._read_schema()
        self._rows = sum(_rows_of(file) for file in files)
        self._known: dict[str, Any] = {}

    @property
    def names(self) -> list[str]:
        """The columns, in order."""
        return list(self._schema.names)

    def __len__(self) -> int:
        return self._rows

    def values(self, column: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of a column; labels that a dataset keeps as numbers are named."""
        if column not in self._known:
            parts = [_column(file, column) for file in self._files]
            # A file whose values are all missing, or all whole numbers, has another type than its neighbour.
            self._known[column] = pa.concat_tables(parts, promote_options="permissive")[column].combine_chunks()
        found = self._known[column]
        values: list[Any] = (found if rows is None else found.take(pa.array(rows, pa.int64()))).to_pylist()
        names = self._labels(column)
        return [names[v] if isinstance(v, int) and 0 <= v < len(names) else v for v in values] if names else values

    def nested(self, column: str) -> bool:
        """Whether the type is one that no column of the results can hold."""
        kind = self._schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def _read_schema(self) -> pa.Schema:
        first = _schema(self._files[0])
        for file in self._files[1:]:
            if _schema(file).names != first.names:
                raise ExperimentError(
                    f"{self.path}: {file.name} has other columns than {self._files[0].name}; name one file"
                )
        return first

    def _labels(self, column: str) -> list[str]:
        """The names of a column of class labels, which the features of a dataset hold."""
        features = json.loads((self._schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features")
        feature = features.get(column) if isinstance(features, dict) else None
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            return list(feature.get("names") or ())
        return []


def read_dataset(path: Path, split: str | None, where: str) -> ArrowTable:
    """The table of a Parquet or Arrow file, of a folder that `save_to_disk` wrote, or of one of Parquet files.

    Raises:
        ExperimentError: nothing of the kind is there, it cannot be read, or there are several splits and none is said.
    """
    at = f"{where}.file: {path}"
    splits = _splits(path) if path.is_dir() else {"": [path]}
    if not splits:
        raise ExperimentError(
            f"{at}: cannot be read: a folder with neither .parquet files nor what `save_to_disk` of datasets writes"
        )
    if not path.exists():
        raise FileNotFoundError(path)
    if split is None and len(splits) > 1:
        raise ExperimentError(
            f"{at}: has the splits {', '.join(splits)}; say which, such as split: {next(iter(splits))}"
        )
    if split is not None and split not in splits:
        known = ", ".join(name for name in splits if name) or "none"
        raise ExperimentError(f"{where}.split: {path} has no split {split!r}; it has {known}")
    files = splits[split] if split is not None else next(iter(splits.values()))
    try:
        return ArrowTable(path, files)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ExperimentError(f"{at}: cannot be read as a dataset: {error}") from None


def _splits(folder: Path) -> dict[str, list[Path]]:
    """Split to its files, in order; one split without a name where the files do not say."""
    listed = folder / "dataset_dict.json"
    if listed.is_file():
        names = json.loads(listed.read_text(encoding="utf-8")).get("splits") or ()
        return {name: _saved(folder / name) for name in names}
    if (folder / "state.json").is_file():
        return {"": _saved(folder)}
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        match = _SHARD.fullmatch(file.stem)
        found.setdefault(match.group(1) if match else "" if file.parent == folder else file.parent.name, []).append(
            file
        )
    return found


def _saved(folder: Path) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` wrote, in its order."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return [folder / one["filename"] for one in state["_data_files"]]


def _schema(file: Path) -> pa.Schema:
    if file.suffix == ".parquet":
        return pq.read_schema(file)
    return _arrow(file).schema


def _rows_of(file: Path) -> int:
    return int(pq.read_metadata(file).num_rows) if file.suffix == ".parquet" else _arrow(file).num_rows


def _column(file: Path, name: str) -> pa.Table:
    return pq.read_table(file, columns=[name]) if file.suffix == ".parquet" else _arrow(file).select([name])


def _arrow(file: Path) -> pa.Table:
    """An Arrow file, mapped into memory: `datasets` writes streams, others files."""
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
