"""What should be in a run directory: as its own experiment.yaml says, or where that cannot be, its trajectories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from loopsim.errors import LoopsimError
from loopsim.experiment import load_experiment
from loopsim.plan import Plan, make_plan
from loopsim.records import Condition, Failure, Start, Trajectory
from loopsim.runner import read_branch
from loopsim.store import Run
from loopsim.store.journal import Unreadable, read_events, scan_failures, starts_in
from loopsim.store.shares import share_of_log


@dataclass(frozen=True)
class Expected:
    """What the rows of a run are held against."""

    cohorts: Mapping[str, tuple[str, ...]]
    """Cohort to its trajectories."""
    trajectories: Mapping[str, Trajectory]
    """By id; empty where only the ids are known, as for imports."""
    failed: Mapping[str, Failure]
    """By trajectory."""
    seed: int | None
    """The experiment's; None where its file cannot be read, so that no noise can be checked."""
    independent: bool
    """Whether conditions have noise of their own."""
    iterations: int
    """Iterations that the run is to have."""
    plain: bool = True
    """Whether nothing intervened between iterations, so that each text is drawn as it was said."""
    plan: Plan | None = field(default=None, repr=False)
    """The plan; None where it cannot be made here."""
    ended: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Cohort to how many iterations it was carried on for, by the log: 0 where that says only that it was begun."""
    unsaid: tuple[Unreadable, ...] = ()
    """Failures that are on record, and cannot be read."""


def planned_again(path: Path) -> Plan | str:
    """The plan that a run's own experiment.yaml gives, or why there is none."""
    try:
        return make_plan(load_experiment(path), read_branch)
    except LoopsimError as error:
        return str(error)


def expected_of(run: Run, plan: Plan | None) -> Expected:
    """What a run should hold.

    Args:
        run: the run.
        plan: what its experiment.yaml gives, if it gives anything.

    Raises:
        StoreError: there is no plan, and its table of trajectories cannot be read.
    """
    failures, damaged = scan_failures(run.path / "failures")
    failed = {failure.trajectory_id: failure for failure in failures}
    cohorts = {cohort: tuple(members) for cohort, members in run.cohorts.items()}
    if run.imported is not None:
        return Expected(cohorts, {}, failed, 0, False, run.iterations)
    known = {t.id: t for t in plan.trajectories} if plan else _trajectories(run.trajectories())
    seams = {str(event.get("seam", "carry_on")) for event in starts_in(run.events())}
    # Without a plan nothing tells the controls, which may draw something else than what was said.
    plain = seams <= {"carry_on"} and (plan is not None or not run.experiment.get("controls"))
    return Expected(
        cohorts, known, failed, run.experiment.get("seed"), run.experiment.get("pairing") == "independent",
        run.iterations, plain, plan, ended_at(run), tuple(damaged),
    )  # fmt: skip


def ended_at(run: Run) -> dict[str, int]:
    """What the logs say of how far cohorts were carried on, whenever generating came to its end."""
    reached: dict[str, int] = {}
    every = list(run.cohorts)
    for path in sorted(run.path.glob("log*.jsonl")):
        share = share_of_log(path.name)
        for event in read_events(path):
            if event.get("event") == "end":
                # Logs from before it was noted do not say how many there were.
                iterations = event["iterations"] if isinstance(event.get("iterations"), int) else 0
                for cohort in share.of(every) if share else every:
                    reached[cohort] = max(iterations, reached.get(cohort, 0))
    return reached


def _trajectories(table: pd.DataFrame) -> dict[str, Trajectory]:
    """Trajectories with all that their seeds come from; their chains are not known."""
    found = {}
    for row in table.to_dict("records"):
        lineage = json.loads(row["lineage"]) if isinstance(row.get("lineage"), str) else None
        start = Start(
            row["start_id"], row["start_kind"], row["start_text"], None, row["group"], int(row["t0"]),
            None if lineage is None else (int(lineage[0]), str(lineage[1]), int(lineage[2])), row["parent"],
        )  # fmt: skip
        condition = Condition(row["condition"], (), row.get("noise", "fresh"), {}, row["label"])
        found[row["trajectory_id"]] = Trajectory(row["trajectory_id"], condition, start, int(row["replicate"]))
    return found
