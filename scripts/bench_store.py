"""Time engine and store alone, with instant models: throughput, resuming, memory, scaling, and opening a large run.

Run as `scripts/bench store`; `--tiny` tries it. Pictures are 64 × 64 photographs-like noise, encoded as lossless WebP
on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from arguments import positive  # the script beside this one

from loopsim import images
from loopsim.executors import writer
from loopsim.experiment import parse_experiment
from loopsim.models.base import Caption, Captioner, Drawing, ImageGenerator, Pixels
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan, make_plan
from loopsim.records import ModelSpec, Step
from loopsim.runner import run_plan
from loopsim.store import create_run, shards
from loopsim.store.embedders import made_folder
from loopsim.store.tables import embedding_table
from metrics import diversity

ROOT = Path(__file__).resolve().parent.parent
SIDE = 64


@dataclass(frozen=True)
class Sizes:
    """How much is measured: trajectories first, iterations second."""

    throughput: tuple[int, int] = (256, 40)
    resume: tuple[int, int] = (1000, 100)
    memory: tuple[int, tuple[int, ...]] = (1000, (25, 100))
    large: tuple[int, int] = (10_000, 100)
    scaling: Mapping[str, Sequence[int]] = field(
        default_factory=lambda: {
            "trajectories": [512, 1024, 2048, 4096], "iterations": [40, 80, 160, 320],
            "cohort": [16, 32, 64, 128, 256],
        }
    )  # fmt: skip
    others: tuple[int, int, int] = (256, 1024, 20)
    """Of the scaling: trajectories where iterations vary, trajectories where cohorts vary, iterations elsewhere."""


TINY = Sizes(
    (64, 2), (130, 3), (64, (2,)), (20, 2), {"trajectories": [8, 16], "iterations": [2, 4], "cohort": [4, 8]},
    (8, 8, 2),
)  # fmt: skip
_RNG = np.random.default_rng(0)


def picture(k: int) -> Pixels:
    """A smooth picture with a little noise, as small generators draw them."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [np.sin(6 * (x * np.cos(k + c) + y * np.sin(k * 1.7 + c))) for c in range(3)]
    noisy = np.stack(waves, axis=-1) * 90 + 128 + _RNG.normal(0, 3, (SIDE, SIDE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


PICTURES = [picture(k) for k in range(256)]


class InstantGenerator(ImageGenerator):
    def __init__(self) -> None:
        self.settings: Mapping[str, object] = {}

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None) -> list[Drawing]:
        return [Drawing(PICTURES[seed % len(PICTURES)], len(prompts), 0.0) for seed in seeds]

    def describe_settings(self) -> dict[str, object]:
        return {}


class InstantCaptioner(Captioner):
    def __init__(self) -> None:
        self.settings: Mapping[str, object] = {}

    def describe(self, pictures: Sequence[Pixels], seeds: Sequence[int], width: int | None = None) -> list[Caption]:
        return [
            Caption(f"a picture with the number {seed % 100_000} in a field at night", 10, False, 64) for seed in seeds
        ]

    def describe_settings(self) -> dict[str, object]:
        return {}


class InstantPool(ModelPool):
    """Hands out models that cost nothing."""

    def generator(self, spec: ModelSpec) -> ImageGenerator:
        return InstantGenerator()

    def captioner(self, spec: ModelSpec) -> Captioner:
        return InstantCaptioner()


def plan_of(trajectories: int, iterations: int, cohort: int = 64) -> Plan:
    raw = {
        "name": "bench", "iterations": iterations, "cohort": cohort, "generator": "mock", "captioner": "mock",
        "embedders": "mock", "starts": {"prompts": [f"prompt number {k}" for k in range(trajectories)]},
    }  # fmt: skip
    return make_plan(parse_experiment(raw))


def run_seconds(trajectories: int, iterations: int, cohort: int = 64) -> float:
    plan = plan_of(trajectories, iterations, cohort)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_plan(plan, Path(folder) / "run", pool=InstantPool())
        return time.perf_counter() - started


def throughput(rounds: int, sizes: Sizes) -> dict[str, float]:
    """Steps a second through engine and store, and through the store alone with encoded pictures."""
    trajectories, iterations = sizes.throughput
    whole = [trajectories * iterations / run_seconds(trajectories, iterations) for _ in range(rounds)]
    encoded = [images.encode(p, "webp") for p in PICTURES]
    stored = []
    for _ in range(rounds):
        plan = plan_of(64, iterations)
        with tempfile.TemporaryDirectory() as folder:
            run = create_run(Path(folder) / "run", plan, {})
            ids = [t.id for t in plan.trajectories]
            batches = [
                [
                    Step(i, t, "a text", encoded[(t + k) % 256], f"text {t} {k}", i, 1, 2, 64, 64, 9, 10)
                    for k, i in enumerate(ids)
                ]
                for t in range(1, iterations + 1)
            ]
            started = time.perf_counter()
            for batch in batches:
                run.commit("c0000", batch)
            stored.append(64 * iterations / (time.perf_counter() - started))
    return {
        "engine_and_store_steps_per_s": statistics.median(whole),
        "store_of_encoded_steps_per_s": statistics.median(stored),
    }


class Reached(Exception):
    """Ends a run at its first new iteration."""


def first_new(path: Path, trajectories: int, iterations: int) -> float:
    """Seconds until a run that is there has its first new iteration, from the experiment on: planned, opened, begun."""
    found: list[float] = []
    started = time.perf_counter()

    def watch(_: object) -> None:
        found.append(time.perf_counter() - started)
        raise Reached

    try:
        run_plan(plan_of(trajectories, iterations), path, pool=InstantPool(), watch=watch)
    except Reached:
        return found[0]
    raise ValueError(f"{path}: there was nothing left to do")


class KilledPool(InstantPool):
    """Kills its process, as a power cut would, when an iteration has been drawn and is to be described.

    Args:
        path: the run.
        whole: iterations of all cohorts together, without the starts, before the one that is not finished.
        files: what they are stored in; it waits for these, as a writer is never far behind slow models.
    """

    def __init__(self, path: Path, whole: int, files: int) -> None:
        super().__init__()
        self.path, self.left, self.files = path, whole, files

    def captioner(self, spec: ModelSpec) -> Captioner:
        if self.left == 0:
            until = time.monotonic() + 60
            while len(shards.list_shards(self.path / "steps")) < self.files and time.monotonic() < until:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return InstantCaptioner()


def run_until_killed(path: Path, trajectories: int, iterations: int) -> None:
    """Carry a run on until its process is killed in the last iteration of its last cohort.

    Every iteration has a file of its own then, as where models are slow and the writer does not wait for megabytes.
    """
    writer.FLUSH_SECONDS = 0.0
    plan = plan_of(trajectories, iterations)
    cohorts = len(plan.cohorts)
    run_plan(plan, path, pool=KilledPool(path, cohorts * iterations - 1, cohorts * (iterations + 1) - 1))


def killed(path: Path, trajectories: int, iterations: int) -> int:
    """A run that was killed, in another process; how many shards it left."""
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import bench_store as b; from pathlib import Path;"
        f"b.run_until_killed(Path({str(path)!r}), {trajectories}, {iterations})"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode != -signal.SIGKILL:
        raise ValueError(f"the run was not killed: {ended.stderr[-2000:]}")
    return len(shards.list_shards(path / "steps"))


def twin(source: Path, target: Path) -> Path:
    """A copy of a run; shards, which nobody writes into, are the same files."""

    def copy(one: str, other: str) -> None:
        (os.link if one.endswith(".parquet") else shutil.copy2)(one, other)

    shutil.copytree(source, target, copy_function=copy)
    return target


def resume(rounds: int, sizes: Sizes) -> dict[str, float]:
    """Seconds until a run goes on: one that had ended and is extended, and one that was killed; and the longer of both.

    `steps` are those that were stored, about; `shards` the files that the killed one left.
    """
    trajectories, iterations = sizes.resume
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_plan(plan_of(trajectories, iterations), folder / "ended", pool=InstantPool())
        left = killed(folder / "killed", trajectories, iterations)
        seconds: dict[str, list[float]] = {"ended": [], "killed": []}
        for k in range(rounds):
            for kind, more in (("ended", 1), ("killed", 0)):
                path = twin(folder / kind, folder / f"{kind}-{k}")
                seconds[kind].append(first_new(path, trajectories, iterations + more))
                shutil.rmtree(path)
    medians = {f"{kind}_s": statistics.median(each) for kind, each in seconds.items()}
    return {"steps": trajectories * iterations, "shards": left, **medians, "resume_s": max(medians.values())}


def peak_megabytes() -> float:
    """The most memory that this process has held. `ru_maxrss` would tell the parent's where that was more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory(trajectories: int, iterations: int, buffer: int = writer.FLUSH_BYTES) -> float:
    """Peak MB of a process that carries trajectories through some iterations, over that of one that did so little that
    only its modules and models (here none) are loaded.

    Args:
        trajectories: in cohorts of 64.
        iterations: of each.
        buffer: bytes of pictures that are stored together; a small one is full within few iterations.
    """
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import bench_store as b;"
        f"b.writer.FLUSH_BYTES, b.writer.BACKLOG_BYTES = {buffer}, {2 * buffer};"
        "b.run_seconds(2, 1); before = b.peak_megabytes();"
        f"b.run_seconds({trajectories}, {iterations}); print(b.peak_megabytes() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return float(out.strip().splitlines()[-1])


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Of log seconds on log size: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling(rounds: int, sizes: Sizes) -> dict[str, object]:
    """Slopes of time against trajectories, iterations and cohort size, sizes interleaved."""
    of_iterations, of_cohorts, short = sizes.others
    kinds = {
        "trajectories": lambda n: run_seconds(n, short),
        "iterations": lambda n: run_seconds(of_iterations, n),
        "cohort": lambda n: run_seconds(of_cohorts, short, n),
    }
    found: dict[str, object] = {}
    for name, call in kinds.items():
        tried = sizes.scaling[name]
        seconds = [[call(n) for n in tried] for _ in range(rounds)]
        medians = [statistics.median(one) for one in zip(*seconds, strict=True)]
        found[name] = {"sizes": tried, "seconds": medians, "slope": slope(tried, medians)}
    return found


def large(trajectories: int, iterations: int) -> dict[str, float]:
    """Opening a run of a million steps in ten conditions, and measuring one of them without a picture being read."""
    plan = make_plan(parse_experiment({
        "name": "large", "iterations": iterations, "cohort": 100, "captioner": "mock", "embedders": "mock",
        "generator": {"model": "mock", "guidance": [*range(1, 11)]},
        "starts": {"prompts": [f"prompt number {k}" for k in range(trajectories // 10)]},
    }))  # fmt: skip
    encoded = [images.encode(p, "webp") for p in PICTURES[:16]]
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder) / "run", plan, {})
        vectors = made_folder(run.path, "mock")
        rng = np.random.default_rng(0)
        for cohort in plan.cohorts:
            ids = [t.id for t in cohort.trajectories]
            steps = [Step(i, 0, None, None, "a start", i) for i in ids]
            steps += [
                Step(i, t, "a text", encoded[(t + k) % 16], f"text {t} of {k}", i, 1, 2, 64, 64, 9, 10)
                for t in range(1, iterations + 1)
                for k, i in enumerate(ids)
            ]
            run.commit(cohort.id, steps)
            unit = rng.normal(size=(len(steps), 48)).astype(np.float32)
            unit /= np.linalg.norm(unit, axis=1, keepdims=True)
            table = embedding_table([s.trajectory_id for s in steps], [s.t for s in steps], "text", unit)
            shards.write_table(vectors / shards.shard_name(cohort.id, 0, iterations), table)
        condition = plan.conditions[0].id
        code = (
            "import sys, time; sys.path.insert(0, 'scripts'); import bench_store as b;"
            "from loopsim.store import open_run; before = b.peak_megabytes(); started = time.perf_counter();"
            f"run = open_run({str(run.path)!r}); run.trajectories(); t1 = time.perf_counter() - started;"
            "n = len(run.steps(['trajectory_id', 't', 'text'])); t2 = time.perf_counter() - started;"
            "print(t1, t2, n, b.peak_megabytes() - before)"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        started = time.perf_counter()
        members = run.trajectories()
        one = members["trajectory_id"][members["condition"] == condition].tolist()
        _, ts, x = run.vectors("mock", "text", one)
        curve = [float(diversity.mean_pairwise_distance(x[ts == t])) for t in np.unique(ts)]
        measured = time.perf_counter() - started
    assert len(curve) == iterations + 1
    return {
        "steps": float(out[2]), "open_s": float(out[0]), "read_texts_s": float(out[1]), "megabytes": float(out[3]),
        "measure_one_condition_s": measured,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--steps", type=positive, default=1_000_000, help="of the large run, from 1,000 on")
    parser.add_argument("--tiny", action="store_true", help="sizes that measure nothing, for a try")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "store.json")
    args = parser.parse_args()
    if args.steps < 1000:
        parser.error(f"--steps {args.steps}: ten conditions need 1000 at least")
    sizes = TINY if args.tiny else Sizes(large=(args.steps // 100, 100))
    found: dict[str, object] = {}
    for part in (throughput, resume, scaling):
        found |= {part.__name__: part(args.rounds, sizes)}
        print(json.dumps({part.__name__: found[part.__name__]}), file=sys.stderr)
    trajectories, several = sizes.memory
    found["memory_mb"] = {str(n): memory(trajectories, n) for n in several}
    found["large"] = large(*sizes.large)
    print(json.dumps(found, indent=1))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
