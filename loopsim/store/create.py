"""A run directory from a plan: made, or the one that is there already where it holds the same experiment."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from loopsim.errors import OtherExperimentError, RunBusy, StoreError
from loopsim.plan import Plan
from loopsim.records import Start
from loopsim.store import checksums, lock, shards
from loopsim.store.diff import describe_difference
from loopsim.store.journal import GAVE_WAY
from loopsim.store.manifest import manifest_bytes, sealed
from loopsim.store.run import FORMAT_VERSION, START_COLUMNS, Run, open_run
from loopsim.store.shares import FOLDER, Share, holders
from loopsim.store.tables import uniform_columns
from loopsim.store.traces import NO_FOLDER, perhaps_of_steps, results, traces


def create_run(path: Path, plan: Plan, provenance: Mapping[str, object], threads: int | None = None) -> Run:
    """The run directory of a plan: made, or the one that is there already where it holds the same experiment.

    Nothing is changed in a run that is there, unless it is blank; `carrying_out` takes over what may change. Several
    processes may do so at once: the first one makes it.

    Args:
        path: the directory.
        plan: what the run is to hold.
        provenance: what its results depend on beside the plan.
        threads: CPU threads that it begins with, which every process that goes on with it keeps.

    Raises:
        OtherExperimentError: the directory holds something else; the message shows the difference.
        RunBusy: it is blank, of another plan, and another process is writing to it.
        StoreError: the disk refuses.
    """
    resolved = _with_starts(plan)
    there = _there(path, plan, provenance, resolved)  # first without a trace in what may be no run
    if there is not None:
        return there
    with shards.storing(path):
        path.mkdir(parents=True, exist_ok=True)
    with lock.beginning(path):
        there = _there(path, plan, provenance, resolved)  # another process may have made it meanwhile
        if there is not None:
            return there
        if (path / "manifest.json").exists():
            _clear(open_run(path), plan, resolved)
        return _made(path, plan, provenance, threads, resolved)


def check_directory(path: Path, plan: Plan, provenance: Mapping[str, object]) -> None:
    """Refuse a directory that `create_run` or `carrying_out` would refuse; nothing is changed, and nothing held.

    Whether another process writes to it, `check_free` tells.

    Args:
        path: the directory.
        plan: what the run is to hold.
        provenance: what its results depend on beside the plan; where it is empty, models are not compared.

    Raises:
        OtherExperimentError: the directory holds something else; the message shows the difference.
        RunBusy: `iterations` would be raised while shards of it are being written.
        StoreError: it is damaged, or could not be written to.
    """
    resolved = _with_starts(plan)
    run = _there(path, plan, provenance, resolved)
    if run is not None:
        _readable(run, resolved)
        if plan.experiment.iterations != run.iterations:
            _alone(run, plan.experiment.iterations)
    there = next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"{path}: cannot be written: {there} is {'not writable' if there.is_dir() else 'a file'}")


@contextlib.contextmanager
def carrying_out(run: Run, plan: Plan, share: Share | None = None) -> Iterator[None]:
    """Hold a run, or a share of it, for writing, and take over from the plan what may change in it.

    `iterations` may be higher than before (the run is extended); name, description, embedders and batch sizes are not
    part of what makes a run. A process that is refused has changed nothing.

    Raises:
        OtherExperimentError: the run holds another experiment by now.
        RunBusy: another process is writing to it; or shares of it are being written with fewer iterations.
        StoreError: the disk refuses, or the table of trajectories is damaged.
    """
    resolved = _with_starts(plan)
    with contextlib.ExitStack() as stack:
        with lock.beginning(run.path):
            now = open_run(run.path)
            _compare(now, plan, resolved)
            _readable(now, resolved)
            if plan.experiment.iterations != now.iterations:
                _alone(now, plan.experiment.iterations)
            run.manifest = now.manifest
            stack.enter_context(run.writing(share))
            _keep_pictures(run.path, plan)
            if dict(resolved) != dict(now.experiment):
                shards.write_table(run.path / "trajectories.parquet", trajectory_table(plan))  # groups may be renamed
                _write_yaml(run.path, resolved)
                now = open_run(run.path)
            run.experiment = now.experiment
        yield


def standing(path: Path, plan: Plan) -> Run | None:
    """The run that a plan would go on with; None where there is none, or a blank one, in whose place one is made.

    Raises:
        StoreError: it is damaged.
    """
    if not (path / "manifest.json").is_file():
        return None
    run = open_run(path)
    return None if _gives_way(run, plan) else run


def _gives_way(run: Run, plan: Plan) -> bool:
    """Whether a run is of another plan and nothing was ever made in it, so that one of this plan may take its place."""
    return run.imported is None and _cohorts(plan) != run.cohorts and run.is_blank() and not traces(run)


def _keep_pictures(path: Path, plan: Plan) -> None:
    """Copy the pictures of starts that are not there: of a new run all, else what was lost or put aside as damaged."""
    with shards.storing(path):
        (path / "starts").mkdir(exist_ok=True)
        there = {f"starts/{file.name}" for file in (path / "starts").iterdir()}
    for start in plan.starts:
        if start.image is not None and _kept_image(start) not in there:
            shards.write_bytes(path / _kept_image(start), start.image.read_bytes())


def _there(path: Path, plan: Plan, provenance: Mapping[str, object], resolved: Mapping[str, Any]) -> Run | None:
    """The run of this plan that is there already; None where one may be made.

    Raises:
        OtherExperimentError: there is something else.
    """
    made = path / "manifest.json"
    # Twice: another process may make it while this one looks.
    if not made.exists() and path.exists() and (not path.is_dir() or _occupied(path)) and not made.exists():
        raise OtherExperimentError(f"{path}: exists and is not a run; choose another --out{_hint(path)}")
    if not made.exists():
        return None
    run = open_run(path)
    if run.imported is not None:
        raise OtherExperimentError(
            f"{path} was imported from {run.imported}; loopsim did not make it and cannot go on with it. Choose "
            f"another --out; to go on from one of its steps, write starts: {{from: [{path}/TRAJECTORY/t]}}"
        )
    if _gives_way(run, plan):
        return None
    _same_models(run, provenance)
    _compare(run, plan, resolved)
    return run


def _compare(run: Run, plan: Plan, resolved: Mapping[str, Any]) -> None:
    if _cohorts(plan) != run.cohorts or plan.experiment.iterations < run.iterations:
        difference = describe_difference(run.experiment, resolved)
        raise OtherExperimentError(
            f"{run.path} holds a run of another experiment; nothing was changed. It differs in\n{difference}\n"
            f"{_away(run)}  Choose another --out, or make the experiment what it was (iterations may be raised)."
        )


def _away(run: Run) -> str:
    """A line about steps that were made, or may have been, and are not there; empty where some are, or none was."""
    told = traces(run) if run.is_blank() else []
    if not told:
        return ""
    left = perhaps_of_steps(run)
    were = "may have been" if {*told} <= {left, NO_FOLDER} else "were"
    return (
        f"  None of its steps is there now, but some {were} made: {'; '.join(told)}. If steps/ was moved, or is on a "
        "disk that is not mounted, put it back"
        f"{'; if no step was ever made, remove what is named here' * (told == [left])}.\n"
    )


def _readable(run: Run, resolved: Mapping[str, Any]) -> None:
    """Say now what cannot be read, also of a finished run; where the experiment file is another, as where two processes
    made runs in one place without locks, the table of trajectories is written anew.
    """
    if dict(resolved) == dict(run.experiment):
        run.trajectories()


def _alone(run: Run, iterations: int) -> None:
    """Refuse to extend a run while others write shares of it: they would end before, and could not be resumed."""
    for other, holder in holders(run.path).items():
        if holder.held:
            raise RunBusy(
                f"{run.path}: shard {other} of this run is being written{holder} with iterations={run.iterations}, and "
                f"here it is {iterations}: use the same, or wait for it to end; nothing was changed"
            )


def _clear(blank: Run, plan: Plan, resolved: Mapping[str, Any]) -> None:
    """Take away a run of which nothing was made, as when a model could not be loaded."""
    with blank.writing():
        if not _gives_way(blank, plan):  # a process that held it until now has made something
            _compare(blank, plan, resolved)
        blank.log(GAVE_WAY)
        # Of starts: vectors by the names that those of the next run will have, measurements, folders without a figure.
        for path in (blank.path / "embeddings", *results(blank)):
            with shards.storing(path):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        for shard in shards.list_shards(blank.path / "steps"):
            shard.path.unlink()
        checksums.forget(blank.path / "steps")
        (blank.path / "manifest.json").unlink()


def _made(
    path: Path, plan: Plan, provenance: Mapping[str, object], threads: int | None, resolved: Mapping[str, Any]
) -> Run:
    """A new run; only in `lock.beginning`, so that no other process writes the same files."""
    with shards.storing(path):
        for folder in ("steps", "starts"):
            (path / folder).mkdir(exist_ok=True)
        for start in plan.starts:
            if start.image is not None:
                shards.write_bytes(path / _kept_image(start), start.image.read_bytes())
    _write_yaml(path, resolved)
    shards.write_table(path / "trajectories.parquet", trajectory_table(plan))
    manifest = {
        "format": FORMAT_VERSION,
        "loopsim": provenance.get("loopsim"),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "name": plan.experiment.name,
        "cohorts": _cohorts(plan),
        "threads": threads,
        "provenance": dict(provenance),
    }
    # Last: a directory with a manifest is a run, one without is nothing yet.
    if not shards.write_once(path / "manifest.json", manifest_bytes(manifest)):  # a file system without locks
        if open_run(path).cohorts != manifest["cohorts"]:
            raise StoreError(
                f"{path}: another process made a run of another experiment here at this moment, and this file system "
                "has no locks: the experiment beside its manifest may be either's. Choose another --out, and give the "
                "other command again, which puts that right"
            )
        return create_run(path, plan, provenance, threads)
    return open_run(path)


def _hint(path: Path) -> str:
    lost = shards.list_shards(path / "steps")
    return f". If it was one, `loopsim verify {path}` says what is missing" if lost else ""


def _occupied(path: Path) -> bool:
    """Whether a directory holds anything that a process that was killed while it made a run would not have left."""
    ours = {"steps", "starts", "experiment.yaml", "trajectories.parquet", lock.NAME, lock.BEGIN, FOLDER}
    stray = {p.name for p in path.iterdir() if p.name not in ours and not p.name.startswith(".tmp-")}
    if (path / "experiment.yaml").exists():  # of a blank run that was being taken away
        stray -= {p.name for p in path.glob("log*.jsonl")}
    return bool(stray or shards.list_shards(path / "steps"))


def _write_yaml(path: Path, resolved: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True, width=120)
    content = sealed("The experiment as it was run, with every start written out.", text)
    shards.write_bytes(path / "experiment.yaml", content)


def _cohorts(plan: Plan) -> dict[str, list[str]]:
    return {cohort.id: [t.id for t in cohort.trajectories] for cohort in plan.cohorts}


def _same_models(run: Run, provenance: Mapping[str, Any]) -> None:
    """Refuse to go on with other weights under the same name."""
    known = dict(_weights(run.manifest.get("provenance", {})))
    for key, (files, commit) in _weights(provenance):
        what, name, _ = key
        before, was = known.get(key, ({}, None))
        if before and files and before != files:
            changed = sorted(name for name in {*before, *files} if before.get(name) != files.get(name))
            raise OtherExperimentError(
                f"{run.path} was made with other files of the {what} {name}: {', '.join(changed)}; "
                "nothing was changed. Choose another --out, or put the former files back."
            )
        if was and commit and was != commit:
            raise OtherExperimentError(
                f"{run.path} was made with commit {was} of the {what} {name}, and this is commit {commit}; nothing "
                "was changed. Choose another --out."
            )


def _weights(provenance: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, Any], tuple[dict[str, str], str | None]]]:
    """Role or part, name and revision of everything that was loaded, with the hashes of its files and its commit."""
    for model in provenance.get("models") or ():
        yield (model["role"], model["model"], model.get("revision")), (model.get("files") or {}, model.get("commit"))
        for part in model.get("parts") or ():
            found = part.get("files") or {}, part.get("commit")
            yield (f"{part['part']} (for {model['role']} {model['model']})", part["location"], None), found


def _kept_image(start: Start) -> str:
    suffix = start.image.suffix.lower() if start.image else ""
    return f"starts/{start.id}{suffix}"


def _with_starts(plan: Plan) -> dict[str, Any]:
    """The experiment with the starts written out, so that the run directory says all by itself."""
    resolved = plan.experiment.resolved()
    groups: list[dict[str, Any]] = []
    given = iter(plan.starts)
    for group, size in zip(plan.experiment.starts, plan.group_sizes, strict=True):
        starts = list(itertools.islice(given, size))
        if group.branch is not None:
            groups.append({"from": list(group.branch), "group": group.group})
        elif group.images is not None:
            groups.append({"group": group.group, "images": [_kept_image(start) for start in starts]})
        else:
            groups.append({"group": group.group, "prompts": [_prompt(start) for start in starts]})
    resolved["starts"] = groups
    if not plan.experiment.controls:
        del resolved["controls"]
    arms = dict.fromkeys(c.control for c in plan.conditions if c.control is not None)
    for written, control in zip(resolved.get("controls", ()), arms, strict=True):
        if written.pop("file", None):  # a run directory says all by itself
            written["prompts"] = list(control.pool)
    return resolved


def _prompt(start: Start) -> str | dict[str, Any]:
    """A prompt as an experiment file says it: its text, with its columns where it has any."""
    return {"prompt": start.text, **start.facts} if start.facts else str(start.text)


def trajectory_table(plan: Plan) -> pa.Table:
    """One row a trajectory, in plan order: what `trajectories.parquet` holds."""
    rows = [(cohort.id, t) for cohort in plan.cohorts for t in cohort.trajectories]
    columns: dict[str, Any] = {
        "trajectory_id": [t.id for _, t in rows],
        "cohort": [cohort for cohort, _ in rows],
        "condition": [t.condition.id for _, t in rows],
        "label": [t.condition.label for _, t in rows],
        "group": [t.start.group for _, t in rows],
        "start_id": [t.start.id for _, t in rows],
        "start_kind": [t.start.kind for _, t in rows],
        "start_text": pa.array([t.start.text for _, t in rows], pa.string()),
        "replicate": pa.array([t.replicate for _, t in rows], pa.int32()),
        "t0": pa.array([t.start.t0 for _, t in rows], pa.int32()),
        "parent": pa.array([t.start.parent for _, t in rows], pa.string()),
        "lineage": pa.array([json.dumps(t.start.lineage) if t.start.lineage else None for _, t in rows], pa.string()),
    }
    of_starts = uniform_columns([t.start.facts for _, t in rows])
    columns |= uniform_columns([t.condition.factors for _, t in rows]) | of_starts
    return pa.table(columns, metadata={START_COLUMNS: json.dumps(list(of_starts))})
