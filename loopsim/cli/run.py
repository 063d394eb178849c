"""`loopsim run`: generate, embed, measure, draw figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopsim.cli._cluster import (
    AddressOption,
    CaptionerGpusOption,
    CaptionersOption,
    CpusOption,
    DriverWritesOption,
    ExecutorOption,
    GpusOption,
    ShardOption,
    WorkersOption,
)
from loopsim.cli._progress import progress_shown
from loopsim.cli._rehearsal import rehearse
from loopsim.cli._shared import ExperimentArgument, OverridesArgument, app, planned, reporting, say, say_notices
from loopsim.cli._signals import Request, stopping
from loopsim.cli._summary import print_summary
from loopsim.errors import RESUME, RunBusy

if TYPE_CHECKING:
    from loopsim.executors import RayOptions
    from loopsim.plan import Plan
    from loopsim.runner import Checked, Progress
    from loopsim.store import Run, Share


@app.command()
def run(
    experiment: ExperimentArgument,
    overrides: OverridesArgument = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/NAME")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads; others may round otherwise.", show_default="all cores, or --num-cpus"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first trajectory that fails.")] = False,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="US dollars that hosted models may cost this run, over all calls.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, then carry out the same in small with models that take no time; nothing is kept.",
        ),
    ] = False,
    shard: ShardOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    num_gpus: GpusOption = None,
    num_cpus: CpusOption = 1.0,
    captioners: CaptionersOption = 0,
    captioner_gpus: CaptionerGpusOption = None,
    driver_writes: DriverWritesOption = False,
) -> None:
    """Run an experiment: generate, embed, measure, draw figures. The same command again resumes."""
    # Around the imports, which take long. Signals before this are `loopsim.__main__`'s.
    with reporting(), stopping() as request, _ended(request, "nothing was changed"):
        from loopsim.executors import RayOptions
        from loopsim.runner import check_device, check_executor, check_plan, describe_failures
        from loopsim.store import read_share, standing

        check_device(device)
        options = RayOptions(address, workers, num_gpus, num_cpus, captioners, captioner_gpus, driver_writes)
        check_executor(executor, options, shard, max_cost)
        share = None if shard is None else read_share(shard)
        plan = planned(experiment, overrides)
        where = out or Path("runs") / plan.experiment.name
        if dry_run:
            rehearse(plan, where, device, max_cost, share, executor == "ray", request)
            return
        # A run that goes on was looked at when it began.
        checked = None if standing(where, plan) is not None else check_plan(plan, max_cost)
        if checked is None or not checked.unseen:
            say_notices(plan)
        say(
            f"{plan.experiment.name}: {len(plan.conditions)} conditions × {len(plan.starts)} starts × "
            f"{plan.experiment.replicates} replicates = {len(plan.trajectories)} trajectories × "
            f"{plan.experiment.iterations} iterations, into {where}"
        )
        request.heed()
        with _ended(request, f"everything made so far is stored in {where}"):
            ray = options if executor == "ray" else None
            done = _generate(plan, where, device, threads, strict, max_cost, share, checked, ray, request)
            if share is None:
                _finish(plan, done, device, request)
            elif _last(plan, done, share):
                with contextlib.suppress(RunBusy):  # one that ended just now was quicker
                    _finish(plan, done, device, request)
            failures = [f for f in done.failures() if share is None or f.trajectory_id in _members(plan, share)]
            if failures:
                say(f"{describe_failures(failures)}\nsee {where / 'failures'}", "loopsim:", "bold red")
                raise typer.Exit(1)


@contextlib.contextmanager
def _ended(request: Request, what: str) -> Iterator[None]:
    """Say that the run was stopped and what became of it, and end with the status that tells who asked for it."""
    try:
        yield
    except KeyboardInterrupt:
        if request.received is not None:
            say(f"\nstopped by {request.received}; {what}. The same command resumes.")
            raise typer.Exit(RESUME) from None
        say(f"\nstopped; {what}. Resume with the same command.")
        raise typer.Exit(130) from None


def _generate(
    plan: Plan, where: Path, device: str, threads: int | None, strict: bool, max_cost: float | None,
    share: Share | None, checked: Checked | None, ray: RayOptions | None, request: Request,
) -> Run:  # fmt: skip
    from loopsim.executors import RayExecutor
    from loopsim.runner import ModelPool, run_plan

    if share is not None:
        mine = len(share.of(plan.cohorts))
        say(f"shard {share}: {mine} of {len(plan.cohorts)} cohorts")
        if not mine:
            say(
                f"nothing to do: the plan has only {len(plan.cohorts)} cohorts; a smaller `cohort:` in the experiment "
                "makes more of them",
                "notice:", "yellow",
            )  # fmt: skip
    if ray is not None and threads is None and checked is not None:
        threads = max(1, int(ray.cpus))  # as many as a worker has
        say(
            f"--threads {threads}, as of --num-cpus: a run on one machine gives the same bytes only with as many",
            "notice:", "yellow",
        )  # fmt: skip
    pool = ModelPool(device, on_load=say)
    with progress_shown() as show:

        def watch(now: Progress) -> None:
            request.heed()
            show(now)

        done = run_plan(
            plan, where, threads=threads, strict=strict, watch=watch, pool=pool, max_cost=max_cost, share=share,
            executor=None if ray is None else RayExecutor(ray, device, say), checked=checked,
        )  # fmt: skip
    if pool.meter.spent:
        say(f"hosted models have cost about ${pool.meter.spent:.4f}")
    return done


def _last(plan: Plan, done: Run, share: Share) -> bool:
    """Whether this shard is the last to end, so that it embeds and measures."""
    from loopsim.runner import unfinished

    left = len({span.cohort.id for span in unfinished(plan, done)})
    if left:
        say(
            f"shard {share} is done; {left} of {len(plan.cohorts)} cohorts of other shards are not. The last shard to "
            "end embeds and measures, as does `loopsim run` without --shard once all are done"
        )
    return not left


def _finish(plan: Plan, done: Run, device: str, request: Request) -> None:
    """Embed, measure, draw figures, and say what came out."""
    from loopsim.embed import embed_run
    from loopsim.measure import measure_run

    with done.writing():
        for name in plan.experiment.embedders:
            request.heed()
            embed_run(done, name, device, on_load=say)
        request.heed()
        if done.is_measured():
            say("nothing to do: the run is finished, embedded and measured")
            measurements = done.measurements()
        else:
            say("measuring")
            from loopsim.report.figures import draw_figures

            measurements = measure_run(done)
            draw_figures(done, measurements)
            done.mark_measured()
    print_summary(measurements)
    _say_flags(done)
    say("figures (PNG, SVG, PDF): " + ", ".join(str(p) for p in sorted((done.path / "figures").glob("*.png"))))


def _members(plan: Plan, share: Share) -> set[str]:
    return {t.id for cohort in share.of(plan.cohorts) for t in cohort.trajectories}


def _say_flags(run: Run) -> None:
    from loopsim.records import FLAGS

    flags = run.flag_counts()
    total = sum(run.steps(["t"])["t"] > 0)
    for name, count in flags.items():
        share = count / max(total, 1)
        say(f"{name}: {count} of {total} steps ({share:.1%}): {FLAGS.get(name, '')}", "flag", "yellow")
