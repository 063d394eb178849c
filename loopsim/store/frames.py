"""Shards as one table in which every step is once, and Arrow tables as data frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from loopsim.store.shards import Shard

Look = Callable[[Shard, pa.RecordBatch], pa.RecordBatch]
"""Sees what is read of a shard, some rows at a time, and says what is kept of it."""


def each_once(found: Sequence[Shard]) -> list[Shard]:
    """Shards without the iterations that an earlier one holds too.

    Two workers may store the same iterations, and until they are merged both files are there. Of the later one `first`
    is then raised to what only it holds, so that it differs from what the name of the file says.

    Args:
        found: shards of one folder, in order of cohort and iteration.
    """
    cut: list[Shard] = []
    cohort, reach = "", -1
    for shard in found:
        if shard.cohort != cohort:
            cohort, reach = shard.cohort, -1
        cut.append(shard if shard.first > reach else replace(shard, first=reach + 1))
        reach = max(reach, shard.last)
    return cut


def rows(
    found: Sequence[Shard],
    schema: pa.Schema | None,
    columns: Sequence[str] | None,
    look: Look,
    wanted: ds.Expression | None = None,
) -> pa.Table:
    """The rows of shards of one folder with a look at their page checksums, each once.

    Args:
        found: the shards, at least one, in order of cohort and iteration.
        schema: what they are read as; that of the first where None.
        columns: those wanted; all where None.
        look: is given what is read of each shard.
        wanted: which rows are read; all where None.
    """
    whole: list[Shard] = []
    parts: list[pa.Table] = []
    for shard, cut in zip(found, each_once(found), strict=True):
        if cut is shard:
            whole.append(shard)
        else:
            new = ds.field("t") >= cut.first
            parts.append(_read([shard], schema, columns, look, new if wanted is None else new & wanted))
    return pa.concat_tables([_read(whole, schema, columns, look, wanted), *parts])


def _read(
    found: Sequence[Shard],
    schema: pa.Schema | None,
    columns: Sequence[str] | None,
    look: Look,
    wanted: ds.Expression | None,
) -> pa.Table:
    shard_of = {shard.path.name: shard for shard in found}
    scanner = _dataset(found, schema).scanner(columns=columns, filter=wanted)
    seen = (look(shard_of[Path(one.fragment.path).name], one.record_batch) for one in scanner.scan_batches())
    return pa.Table.from_batches(seen, scanner.projected_schema)


def _dataset(found: Sequence[Shard], schema: pa.Schema | None) -> ds.Dataset:
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.dataset(
        [str(shard.path) for shard in found], schema=schema,
        format=ds.ParquetFileFormat(default_fragment_scan_options=options),
    )  # fmt: skip


def only(trajectories: Collection[str], look: Look) -> Look:
    """Keeps the rows of these trajectories, after a look at all that are there."""
    ids = pa.array(sorted(trajectories), pa.string())

    def keep(shard: Shard, batch: pa.RecordBatch) -> pa.RecordBatch:
        seen = look(shard, batch)
        return seen.filter(pc.is_in(seen.column("trajectory_id"), value_set=ids))

    return keep


def frame(table: pa.Table) -> pd.DataFrame:
    """A table as a data frame that loses nothing."""
    # Seeds are 64 bits wide and missing at the start: as floats they would lose their last digits.
    made: pd.DataFrame = table.to_pandas(types_mapper={pa.uint64(): pd.UInt64Dtype()}.get)
    for field in table.schema:
        if field.type == pa.string():  # missing text is None whatever the version of pandas, never nan
            made[field.name] = made[field.name].astype(object).where(made[field.name].notna(), None)
    return made
