"""Time a Ray cluster: two workers of one core each against one, on the embedded models, and whether the bytes agree.

Run as `scripts/bench ray`. Rates are taken once all workers are up, so loading is left out; rounds are interleaved.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from arguments import positive  # the script beside this one

from loopsim.executors import RayExecutor, RayOptions
from loopsim.experiment import parse_experiment
from loopsim.plan import Plan, make_plan
from loopsim.runner import Progress, run_plan
from loopsim.store import open_run

ROOT = Path(__file__).resolve().parent.parent
COLOURS, THINGS = ("red", "blue", "green", "white"), ("boat", "house", "tree", "bird", "cat", "car", "flower", "fish")

_MOST = 2 * len(COLOURS) * len(THINGS)
"""Trajectories that there are starts for."""


def plan_of(iterations: int, cohort: int, cohorts: int) -> Plan:
    """Postcards loops, in a number of cohorts that both numbers of workers divide."""
    prompts = [f"a {colour} {thing}" for colour in COLOURS for thing in THINGS][: cohort * cohorts // 2]
    return make_plan(
        parse_experiment(
            {
                "name": "bench-ray", "seed": 1, "iterations": iterations, "replicates": 2, "cohort": cohort,
                "starts": prompts, "generator": "postcards", "captioner": {"model": "postcards", "temperature": 0.7},
                "embedders": "postcards",
            }
        )
    )  # fmt: skip


class Clock:
    """When all workers were up, and how far the run was at each moment from then on."""

    def __init__(self, workers: int) -> None:
        self.workers, self.up = workers, 0
        self.seen: list[tuple[float, int]] = []

    def say(self, line: str) -> None:
        self.up += line.startswith("worker ") and " is up" in line

    def watch(self, now: Progress) -> None:
        if self.up == self.workers:
            self.seen.append((time.perf_counter(), now.made))

    def rate(self) -> float:
        """Steps a second, from the first report with all workers at work to the last."""
        (began, before), (ended, after) = self.seen[0], self.seen[-1]
        return (after - before) / (ended - began)


def pictures(run: Path) -> list[tuple[str, int, bytes | None, str]]:
    """Everything that was made."""
    rows = open_run(run).steps(["trajectory_id", "t", "image", "text"], images=True)
    return [(i, int(t), None if p is None else p["bytes"], text) for i, t, p, text in rows.itertuples(index=False)]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--iterations", type=positive, default=8)
    parser.add_argument("--cohort", type=positive, default=8, help="trajectories of a cohort, even")
    parser.add_argument("--cohorts", type=positive, default=8, help="even, so that two workers have as much to do each")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "ray.json")
    given = parser.parse_args()
    if given.cohort % 2 or given.cohorts % 2 or given.cohort * given.cohorts > _MOST:
        parser.error(f"--cohort and --cohorts must be even, and not more than {_MOST} trajectories together")
    plan = plan_of(given.iterations, given.cohort, given.cohorts)
    rates: dict[int, list[float]] = {1: [], 2: []}
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(given.rounds):
            for workers in (1, 2):
                clock = Clock(workers)
                options = RayOptions(workers=workers, cpus=1.0, gpus=0.0, slice_seconds=0.5)
                out = Path(folder) / f"{k}-{workers}"
                run_plan(plan, out, threads=1, executor=RayExecutor(options, "cpu", clock.say), watch=clock.watch)
                rates[workers].append(clock.rate())
                made.append(pictures(out))
                print(f"round {k + 1}, {workers} workers: {rates[workers][-1]:.1f} steps/s", flush=True)
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    result = {
        "cores": len(os.sched_getaffinity(0)), "rates": rates, "steps_per_second": [one, two], "ratio": two / one,
        "same_bytes": all(each == made[0] for each in made),
    }  # fmt: skip
    print(f"medians: {one:.1f} and {two:.1f} steps/s, {two / one:.2f} ×; the same bytes: {result['same_bytes']}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
