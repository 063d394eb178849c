"""Verifying a run directory: everything in it that can be held against something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from loopsim import __version__
from loopsim.errors import UsageError
from loopsim.plan import Plan
from loopsim.presets.hosted import is_hosted
from loopsim.store import Run, checksums
from loopsim.store.checksums import FileSum
from loopsim.store.create import trajectory_table
from loopsim.store.run import FORMAT_VERSION
from loopsim.store.shards import Shard, list_shards, shard_at
from loopsim.verify.embeddings import VectorCheck
from loopsim.verify.expected import Expected, expected_of, planned_again
from loopsim.verify.inputs import check_starts, damaged_failures, iterations_before, says_too_few
from loopsim.verify.manifest import experiment_changed, models_known, read_experiment, read_manifest, rebuilt_manifest
from loopsim.verify.reading import UNREADABLE
from loopsim.verify.records import Finding, Remedy, Verdict
from loopsim.verify.steps import check_cohort

Watch = Callable[[int, int], None]
"""Called with how many cohorts were looked at, and how many there are."""


def verify_run(path: Path, *, pictures: bool = True, watch: Watch | None = None, ours: bool = False) -> Verdict:
    """Look at everything in a run directory; nothing is changed.

    Args:
        path: the run directory.
        pictures: whether to decode every picture; without, a picture of a run without checksums is taken on trust.
        watch: called after every cohort.
        ours: whether the caller holds the run for writing.

    Raises:
        UsageError: there is no run, or one of a newer format.
    """
    if not (path / "manifest.json").exists() and not (path / "experiment.yaml").exists():
        raise UsageError(f"{path}: there is no run here (neither manifest.json nor experiment.yaml)")
    experiment, plan = read_experiment(path), planned_again(path)
    findings: list[Finding] = []
    notices: list[str] = []
    if isinstance(experiment, str):
        findings.append(Finding("experiment.yaml", experiment, "none"))
        notices.append("without experiment.yaml the noise of the steps was not checked, nor how many there should be")
    run = _opened(path, experiment, plan, findings, notices)
    if run is None:
        return Verdict(tuple(findings), ("the steps were not looked at, since nothing says what they should be",))
    starts = check_starts(path, experiment)
    findings += starts
    known = plan if isinstance(plan, Plan) and not _others(run, plan) else None
    if not ours and (writer := run.writer()).held:
        notices.append(f"it is being written to now{writer}: files that change meanwhile may be told as missing")
    table = _check_trajectories(run, known)
    findings += [*table, *_check_measurements(run)]
    if isinstance(plan, Plan) and known is None:
        findings += [] if starts else _other_plan(run, notices)
    elif isinstance(plan, str) and run.imported is None and isinstance(experiment, dict):
        notices.append(f"experiment.yaml gives no plan here, so trajectories.parquet is believed instead: {plan}")
    if known is None and table:
        return Verdict(tuple(findings), (*notices, "the steps were not looked at, since nothing says what they are"))
    steps = _check_steps(run, expected_of(run, known), pictures, watch)
    findings += steps.findings
    if experiment_changed(path) and not any(finding.file == "experiment.yaml" for finding in findings):
        notices.append("experiment.yaml was changed after it was written; what is stored does not contradict it")
    hosted = {spec.model for c in known.conditions for spec in c.chain if is_hosted(spec.model)} if known else set()
    if findings and hosted:
        notices.append(
            f"what {', '.join(sorted(hosted))} made can be made again, but a service never gives the same bytes"
        )
    return Verdict(tuple(findings), (*notices, *steps.notices), steps.steps, steps.pictures, steps.vectors, steps.hits)


def _opened(
    path: Path, experiment: dict[str, Any] | str, plan: Plan | str, findings: list[Finding], notices: list[str]
) -> Run | None:
    """The run, its manifest rebuilt where it is damaged; None where that cannot be."""
    manifest = read_manifest(path)
    if isinstance(manifest, str):
        why = "experiment.yaml is lost too"
        rebuilt = rebuilt_manifest(path, plan, experiment) if isinstance(experiment, dict) else why
        if isinstance(rebuilt, str):
            findings.append(Finding("manifest.json", f"{manifest}, and cannot be rebuilt: {rebuilt}", "none"))
            return None
        findings.append(Finding("manifest.json", manifest, "rewrite"))
        if not models_known(rebuilt):
            notices.append(
                "manifest.json: the log does not say which weights the run was made with, so a rebuilt manifest does "
                "not either, and other weights under the same names would not be refused"
            )
        manifest = rebuilt
    if int(manifest["format"]) > FORMAT_VERSION:
        raise UsageError(f"{path}: of format {manifest['format']}; this loopsim reads up to {FORMAT_VERSION}")
    return Run(path, manifest, experiment if isinstance(experiment, dict) else {"iterations": 10**9})


def _others(run: Run, plan: Plan) -> bool:
    """Whether a plan has other cohorts than a run."""
    return {c.id: [t.id for t in c.trajectories] for c in plan.cohorts} != dict(run.cohorts)


def _other_plan(run: Run, notices: list[str]) -> list[Finding]:
    """experiment.yaml gives other trajectories: the file was changed, or the version gives models other settings."""
    made_with = str(run.manifest.get("loopsim"))
    text = "experiment.yaml gives other trajectories than the run has"
    if made_with != __version__:
        notices.append(
            f"{text}: it was made with loopsim {made_with}, and this is {__version__}, where a model's settings may be "
            "others; trajectories.parquet is believed instead"
        )
        return []
    return [Finding("experiment.yaml", f"{text}: it was changed, or belongs to another run", "none")]


def _check_trajectories(run: Run, plan: Plan | None) -> list[Finding]:
    """The table of trajectories against manifest and plan."""
    name = "trajectories.parquet"
    again: Remedy = "none" if plan is None else "rewrite"
    try:
        table = pq.read_table(run.path / name, page_checksum_verification=True)
        pairs = list(zip(table["cohort"].to_pylist(), table["trajectory_id"].to_pylist(), strict=True))
    except FileNotFoundError:
        return [Finding(name, "is missing", again)]
    except UNREADABLE as error:
        return [Finding(name, f"cannot be read: {(str(error).splitlines() or ['?'])[0][:120]}", again)]
    if sorted(pairs) != sorted((c, t) for c, members in run.cohorts.items() for t in members):
        return [Finding(name, "has other trajectories than manifest.json", again)]
    if plan is None:
        return []
    wanted = trajectory_table(plan)
    order = {trajectory: i for i, trajectory in enumerate(wanted["trajectory_id"].to_pylist())}
    table = table.take(sorted(range(len(pairs)), key=lambda i: order[pairs[i][1]]))
    common = [column for column in wanted.column_names if column in table.column_names]
    other = [column for column in common if table[column].to_pylist() != wanted[column].to_pylist()]
    return [Finding(name, f"is not what the experiment says in {', '.join(other)}", again)] if other else []


def _check_measurements(run: Run) -> list[Finding]:
    path = run.path / "measurements.parquet"
    try:
        if path.exists():
            pq.read_table(path, page_checksum_verification=True)
    except UNREADABLE as error:
        why = f"cannot be read: {(str(error).splitlines() or ['?'])[0][:120]}"
        return [Finding(path.name, why, "none" if run.imported is not None else "move")]
    return []


def _check_steps(run: Run, expected: Expected, pictures: bool, watch: Watch | None) -> Verdict:
    """Every stored step, and every vector."""
    folder = run.path / "steps"
    noted: dict[str, dict[str, FileSum]] = {cohort: {} for cohort in run.cohorts}
    for name, known in checksums.noted(folder).items():
        if (written := shard_at(Path(name))) is not None and written.cohort in noted:
            noted[written.cohort][name] = known
    by_cohort: dict[str, list[Shard]] = {cohort: [] for cohort in run.cohorts}
    findings: list[Finding] = []
    for shard in list_shards(folder):
        if shard.cohort in by_cohort:
            by_cohort[shard.cohort].append(shard)
        else:
            findings.append(Finding(f"steps/{shard.path.name}", "is of no cohort of the run", "none"))
    findings += damaged_failures(expected.unsaid)
    before = iterations_before(expected, by_cohort, experiment_changed(run.path))
    if before is not None:
        findings.append(says_too_few(expected.iterations, before))
        expected = replace(expected, iterations=before)
    vectors = VectorCheck(run)
    hits: dict[str, frozenset[int]] = {}
    decoded = unvouched = unnoted = count = 0
    for k, (cohort, shards) in enumerate(by_cohort.items()):
        found = check_cohort(cohort, shards, noted[cohort], expected, pictures)
        findings += found.findings
        decoded += found.pictures
        unvouched += found.unvouched
        unnoted += sum(shard.path.name not in noted[cohort] for shard in shards)
        count += len(found.good)
        vectors.look(cohort, run.cohorts[cohort], found.content, found.hits | found.absent)
        if found.hits:
            hits[cohort] = found.hits
        if watch is not None:
            watch(k + 1, len(by_cohort))
    return Verdict(
        (*findings, *vectors.findings), tuple(_unsaid(run, unvouched, unnoted)), count, decoded, vectors.vectors, hits
    )


def _unsaid(run: Run, unvouched: int, unnoted: int) -> list[str]:
    """What checksums could not say."""
    if unvouched:
        made = "imported" if run.imported is not None else "written"
        line = f"{unvouched} files of steps were {made} before there were checksums of rows: what was changed there "
        return [line + "and can still be read, such as a letter of a caption, is not seen"]
    if unnoted:
        return [f"{unnoted} files of steps have no checksum of the whole file; their rows and pages were checked"]
    return []
