"""`loopsim run --dry-run`: everything that a run would do, in small, with models that take no time."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from loopsim.cli._progress import progress_shown
from loopsim.cli._shared import say, say_notices

if TYPE_CHECKING:
    from loopsim.cli._signals import Request
    from loopsim.plan import Plan
    from loopsim.runner import Progress
    from loopsim.store import Share


def rehearse(
    plan: Plan, where: Path, device: str, max_cost: float | None, share: Share | None, clustered: bool, request: Request
) -> None:
    """Look at everything that a run would, then carry out a small one in a folder that is deleted.

    Args:
        plan: the plan of the run.
        where: its directory, which is looked at and not written to.
        device: for its models.
        max_cost: US dollars that hosted models may cost.
        share: which part of its cohorts would be done.
        clustered: whether other processes would do it.
        request: signals that were received.

    Raises:
        LoopsimError: what the run would end with.
        typer.Exit: it would end for what this machine lacks, or a trajectory of the small run failed.
    """
    from loopsim.rehearsal import rehearsal_of
    from loopsim.runner import read_branch

    began = time.monotonic()
    ready = _looked_at(plan, where, device, max_cost, share, clustered)
    say_notices(plan)
    _say_of_disk(plan, where)
    small = rehearsal_of(plan.experiment, read_branch)
    sizes = (
        _of(len(small.starts), len(plan.starts), "starts"),
        _of(small.experiment.replicates, plan.experiment.replicates, "replicates"),
        _of(small.experiment.iterations, plan.experiment.iterations, "iterations"),
    )
    say(
        f"{plan.experiment.name}, dry run: {len(small.conditions)} conditions × {' × '.join(sizes)}, with models that "
        "take no time"
    )
    request.heed()
    with tempfile.TemporaryDirectory(prefix="loopsim-dry-run-") as folder:
        came = _carry_out(small, Path(folder) / "run", request)
    say(
        f"the dry run went through in {time.monotonic() - began:.0f} s: {came}. Its numbers say nothing; nothing was "
        f"kept, and nothing written into {where}"
    )
    if not ready:
        say("a run would end all the same, see the notices above", "loopsim:", "bold red")
        raise typer.Exit(1)


def _looked_at(
    plan: Plan, where: Path, device: str, max_cost: float | None, share: Share | None, clustered: bool
) -> bool:
    """Whether a run could begin; what this machine lacks is said, and anything else raised."""
    from loopsim.errors import NotAtHand
    from loopsim.models.hosted.endpoint import endpoint_of
    from loopsim.runner import check_placements, check_plan, hosted_models, look_ahead, unfinished
    from loopsim.store import check_directory, check_free, standing

    there = standing(where, plan)
    left = there is None or bool(unfinished(plan, there, share))
    check_directory(where, plan, {})  # first, as it takes no time
    if (where / "manifest.json").exists() and (left or share is None):  # else it does not look at who is measuring
        check_free(where, share if there is not None else None)  # a blank run is taken away whole
    checked = None if there is not None else check_plan(plan, max_cost)
    lacking = list(checked.unseen) if checked is not None else []
    try:
        known = look_ahead(
            plan, where, device=device, max_cost=max_cost, share=share, clustered=clustered, checked=checked
        )
        check_directory(where, plan, known)
        if left:
            for name in hosted_models(plan):
                endpoint_of(name)
            if not clustered:
                check_placements(plan, device)
    except NotAtHand as error:
        lacking = lacking or [error]
    for lack in lacking:
        say(f"not checked, and a run would end here: {lack}", "notice:", "yellow")
    return not lacking


def _carry_out(small: Plan, folder: Path, request: Request) -> str:
    """Everything that `loopsim run` does, and in words how much came of it."""
    from loopsim.embed import embed_run
    from loopsim.measure import measure_run
    from loopsim.rehearsal import StandIns
    from loopsim.report.figures import draw_figures
    from loopsim.runner import describe_failures, run_plan

    with progress_shown() as show:

        def watch(now: Progress) -> None:
            request.heed()
            show(now)

        done = run_plan(small, folder, watch=watch, pool=StandIns())
    if len(failures := done.failures()):
        say(describe_failures(failures), "loopsim:", "bold red")
        raise typer.Exit(1)
    vectors = sum(embed_run(done, name) for name in small.experiment.embedders)
    request.heed()
    say("measuring")
    measurements = measure_run(done)
    request.heed()
    draw_figures(done, measurements)
    figures = len(list((folder / "figures").glob("*.png")))
    return (
        f"{small.steps} steps drawn and described, {vectors} of them embedded, {measurements['metric'].nunique()} "
        f"metrics, {figures} figures"
    )


def _of(few: int, of: int, what: str) -> str:
    return f"{few} {what}" if few == of else f"{few} of {of} {what}"


def _say_of_disk(plan: Plan, where: Path) -> None:
    """Say where the run is estimated to take more than there is room for; of one that is there, nobody knows."""
    from loopsim.costs import price_plan

    if (where / "manifest.json").is_file():
        return
    total = price_plan(plan).disk.total
    there = next(folder for folder in (where.resolve(), *where.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if total is not None and total > free:
        text = f"the run takes about {total / 1e9:.1f} GB, and there is room for {free / 1e9:.1f} GB in {there}"
        say(text, "notice:", "yellow")
