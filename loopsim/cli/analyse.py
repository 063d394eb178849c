"""`loopsim measure` and `loopsim compare`: numbers from what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopsim.cli._shared import JsonOption, RunArgument, app, print_json, print_text, reporting, say, table
from loopsim.cli._summary import print_summary
from loopsim.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from loopsim.compare import Comparison, Omnibus
    from loopsim.store import Run


def split(values: list[str] | None) -> tuple[str, ...]:
    """The values of an option that may be repeated or hold several, separated by commas."""
    return tuple(dict.fromkeys(one.strip() for value in values or () for one in value.split(",") if one.strip()))


@app.command()
def measure(
    directory: RunArgument,
    embedder: Annotated[
        list[str] | None,
        typer.Option(help="Embed with this one first, where the run has no vectors by it. May be repeated."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Group trajectories by these columns.", show_default="condition,group"),
    ] = None,
    families: Annotated[
        list[str] | None,
        typer.Option(help="Only these: diversity, text, drift, between, entropy, attractors, survival, attribution."),
    ] = None,
    motifs: Annotated[int, typer.Option(min=1, help="Motifs of the codebook.")] = 12,
    codebook: Annotated[Path | None, typer.Option(metavar="DIR", help="Take the codebook of this run.")] = None,
    redraws: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A run that draws steps of this one again: the seed noise.")
    ] = None,
    concepts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Concepts to follow: a line each, or `category: one, two|synonym`."),
    ] = None,
    device: Annotated[str, typer.Option(help="For embedding: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures anew.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Measure a run again: other groups, embedders, concepts or codebooks. Nothing is generated."""
    with reporting():
        from loopsim.embed import embed_run
        from loopsim.measure import FAMILIES, Options, measure_run, summaries
        from loopsim.report.figures import draw_figures
        from loopsim.runner import check_device
        from loopsim.store import open_run

        check_device(device)
        run = open_run(directory)
        keys = split(by) if by is not None else ("condition", "group")
        options = Options(
            by=keys, families=split(families) if families is not None else FAMILIES, motifs=motifs,
            codebook=codebook, redraws=redraws, concepts=concepts, on_note=lambda line: say(line, "note:", "yellow"),
        )  # fmt: skip
        with run.writing():
            for name in split(embedder):
                if name not in run.embedder_names():
                    embed_run(run, name, device, on_load=say)
            measurements = measure_run(run, options)
            if options.whole:
                if figures:
                    draw_figures(run, measurements)
                run.mark_measured()
        shown = tuple("label" if name == "condition" else name for name in keys)
        if as_json:
            print_json([_line(line) for line in summaries(measurements, by=shown)])
            return
        print_summary(measurements, shown, run.path / options.file)
        say(f"{len(measurements)} values in {run.path / options.file}")


@app.command()
def compare(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="One run directory, or several.")],
    by: Annotated[str, typer.Option(help="condition, group (of starts), or a factor such as captioner.")] = "condition",
    reference: Annotated[
        str | None, typer.Option(help="Compare with cells of this name only.", show_default="all pairs")
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure", help="Only these: late distance, change, vendi, memory, motifs, drift, step, survival."
        ),
    ] = None,
    modality: Annotated[list[str] | None, typer.Option(help="image, text.", show_default="both")] = None,
    embedder: Annotated[str | None, typer.Option(help="Whose vectors.", show_default="the first")] = None,
    margin: Annotated[
        float, typer.Option(help="Smallest effect of interest, as a share of the first cell's value.")
    ] = 0.1,
    permutations: Annotated[int, typer.Option(min=19, help="Permutations a test.")] = 999,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the lines to a .csv or .parquet.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare conditions, groups of starts or runs: what differs, what is shown to be equal, what neither."""
    with reporting():
        from loopsim.compare import MEASURES, Settings, as_frame, compare_runs, out_of_reach
        from loopsim.store import open_run

        if out is not None:
            _check_table_name(out)
        runs = [open_run(directory) for directory in directories]
        settings = Settings(
            by=by, reference=reference, embedder=embedder, margin=margin, n_permutations=permutations,
            modalities=split(modality) or ("image", "text"), measures=split(measures) or tuple(MEASURES),
        )  # fmt: skip
        lines, tests = compare_runs(runs, settings)
        if out is not None:
            _write_frame(as_frame(lines), out)
        notes = out_of_reach(lines, tests, settings)
        if as_json:
            print_json({
                "decays": [{"run": str(run.path), **_line(one)} for run in runs for one in _decays(run)],
                "comparisons": [_line(one) for one in lines],
                "omnibus": [_line(one) for one in tests],
                "notes": notes,
            })  # fmt: skip
            return
        _print_decays(runs)
        _print_comparison(lines, tests, margin)
        for note in notes:
            say(note, "note:", "yellow")


def _decays(run: Run) -> list[Any]:
    """The decay of each condition and group of starts, as it was measured."""
    from loopsim.measure import summaries

    if not (run.path / "measurements.parquet").exists():
        say(f"{run.path} has not been measured: `loopsim measure {run.path}` adds its decay", "note:", "yellow")
        return []
    return list(summaries(run.measurements()))


def _print_decays(runs: list[Run]) -> None:
    """Of each condition and group of starts, as it was measured: does its diversity decay, how fast, to where?"""
    from loopsim.measure import interval

    rows = []
    for run in runs:
        for line in _decays(run):
            cell = ", ".join(
                x for x in (run.name if len(runs) > 1 else "", line.label, line.group) if x not in ("", "all")
            )
            ends = [interval(one, 2) for one in (line.first, line.last)]
            decay = [interval(line.half_life, 1), interval(line.plateau, 2)]
            rows.append([cell or run.name, line.modality, *ends, *decay, line.verdict])
    if rows:
        columns = ("cell", "of", "first", "last", "half-life", "plateau", "verdict")
        table("Mean cosine distance between trajectories [95 % interval]: does it decay?", columns, rows)


def _print_comparison(lines: list[Comparison], tests: list[Omnibus], margin: float) -> None:
    from loopsim.measure import number

    for first, second in dict.fromkeys((line.first, line.second) for line in lines):
        mine = [line for line in lines if (line.first, line.second) == (first, second)]
        starts = f"{max(line.starts for line in mine)} {'shared starts' if mine[0].paired else 'starts, not shared'}"
        rows = []
        for line in mine:
            limits = f" [{number(line.ci_low)}, {number(line.ci_high)}]" if line.ci_low == line.ci_low else ""
            rows.append([
                line.measure, line.modality, number(line.first_value), number(line.second_value),
                number(line.difference) + limits, number(line.p), number(line.p_adjusted),
                number(line.p_equivalence_adjusted), line.verdict,
            ])  # fmt: skip
        columns = ("measure", "of", first, second, "difference [95 %]", "p", "p adj.", "p equiv. adj.", "verdict")
        table(f"{first} against {second}: {starts}", columns, rows)
    if tests:
        cells = [[t.measure, t.modality, str(len(t.cells)), number(t.p), number(t.p_adjusted)] for t in tests]
        table("Do any of them differ at all?", ("measure", "of", "cells", "p", "p adj."), cells)
    print_text(
        f"p: permutation, the start as the unit; adj.: Holm over all {len(lines)} lines; equivalence: within "
        f"{margin:.0%} of the first value. undecided: neither a difference nor its absence is shown."
    )
    for line in lines:
        if line.undefined and not (line.measure == "survival" and line.p == line.p):  # a log-rank test has no interval
            say(
                f"{line.measure}, {line.modality}s, {line.first} against {line.second}: {line.undefined}",
                "note:",
                "yellow",
            )


def _check_table_name(path: Path) -> None:
    """Before anything is computed."""
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--out {path}: the name must end in .csv or .parquet")


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    """A table as CSV or Parquet, by the file's name."""
    from loopsim.store.shards import storing

    with storing(path):
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)


def _line(line: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(line)
