"""One run directory: created from a plan, continued, read back as data frames."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from loopsim import __version__
from loopsim.errors import StoreError, UsageError
from loopsim.records import Failure, Step
from loopsim.seeds import digest
from loopsim.store import embedders, journal, lock, shards
from loopsim.store.frames import frame, only, rows
from loopsim.store.manifest import manifest_bytes
from loopsim.store.membership import check_cohorts, check_known, check_table, members_only
from loopsim.store.shards import Shard
from loopsim.store.shares import Share, holding_share
from loopsim.store.spans import Range, missing, runs_of
from loopsim.store.tables import STEP_SCHEMA, steps_to_table, table_to_steps

FORMAT_VERSION = 1
"""Of the run directory; a run of a newer one is refused."""
START_COLUMNS = "start_columns"
"""Key of the metadata of the trajectories' table: a JSON list of the columns that tell of the starts."""
_LOG = "log.jsonl"


class Run:
    """A run directory that exists."""

    def __init__(self, path: Path, manifest: Mapping[str, Any], experiment: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.experiment = experiment
        self._log = _LOG

    # ---- what is there -------------------------------------------------------------------------------------------

    @property
    def cohorts(self) -> dict[str, list[str]]:
        """Cohort id to the ids of its trajectories, in plan order."""
        cohorts: dict[str, list[str]] = self.manifest["cohorts"]
        return cohorts

    @property
    def iterations(self) -> int:
        """Iterations that the run is to have."""
        return int(self.experiment["iterations"])

    @property
    def imported(self) -> str | None:
        """The file or folder that the trajectories came from; None where loopsim made them."""
        source: str | None = self.manifest.get("imported", {}).get("source")
        return source

    def trajectories(self) -> pd.DataFrame:
        """One row a trajectory: id, cohort, condition, label, group, start, replicate and every factor.

        Raises:
            StoreError: the table is damaged, or of other trajectories than the manifest.
        """
        path = self.path / "trajectories.parquet"
        with shards.reading(path):
            table = frame(pq.read_table(path))
            ids = table["trajectory_id"].tolist()
        check_table(self.path, path, ids, self.members())
        return table

    @property
    def start_columns(self) -> list[str]:
        """The columns of the trajectories that the starts brought along: factors of templates, columns of files."""
        path = self.path / "trajectories.parquet"
        with shards.reading(path):
            metadata = pq.read_schema(path).metadata or {}
        names: list[str] = json.loads(metadata.get(START_COLUMNS.encode(), b"[]"))
        return names

    def steps(self, columns: Sequence[str] | None = None, images: bool = False) -> pd.DataFrame:
        """One row a step, t = 0 (the starts) included, ordered by trajectory and t.

        Args:
            columns: those wanted; all but `image` where None.
            images: whether to read the encoded pictures too.

        Raises:
            StoreError: they are damaged, or of other trajectories than the manifest has in their cohort.
        """
        names = [c for c in STEP_SCHEMA.names if c != "image" or images] if columns is None else list(columns)
        found = self.step_shards()
        if not found:
            return frame(STEP_SCHEMA.empty_table().select(names))
        read = list(dict.fromkeys([*names, "trajectory_id", "t"]))
        with shards.reading(self.path / "steps"):
            table = rows(found, STEP_SCHEMA, read, members_only(self.path, self.cohorts))
        return frame(table.sort_by([("trajectory_id", "ascending"), ("t", "ascending")]).select(names))

    def step_shards(self) -> list[Shard]:
        """The files of steps in order of cohort and iteration, without those that another one covers.

        Raises:
            StoreError: one is of no cohort of the run.
        """
        return self._shards_in(self.path / "steps")

    def _shards_in(self, folder: Path) -> list[Shard]:
        found = shards.list_shards(folder)
        check_cohorts(self.path, found, self.cohorts)
        return found

    def members(self) -> set[str]:
        """The ids of all trajectories, as the manifest has them."""
        return {trajectory for members in self.cohorts.values() for trajectory in members}

    def shard_steps(self, shard: Shard, columns: Sequence[str], spans: Sequence[Range]) -> pd.DataFrame:
        """Some columns of those steps of one shard that are in these ranges of iterations, in the order of the shard.

        Raises:
            StoreError: it is damaged, holds trajectories that are not of its cohort, or is no longer there (then the
                cause is a `FileNotFoundError`).
        """
        t = ds.field("t")
        wanted = functools.reduce(operator.or_, [(t >= first) & (t <= last) for first, last in spans])
        read = list(dict.fromkeys([*columns, "trajectory_id"]))
        with shards.reading(shard.path):
            table = ds.dataset(str(shard.path), schema=STEP_SCHEMA).to_table(read, filter=wanted)
        known = self.cohorts[shard.cohort]
        check_known(self.path, shard.path, table["trajectory_id"].unique().to_pylist(), known)
        return frame(table.select(list(columns)))

    def pictures(self, trajectories: Sequence[str], ts: Sequence[int]) -> dict[tuple[str, int], bytes]:
        """The encoded pictures of some trajectories at some iterations, by (trajectory id, t)."""
        found = self.step_shards()
        if not found:
            return {}
        wanted = ds.field("trajectory_id").isin(list(trajectories)) & ds.field("t").isin([int(t) for t in ts])
        with shards.reading(self.path / "steps"):
            columns, look = ["trajectory_id", "t", "image"], members_only(self.path, self.cohorts)
            read = rows(found, STEP_SCHEMA, columns, look, wanted).to_pylist()
        return {(r["trajectory_id"], r["t"]): r["image"]["bytes"] for r in read if r["image"] is not None}

    def embeddings(self, embedder: str | None = None) -> pd.DataFrame:
        """Columns trajectory_id, t, modality, embedder, vector (float32 arrays), for one embedder or all."""
        frames = []
        for name, folder in embedders.folders(self.path).items():
            if embedder in (None, name):
                found = self._shards_in(folder)
                with shards.reading(folder):
                    table = rows(found, None, None, members_only(self.path, self.cohorts))
                frames.append(table.to_pandas().assign(embedder=name))
        if not frames:
            return pd.DataFrame(columns=["trajectory_id", "t", "modality", "vector", "embedder"])
        joined: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return joined

    def embedder_names(self) -> list[str]:
        """The embedders that there are vectors of, in alphabetical order."""
        return sorted(embedders.folders(self.path))

    def modalities(self, embedder: str) -> list[str]:
        """What an embedder has vectors of: `image`, `text`, in this order."""
        folder = embedders.folder_of(self.path, embedder)
        paths = [str(s.path) for s in shards.list_shards(folder)]
        if not paths:
            return []
        with shards.reading(folder):
            there = ds.dataset(paths).to_table(columns=["modality"])["modality"].unique().to_pylist()
        return sorted(there)

    def vectors(
        self, embedder: str, modality: str, trajectories: Collection[str] | None = None
    ) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.float32]]:
        """Trajectory ids (m,), iterations (m,) and unit vectors (m, d) of one embedder and modality.

        Args:
            embedder: whose.
            modality: `image` or `text`.
            trajectories: ids of those wanted, so that only the files of their cohorts are read; all where None.
        """
        folder = embedders.folder_of(self.path, embedder)
        found, look = self._shards_in(folder), members_only(self.path, self.cohorts)
        if trajectories is not None:
            chosen = set(trajectories)
            cohorts = {cohort for cohort, members in self.cohorts.items() if not chosen.isdisjoint(members)}
            found = [shard for shard in found if shard.cohort in cohorts]
            look = only(chosen, look)
        if not found:
            return np.empty(0, dtype=object), np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        with shards.reading(folder):
            table = rows(found, None, None, look, ds.field("modality") == modality)
            column = table["vector"].combine_chunks()
            flat = column.flatten().to_numpy(zero_copy_only=False)
        ids = table["trajectory_id"].to_numpy()
        return ids, table["t"].to_numpy().astype(np.int64), flat.reshape(len(ids), column.type.list_size)

    def measurements(self) -> pd.DataFrame:
        """The measurements, long and tidy.

        Raises:
            StoreError: the run has not been measured.
        """
        path = self.path / "measurements.parquet"
        if not path.exists():
            raise StoreError(f"{self.path} has not been measured yet: run it again, or wait until it ends")
        with shards.reading(path):
            return frame(pq.read_table(path))

    def is_measured(self) -> bool:
        """Whether measurements and figures are of all that is stored, and of this version of loopsim."""
        path = self.path / "figures" / ".stamp"
        return path.exists() and path.read_text(encoding="utf-8") == self._stamp()

    def mark_measured(self) -> None:
        """Note that measurements and figures are of all that is stored; to be called last."""
        (self.path / "figures").mkdir(exist_ok=True)
        shards.write_bytes(self.path / "figures" / ".stamp", self._stamp().encode())

    def _stamp(self) -> str:
        stored = sorted(str(s.path) for s in shards.list_shards(self.path / "steps"))
        embedded = sorted(str(p) for p in (self.path / "embeddings").glob("*/*.parquet"))
        names = [str(Path(p).relative_to(self.path)) for p in (*stored, *embedded)]
        return digest([__version__, dict(self.experiment), names])

    def failures(self) -> list[Failure]:
        """Every failure so far, one a trajectory."""
        return journal.read_failures(self.path / "failures")

    # ---- going on ------------------------------------------------------------------------------------------------

    def progress(self) -> dict[str, int]:
        """Cohort id to its last stored iteration; cohorts with nothing stored are left out."""
        last: dict[str, int] = {}
        for shard in shards.list_shards(self.path / "steps"):
            last[shard.cohort] = max(last.get(shard.cohort, -1), shard.last)
        return last

    def count_steps(self, cohorts: Iterable[str] | None = None) -> tuple[int, int]:
        """Steps stored, and steps that there will be; those that failures prevent are in neither.

        Args:
            cohorts: those to be counted; all where None.

        Raises:
            StoreError: the table of trajectories, or a failure on record, is damaged or of another run.
        """
        if self.imported is not None:  # trajectories end where they end
            stored = len(self.steps(["t"])) - len(self.trajectories())
            return stored, stored
        failed = {f.trajectory_id: f.t for f in self.failures()}
        t0s: dict[str, int] = dict(self.trajectories()[["trajectory_id", "t0"]].itertuples(index=False))
        every, total, done = self.stored(), 0, 0
        for cohort in self.cohorts if cohorts is None else cohorts:
            for trajectory in self.cohorts[cohort]:
                t0 = int(t0s[trajectory])
                end = min(failed.get(trajectory, t0 + self.iterations + 1) - 1, t0 + self.iterations)
                total += max(0, end - t0)
                ranges = every.get(cohort, [])
                done += sum(max(0, min(end, last) - max(t0, first - 1)) for first, last in ranges)
        return done, total

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.experiment.get("name", self.manifest["name"]))

    def is_blank(self) -> bool:
        """Whether nothing has been made yet, beyond the starts."""
        return self.count_steps()[0] == 0 and not self.failures()

    def flag_counts(self) -> dict[str, int]:
        """Flag to number of steps that carry it, most frequent first; flags that no step has are left out."""
        counts = self.steps(["flags"])["flags"].explode().dropna().value_counts()
        return {str(name): int(count) for name, count in counts.items()}

    def last_steps(self, cohort: str) -> list[Step]:
        """The steps of a cohort's last stored iteration, by trajectory in plan order; [] where nothing is stored."""
        reached = self.progress()
        return self.steps_at(cohort, reached[cohort]) if cohort in reached else []

    def steps_at(self, cohort: str, t: int, pictures: bool = True) -> list[Step]:
        """The steps of one iteration of a cohort, by trajectory in plan order; [] where it is not stored.

        Args:
            cohort: the cohort.
            t: the iteration.
            pictures: whether to read the pictures too; without them `image` is None.

        Raises:
            StoreError: they are damaged, or of trajectories that are not of the cohort.
        """
        found = [s for s in shards.list_shards(self.path / "steps") if s.cohort == cohort and s.first <= t <= s.last]
        if not found:
            return []
        names = [name for name in STEP_SCHEMA.names if pictures or name != "image"]
        with shards.reading(found[0].path):
            table = pq.read_table(
                found[0].path, columns=names, filters=[("t", "==", t)], schema=STEP_SCHEMA,
                page_checksum_verification=True,
            )  # fmt: skip
        steps = table_to_steps(table)
        check_known(self.path, found[0].path, (step.trajectory_id for step in steps), self.cohorts[cohort])
        order = {trajectory: i for i, trajectory in enumerate(self.cohorts[cohort])}
        return sorted(steps, key=lambda s: order[s.trajectory_id])

    def stored(self) -> dict[str, list[Range]]:
        """Cohort id to the ranges of iterations that are stored; more than one where something is missing between."""
        return shards.stored(self.path / "steps")

    def commit(self, cohort: str, steps: Sequence[Step], *, once: bool = False) -> None:
        """Store whole iterations of a cohort, durably.

        Args:
            cohort: the cohort.
            steps: the steps of consecutive iterations.
            once: leave out iterations that are stored already, by another worker that was taken for dead.

        Raises:
            StoreError: the disk is full or refuses; nothing stored is harmed.
        """
        ranges = runs_of({step.t for step in steps})
        if once and ranges:
            have = self.stored().get(cohort, [])
            ranges = [gap for first, last in ranges for gap in missing(have, first, last)]
        for first, last in ranges:
            table = steps_to_table([step for step in steps if first <= step.t <= last])
            shards.write_shard(self.path / "steps", cohort, first, last, table, compression=None)

    def record_failure(self, cohort: str, failure: Failure) -> None:
        """Store a failure, durably, before the iteration it belongs to is committed."""
        journal.write_failure(self.path / "failures", cohort, failure)

    def log(self, event: str, **details: object) -> None:
        """Add one line to this writer's log: `log.jsonl`, or that of the share that is being written."""
        journal.log_event(self.path / self._log, event, details)

    def events(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl` and of the logs of shares, by time."""
        return journal.read_all_events(self.path)

    def pinned_embedder(self, name: str) -> Mapping[str, Any] | None:
        """What the manifest says of an embedder: its files' hashes, or its commit; None before its first use."""
        known = self.manifest.get("provenance", {}).get("embedders") or ()
        return next((dict(one) for one in known if one["embedder"] == name), None)

    def pin_embedder(self, weights: Mapping[str, Any]) -> None:
        """Write into the manifest where an embedder comes from, in place of what it said before.

        Args:
            weights: with the name under `embedder`.
        """
        if dict(weights) == self.pinned_embedder(weights["embedder"]):
            return
        provenance = dict(self.manifest.get("provenance") or {})
        others = [one for one in provenance.get("embedders") or () if one["embedder"] != weights["embedder"]]
        self.manifest = {**self.manifest, "provenance": provenance | {"embedders": [*others, dict(weights)]}}
        shards.write_bytes(self.path / "manifest.json", manifest_bytes(self.manifest))

    def compact(self, cohorts: Iterable[str] | None = None) -> None:
        """Merge each cohort's shards into one; all cohorts where none are given."""
        for cohort in self.cohorts if cohorts is None else cohorts:
            shards.compact(self.path / "steps", cohort)

    @contextlib.contextmanager
    def writing(self, share: Share | None = None) -> Iterator[None]:
        """Hold the run, or a share of it, for writing; leftovers of killed writers are removed.

        Raises:
            UsageError: another process is writing to it.
        """

        def unlocked(reason: str) -> None:
            self.log("unlocked", reason=reason)

        if share is None:
            with lock.holding(self.path, unlocked):
                shards.remove_leftovers(self.path / "steps")
                yield
            return
        self._log = f"log-{share.name}.jsonl"
        try:
            with holding_share(self.path, share, unlocked):
                shards.remove_leftovers(self.path / "steps", share.of(list(self.cohorts)))
                yield
        finally:
            self._log = _LOG

    def writer(self) -> lock.Holder:
        """Who is writing to the run now, or died while writing to it."""
        return lock.holder(self.path)


def open_run(path: Path | str) -> Run:
    """A run directory, to be read.

    Raises:
        UsageError: there is none.
        StoreError: it is damaged, or of a newer format.
    """
    path = Path(path)
    if not (path / "manifest.json").is_file():
        raise UsageError(f"{path}: there is no run here (no manifest.json)")
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        experiment = yaml.safe_load((path / "experiment.yaml").read_text(encoding="utf-8"))
        version = int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise StoreError(f"{path}: manifest.json or experiment.yaml cannot be read: {error}") from None
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path}: written in format {version} by loopsim {manifest.get('loopsim')}; this one reads up to "
            f"{FORMAT_VERSION}: upgrade with `pip install -U loopsim`"
        )
    if not isinstance(manifest.get("cohorts"), dict) or "name" not in manifest:
        raise StoreError(f"{path / 'manifest.json'}: damaged: it has no name or cohorts")
    if not isinstance(experiment, dict) or not isinstance(experiment.get("iterations"), int):
        raise StoreError(f"{path / 'experiment.yaml'}: damaged: it has no iterations")
    return Run(path, manifest, experiment)
