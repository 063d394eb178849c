"""Shards as one dataset, and Arrow tables as data frames."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from loopsim.store.shards import Shard


def dataset(found: Sequence[Shard], schema: pa.Schema) -> ds.Dataset:
    """Shards to be read with a look at their page checksums."""
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.dataset(
        [str(shard.path) for shard in found], schema=schema,
        format=ds.ParquetFileFormat(default_fragment_scan_options=options),
    )  # fmt: skip


def frame(table: pa.Table) -> pd.DataFrame:
    """A table as a data frame that loses nothing."""
    # Seeds are 64 bits wide and missing at the start: as floats they would lose their last digits.
    made: pd.DataFrame = table.to_pandas(types_mapper={pa.uint64(): pd.UInt64Dtype()}.get)
    for field in table.schema:
        if field.type == pa.string():  # missing text is None whatever the version of pandas, never nan
            made[field.name] = made[field.name].astype(object).where(made[field.name].notna(), None)
    return made
