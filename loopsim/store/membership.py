"""Whether the files of a run are of that run: its manifest says which cohorts and trajectories there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from loopsim.errors import StoreError
from loopsim.store.frames import Look
from loopsim.store.shards import Shard


def check_cohorts(run: Path, found: Iterable[Shard], cohorts: Collection[str]) -> None:
    """Look whether every shard is of a cohort of the run.

    Raises:
        StoreError: one is not.
    """
    for shard in found:
        if shard.cohort not in cohorts:
            raise StoreError(
                _disagrees(run, shard.path, f"is of cohort {shard.cohort}, which manifest.json does not have")
            )


def check_known(run: Path, file: Path, ids: Iterable[str], members: Collection[str]) -> None:
    """Look whether the trajectories that a file tells of are all of the run.

    Raises:
        StoreError: one is not.
    """
    strays = sorted({str(name) for name in ids}.difference(members))
    if strays:
        raise StoreError(_disagrees(run, file, f"holds {_named(strays)}, which manifest.json does not have there"))


def members_only(run: Path, cohorts: Mapping[str, Collection[str]]) -> Look:
    """Looks whether what is read of each shard is of the cohort that its name says.

    It raises a `StoreError` at the first that is not.
    """
    members = {cohort: frozenset(ids) for cohort, ids in cohorts.items()}

    def look(shard: Shard, batch: pa.RecordBatch) -> pa.RecordBatch:
        check_known(run, shard.path, batch.column("trajectory_id").unique().to_pylist(), members[shard.cohort])
        return batch

    return look


def check_table(run: Path, file: Path, ids: Sequence[str], members: Collection[str]) -> None:
    """Look whether a table has one row for each trajectory of the run.

    Raises:
        StoreError: it has not.
    """
    check_known(run, file, ids, members)
    lacking = sorted(set(members).difference(ids))
    if lacking:
        raise StoreError(_disagrees(run, file, f"lacks {_named(lacking)}, which manifest.json has"))
    if len(ids) > len(members):
        raise StoreError(_disagrees(run, file, "has trajectories more than once"))


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return f"trajectory {ids[0]}{more}"


def _disagrees(run: Path, file: Path, what: str) -> str:
    return f"{file}: {what}, so the run cannot be read. `loopsim verify {run}` says what is hit, and what mends it"
