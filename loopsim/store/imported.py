"""A run directory of trajectories that were made elsewhere: built beside its place, and there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from loopsim.errors import UsageError
from loopsim.records import Step
from loopsim.store import shards
from loopsim.store.embedders import GIVEN, made_folder
from loopsim.store.run import FORMAT_VERSION, Run, open_run
from loopsim.store.tables import STORED_SCHEMA, embedding_table, steps_to_table

_ROOM = 128 << 20
"""Bytes that wait to be written, over all shards."""
_GROUP = 512
"""Rows of a row group."""
_REPEATING = frozenset({"trajectory_id", "parent", "modality", "text", "text_in"})
"""Columns worth a dictionary; looking for repeats among vectors and pictures takes most of the time otherwise."""


@dataclass(frozen=True)
class Span:
    """A cohort of an import: trajectories that begin and end at the same iterations."""

    id: str
    """`c0000`, …"""
    members: tuple[str, ...]
    """The trajectories."""
    first: int
    """The iteration that all begin at."""
    last: int
    """The iteration that all end at."""


class _Shard:
    """A Parquet file in the making; rows wait until there is a group of them."""

    def __init__(self, path: Path, to_table: Callable[[list[Any]], pa.Table], schema: pa.Schema, room: int) -> None:
        self._to_table, self._room = to_table, room
        self._rows: list[Any] = []
        self._bytes = 0
        with shards.storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("wb")
            repeating = [name for name in schema.names if name in _REPEATING]
            self._writer = pq.ParquetWriter(
                self._file, schema, compression="zstd", use_dictionary=repeating, write_page_checksum=True
            )
        self.path = path

    def add(self, row: Any, size: int) -> None:
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= _GROUP or self._bytes > self._room:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            with shards.storing(self.path):
                self._writer.write_table(self._to_table(self._rows))
            self._rows, self._bytes = [], 0

    def close(self) -> None:
        self._flush()
        with shards.storing(self.path):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file; what is in it does not matter any more."""
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()


class ImportedRun:
    """A run directory in the making; as a context manager, nothing is left of it unless `finish` was reached.

    Args:
        out: the directory, which must not be there.
        spans: every cohort that will be written.

    Raises:
        UsageError: the directory is there.
        StoreError: the disk refuses.
    """

    def __init__(self, out: Path, spans: Sequence[Span]) -> None:
        refuse_existing(out)
        self.out, self.spans = out, {span.id: span for span in spans}
        self.path = out.absolute().parent / f".import-{os.getpid()}-{out.name}"
        self._room = max(1 << 18, _ROOM // max(1, len(spans)))
        self._steps: dict[str, _Shard] = {}
        self._vectors: dict[tuple[str, str], _Shard] = {}

    def __enter__(self) -> ImportedRun:
        with shards.storing(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
            (self.path / "steps").mkdir(parents=True)
            (self.path / "starts").mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shard in (*self._steps.values(), *self._vectors.values()):
            shard.abandon()
        shutil.rmtree(self.path, ignore_errors=True)

    def add_step(self, cohort: str, step: Step) -> None:
        """Write a step into the shard of a cohort."""
        if cohort not in self._steps:
            path = self.path / "steps" / self._shard_name(cohort)
            self._steps[cohort] = _Shard(path, steps_to_table, STORED_SCHEMA, self._room)
        self._steps[cohort].add(step, 500 + len(step.image or b""))

    def add_vector(self, embedder: str, cohort: str, key: tuple[str, int, str], vector: NDArray[np.float32]) -> None:
        """Write a unit vector, shape (d,), of a (trajectory, t, modality)."""
        if (embedder, cohort) not in self._vectors:
            folder = made_folder(self.path, embedder)
            # What was given cannot be made again: `embed_run` leaves such a folder alone.
            shards.write_bytes(folder / GIVEN, b'{"given": true}')
            schema = _vector_table([(key, vector)]).schema
            path = folder / self._shard_name(cohort)
            self._vectors[embedder, cohort] = _Shard(path, _vector_table, schema, self._room)
        self._vectors[embedder, cohort].add((key, vector), 4 * len(vector) + 100)

    def finish(
        self, trajectories: pa.Table, experiment: Mapping[str, Any], source: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> Run:  # fmt: skip
        """Write what makes it a run, and put it into its place.

        Args:
            trajectories: the table of trajectories, `cohort` included.
            experiment: at least name and iterations.
            source: where it came from.
            provenance: versions and platform.
        """
        for shard in (*self._steps.values(), *self._vectors.values()):
            shard.close()
        shards.write_table(self.path / "trajectories.parquet", trajectories)
        text = "# Imported: made elsewhere, so nothing here can be run again. Where from: see manifest.json.\n"
        text += yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True, width=120)
        shards.write_bytes(self.path / "experiment.yaml", text.encode())
        manifest = {
            "format": FORMAT_VERSION,
            "loopsim": provenance.get("loopsim"),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "name": experiment["name"],
            "cohorts": {span.id: list(span.members) for span in self.spans.values()},
            "imported": dict(source),
            "provenance": dict(provenance),
        }
        shards.write_bytes(self.path / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        with shards.storing(self.out):
            refuse_existing(self.out)
            os.rename(self.path, self.out)
            parent = os.open(self.out.absolute().parent, os.O_RDONLY)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
        return open_run(self.out)

    def _shard_name(self, cohort: str) -> str:
        return shards.shard_name(cohort, self.spans[cohort].first, self.spans[cohort].last)


def refuse_existing(out: Path) -> None:
    """Refuse to import into anything that is there.

    Raises:
        UsageError: `out` exists.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: is there already; an import makes a new directory: choose another --out")


def _vector_table(rows: list[tuple[tuple[str, int, str], NDArray[np.float32]]]) -> pa.Table:
    parts = []
    for modality in dict.fromkeys(key[2] for key, _ in rows):
        mine = [(key, vector) for key, vector in rows if key[2] == modality]
        ids, ts = [key[0] for key, _ in mine], [key[1] for key, _ in mine]
        parts.append(embedding_table(ids, ts, modality, np.stack([vector for _, vector in mine])))
    return pa.concat_tables(parts)
