"""Run every study's twin on the models that ship with loopsim, and rewrite what the READMEs of experiments/ show.

A twin is a file `postcards*.yaml` in a folder of experiments/. Its run goes to runs/reproduce/STUDY-TWIN; the same
command again resumes it. Afterwards the measurements that the tables rest on, and small figures, are stored in the
study's folder, and the parts of its README between `<!-- results: begin -->` and `<!-- results: end -->` are written
from these.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from loopsim.measure import Options

sys.path.insert(0, str(Path(__file__).parent))  # the module beside this one
import reproduce_quickstart as quickstart
from reproduce_tables import STUDIES, Lines, metrics_of, put, tables_of

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
MOST_BYTES = 300_000
"""Of a stored file."""
AGAIN = {
    ("crossed_panel", "postcards"): {"by-tier": {"by": "label,tier"}},
    ("people", "postcards"): {
        "by-who": {"by": "label,who", "families": "survival"},
        "shown": {"by": "label", "families": "survival", "concepts": "experiments/people/postcards_concepts.txt"},
    },
}
"""Study and twin to its further measurements: how each is called in the name of the stored file, and its options."""
COMPARED = {"alternating": ("postcards", "postcards_pairs", "alternating_postcards, all")}
"""Study to the twins that `loopsim compare` holds against each other, and the cell that all others are held against."""
FIGURES = {
    "elevator_music": ("diversity", "truth", "sheet"),
    "people": ("survival", "truth"),
    "recursion": ("diversity", "drift"),
    "crossed_panel": ("attribution", "truth"),
}
"""Study to the figures that its README shows."""
USUAL_FIGURES = ("diversity", "truth")
"""Those of the other studies."""
_COLUMNS = ("condition", "noise", "t", "modality", "embedder", "metric", "item", "value", "ci_low", "ci_high", "n",
            "signature", "undefined", "verdict")  # fmt: skip


def twins(only: Sequence[str]) -> list[Path]:
    """The twins' files, those of the studies asked for; all where none is."""
    wrong = sorted(set(only) - {*STUDIES, quickstart.NAME})
    if wrong:
        sys.exit(f"there is no study {wrong[0]!r}; the studies are {', '.join(STUDIES)}, {quickstart.NAME}")
    return [path for study in STUDIES if not only or study in only for path in _files(study)]


def _files(study: str) -> list[Path]:
    return sorted((EXPERIMENTS / study).glob("postcards*.yaml"))


def loopsim(*arguments: str) -> Iterator[str]:
    """Run a command of loopsim; its lines of progress.

    Raises:
        SystemExit: it failed; what it said is shown.
    """
    command = [sys.executable, "-m", "loopsim", *arguments]
    said: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip())
            yield said[-1]
    if process.returncode:
        sys.exit("\n".join(["", f"loopsim {' '.join(arguments)} failed:", *said[-20:]]))


def follow(title: str, lines: Iterator[str]) -> None:
    """One line of progress, kept up to date on a terminal."""
    started, shown = time.monotonic(), sys.stderr.isatty()
    if not shown:
        print(f"{title} …", file=sys.stderr, flush=True)
    for line in lines:
        if shown:
            print(f"\r\033[K{title}: {line[:80]}", end="", file=sys.stderr, flush=True)
    print(f"{chr(13) if shown else ''}{title}: done in {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr)


def run_twin(path: Path, title: str, runs: Path, overrides: Sequence[str], into: Path) -> None:
    """Run one twin, or resume it, and store what its tables rest on."""
    study, twin = path.parent.name, path.stem
    run = runs / f"{study}-{twin}"
    follow(title, loopsim("run", str(path), *overrides, "--out", str(run)))
    for asked in AGAIN.get((study, twin), {}).values():
        options = [word for name, value in asked.items() for word in (f"--{name}", value)]
        follow(f"{title}, measured again", loopsim("measure", str(run), *options, "--no-figures"))
    store(study, twin, run, into)


def store(study: str, twin: str, run: Path, into: Path) -> None:
    """Keep what the tables rest on, and the figures, in the study's folder below `into`."""
    folder = into / study
    wanted = metrics_of(study)
    _keep(pd.read_parquet(run / "measurements.parquet"), wanted, folder / "results" / f"{twin}.parquet")
    for name, asked in AGAIN.get((study, twin), {}).items():
        families = (asked["families"],) if "families" in asked else Options().families
        file = Options(by=tuple(asked["by"].split(",")), families=families).file
        _keep(pd.read_parquet(run / file), wanted, folder / "results" / f"{twin}-{name}.parquet")
    for name in FIGURES.get(study, USUAL_FIGURES):
        source = run / "figures" / f"{name}.png"
        if source.exists():
            shrink(source, folder / "figures" / f"{twin}-{name}.png")


def _keep(rows: pd.DataFrame, metrics: set[str], path: Path) -> None:
    """The measurements that tables rest on: of the last iteration and the first two, and of the whole run."""
    kept = rows[rows["metric"].isin(metrics)]
    ends = {0, 1, int(rows["t"].max())}
    kept = kept[kept["t"].isna() | kept["t"].isin(ends)]
    factors = [c for c in kept.columns if c not in _COLUMNS and not c.startswith(("generator", "captioner"))]
    kept = kept[[*factors, *(c for c in _COLUMNS[1:] if c != "noise")]].reset_index(drop=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept.to_parquet(path, index=False, compression="zstd")
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}: ask for fewer metrics")


def shrink(source: Path, path: Path) -> None:
    """A figure small enough to be kept: fewer pixels and colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as figure:
        picture = figure.convert("RGB")
    for width in (1400, 1100, 800):
        small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        # By octree: the median cut that is Pillow's own choice gives two lines of a crowd one colour.
        small.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())


def compare(study: str, runs: Path, into: Path) -> None:
    """Hold the twins of a study against each other; the lines are stored."""
    if any(isinstance(table, Lines) for table in STUDIES[study]) and study in COMPARED:
        out = into / study / "results" / "postcards-compared.csv"
        *twins_compared, reference = COMPARED[study]
        where = [str(runs / f"{study}-{twin}") for twin in twins_compared]
        measures = ["--reference", reference, "--measure", "late distance", "--measure", "memory", "--measure", "drift"]
        follow(f"{study}: compare", loopsim("compare", *where, *measures, "--modality", "text", "--out", str(out)))


def run_quickstart(runs: Path, overrides: Sequence[str], into: Path) -> None:
    """Run the quickstart, or resume it, and store what its table rests on."""
    run = runs / quickstart.NAME
    follow(quickstart.NAME, loopsim("run", str(EXPERIMENTS / quickstart.NAME), *overrides, "--out", str(run)))
    quickstart.keep(run, into / quickstart.NAME)


def rewrite(study: str, into: Path) -> bool:
    """Write the results into a README, or into a copy of it below another folder; whether it changed."""
    path = into / study / "README.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = (EXPERIMENTS / study / "README.md").read_text(encoding="utf-8")
    shown = quickstart.table(path.parent) if study == quickstart.NAME else tables_of(study, path.parent)
    after = put(before, "results", shown)
    path.write_text(after, encoding="utf-8")
    return before != after


def costs(study: str) -> bool:
    """Write what `loopsim plan` says of the study into its README; whether it changed."""
    path = EXPERIMENTS / study / "README.md"
    before = path.read_text(encoding="utf-8")
    after = put(before, "cost", cost_of(study))
    path.write_text(after, encoding="utf-8")
    return before != after


def planned(name: str) -> str:
    """What `loopsim plan` says of a file."""
    command = [sys.executable, "-m", "loopsim", "plan", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"loopsim plan {name}: {done.stderr}")
    return done.stdout


def cost_of(study: str) -> str:
    """The end of `loopsim plan` for each file of a study with big models, as Markdown."""
    parts = []
    for path in sorted(set((EXPERIMENTS / study).glob("*.yaml")) - set(_files(study))):
        name = str(path.relative_to(ROOT))
        lines = [line.rstrip() for line in planned(name).splitlines()]
        first = next(i for i, line in enumerate(lines) if " trajectories in " in line)
        parts.append("\n".join([f"$ loopsim plan {name}", "…", *lines[first:]]))
    return "```\n" + "\n\n".join(parts) + "\n```"


def _runs(options: argparse.Namespace) -> Path:
    """Where the runs go: a trial's never beside those that the READMEs rest on, which would refuse it."""
    usual = options.into / "runs" if options.overrides else ROOT / "runs" / "reproduce"
    return Path(options.runs or usual).resolve()


def main() -> None:
    """Run, store, rewrite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="to try it out, such as iterations=2")
    parser.add_argument("--only", action="append", default=[], metavar="STUDY", help="this study; may be repeated")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where the runs go: runs/reproduce; with KEY=VALUE, runs/ below --into"
    )
    parser.add_argument("--tables", action="store_true", help="only rewrite tables from what is stored")
    parser.add_argument("--costs", action="store_true", help="only rewrite what `loopsim plan` says")
    parser.add_argument("--into", type=Path, metavar="DIR", help="write results there, and leave experiments/ alone")
    options = parser.parse_args()
    if options.overrides and options.into is None:
        parser.error("with KEY=VALUE the numbers are of something else than the READMEs say: give --into DIR")
    started = time.monotonic()
    files, into = twins(options.only), (options.into or EXPERIMENTS).resolve()
    runs, studies = _runs(options), list(dict.fromkeys(path.parent.name for path in files))
    if options.costs:
        print("\n".join(f"experiments/{s}/README.md {'rewritten' if costs(s) else 'as it was'}" for s in studies))
        return
    if not options.only or quickstart.NAME in options.only:
        studies.append(quickstart.NAME)
    if not options.tables:
        for k, path in enumerate(files, start=1):
            run_twin(path, f"[{k}/{len(files)}] {path.parent.name}/{path.name}", runs, options.overrides, into)
        if quickstart.NAME in studies:
            run_quickstart(runs, options.overrides, into)
    for study in studies:
        if not options.tables and study != quickstart.NAME:
            compare(study, runs, into)
        print(f"{into / study / 'README.md'} {'rewritten' if rewrite(study, into) else 'as it was'}")
    if not options.tables:
        print(f"{len(files)} twins done in {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr)


if __name__ == "__main__":
    main()
