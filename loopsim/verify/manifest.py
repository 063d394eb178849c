"""A run's manifest: whether it is what was written, and what it must have been where it is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from loopsim.plan import Plan
from loopsim.store.journal import starts_in
from loopsim.store.manifest import CHECKSUM, is_as_sealed, manifest_checksum
from loopsim.store.run import FORMAT_VERSION, Run
from loopsim.store.shards import list_shards
from loopsim.verify.reading import UNREADABLE


def read_manifest(path: Path) -> dict[str, Any] | str:
    """The manifest of a run directory, or what is wrong with it."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    if not isinstance(manifest, dict) or not isinstance(manifest.get("cohorts"), dict) or "format" not in manifest:
        return "is damaged: it has no cohorts or no format"
    if CHECKSUM in manifest and manifest[CHECKSUM] != manifest_checksum(manifest):
        return "is not what was written: its checksum does not agree"
    return manifest


def read_experiment(path: Path) -> dict[str, Any] | str:
    """The experiment of a run directory as plain data, or what is wrong with it."""
    try:
        experiment = yaml.safe_load((path / "experiment.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
    if not isinstance(experiment, dict) or not isinstance(experiment.get("iterations"), int):
        return "is damaged: it has no iterations"
    return experiment


def experiment_changed(path: Path) -> bool:
    """Whether the experiment of a run directory is certainly no longer what was written."""
    try:
        return is_as_sealed((path / "experiment.yaml").read_bytes()) is False
    except OSError:
        return False


def rebuilt_manifest(path: Path, plan: Plan | str, experiment: Mapping[str, Any]) -> dict[str, Any] | str:
    """The manifest that a run must have had, or what is missing to tell.

    The cohorts follow from the plan, and every stored trajectory must be where the plan puts it. What the run was made
    with is taken from its log: the models from its last start, which copies what all steps were made with, and all
    else from the first since a blank run of another plan gave way to it, if one did.

    Args:
        path: the run directory.
        plan: what its experiment.yaml gives, or why it gives nothing.
        experiment: the experiment as plain data.
    """
    if "imported" in experiment:
        return "it was imported, and only the manifest knew its cohorts: import it again"
    if isinstance(plan, str):
        return f"experiment.yaml gives no plan ({plan})"
    cohorts = {cohort.id: [t.id for t in cohort.trajectories] for cohort in plan.cohorts}
    stray = _stray(path, cohorts)
    if stray:
        return f"experiment.yaml is not what the stored steps were made from: {stray}"
    events = Run(path, {}, {}).events()
    every = [event for event in events if event.get("event") == "start"]
    if not every:
        return "log.jsonl does not say what the run was made with"
    # Where none is later than `gave way`, as of machines whose clocks differ, the last one is of this run all the same.
    first = (starts_in(events) or every[-1:])[0]
    made_with = dict(first.get("loopsim") or {})
    pinned = every[-1].get("loopsim") or {}  # each copies the manifest's, which only ever gains embedders
    made_with |= {key: pinned[key] for key in ("models", "embedders") if key in pinned}
    manifest = {
        "format": FORMAT_VERSION,
        "loopsim": made_with.get("loopsim"),
        "created": first.get("time"),
        "name": experiment.get("name"),
        "cohorts": cohorts,
        "threads": first.get("pinned", {}).get("threads"),
        "provenance": made_with,
        "rebuilt": "from experiment.yaml, the stored steps and what the log says of how it began",
    }
    return manifest


def _stray(path: Path, cohorts: Mapping[str, list[str]]) -> str | None:
    """The first stored trajectory that is not where the plan puts it."""
    for shard in list_shards(path / "steps"):
        if shard.cohort not in cohorts:
            return f"{shard.path.name} is of no cohort of its plan"
        try:
            ids = pq.read_table(shard.path, columns=["trajectory_id"])["trajectory_id"].unique().to_pylist()
        except UNREADABLE:
            continue  # it is told as damaged; the others speak for it
        for trajectory in ids:
            if trajectory not in cohorts[shard.cohort]:
                return (
                    f"{shard.path.name} holds trajectory {trajectory}, which the plan does not have in {shard.cohort}"
                )
    return None


def models_known(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest says which weights the run was made with."""
    return bool((manifest.get("provenance") or {}).get("models"))
