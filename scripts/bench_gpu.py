"""Time SDXL and LLaVA-1.5-7B in their published shapes on a GPU, through loopsim's adapters and whole loops.

Run as `scripts/bench gpu`. Weights are random (`gpu_shapes.py`): the arithmetic is that of the trained models, and
captions run to their full length, since random weights hardly ever end a sentence. It needs nobody to watch it: what
fails is noted and left out, and the results are written after every measurement, so that a run that is stopped leaves
what it had. `--minutes 9` leaves out what does not fit into that: whole loops get smaller, and what is compiled comes
last. `scripts/bench gpu --tiny` tries the script on a CPU.

- `drawing`, `describing`: pictures and captions a second by batch size, with the rows a call really had (adapters
  halve them where memory is short), and the share that this is of the device's peak: operations counted by torch.
- `…_compiled`: the same at the best batch size. Pictures through the setting `compile`; captions as transformers
  compiles them (a static cache), for which loopsim has no setting.
- `loop`: whole loops of loopsim into a run directory, embeddings afterwards, against `notebook` of `bench_loop.py` (one
  trajectory after the other, a PNG and its embeddings inline) on the same loaded models and a CLIP ViT-L/14.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_loop as loops  # the scripts beside this one
import gpu_shapes as shapes
import numpy as np
import torch
from arguments import above_zero, positive
from gpu_report import Found, Report, Until, attempt, tell
from gpu_timing import expected, operations, seconds, share_of_peak

from loopsim.catalog import settings_of
from loopsim.embed import embed_run
from loopsim.experiment import parse_experiment
from loopsim.models import load_captioner, load_generator
from loopsim.models.pool import ModelPool
from loopsim.models.torch_setup import pin
from loopsim.plan import Plan, make_plan
from loopsim.provenance import usable_cpus
from loopsim.records import ModelSpec
from loopsim.runner import run_plan

ROOT = Path(__file__).resolve().parent.parent
PROMPT = " ".join(shapes.WORDS[:40])


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    drawing: tuple[int, ...] = (1, 2, 4, 8, 16)
    describing: tuple[int, ...] = (1, 8, 16, 32, 64)
    """Batch sizes, from small to large."""
    steps: int = 30
    tokens: int = 75
    side: int = 1024
    """Pixels of the pictures that are described."""
    trajectories: int | None = None
    """Of the loop; None is as many as the best batch of captions, or as there is time for."""
    alone: int = 1
    """Trajectories of the notebook, which are timed before and after loopsim."""
    iterations: int = 3
    dtype: str = "bfloat16"
    device: str = "cuda"
    loading: float = 60.0
    """Seconds that hashing and loading all models take at least."""


TINY = Sizes((1, 2), (1, 2), 2, 5, 32, 3, 1, 2, "float32", "cpu", 1.0)
ENDS = {"drawing": 0.4, "describing": 0.55, "loop": 0.85, "drawing_compiled": 0.95, "describing_compiled": 1.0}
"""At which share of the time each part is to end, where there is a limit; building and loading count too."""
_COMPILING = 60.0
"""Seconds that compiling a model takes at least."""


# ---- one model ---------------------------------------------------------------------------------------------------


def spec_of(role: Any, path: Path, **settings: Any) -> ModelSpec:
    return ModelSpec(role, str(path), settings_of(role, str(path), settings), 1)


Rows = Callable[[int], Sequence[Any]]
"""Drawings or captions of so many rows."""


def at_size(model: Any, rows: Rows, batch: int, rounds: int, unit: str, count: float | None) -> Found:
    """Rows a second at a batch size, and how many rows a call really had."""
    model.chunks.limit, model.chunks.too_many = batch, None
    made: list[Any] = []

    def call() -> None:
        made[:] = rows(batch)

    took = seconds(call, rounds)
    found: Found = {unit: batch / took, "chunk": max(row.chunk for row in made), "operations_per_row": count}
    found["share_of_peak"] = share_of_peak(None if count is None else count * batch, took)
    tokens = [row.tokens for row in made if getattr(row, "tokens", None) is not None]
    if model.chunks.too_many is not None:
        found["out_of_memory_at"] = model.chunks.too_many
    return found | ({"tokens_a_caption": statistics.mean(tokens)} if tokens else {})


def sweep(
    keep: Callable[[Found], Found], model: Any, rows: Rows, batches: Sequence[int], rounds: int, unit: str, what: str,
    count: float | None = None, until: Until | None = None, rate: float | None = None,
) -> Found:  # fmt: skip
    """`at_size` for every batch size, on one loaded model; after one that memory is too short for, no larger one.

    Args:
        keep: called with what is found so far.
        model: loaded.
        rows: has it make so many.
        batches: sizes, from small to large.
        rounds: calls of each.
        unit: name of the rate.
        what: name of the part.
        count: operations of a row.
        until: when it is to end.
        rate: rows a second that are expected of the first size; None is nothing known, and no time asked for.
    """
    found: Found = {str(batch): {"skipped": "not reached"} for batch in batches}
    full = None
    for batch in batches:
        late = until.too_late(expected(batch / rate, rounds)) if until and rate else None
        if late is not None:
            found[str(batch)] = late
            continue
        if full is not None:
            found[str(batch)] = {"skipped": f"memory was too short for {full} rows already"}
            continue
        found[str(batch)] = attempt(
            f"{what}, batch {batch}", lambda batch=batch: at_size(model, rows, batch, rounds, unit, count)
        )
        full = found[str(batch)].get("out_of_memory_at")
        rate = found[str(batch)].get(unit, rate)
        keep(found)
    return keep(found)


def best(found: Found, key: str) -> int:
    """The rows a call that did most a second; 1 where none did anything."""
    done = {int(one["chunk"]): one[key] for one in found.values() if isinstance(one, dict) and key in one}
    return max(done, key=lambda batch: done[batch]) if done else 1


def rate_at(found: Found, unit: str, batch: int) -> float | None:
    """Rows a second at a batch size; None where it was not measured."""
    rate = found.get(str(batch), {})
    return rate.get(unit) if isinstance(rate, dict) else None


def counted(rows: Rows) -> float | None:
    """Operations of one row, counted once: they are in proportion to the rows, and a compiled model hides them."""
    found = attempt("operations of a row", lambda: {"operations": operations(lambda: rows(1))})
    return found.get("operations")


def drawing(report: Report, path: Path, sizes: Sizes, rounds: int, until: Until, compiled: bool = False) -> None:
    """Pictures a second by batch size; compiled, at the best one."""
    settings = {"steps": sizes.steps, "guidance": 5.0, "dtype": sizes.dtype, "compile": compiled or None}
    _swept(
        report, "drawing", sizes.drawing, rounds, until, compiled,
        lambda: load_generator(spec_of("generator", path, **settings), sizes.device),
        lambda model, n: model.generate([PROMPT] * n, list(range(n))),
    )  # fmt: skip


def describing(report: Report, path: Path, sizes: Sizes, rounds: int, until: Until, compiled: bool = False) -> None:
    """Captions a second by batch size, with temperature and top-p per row; compiled, at the best one."""
    rng, most = np.random.default_rng(0), max(sizes.describing)
    pictures = [rng.integers(0, 256, (sizes.side, sizes.side, 3), dtype=np.uint8) for _ in range(most)]
    settings = {"max_new_tokens": sizes.tokens, "temperature": 0.7, "dtype": sizes.dtype}

    def load() -> Any:
        model: Any = load_captioner(spec_of("captioner", path, **settings), sizes.device)
        if compiled:  # on a GPU, transformers compiles the writing of a token where the cache is static
            model.model.generation_config.cache_implementation = "static"
        return model

    _swept(
        report, "describing", sizes.describing, rounds, until, compiled, load,
        lambda model, n: model.describe(pictures[:n], list(range(n))),
    )  # fmt: skip


UNITS = {"drawing": "images_per_s", "describing": "captions_per_s"}


def _swept(
    report: Report, kind: str, sizes: Sequence[int], rounds: int, until: Until, compiled: bool,
    load: Callable[[], Any], call: Callable[[Any, int], Sequence[Any]],
) -> None:  # fmt: skip
    """A model loaded and swept; compiled, at the batch size that was the best without, if there is time."""
    part, unit, eager = f"{kind}_compiled" if compiled else kind, UNITS[kind], report.found.get(kind, {})

    def one() -> Found:
        at = best(eager, unit)
        rate = rate_at(eager, unit, at) if compiled else None
        late = until.too_late(_COMPILING + (expected(at / rate, rounds) if rate else 0)) if compiled else None
        if late is not None:
            return late
        model = load()

        def rows(n: int) -> Sequence[Any]:
            return call(model, n)

        count = eager.get(str(at), {}).get("operations_per_row") if compiled else counted(rows)
        return sweep(
            lambda found: report.keep(part, found), model, rows, (at,) if compiled else sizes, rounds, unit, part,
            count, until, rate,
        )  # fmt: skip

    report.keep(part, attempt(part, one))


# ---- whole loops -------------------------------------------------------------------------------------------------


def plan_of(folders: Sequence[Path], sizes: Sizes, batches: tuple[int, int], n: int, iterations: int) -> Plan:
    return make_plan(parse_experiment({
        "name": "gpu", "iterations": iterations, "cohort": n, "embedders": str(folders[2]),
        "starts": {"prompts": [f"{PROMPT} {shapes.WORDS[40 + k]}" for k in range(n)]},
        "generator": {"model": str(folders[0]), "steps": sizes.steps, "guidance": 5.0, "dtype": sizes.dtype,
                      "batch_size": batches[0]},
        "captioner": {"model": str(folders[1]), "max_new_tokens": sizes.tokens, "temperature": 0.7,
                      "dtype": sizes.dtype, "batch_size": batches[1]},
    }))  # fmt: skip


def carried(bench: loops.Bench, folder: Path, threads: int) -> tuple[Found, loops.Made]:
    """A whole loop of loopsim: seconds until its first step, of its steps, of its embeddings; and what it made."""
    began: list[float] = []
    started = time.perf_counter()
    run = run_plan(
        bench.plan, folder / "run", pool=bench.pool, threads=threads, watch=lambda _: began.append(time.perf_counter())
    )
    ended = time.perf_counter()
    embed_run(run, bench.embedder.name, bench.device)
    steps = run.steps(["t", "seconds", "generator_chunk", "captioner_chunk"]).query("t > 0")
    found = {
        "before": began[0] - started,  # the first that is heard of are the starts
        "stepping": ended - began[0],
        "models": float(steps["seconds"].sum()),
        "embedding": time.perf_counter() - ended,
        "chunks": [int(steps["generator_chunk"].max()), int(steps["captioner_chunk"].max())],
    }
    return found, loops.made_by(run)


def notebook(bench: loops.Bench) -> tuple[float, loops.Made]:
    """Seconds of the notebook's way, and what it made."""
    bench.made = {}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        loops.notebook(bench, Path(folder))
        return time.perf_counter() - started, bench.made


def lasting(found: Found, sizes: Sizes, batches: tuple[int, int], n: int) -> float:
    """Seconds that whole loops of so many trajectories take: loading, the notebook's twice, ours, and warming up."""

    def step(*at: int) -> float:
        rates = [rate_at(found[kind], UNITS[kind], rows) for kind, rows in zip(UNITS, at, strict=True)]
        return sum(1 / rate for rate in rates if rate)

    alone = 1 + 2 * sizes.alone * sizes.iterations
    return sizes.loading + alone * step(1, 1) + n * (sizes.iterations + 1) * step(*batches)


def members(found: Found, sizes: Sizes, batches: tuple[int, int], left: float) -> int:
    """How many trajectories whole loops have time for: whole batches of pictures, at least one."""
    most, nobody = sizes.trajectories or max(batches), lasting(found, sizes, batches, 0)
    each = lasting(found, sizes, batches, 1) - nobody
    if sizes.trajectories or each <= 0 or math.isinf(left):
        return most
    rows = int((left - nobody) / each)
    return max(batches[0], min(most, rows - rows % batches[0]))


def looping(folders: Sequence[Path], sizes: Sizes, batches: tuple[int, int], n: int, threads: int) -> Found:
    """Steps a second of whole loops, what they cost over the bare calls, and against the notebook's way."""
    pool = ModelPool(sizes.device)

    def bench(members: int, iterations: int) -> loops.Bench:
        return loops.Bench(plan_of(folders, sizes, batches, members, iterations), pool, str(folders[2]), sizes.device)

    theirs, seconds_alone, made = bench(min(n, sizes.alone), sizes.iterations), [], {}

    def alone(theirs: loops.Bench) -> Found:
        nonlocal made
        took, made = notebook(theirs)
        seconds_alone.append(took)
        return {"seconds": took}

    with tempfile.TemporaryDirectory() as folder:
        carried(bench(n, 1), Path(folder) / "warm", threads)
        first = attempt("notebook, to warm up", lambda: alone(bench(1, 1)))
        seconds_alone.clear()
        before = first if "skipped" in first else attempt("notebook, before", lambda: alone(theirs))
        took, ours = carried(bench(n, sizes.iterations), Path(folder), threads)
    rate = len(ours) / (took["stepping"] + took["embedding"])
    found = {
        "trajectories": n,
        "iterations": sizes.iterations,
        "steps": len(ours),
        "rows_a_call": took["chunks"],
        "steps_per_s": rate,
        "steps_per_s_without_embedding": len(ours) / took["stepping"],
        "seconds_to_the_first_step": took["before"],
        "overhead": took["stepping"] / took["models"] - 1,
    }
    if "skipped" in before:
        return found | {"notebook": before}
    attempt("notebook, after", lambda: alone(theirs))
    by_itself = len(made) / statistics.mean(seconds_alone)
    return found | {
        "notebook_steps_per_s": by_itself,
        "notebook_before_and_after_s": seconds_alone,
        "times_as_fast_as_notebook": rate / by_itself,
        "same_as_notebook": attempt("the same", lambda: loops.agreement({key: ours[key] for key in made}, made)),
    }


def loops_in_time(report: Report, folders: Sequence[Path], sizes: Sizes, until: Until, threads: int) -> None:
    """Whole loops of as many trajectories as there is time for, if there is time for one batch."""
    found = report.found
    batches = best(found["drawing"], "images_per_s"), best(found["describing"], "captions_per_s")
    n = members(found, sizes, batches, until.left)
    late = until.too_late(lasting(found, sizes, batches, n))
    report.keep("loop", late or attempt("loop", lambda: looping(folders, sizes, batches, n, threads)))


# ---- all of it ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the same classes small, for a try on a CPU")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--minutes", type=above_zero, help="in which to be done, but for a call that is under way")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "gpu-shapes", help="where the weights are put")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "gpu.json")
    args, began = parser.parse_args(), time.monotonic()
    if not args.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing was measured (a try on a CPU: scripts/bench gpu --tiny)")
    sizes, threads = (TINY, 1) if args.tiny else (Sizes(), usable_cpus())
    name = "CPU, tiny shapes: no measurement of anything" if args.tiny else torch.cuda.get_device_name()
    report = Report(args.out, {"device": name, "torch": torch.__version__, "pinned": pin(threads)})
    work = args.work / ("tiny" if args.tiny else "full")
    folders, missing = [work / part.__name__ for part in (shapes.sdxl, shapes.llava, shapes.clip)], {}
    for folder, build in zip(folders, (shapes.sdxl, shapes.llava, shapes.clip), strict=True):

        def built(folder: Path = folder, build: Any = build) -> Found:
            return {"at": str(shapes.saved(folder, build, args.tiny, sizes.device))}

        missing[folder.name] = attempt(f"building {folder.name}", built).get("skipped")
    report.keep("built", {name: why or "built" for name, why in missing.items()})

    until = {p: Until(began + 60 * args.minutes * end if args.minutes else math.inf) for p, end in ENDS.items()}
    drawing(report, folders[0], sizes, args.rounds, until["drawing"])
    describing(report, folders[1], sizes, args.rounds, until["describing"])
    loops_in_time(report, folders, sizes, until["loop"], threads)
    if sizes.device == "cpu":
        report.keep("drawing_compiled", {"skipped": "not on a CPU: compiling takes longer than the bench"})
    else:
        drawing(report, folders[0], sizes, args.rounds, until["drawing_compiled"], compiled=True)
    describing(report, folders[1], sizes, args.rounds, until["describing_compiled"], compiled=True)
    print(json.dumps(report.found, indent=1))
    tell(report.found)


if __name__ == "__main__":
    main()
