"""Holding stored vectors against the steps that they are of: as many, each of length 1, none twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from loopsim.store import Run, checksums
from loopsim.store.run import GIVEN
from loopsim.store.shards import Shard, list_shards
from loopsim.store.spans import runs_of
from loopsim.verify.reading import UNREADABLE, file_damage
from loopsim.verify.records import Finding, Remedy

_OFF = 1e-3
"""How far from 1 the length of a float32 vector may be."""
Content = Mapping[tuple[str, int], frozenset[str]]
"""Which modalities a stored step has, by trajectory and iteration."""


@dataclass(frozen=True)
class EmbeddingCheck:
    """What was found among the vectors of a run."""

    findings: tuple[Finding, ...]
    """What is wrong."""
    vectors: int
    """Vectors in files that are right."""


def check_embeddings(run: Run, content: Content, lost: Collection[tuple[str, int]] = ()) -> EmbeddingCheck:
    """Look at every vector of a run.

    Args:
        run: the run.
        content: its steps.
        lost: steps that are damaged: their vectors may be there, and are right once they are made again.
    """
    members = {cohort: frozenset(ids) for cohort, ids in run.cohorts.items()}
    folders = sorted(p for p in (run.path / "embeddings").glob("*") if p.is_dir())
    findings: list[Finding] = []
    vectors = 0
    for folder in folders:
        name = f"embeddings/{folder.name}"
        given = (folder / GIVEN).exists()
        if not (folder / "name.txt").is_file():
            findings.append(
                Finding(f"{name}/name.txt", "is missing", "none" if given else "move", embedder=folder.name)
            )
        noted, read = checksums.noted(folder), {}
        for shard in (s for s in list_shards(folder) if s.cohort in members):
            damage = file_damage(shard.path, noted.get(shard.path.name))
            try:
                read[shard] = pq.read_table(shard.path, page_checksum_verification=True)
            except UNREADABLE as error:
                damage = damage or f"cannot be read: {str(error).splitlines()[0][:120]}"
            if damage:
                read.pop(shard, None)
                findings.append(_finding(folder, shard, damage, given))
        kinds = {kind for table in read.values() for kind in table["modality"].unique().to_pylist()}
        for shard, table in read.items():
            mine = {key: there for key, there in content.items() if key[0] in members[shard.cohort]}
            wrong = _wrong(table, shard, mine, frozenset(kinds), given, lost)
            if wrong:
                findings.append(_finding(folder, shard, wrong, given))
            else:
                vectors += table.num_rows
    return EmbeddingCheck(tuple(findings), vectors)


def _finding(folder: Path, shard: Shard, message: str, given: bool) -> Finding:
    remedy: Remedy = "none" if given else "move"
    ranges = tuple(runs_of(range(shard.first, shard.last + 1)))
    return Finding(f"embeddings/{folder.name}/{shard.path.name}", message, remedy, shard.cohort, ranges,
                   embedder=folder.name)  # fmt: skip


def _wrong(
    table: Any, shard: Shard, content: Content, kinds: frozenset[str], given: bool, lost: Collection[tuple[str, int]]
) -> str | None:
    """What is wrong with the vectors of a shard."""
    ids, ts, modalities = (table[name].to_pylist() for name in ("trajectory_id", "t", "modality"))
    keys = list(zip(ids, ts, modalities, strict=True))
    if len(set(keys)) < len(keys):
        return "holds vectors twice"
    column = table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).reshape(len(keys), -1)
    lengths = np.linalg.norm(flat.astype(np.float64), axis=1)
    off = int((~(np.abs(lengths - 1) <= _OFF)).sum())  # nan is off too
    if off:
        return f"holds {off} vectors that are not of length 1"
    have = {key for key in keys if key[:2] in content or key[:2] in lost}
    if len(have) < len(keys):
        return f"holds {len(keys) - len(have)} vectors of steps that are not there"
    if given:
        return None
    wanted = {
        (i, t, kind) for (i, t), there in content.items() for kind in there & kinds if shard.first <= t <= shard.last
    }
    lacking = len(wanted - have)
    return f"lacks {lacking} vectors" if lacking else None
