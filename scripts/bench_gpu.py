"""Time SDXL and LLaVA-1.5-7B in their published shapes on a GPU, through loopsim's adapters and whole loops.

Run as `scripts/bench gpu`. Weights are random (`gpu_shapes.py`): the arithmetic is that of the trained models, and
captions run to their full length, since random weights do not end a sentence. `scripts/bench gpu --tiny` tries the
script on a CPU. What cannot be done here is said and left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_shapes as shapes  # the script beside this one
import numpy as np
import torch

from loopsim.catalog import settings_of
from loopsim.experiment import parse_experiment
from loopsim.models import load_captioner, load_generator
from loopsim.models.pool import ModelPool
from loopsim.plan import make_plan
from loopsim.records import ModelSpec
from loopsim.runner import run_plan

ROOT = Path(__file__).resolve().parent.parent
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 operations a second by the makers' data sheets."""
STEPS, TOKENS, PROMPT = 30, 75, " ".join(shapes.WORDS[:40])


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median of some calls after one to warm up."""
    found = []
    for _ in range(rounds + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def attempt(what: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A result, or why there is none."""
    try:
        found = call()
    except (RuntimeError, MemoryError, ValueError) as error:
        found = {"skipped": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    say(f"{what}: {json.dumps(found)}")
    return found


def spec_of(role: str, path: Path, batch: int, **settings: Any) -> ModelSpec:
    return ModelSpec(role, str(path), settings_of(role, str(path), settings), batch)


def operations(call: Callable[[], object]) -> float:
    """Floating-point operations of a call, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def share_of_peak(count: float, took: float) -> float | None:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for key, value in PEAK.items() if key in name), None)
    return None if peak is None else count / took / peak


def drawing(path: Path, batches: Sequence[int], compiled: bool, rounds: int, dtype: str) -> dict[str, Any]:
    """Images a second by batch size."""
    found: dict[str, Any] = {}
    for batch in batches:

        def one(batch: int = batch) -> dict[str, Any]:
            settings = {"steps": STEPS, "guidance": 5.0, "dtype": dtype, "compile": compiled or None}
            model = load_generator(spec_of("generator", path, batch, **settings))

            def call() -> object:
                return model.generate([PROMPT] * batch, list(range(batch)))

            took, count = seconds(call, rounds), operations(call)
            return {"images_per_s": batch / took, "share_of_peak": share_of_peak(count, took)}

        found[str(batch)] = attempt(f"drawing, batch {batch}, {'compiled' if compiled else 'eager'}", one)
    return found


def describing(path: Path, batches: Sequence[int], rounds: int, dtype: str, side: int) -> dict[str, Any]:
    """Captions of 75 tokens a second by batch size, with top-p and temperature, per row."""
    pictures = [np.random.default_rng(k).integers(0, 256, (side, side, 3), dtype=np.uint8) for k in range(max(batches))]
    found: dict[str, Any] = {}
    for batch in batches:

        def one(batch: int = batch) -> dict[str, Any]:
            settings = {"max_new_tokens": TOKENS, "temperature": 0.7, "dtype": dtype}
            model = load_captioner(spec_of("captioner", path, batch, **settings))
            said: list[Any] = []

            def call() -> None:
                said[:] = model.describe(pictures[:batch], list(range(batch)))

            took = seconds(call, rounds)
            tokens = statistics.mean(c.tokens for c in said)
            return {"captions_per_s": batch / took, "tokens_a_caption": tokens}

        found[str(batch)] = attempt(f"describing, batch {batch}", one)
    return found


def looping(
    pair: tuple[Path, Path], batches: tuple[int, int], trajectories: int, iterations: int, dtype: str
) -> dict[str, Any]:
    """Steps a second of a whole loop into a run directory, its overhead over the bare calls, and one at a time."""

    common = {"dtype": dtype}
    threads = None if torch.cuda.is_available() else 1

    def plan_of(n: int, batch: tuple[int, int], t: int) -> Any:
        return make_plan(parse_experiment({
            "name": "gpu", "iterations": t, "cohort": n, "embedders": "mock",
            "starts": {"prompts": [f"{PROMPT} {shapes.WORDS[k]}" for k in range(n)]},
            "generator": {"model": str(pair[0]), "steps": STEPS, "guidance": 5.0, **common, "batch_size": batch[0]},
            "captioner": {"model": str(pair[1]), "max_new_tokens": TOKENS, "temperature": 0.7, **common,
                          "batch_size": batch[1]},
        }))  # fmt: skip

    def timed(n: int, batch: tuple[int, int], t: int) -> tuple[float, float]:
        pool, plan = ModelPool(), plan_of(n, batch, t)
        with tempfile.TemporaryDirectory() as folder:
            run_plan(plan_of(n, batch, 1), Path(folder) / "warm", pool=pool, threads=threads)
            started = time.perf_counter()
            run = run_plan(plan, Path(folder) / "run", pool=pool, threads=threads)
            took = time.perf_counter() - started
            return took, float(run.steps(["t", "seconds"]).query("t > 0")["seconds"].sum())

    took, bare = timed(trajectories, batches, iterations)
    alone = timed(1, (1, 1), max(2, iterations // 2))[0] / max(2, iterations // 2)
    return {
        "steps_per_s": trajectories * iterations / took,
        "overhead": took / bare - 1,
        "times_as_fast_as_one_at_a_time": alone * trajectories * iterations / took,
    }


def best(found: dict[str, Any], key: str) -> int:
    """The batch size that did most a second; 1 where none did anything."""
    done = {int(batch): one[key] for batch, one in found.items() if key in one}
    return max(done, key=lambda batch: done[batch]) if done else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the same classes small, for a try on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "gpu-shapes", help="where the weights are put")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "gpu.json")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing was measured (a try on a CPU: scripts/bench gpu --tiny)")
    device, dtype = ("cpu", "float32") if args.tiny else ("cuda", "bfloat16")
    global STEPS, TOKENS
    if args.tiny:
        STEPS, TOKENS = 2, 5
    work = args.work / ("tiny" if args.tiny else "full")
    pair = work / "sdxl", work / "llava"
    for path, build in zip(pair, (shapes.sdxl, shapes.llava), strict=True):
        if not any(path.glob("*.json")):
            torch.manual_seed(0)
            say(f"building {path.name}")
            build(path, args.tiny, device)
    sizes = ((1, 2), (1, 2)) if args.tiny else ((1, 2, 4, 8, 16), (1, 8, 16, 32, 64))
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU, tiny shapes: no measurement of anything",
        "torch": torch.__version__,
        "drawing": drawing(pair[0], sizes[0], False, args.rounds, dtype),
        "describing": describing(pair[1], sizes[1], args.rounds, dtype, 32 if args.tiny else 1024),
    }
    batch = best(found["drawing"], "images_per_s"), best(found["describing"], "captions_per_s")
    if args.tiny:
        found["drawing_compiled"] = {"skipped": "not on a CPU: compiling takes longer than the bench"}
    else:
        found["drawing_compiled"] = drawing(pair[0], (batch[0],), True, args.rounds, dtype)
    n, t = (2, 2) if args.tiny else (batch[1], 3)
    found["loop"] = attempt("loop", lambda: looping(pair, batch, n, t, dtype))
    print(json.dumps(found, indent=1))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
