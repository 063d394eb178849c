"""What of a run is exported: filters on columns, and steps with the columns of their trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopsim.errors import UsageError
from loopsim.store import Run
from loopsim.store.frames import each_once
from loopsim.store.membership import check_known
from loopsim.store.shards import reading
from loopsim.store.tables import STEP_SCHEMA, with_columns_of

RENAMED: Mapping[str, str] = {"trajectory_id": "trajectory", "start_id": "start", "parent": "branched_from"}
"""Columns of the trajectories that have another name in exports; that of `import`."""
_LEFT_OUT = frozenset({"cohort", "lineage", "start_kind", "start_text", "t0"})
"""Of no use beside the steps, which say the same."""
_BATCH = 128


@dataclass(frozen=True, eq=False)
class Selection:
    """Part of a run."""

    run: Run
    """The run."""
    trajectories: pd.DataFrame
    """Those wanted, columns named as in exports, in the order of the run."""
    ts: frozenset[int] | None
    """The iterations wanted; None is all."""

    def ids(self) -> list[str]:
        """The trajectories wanted."""
        return [str(name) for name in self.trajectories["trajectory"]]


def select(run: Run, where: Sequence[str]) -> Selection:
    """The trajectories and iterations that `COLUMN=VALUE` filters leave.

    Filters of one column are alternatives; those of different columns must all hold.

    Raises:
        UsageError: a filter is not of that form, names no column, or nothing is left.
    """
    frame = run.trajectories().rename(columns=RENAMED)
    wanted = parse_filters(where)
    ts = None
    if "t" in wanted:
        values = wanted.pop("t")
        if not all(value.isdigit() for value in values):
            raise UsageError(f"--where t={values[0]}: t is a whole number")
        ts = frozenset(int(value) for value in values)
    frame = filtered(frame, wanted, also=("t",))
    return Selection(run, frame.reset_index(drop=True), ts)


def parse_filters(where: Sequence[str]) -> dict[str, list[str]]:
    """Column to the values allowed.

    Raises:
        UsageError: one is not of the form `COLUMN=VALUE`.
    """
    wanted: dict[str, list[str]] = {}
    for text in where:
        column, equals, value = text.partition("=")
        if not equals or not column:
            raise UsageError(f"--where {text!r}: must be COLUMN=VALUE, such as group=even")
        wanted.setdefault(column, []).append(value)
    return wanted


def filtered(frame: pd.DataFrame, wanted: Mapping[str, Sequence[str]], also: Sequence[str] = ()) -> pd.DataFrame:
    """The rows that every filter allows; numbers are compared as numbers.

    Raises:
        UsageError: a column is not there, or no row is left.
    """
    for column, values in wanted.items():
        if column not in frame:
            raise UsageError(
                f"--where {column}=…: there is no such column; known: {', '.join([*also, *frame.columns])}"
            )
        allowed = frame[column].map(lambda value, values=values: any(_equal(value, text) for text in values))
        if not allowed.any():
            known = ", ".join(dict.fromkeys(_shown(value) for value in frame[column].head(1000)))
            raise UsageError(f"--where {column}={values[0]}: nothing is left; values of {column}: {known:.300}")
        frame = frame[allowed.astype(bool)]
    return frame


def _equal(value: object, text: str) -> bool:
    if value is None or value != value:
        return text == ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == float(value)
        except ValueError:
            return False
    return str(value) == text


def _shown(value: object) -> str:
    return "(none)" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def factor_table(trajectories: pd.DataFrame) -> pa.Table:
    """The columns of the trajectories that go beside each step, `trajectory` first."""
    kept = [name for name in trajectories.columns if name not in _LEFT_OUT]
    if trajectories["branched_from"].isna().all():
        kept.remove("branched_from")
    return pa.Table.from_pandas(trajectories[kept], preserve_index=False).replace_schema_metadata(None)


def step_tables(chosen: Selection, images: bool = True) -> Iterator[pa.Table]:
    """The steps wanted, some rows at a time, with the columns of their trajectory.

    Args:
        chosen: what is wanted.
        images: whether to read the pictures.

    Raises:
        StoreError: they are damaged, or of other trajectories than the manifest.
    """
    factors = factor_table(chosen.trajectories)
    names = [name for name in STEP_SCHEMA.names if images or name != "image"]
    ids = factors["trajectory"]
    for shard in each_once(chosen.run.step_shards()):
        with reading(shard.path):
            batches = pq.ParquetFile(shard.path).iter_batches(_BATCH, columns=names)
            for batch in batches:
                table = pa.Table.from_batches([batch])
                if len(table.column_names) < len(names):  # written before a column was added
                    table = with_columns_of(pa.schema([STEP_SCHEMA.field(name) for name in names]), table)
                there = table["trajectory_id"].unique().to_pylist()
                check_known(chosen.run.path, shard.path, there, chosen.run.cohorts[shard.cohort])
                keep = pc.is_in(table["trajectory_id"], value_set=ids.combine_chunks())
                keep = pc.and_(keep, pc.greater_equal(table["t"], shard.first))
                if chosen.ts is not None:
                    ts = pa.array(sorted(chosen.ts), pa.int64())
                    keep = pc.and_(keep, pc.is_in(table["t"].cast(pa.int64()), value_set=ts))
                table = table.filter(keep)
                if table.num_rows:
                    yield _joined(table, factors)


def _joined(steps: pa.Table, factors: pa.Table) -> pa.Table:
    rows = pc.index_in(steps["trajectory_id"], value_set=factors["trajectory"].combine_chunks())
    beside = factors.take(rows)
    table = steps.rename_columns(["trajectory" if n == "trajectory_id" else n for n in steps.column_names])
    for name in beside.column_names[1:]:
        table = table.append_column(name, beside[name])
    return table


def pictures_of(chosen: Selection) -> Iterator[tuple[str, int, bytes]]:
    """Trajectory, t and encoded picture of every step wanted that has one."""
    for table in step_tables(chosen):
        rows = zip(table["trajectory"].to_pylist(), table["t"].to_pylist(), table["image"].to_pylist(), strict=True)
        yield from ((name, t, image["bytes"]) for name, t, image in rows if image is not None)
