"""Making room for what is damaged to be made again: it is put aside, never deleted, and what is intact is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from loopsim.plan import Plan
from loopsim.store import Run, checksums, shards
from loopsim.store.create import trajectory_table
from loopsim.store.frames import each_once
from loopsim.store.journal import scan_failures
from loopsim.store.manifest import manifest_bytes
from loopsim.store.shards import Shard, list_shards
from loopsim.store.spans import runs_of
from loopsim.store.tables import steps_to_table
from loopsim.verify.expected import planned_again
from loopsim.verify.manifest import read_experiment, read_manifest, rebuilt_manifest
from loopsim.verify.reading import read_steps
from loopsim.verify.records import Finding, Verdict
from loopsim.verify.runs import Watch, verify_run

ASIDE = "damaged"
"""Folder of a run directory that damaged files are put into."""


@dataclass(frozen=True)
class Repaired:
    """A run that was mended."""

    verdict: Verdict
    """What was wrong with it at that moment."""
    done: tuple[str, ...]
    """What was done, a line each; empty where nothing could be."""


def repair_run(path: Path, verdict: Verdict, *, pictures: bool = True, watch: Watch | None = None) -> Repaired:
    """Mend what `verify_run` found.

    Where there is something to mend, everything is looked at once more while the run is held: a writer may have merged
    files or ended in the meantime, and what is intact is not to be put aside.

    Args:
        path: the run directory.
        verdict: what was found in it.
        pictures: as for `verify_run`.
        watch: as for `verify_run`.

    Raises:
        UsageError: another process is writing to the run.
        StoreError: the disk refuses; nothing is lost.
    """
    if not _mendable(verdict):
        return Repaired(verdict, ())
    with Run(path, {}, {}).writing():
        verdict = verify_run(path, pictures=pictures, watch=watch, ours=True)
        aside = _Aside(path)
        done: list[str] = []
        for finding in _mendable(verdict):
            if finding.file in ("manifest.json", "trajectories.parquet"):
                done.append(_rewritten(path, finding, aside))
            elif finding.file == "measurements.parquet":
                aside.move(finding.file)
                (path / "figures" / ".stamp").unlink(missing_ok=True)
                done.append(f"{finding.file}: put aside; `loopsim run` or `loopsim measure` makes it again")
            elif finding.file.startswith("starts/"):
                aside.move(finding.file)
                done.append(f"{finding.file}: put aside")
            elif finding.embedder is not None:
                done += _without_vectors(path, finding, aside)
        done += _without_steps(path, verdict, aside)
        # Last: a line that is gone while its iteration is there would leave a trajectory that ends without a word.
        lines = dict.fromkeys(f.file for f in _mendable(verdict) if f.file.startswith("failures/"))
        done += [_without_damaged_lines(path, name, aside) for name in lines]
        shards.sync_folder(path)
    return Repaired(verdict, tuple(dict.fromkeys(done)))


def _mendable(verdict: Verdict) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.remedy in ("rewrite", "move")]


class _Aside:
    """Where damaged files go: a new folder each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        names = [stamp, *(f"{stamp}-{k}" for k in range(1, 1000))]
        self.folder = path / ASIDE / next(name for name in names if not (path / ASIDE / name).exists())

    def move(self, name: str) -> None:
        """Move a file or folder of the run; nothing happens where it is not there."""
        source, target = self.path / name, self._place(name)
        if source.exists():
            with shards.storing(target):
                os.rename(source, target)

    def keep(self, name: str) -> None:
        """Keep a copy of a file that will be written anew in its place."""
        source, target = self.path / name, self._place(name)
        with shards.storing(target):
            try:
                os.link(source, target)
            except OSError:  # a file system without hard links
                shutil.copy2(source, target)

    def _place(self, name: str) -> Path:
        target = self.folder / name
        with shards.storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _rewritten(path: Path, finding: Finding, aside: _Aside) -> str:
    """The manifest or the table of trajectories, from the experiment."""
    plan, experiment = planned_again(path), read_experiment(path)
    if finding.file == "trajectories.parquet":
        assert isinstance(plan, Plan)
        aside.move(finding.file)
        shards.write_table(path / finding.file, trajectory_table(plan))
        return f"{finding.file}: written anew from experiment.yaml"
    assert isinstance(experiment, dict)
    manifest = rebuilt_manifest(path, plan, experiment)
    assert isinstance(manifest, dict), "verify_run says `none` where it cannot be rebuilt"
    aside.move(finding.file)
    shards.write_bytes(path / finding.file, manifest_bytes(manifest))
    return f"{finding.file}: rebuilt {manifest['rebuilt']}"


def _without_damaged_lines(path: Path, name: str, aside: _Aside) -> str:
    """A file of failures, written anew with the lines that can be read."""
    damaged = {one.line for one in scan_failures(path / "failures")[1] if one.path.name == (path / name).name}
    lines = (path / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if damaged:
        aside.keep(name)
        kept = [line for number, line in enumerate(lines, 1) if number not in damaged]
        shards.write_bytes(path / name, b"\n".join(kept))
    return f"{name}: put aside; written anew from the lines that can be read"


def _without_vectors(path: Path, finding: Finding, aside: _Aside) -> Iterable[str]:
    name = finding.file.rpartition("/")[0] if finding.file.endswith("name.txt") else finding.file
    aside.move(name)
    yield f"{name}: put aside; `loopsim run` or `loopsim measure` embeds it again"


def _without_steps(path: Path, verdict: Verdict, aside: _Aside) -> list[str]:
    """Every shard that is hit, written anew with the iterations that are intact."""
    folder, done = path / "steps", []
    noted = checksums.noted(folder)
    named = {finding.file for finding in verdict.findings if finding.remedy in ("rewrite", "move")}
    manifest = read_manifest(path)
    cohorts = manifest["cohorts"] if isinstance(manifest, dict) else {}
    for shard in each_once(list_shards(folder)):
        hit = {t for t in verdict.hits.get(shard.cohort, ()) if shard.first <= t <= shard.last}
        if hit or f"steps/{shard.path.name}" in named:
            kept = _rewrite(shard, hit, frozenset(cohorts.get(shard.cohort, ())), noted, aside)
            whole = shard.last - shard.first + 1
            done.append(f"steps/{shard.path.name}: put aside; {kept} of its {whole} iterations are kept")
    return done


def _rewrite(
    shard: Shard, hit: set[int], members: frozenset[str], noted: dict[str, checksums.FileSum], aside: _Aside
) -> int:
    """Write the intact iterations of a shard that no earlier one holds into shards of their own; how many there are."""
    folder, name = shard.path.parent, f"steps/{shard.path.name}"
    reading = read_steps(shard, noted.get(shard.path.name))
    good = [
        s for s in reading.steps if s.trajectory_id in members and shard.first <= s.t <= shard.last and s.t not in hit
    ]
    ranges = runs_of({step.t for step in good})
    whole = [shards.shard_name(shard.cohort, *span) for span in ranges] == [shard.path.name]
    if whole:
        aside.keep(name)
    for first, last in ranges:
        table = steps_to_table([step for step in good if first <= step.t <= last], reading.unvouched)
        shards.write_shard(folder, shard.cohort, first, last, table)
    if not whole:  # last: until then it covers the new ones, and nothing is missing
        aside.move(name)
    return sum(last - first + 1 for first, last in ranges)
