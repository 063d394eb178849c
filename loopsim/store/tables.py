"""Steps and embeddings as Arrow tables: the columns, and the layout that Hugging Face `datasets` reads as images."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loopsim.records import Setting, Step
from loopsim.seeds import digest

_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    # name: Arrow type, and the dtype that `datasets` calls it
    "trajectory_id": (pa.string(), "string"),
    "t": (pa.int32(), "int32"),
    "text_in": (pa.string(), "string"),
    "image": (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "Image"),
    "text": (pa.string(), "string"),
    "parent": (pa.string(), "string"),
    "generator_seed": (pa.uint64(), "uint64"),
    "captioner_seed": (pa.uint64(), "uint64"),
    "generator_chunk": (pa.int32(), "int32"),
    "captioner_chunk": (pa.int32(), "int32"),
    "prompt_tokens": (pa.int32(), "int32"),
    "caption_tokens": (pa.int32(), "int32"),
    "flags": (pa.list_(pa.string()), "list"),
    "seconds": (pa.float32(), "float32"),
    # Runs of loopsim 0.1.0 and older have no such column; it reads as null there.
    "details": (pa.string(), "string"),
}


CHECKSUM = "checksum"
"""Column of the stored steps only: `row_checksum` of each. Steps from before there was one have none."""


def _feature(dtype: str) -> dict[str, Any]:
    if dtype == "Image":
        return {"_type": "Image"}
    if dtype == "list":
        return {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "string"}}
    return {"_type": "Value", "dtype": dtype}


def _schema(columns: Mapping[str, tuple[pa.DataType, str]]) -> pa.Schema:
    features = {name: _feature(dtype) for name, (_, dtype) in columns.items()}
    return pa.schema(
        [(name, kind) for name, (kind, _) in columns.items()],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


STEP_SCHEMA = _schema(_COLUMNS)
"""What a step is, as columns."""
STORED_SCHEMA = _schema(_COLUMNS | {CHECKSUM: (pa.uint64(), "uint64")})
"""The columns of a steps shard: those of a step, and its checksum."""


def row_checksum(step: Step) -> int:
    """First 8 bytes of the SHA-256 of a step's canonical JSON, the picture as its own SHA-256; `seconds` left out.

    So it is the same wherever the same step was made, and tells a step whose bytes have changed.
    """
    content = [getattr(step, name) for name in _COLUMNS if name not in ("image", "flags", "seconds")]
    picture = None if step.image is None else sha256(step.image).hexdigest()
    return int(digest([*content, list(step.flags), picture], 16), 16)


def with_columns_of(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """A table with the columns of a schema, in its order; those that an older version did not write are null."""
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def steps_to_table(steps: Sequence[Step], unvouched: Collection[tuple[str, int]] = ()) -> pa.Table:
    """Steps as a table of `STORED_SCHEMA`; those that nobody vouches for, by trajectory and t, get no checksum."""
    columns: dict[str, list[Any]] = {name: [getattr(step, name) for step in steps] for name in _COLUMNS}
    columns["image"] = [None if b is None else {"bytes": b, "path": None} for b in columns["image"]]
    columns["flags"] = [list(flags) for flags in columns["flags"]]
    columns[CHECKSUM] = [None if (s.trajectory_id, s.t) in unvouched else row_checksum(s) for s in steps]
    return pa.table(columns, schema=STORED_SCHEMA)


def table_to_steps(table: pa.Table) -> list[Step]:
    """The steps of a table of `STEP_SCHEMA` or `STORED_SCHEMA`."""
    steps = []
    for row in table.to_pylist():
        row.pop(CHECKSUM, None)
        image = row.pop("image", None)
        flags = tuple(row.pop("flags") or ())
        steps.append(Step(**row, image=None if image is None else image["bytes"], flags=flags))
    return steps


def embedding_table(ids: Sequence[str], ts: Sequence[int], modality: str, vectors: NDArray[np.float32]) -> pa.Table:
    """Vectors of shape (n, d) with the steps and the modality (`text` or `image`) they belong to."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    return pa.table(
        {
            "trajectory_id": pa.array(ids, pa.string()),
            "t": pa.array(ts, pa.int32()),
            "modality": pa.array([modality] * len(ids), pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def uniform_columns(rows: Sequence[Mapping[str, Setting]]) -> dict[str, pa.Array]:
    """Columns of settings whose values may mix types: numbers stay numbers, anything else becomes text."""
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        known = [v for v in values if v is not None]
        if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
            columns[name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
        else:
            columns[name] = pa.array([None if v is None else str(v) for v in values], pa.string())
    return columns
