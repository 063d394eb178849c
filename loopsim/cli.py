"""The command line: parse, call one library function, format. Results on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopsim import __version__, catalog
from loopsim.errors import LoopsimError
from loopsim.experiment import load_experiment

if TYPE_CHECKING:
    from loopsim.plan import Plan
    from loopsim.runner import Progress
    from loopsim.store import Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Simulate image-caption feedback loops and measure whether anything converges.",
)
_PLAIN_WIDTH = 120
"""Columns where nobody's terminal says."""
_out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
_err = Console(stderr=True)

ExperimentArgument = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="A YAML file, or a folder with one.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as iterations=5 generator.steps=4."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextlib.contextmanager
def _reporting() -> Iterator[None]:
    """One message and an exit status for what a user can mend; a bug keeps its traceback."""
    try:
        yield
    except LoopsimError as error:
        _say(str(error), "loopsim:", "bold red")
        raise typer.Exit(error.exit_status) from None
    except BrokenPipeError:
        # Whoever read us has gone; nothing can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def _say(text: str, label: str = "", style: str = "") -> None:
    """A line on stderr, as it is: brackets in a prompt or path are no markup."""
    line = Text.assemble((label, style), " ", text) if label else Text(text)
    _err.print(line, highlight=False, soft_wrap=True)


def _print(text: str) -> None:
    """A line on stdout, as it is."""
    _out.print(Text(text), highlight=False, soft_wrap=True)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _out.print(table)


def _version(wanted: bool) -> None:
    if wanted:
        _print(f"loopsim {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _planned(path: Path, overrides: list[str] | None) -> Plan:
    from loopsim.plan import make_plan
    from loopsim.runner import notices, read_branch

    plan = make_plan(load_experiment(path, overrides or ()), read_branch)
    for name in plan.experiment.embedders:
        catalog.find("embedder", name)
    for line in notices(plan):
        _say(line, "notice:", "yellow")
    return plan


# ---- run -------------------------------------------------------------------------------------------------------------


@app.command()
def run(
    experiment: ExperimentArgument,
    overrides: OverridesArgument = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/NAME")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first trajectory that fails.")] = False,
) -> None:
    """Run an experiment: generate, embed, measure, draw figures. The same command again resumes."""
    with _reporting():
        from loopsim.runner import check_device

        check_device(device)
        plan = _planned(experiment, overrides)
        where = out or Path("runs") / plan.experiment.name
        try:
            _run(plan, where, device, threads, strict)
        except KeyboardInterrupt:
            _say(f"\nstopped; everything made so far is stored in {where}. Resume with the same command.")
            raise typer.Exit(130) from None


def _run(plan: Plan, where: Path, device: str, threads: int | None, strict: bool) -> None:
    from loopsim.embed import embed_run
    from loopsim.measure import measure_run
    from loopsim.runner import ModelPool, describe_failures, run_plan

    _say(
        f"{plan.experiment.name}: {len(plan.conditions)} conditions × {len(plan.starts)} starts × "
        f"{plan.experiment.replicates} replicates = {len(plan.trajectories)} trajectories × "
        f"{plan.experiment.iterations} iterations, into {where}"
    )
    with _progress_shown() as watch:
        done = run_plan(plan, where, threads=threads, strict=strict, watch=watch, pool=ModelPool(device, on_load=_say))
    with done.writing():
        for name in plan.experiment.embedders:
            embed_run(done, name, device, on_load=_say)
        if done.is_measured():
            _say("nothing to do: the run is finished, embedded and measured")
            measurements = done.measurements()
        else:
            _say("measuring")
            from loopsim.report.figures import draw_figures

            measurements = measure_run(done)
            draw_figures(done, measurements)
            done.mark_measured()
    _print_summary(measurements)
    _say_flags(done)
    _say("figures (PNG, SVG, PDF): " + ", ".join(str(p) for p in sorted((where / "figures").glob("*.png"))))
    failures = done.failures()
    if failures:
        _say(f"{describe_failures(failures)}\nsee {where / 'failures'}", "loopsim:", "bold red")
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress_shown() -> Iterator[Any]:
    """A bar on a terminal, a plain line every now and then otherwise."""
    if not _err.is_terminal:
        yield _PlainLines()
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("steps"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    with bars.Progress(*columns, console=_err) as bar:
        task = bar.add_task("steps", total=None, rate="")

        def watch(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.total, rate=_rate(now))

        yield watch


def _rate(now: Progress) -> str:
    return f"{now.made / now.seconds:.1f} images/s" if now.seconds > 0 else ""


class _PlainLines:
    """Progress for logs: at the first and last step, and at most every ten seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, now: Progress) -> None:
        if now.done < now.total and time.monotonic() - self.last < 10:
            return
        self.last = time.monotonic()
        left = (now.total - now.done) * now.seconds / now.made if now.made else 0.0
        _say(f"{now.done}/{now.total} steps, {_rate(now)}, {left / 60:.1f} min left")


def _print_summary(measurements: Any) -> None:
    from loopsim.measure import number, summaries

    lines = summaries(measurements)
    # Columns that say the same in every row only take room.
    keys = {"condition": "label", "starts": "group", "of": "modality", "embedder": "embedder"}
    shown = {k: f for k, f in keys.items() if f == "modality" or len({getattr(line, f) for line in lines}) > 1}
    firsts, lasts = ({getattr(line, name) for line in lines} for name in ("first_t", "last_t"))
    ends = [f"at t = {ts.pop()}" if len(ts) == 1 else word for ts, word in ((firsts, "first"), (lasts, "last"))]
    rows = []
    for line in lines:
        first, last = (f"{number(v)} [{number(a)}, {number(b)}]" for v, a, b in (line.first, line.last))
        cells = [str(getattr(line, f)) for f in shown.values()]
        rows.append([*cells, first, last, number(line.half_life, 1), line.verdict])
    title = "Mean cosine distance between trajectories [95 % interval]; half-life in iterations"
    _table(title, (*shown, *ends, "half-life", "verdict"), rows)


def _say_flags(run: Run) -> None:
    from loopsim.records import FLAGS

    flags = run.flag_counts()
    total = sum(run.steps(["t"])["t"] > 0)
    for name, count in flags.items():
        share = count / max(total, 1)
        _say(f"{name}: {count} of {total} steps ({share:.1%}): {FLAGS.get(name, '')}", "flag", "yellow")


# ---- the others ------------------------------------------------------------------------------------------------------


@app.command()
def plan(experiment: ExperimentArgument, overrides: OverridesArgument = None, as_json: JsonOption = False) -> None:
    """Show what would run: conditions, trajectories, steps. Nothing is run."""
    with _reporting():
        planned = _planned(experiment, overrides)
        counts = {
            "name": planned.experiment.name,
            "conditions": [{"id": c.id, "label": c.label, **c.factors} for c in planned.conditions],
            "starts": len(planned.starts),
            "replicates": planned.experiment.replicates,
            "trajectories": len(planned.trajectories),
            "iterations": planned.experiment.iterations,
            "steps": planned.steps,
            "cohorts": len(planned.cohorts),
        }
        if as_json:
            print(json.dumps(counts, indent=1))  # noqa: T201 - a result, on stdout
            return
        rows = [
            (c.id, c.label, " → ".join(f"{spec.role} {spec.model}" for spec in c.chain)) for c in planned.conditions
        ]
        _table(f"{counts['name']}: {len(rows)} conditions", ("id", "condition", "chain"), rows)
        groups = {start.group: 0 for start in planned.starts}
        for start in planned.starts:
            groups[start.group] += 1
        named = ", ".join(f"{count} {name}" for name, count in groups.items())
        _print(
            f"{len(planned.conditions)} conditions × {counts['starts']} starts ({named}) × {counts['replicates']} "
            f"replicates = {counts['trajectories']} trajectories in {counts['cohorts']} cohorts\n"
            f"{counts['trajectories']} trajectories × {counts['iterations']} iterations = {counts['steps']} steps "
            "(each one image and one caption)"
        )


@app.command()
def status(directory: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far a run is, its failures and its flags."""
    with _reporting():
        from loopsim.runner import describe_failures
        from loopsim.store import open_run

        found = open_run(directory)
        done, total = found.count_steps()
        failures, flags = found.failures(), found.flag_counts()
        if as_json:
            state = {
                "name": found.name, "steps": done, "total": total, "failed": len(failures),
                "flags": flags, "measured": found.is_measured(),
            }  # fmt: skip
            print(json.dumps(state, indent=1))  # noqa: T201 - a result, on stdout
            return
        state_word = "finished" if done >= total else "unfinished: the same `loopsim run` command resumes it"
        measured = "measured" if found.is_measured() else "not measured yet"
        share = done / total if total else 1.0
        text = f"{found.name}: {done} of {total} steps ({share:.0%}), {state_word}, {measured}"
        _print(text)
        if failures:
            _print(describe_failures(failures))
        for name, count in flags.items():
            _print(f"flag {name}: {count} steps")


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the models known by name, and which are usable here without a download."""
    with _reporting():
        rows = [
            {
                "role": e.role,
                "name": e.name,
                "here": _is_here(e),
                "what": e.note,
                "location": e.location,
                "settings": catalog.settings_of(e.role, e.name, {}) if e.role != "embedder" else {},
            }
            for e in catalog.ENTRIES
        ]
        if as_json:
            print(json.dumps(rows, indent=1))  # noqa: T201 - a result, on stdout
            return
        columns = ("role", "name", "usable here", "what it is", "own settings")
        cells = [
            (r["role"], r["name"], r["here"], r["what"], ", ".join(f"{k}={v}" for k, v in e.defaults.items()))
            for r, e in zip(rows, catalog.ENTRIES, strict=True)
        ]
        _table("Models known by name", columns, [[str(cell) for cell in row] for row in cells])
        _print("Any hub id (owner/name) or model directory can be named too. All settings: loopsim models --json")


def _is_here(entry: catalog.Entry) -> str:
    if entry.embedded:
        return "yes" if not entry.location or Path(entry.path()).is_dir() else "no: not in this installation"
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = (Path(HF_HUB_CACHE) / f"models--{entry.location.replace('/', '--')}").is_dir()
    return "yes: in the cache" if cached else "after a download"


def main() -> None:
    """Entry point of the `loopsim` command."""
    app()
