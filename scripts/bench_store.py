"""Time engine and store alone, with instant models: throughput, resuming, memory, scaling, and opening a large run.

Run as `scripts/bench store`. Pictures are 64 × 64 photographs-like noise, encoded as lossless WebP on the way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from loopsim import images
from loopsim.experiment import parse_experiment
from loopsim.models.base import Caption, Captioner, Drawing, ImageGenerator, Pixels
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan, make_plan
from loopsim.records import ModelSpec, Step
from loopsim.runner import run_plan
from loopsim.store import create_run, shards
from loopsim.store.tables import embedding_table
from metrics import diversity

ROOT = Path(__file__).resolve().parent.parent
SIDE = 64
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


def throughput(rounds: int) -> dict[str, float]:
    """Steps a second through engine and store, and through the store alone with encoded pictures."""
    trajectories, iterations = 256, 40
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


def resume(rounds: int) -> dict[str, float]:
    """Seconds from calling `run_plan` on a run of 100,000 steps to its first new iteration."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        run_plan(plan_of(1000, 100), path, pool=InstantPool())
        seconds = []
        for k in range(rounds):
            plan, started = plan_of(1000, 101 + k), time.perf_counter()
            first: list[float] = []

            def watch(_: object, first: list[float] = first, started: float = started) -> None:
                first.append(time.perf_counter() - started)

            run_plan(plan, path, pool=InstantPool(), watch=watch)
            seconds.append(first[0])
    return {"resume_100000_steps_s": statistics.median(seconds)}


def peak_megabytes() -> float:
    """The most memory that this process has held. `ru_maxrss` would tell the parent's where that was more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory(iterations: int) -> float:
    """Peak MB of a process that carries 1,000 trajectories through some iterations, over that of one that did so little
    that only its modules and models (here none) are loaded.
    """
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import bench_store as b;"
        "b.run_seconds(2, 1); before = b.peak_megabytes();"
        f"b.run_seconds(1000, {iterations}); print(b.peak_megabytes() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return float(out.strip().splitlines()[-1])


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Of log seconds on log size: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling(rounds: int) -> dict[str, object]:
    """Slopes of time against trajectories, iterations and cohort size, sizes interleaved."""
    kinds = {
        "trajectories": ([512, 1024, 2048, 4096], lambda n: run_seconds(n, 20)),
        "iterations": ([40, 80, 160, 320], lambda n: run_seconds(256, n)),
        "cohort": ([16, 32, 64, 128, 256], lambda n: run_seconds(1024, 20, n)),
    }
    found: dict[str, object] = {}
    for name, (sizes, call) in kinds.items():
        seconds = [[call(n) for n in sizes] for _ in range(rounds)]
        medians = [statistics.median(one) for one in zip(*seconds, strict=True)]
        found[name] = {"sizes": sizes, "seconds": medians, "slope": slope(sizes, medians)}
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
        vectors = run.folder_of_embedder("mock")
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the large run")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "store.json")
    args = parser.parse_args()
    found: dict[str, object] = {}
    for part in (throughput, resume, scaling):
        found |= {part.__name__: part(args.rounds)}
        print(json.dumps({part.__name__: found[part.__name__]}), file=sys.stderr)
    found["memory_mb"] = {str(n): memory(n) for n in (25, 100)}
    found["large"] = large(args.steps // 100, 100)
    print(json.dumps(found, indent=1))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
