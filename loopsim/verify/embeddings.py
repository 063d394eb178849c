"""Holding stored vectors against the steps that they are of: as many, each of length 1, none twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from loopsim.store import Run, checksums
from loopsim.store.checksums import FileSum
from loopsim.store.embedders import GIVEN
from loopsim.store.frames import each_once
from loopsim.store.shards import Shard, list_shards, shard_at
from loopsim.store.spans import runs_of
from loopsim.verify.gaps import lost_files
from loopsim.verify.reading import UNREADABLE, file_damage
from loopsim.verify.records import Finding, Remedy

_OFF = 1e-3
"""How far from 1 the length of a float32 vector may be."""
_ROWS = 4096
"""Vectors that are held in memory at once."""
Content = Mapping[tuple[str, int], frozenset[str]]
"""Which modalities a stored step has, by trajectory and iteration."""
_Key = tuple[str, int, str]


@dataclass(frozen=True)
class _Folder:
    """The vectors of one embedder."""

    path: Path
    given: bool
    """Whether they were imported."""
    noted: Mapping[str, Mapping[str, FileSum]]
    """What the files of each cohort were, by name."""
    shards: Mapping[str, list[Shard]]
    """Those of each cohort, each iteration in one."""
    kinds: frozenset[str]
    """The modalities that there are vectors of."""


class VectorCheck:
    """Looks at the vectors of a run, a cohort at a time.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.vectors = 0
        """Vectors in files that are right."""
        self._findings: dict[str, list[Finding]] = {}
        self._folders = [_folder(p) for p in sorted((run.path / "embeddings").glob("*")) if p.is_dir()]
        for folder in self._folders:
            if not (folder.path / "name.txt").is_file():
                self._add(
                    Finding(
                        f"embeddings/{folder.path.name}/name.txt", "is missing", "none" if folder.given else "move",
                        embedder=folder.path.name,
                    )
                )  # fmt: skip
            for shard in (one for cohort in folder.shards.keys() - run.cohorts.keys() for one in folder.shards[cohort]):
                self._add(_finding(folder, shard, "is of no cohort of the run", "none" if folder.given else "move"))

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, by embedder."""
        return [finding for _, found in sorted(self._findings.items()) for finding in found]

    def look(self, cohort: str, members: Collection[str], content: Content, lost: Collection[int]) -> None:
        """Look at the vectors of one cohort.

        Args:
            cohort: its id.
            members: its trajectories.
            content: its steps that are right.
            lost: its iterations that are damaged or missing: their vectors may be there, and are right once the steps
                are made again.
        """
        for folder in self._folders:
            shards, noted = folder.shards.get(cohort, []), folder.noted.get(cohort, {})
            for gone in lost_files(shards, noted):
                self._add(_finding(folder, gone, "is missing", "none" if folder.given else "again"))
            for shard in shards:
                damage = file_damage(shard.path, noted.get(shard.path.name))
                try:
                    wrong, count = _wrong(shard, frozenset(members), content, folder, lost)
                except UNREADABLE as error:
                    wrong, count = f"cannot be read: {str(error).splitlines()[0][:120]}", 0
                if damage or wrong:
                    self._add(_finding(folder, shard, damage or wrong or "", "none" if folder.given else "move"))
                else:
                    self.vectors += count

    def _add(self, finding: Finding) -> None:
        self._findings.setdefault(finding.embedder or "", []).append(finding)


def _folder(path: Path) -> _Folder:
    noted: dict[str, dict[str, FileSum]] = {}
    for name, found in checksums.noted(path).items():
        if (written := shard_at(Path(name))) is not None:
            noted.setdefault(written.cohort, {})[name] = found
    shards: dict[str, list[Shard]] = {}
    kinds: set[str] = set()
    for shard in each_once(list_shards(path)):
        shards.setdefault(shard.cohort, []).append(shard)
        try:
            table = pq.read_table(shard.path, columns=["modality"], page_checksum_verification=True)
            kinds |= set(table["modality"].unique().to_pylist())
        except UNREADABLE:
            continue  # told when its cohort is looked at
    return _Folder(path, (path / GIVEN).exists(), noted, shards, frozenset(kinds))


def _finding(folder: _Folder, shard: Shard, message: str, remedy: Remedy) -> Finding:
    name = folder.path.name
    ranges = tuple(runs_of(range(shard.first, shard.last + 1)))
    return Finding(f"embeddings/{name}/{shard.path.name}", message, remedy, shard.cohort, ranges, embedder=name)


def _wrong(
    shard: Shard, members: frozenset[str], content: Content, folder: _Folder, lost: Collection[int]
) -> tuple[str | None, int]:
    """What is wrong with the vectors of a shard, and how many there are."""
    have: set[_Key] = set()
    count = off = 0
    for batch in pq.ParquetFile(shard.path, page_checksum_verification=True).iter_batches(_ROWS):
        ids, ts, kinds = (batch.column(name).to_pylist() for name in ("trajectory_id", "t", "modality"))
        column = batch.column("vector")
        flat = column.flatten().to_numpy(zero_copy_only=False).reshape(len(ids), -1)
        lengths = np.sqrt(np.einsum("ij,ij->i", flat, flat, dtype=np.float64))
        mine = [t >= shard.first for t in ts]  # those before are in an earlier file too
        off += int((~(np.abs(lengths - 1) <= _OFF))[mine].sum())  # nan is off too
        keys = [key for key, there in zip(zip(ids, ts, kinds, strict=True), mine, strict=True) if there]
        count += len(keys)
        have |= set(keys)
    if len(have) < count:
        return "holds vectors twice", count
    if off:
        return f"holds {off} vectors that are not of length 1", count
    stray = sum((i, t) not in content and not (t in lost and i in members) for i, t, _ in have)
    if stray:
        return f"holds {stray} vectors of steps that are not there", count
    if folder.given:
        return None, count
    ts = range(shard.first, shard.last + 1)
    wanted = {(i, t, kind) for (i, t), there in content.items() if t in ts for kind in there & folder.kinds}
    lacking = len(wanted - have)
    return (f"lacks {lacking} vectors" if lacking else None), count
