"""Making stored steps again with the models, and comparing every byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from loopsim import provenance
from loopsim.engine import CohortRun, Settings
from loopsim.errors import UsageError
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan
from loopsim.presets.hosted import is_hosted
from loopsim.records import Cohort, Step
from loopsim.store import Run, open_run
from loopsim.store.journal import starts_in
from loopsim.verify.expected import planned_again


@dataclass(frozen=True)
class Remade:
    """One stored step, and how it came out again."""

    trajectory_id: str
    """The trajectory."""
    t: int
    """The iteration."""
    same_picture: bool
    """Whether the bytes of the picture are the same."""
    same_text: bool
    """Whether the caption is the same."""
    same_shape: bool
    """Whether it was made in calls of as many rows; if not, the processor may have rounded otherwise."""
    note: str = ""
    """Why it could not be made, where it could not."""

    @property
    def same(self) -> bool:
        """Whether it is the same, byte for byte."""
        return self.same_picture and self.same_text


@dataclass(frozen=True)
class Rerun:
    """What was made again."""

    chosen: tuple[Remade, ...]
    """The steps that were asked for."""
    beside: int
    """Steps of the same calls, made along with them."""
    beside_same: int
    """How many of these are the same."""
    seed: int
    """Of the choice."""


def rerun_steps(
    path: Path, n: int, *, seed: int = 0, device: str = "auto", on_load: Callable[[str], None] | None = None
) -> Rerun:
    """Make n stored steps again, each with its whole cohort, from the stored iteration before.

    Args:
        path: the run directory.
        n: how many; all there are where there are fewer.
        seed: of the random choice.
        device: for the models.
        on_load: called with a line about each model that is loaded.

    Raises:
        UsageError: the run cannot be made again: imported, hosted, without a plan, or without steps.
        ModelError: a model cannot be loaded.
        StoreError: a stored step is damaged.
    """
    run = open_run(path)
    plan = _plan(run)
    pool = ModelPool(device, on_load=on_load)
    pool.commits = provenance.commits_in(run.manifest)
    from loopsim.models import torch_setup

    starts = starts_in(run.events())
    threads = starts[-1]["pinned"]["threads"] if starts else run.manifest.get("threads")
    torch_setup.pin(int(threads or provenance.usable_cpus()))
    by_id = {t.id: cohort for cohort in plan.cohorts for t in cohort.trajectories}
    steps = run.steps(["trajectory_id", "t"])
    t0 = {t.id: t.start.t0 for t in plan.trajectories}
    every = [(i, t) for i, t in steps.itertuples(index=False) if i in by_id and t > t0[i]]
    if not every:
        raise UsageError(f"{path}: has no steps yet that could be made again")
    picked = random.Random(seed).sample(every, min(n, len(every)))
    groups: dict[tuple[str, int], list[str]] = {}
    for trajectory, t in picked:
        groups.setdefault((by_id[trajectory].id, int(t)), []).append(trajectory)
    cohorts = {cohort.id: cohort for cohort in plan.cohorts}
    chosen: list[Remade] = []
    beside: list[Remade] = []
    for (cohort, t), wanted in sorted(groups.items()):
        for made in _made_again(run, plan, cohorts[cohort], t, pool):
            (chosen if made.trajectory_id in wanted else beside).append(made)
    return Rerun(tuple(chosen), len(beside), sum(made.same for made in beside), seed)


def _plan(run: Run) -> Plan:
    if run.imported is not None:
        raise UsageError(f"{run.path}: was imported from {run.imported}; there are no models to make it again with")
    plan = planned_again(run.path)
    if isinstance(plan, str):
        raise UsageError(f"{run.path}: cannot be made again: {plan}")
    if {c.id: [t.id for t in c.trajectories] for c in plan.cohorts} != run.cohorts:
        raise UsageError(f"{run.path}: cannot be made again: experiment.yaml gives other trajectories than are stored")
    hosted = sorted({spec.model for c in plan.conditions for spec in c.chain if is_hosted(spec.model)})
    if hosted:
        raise UsageError(f"{run.path}: {hosted[0]} is hosted: asking again costs money and gives other bytes")
    return plan


def _made_again(run: Run, plan: Plan, cohort: Cohort, t: int, pool: ModelPool) -> Sequence[Remade]:
    """Every step of one iteration of a cohort, made again from the iteration before."""
    experiment = plan.experiment
    independent = experiment.pairing == "independent"
    settings = Settings(experiment.seed, independent, experiment.image_format, experiment.iterations)
    failed = {failure.trajectory_id: failure.t for failure in run.failures() if failure.t < t}
    before, stored = run.steps_at(cohort.id, t - 1), run.steps_at(cohort.id, t)
    if not before:
        gap = f"iteration {t - 1} of its cohort is not stored"
        return [Remade(step.trajectory_id, t, False, False, False, gap) for step in stored]
    with ThreadPoolExecutor(2, thread_name_prefix="loopsim-encode") as encoder:
        again = CohortRun(cohort, settings, before, failed, encoder, until=t)
        made = None
        while made is None:
            made = again.advance(pool)
    found = {step.trajectory_id: step for step in made.steps}
    return [_compared(step, found.get(step.trajectory_id)) for step in stored]


def _compared(stored: Step, again: Step | None) -> Remade:
    if again is None:
        return Remade(stored.trajectory_id, stored.t, False, False, True, "it failed")
    shape = (stored.generator_chunk, stored.captioner_chunk) == (again.generator_chunk, again.captioner_chunk)
    picture, text = stored.image == again.image, stored.text == again.text
    return Remade(stored.trajectory_id, stored.t, picture, text, shape)
