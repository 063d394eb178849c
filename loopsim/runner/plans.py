"""Carrying out a plan: what is missing, do it, store it. The only writer of a run directory."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from loopsim import provenance
from loopsim.engine import Settings, keeps_pictures
from loopsim.errors import BudgetReached, DeviceLost, LoopsimError, RunFailed, StoreError
from loopsim.executors import Executor, Job, LocalExecutor, Span
from loopsim.models.hosted.endpoint import endpoint_of
from loopsim.models.hosted.meter import Meter, spent_in
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan
from loopsim.runner.ahead import hosted_models, look_ahead
from loopsim.runner.preflight import Checked
from loopsim.runner.progress import Progress, Watcher, describe_failures
from loopsim.seams import Seam, carry_on
from loopsim.store import Run, Share, carrying_out, create_run
from loopsim.store.journal import own_events, starts_in
from loopsim.store.spans import missing

_COMES_AND_GOES = ("start", "end", "failed", "stopped")
"""Events that say of processes that one began or ended."""


def run_plan(
    plan: Plan,
    out: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    strict: bool = False,
    seam: Seam = carry_on,
    pool: ModelPool | None = None,
    watch: Watcher | None = None,
    max_cost: float | None = None,
    share: Share | None = None,
    executor: Executor | None = None,
    checked: Checked | None = None,
) -> Run:
    """Do what is missing of a plan in its run directory; a finished run returns at once.

    Args:
        plan: what is to be done.
        out: the run directory, made if there is none.
        device: for the models; ignored where `pool` is given.
        threads: CPU threads; a run that is continued keeps those it began with.
        strict: raise at the first failed trajectory.
        seam: what happens between iterations.
        pool: models to use.
        watch: called after every iteration.
        max_cost: US dollars that hosted models may cost over all calls for this run; None is no limit.
        share: which part of the cohorts to do, while other processes do the others; None is all.
        executor: where the cohorts are carried on; None is this process.
        checked: what `check_plan` found with the same `max_cost`, so that nothing is asked twice.

    Raises:
        BudgetReached: the next step would cost more than `max_cost` leaves.
        UsageError: `max_cost` is given, and nobody knows what a hosted model charges, or several processes would spend;
            or another process is writing to the run.
        OtherExperimentError: `out` holds another experiment.
        ModelError: a model is refused before anything is made (`check_plan`), or cannot be loaded.
        StoreError: the disk is full or refuses; what is stored is whole.
        RunFailed: with `strict`, a trajectory failed; or a model failed for all of a cohort, or lost the device twice.
        DeviceLost: the device is of no use to this process any more.
    """
    known = look_ahead(
        plan, out, device=pool.device if pool else device, max_cost=max_cost, share=share,
        clustered=executor is not None, checked=checked,
    )  # fmt: skip
    run = create_run(out, plan, known, threads or provenance.usable_cpus())
    if share is not None and not unfinished(plan, run, share):
        return run  # without a look at who else is writing: the last to end may be measuring
    with carrying_out(run, plan, share), _end_noted(run):
        spans = unfinished(plan, run, share, pictures=seam is not carry_on)
        if spans:
            for name in hosted_models(plan):
                endpoint_of(name)  # a missing key is said now, not when the first cohort has been drawn
            job = _begun(plan, run, spans, seam, threads, share)
            pool = pool or ModelPool(device)
            pool.commits = provenance.commits_in(run.manifest)
            pool.meter = Meter(max_cost, spent_in(run.events()))
            with _not_lost_for_ever(run, share, job.cohorts):
                _carry_out(job, executor or LocalExecutor(pool), pool.meter, strict, watch)
        # Also where nothing was to be done: a writer that was killed at the very end may have left it undone.
        run.compact([cohort.id for cohort in share.of(plan.cohorts)] if share else None)
    return run


def _begun(plan: Plan, run: Run, spans: list[Span], seam: Seam, threads: int | None, share: Share | None) -> Job:
    """What is to be done, noted in the log, with everything pinned that could change bytes."""
    from loopsim.models import torch_setup

    count = threads or _threads_so_far(run) or provenance.usable_cpus()
    name = getattr(seam, "__qualname__", type(seam).__qualname__)
    run.log("start", pinned=torch_setup.pin(count), loopsim=_software(run), seam=name)
    cohorts = None if share is None else [cohort.id for cohort in share.of(plan.cohorts)]
    return Job(run, _settings(plan, seam), spans, count, cohorts)


def _settings(plan: Plan, seam: Seam) -> Settings:
    experiment = plan.experiment
    independent = experiment.pairing == "independent"
    return Settings(experiment.seed, independent, experiment.image_format, experiment.iterations, seam)


def _software(run: Run) -> dict[str, object]:
    """Today's versions with the models that the run is pinned to: a second copy of what only the manifest knows."""
    pinned = run.manifest.get("provenance", {})
    return provenance.collect(()) | {key: pinned.get(key) for key in ("models", "embedders")}


def _threads_so_far(run: Run) -> int | None:
    said = (int(e["pinned"]["threads"]) for e in starts_in(run.events()))
    return run.manifest.get("threads") or next(said, None)


def unfinished(plan: Plan, run: Run, share: Share | None = None, pictures: bool = False) -> list[Span]:
    """What cohorts lack, with the steps before and the members that failed: the end, or what was lost between.

    Pictures of the steps before are left out unless they are asked for, or the next ones are made from them.
    """
    stored, failed = run.stored(), {failure.trajectory_id: failure.t for failure in run.failures()}
    spans = []
    for cohort in share.of(plan.cohorts) if share else plan.cohorts:
        t0 = cohort.trajectories[0].start.t0
        for first, last in missing(stored.get(cohort.id, ()), t0, t0 + plan.experiment.iterations):
            if any(failed.get(t.id, first + 1) > first for t in cohort.trajectories):
                wanted = pictures or keeps_pictures(cohort)
                before = run.steps_at(cohort.id, first - 1, wanted) if first > t0 else []
                spans.append(Span(cohort, tuple(before), last, failed))
    return spans


def _check_joints(run: Run, spans: Sequence[Span]) -> None:
    """Look whether what was made again between stored iterations leads to the next of them.

    Raises:
        StoreError: it does not.
    """
    for span in spans:
        if span.cohort.trajectories[0].condition.control is not None:
            continue  # controls may draw something else than what was said
        said = {step.trajectory_id: step.text for step in run.steps_at(span.cohort.id, span.until, False)}
        then = run.steps_at(span.cohort.id, span.until + 1, False)
        other = [s for s in then if s.parent in said and s.text_in != said[s.parent]]
        if other:
            raise StoreError(
                f"{run.path}: iterations up to {span.until} of cohort {span.cohort.id} were made again and say "
                f"something else than what iteration {span.until + 1} was drawn from, for {len(other)} of {len(then)} "
                "trajectories: another machine, version or setting makes other bytes. Nothing was lost. `loopsim "
                f"verify {run.path} --repair` puts aside what no longer follows, and the same command makes it again"
            )


def _carry_out(job: Job, executor: Executor, meter: Meter, strict: bool, watch: Watcher | None) -> None:
    """Make what is missing, and note in the log that it is made."""
    _advance(job, executor, meter, strict, watch)
    if job.settings.seam is carry_on:
        _check_joints(job.run, job.spans)
    failures = len(job.run.failures())
    job.run.log("end", models=executor.described(), failures=failures, iterations=job.settings.iterations)


@contextlib.contextmanager
def _not_lost_for_ever(run: Run, share: Share | None, cohorts: Sequence[str] | None) -> Iterator[None]:
    """Ask to be run again for a lost device only while that helps: what breaks every new process is no accident.

    The log has this process's start already. One that was killed has a start and no end.

    Raises:
        RunFailed: the process before this one lost it too, and nothing was made since.
    """
    own = own_events(run.path, None if share is None else share.name)
    noted = [event for event in own if event.get("event") in _COMES_AND_GOES]
    again = [event.get("error") for event in noted[-2:-1]] == [DeviceLost.__name__]
    before, _ = run.count_steps(cohorts)
    try:
        yield
    except DeviceLost as error:
        if again and run.count_steps(cohorts)[0] == before:
            raise RunFailed(
                f"{error}\n  The process before this one lost it too, and nothing was made since: a third would hardly "
                "do better. Another device may, a smaller batch_size, or an experiment without what it is at.",
                error.details,
            ) from error
        raise


@contextlib.contextmanager
def _end_noted(run: Run) -> Iterator[None]:
    """Note in the log how it ended, if not well: whoever says nothing is taken for killed."""
    try:
        yield
    except BaseException as error:
        event = "stopped" if isinstance(error, (BudgetReached, KeyboardInterrupt)) else "failed"
        if isinstance(error, (LoopsimError, KeyboardInterrupt)):
            said = {"message": str(error) or type(error).__name__, "details": getattr(error, "details", "")}
        else:  # a bug
            said = {
                "message": "".join(traceback.format_exception_only(error)).strip(),
                "details": traceback.format_exc(),
            }
        with contextlib.suppress(Exception):  # such as a full disk, of which the error itself tells
            run.log(event, error=type(error).__name__, **said)
        raise


def _advance(job: Job, executor: Executor, meter: Meter, strict: bool, watch: Watcher | None) -> None:
    started, made = time.monotonic(), 0
    done, total = job.run.count_steps(job.cohorts)
    booked = meter.spent
    try:
        with contextlib.closing(executor.carry(job)) as advances:
            for now in advances:
                t0 = now.cohort.trajectories[0].start.t0
                made += now.steps * (now.t > t0)
                # A failure takes with it the iterations that will now not happen.
                total -= len(now.failures) * (t0 + job.settings.iterations - max(now.t, t0 + 1) + 1)
                if watch is not None:
                    watch(Progress(done + made, total, made, time.monotonic() - started))
                booked = _book(job.run, meter, booked)
                if strict and now.failures:
                    raise RunFailed(describe_failures(now.failures))
    finally:
        _book(job.run, meter, booked)


def _book(run: Run, meter: Meter, before: float) -> float:
    """Note in the log what hosted models have cost since `before` was all; what it is now."""
    if meter.spent > before:
        run.log("cost", usd=round(meter.spent - before, 9), total=round(meter.spent, 9))
    return meter.spent
