"""Time the metrics: the Vendi score against vendi_score, and everything `loopsim measure` does on a study's size.

Run as `scripts/bench metrics`. Each measuring pass is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from arguments import positive  # the script beside this one

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

WORDS = ("a", "red", "stormy", "lighthouse", "under", "dark", "clouds", "with", "waves", "and", "old", "cathedral",
         "interior", "gothic", "light", "two", "people", "walking", "rain", "street", "night", "tree")  # fmt: skip


def vendi(n: int, d: int, rounds: int) -> dict[str, float]:
    """Median seconds of ours and theirs, interleaved, their ratio and the largest relative difference."""
    from vendi_score import vendi as published

    from metrics import diversity

    x = np.random.default_rng(0).normal(size=(n, d)) + 0.5
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    ours, theirs, differences = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        value = diversity.vendi(x)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        # Their function takes the kernel; making it is part of using it, as it is part of ours.
        expected = published.score_K(unit @ unit.T)
        theirs.append(time.perf_counter() - started)
        differences.append(abs(value / expected - 1))
    ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    return {"n": n, "d": d, "ours_s": statistics.median(ours), "score_K_s": statistics.median(theirs),
            "ratio": ratio, "relative_difference": max(differences)}  # fmt: skip


def make_run(folder: Path, conditions: int, prompts: int, replicates: int, states: int, d: int) -> Path:
    """A run directory of made-up chains that approach a common mean: texts and one embedder's vectors."""
    from loopsim.exchange import import_run

    rng = np.random.default_rng(1)
    own = rng.normal(size=(prompts, d)).astype(np.float32)
    common = rng.normal(size=d).astype(np.float32)
    rows: dict[str, list[object]] = {k: [] for k in ("trajectory", "t", "condition", "start", "replicate", "text")}
    vectors = []
    for c in range(conditions):
        for p in range(prompts):
            for r in range(replicates):
                gone = 1 - np.exp(-np.arange(states) / 8)[:, None]
                block = common + own[p] * (1 - 0.6 * gone) + 0.4 * rng.normal(size=(states, d)).astype(np.float32)
                vectors.append(block.astype(np.float32))
                rows["trajectory"] += [f"{c}-{p}-{r}"] * states
                rows["t"] += range(states)
                rows["condition"] += [f"c{c}"] * states
                rows["start"] += [f"p{p}"] * states
                rows["replicate"] += [r] * states
                rows["text"] += [" ".join(rng.choice(WORDS, 20)) for _ in range(states)]
    flat = pa.array(np.concatenate(vectors).ravel())
    table = pa.table({**rows, "embedding": pa.FixedSizeListArray.from_arrays(flat, d)})
    source = folder / "chains.parquet"
    pq.write_table(table, source)
    import_run(source, folder / "run", modality="text")
    source.unlink()
    return folder / "run"


def measure(path: Path) -> None:
    """In a process of its own: measure a run, print seconds and peak memory."""
    torch.set_num_threads(2)
    from loopsim.measure import measure_run
    from loopsim.store import open_run

    started = time.perf_counter()
    frame = measure_run(open_run(path))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "rows": len(frame)}))


def memory(process: int) -> float:
    """Memory, GB, of a process and of all that it started; pages that they share count once (PSS)."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        own = next(float(line.split()[1]) / 1e6 for line in rollup.splitlines() if line.startswith("Pss:"))
        tasks = Path(f"/proc/{process}/task").iterdir()
        started = {child for task in tasks for child in (task / "children").read_text().split()}
    except (OSError, StopIteration):  # it has just ended
        return 0.0
    return own + sum(memory(int(child)) for child in started)


def study(conditions: int, prompts: int, replicates: int, states: int, d: int) -> dict[str, float]:
    """One measuring pass of a study."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), conditions, prompts, replicates, states, d)
        process = subprocess.Popen([sys.executable, __file__, "--measure", str(run)], stdout=subprocess.PIPE, text=True)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.3)
        if process.returncode:
            raise SystemExit("measuring failed")
        printed = process.stdout.read() if process.stdout else ""
    found: dict[str, float] = {**json.loads(printed.splitlines()[-1]), "peak_gb": peak}
    return {"conditions": conditions, "prompts": prompts, "replicates": replicates, "states": states, "d": d, **found}


def main() -> None:
    """Run the benches that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--rounds", type=positive, default=3, help="rounds of the Vendi comparison (each takes minutes)"
    )
    parser.add_argument("--small", action="store_true", help="a size for trying the script out")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    torch.set_num_threads(2)
    scale, states, d = (10, 12, 32) if arguments.small else (1, 101, 512)
    layouts = [(7, 100, 1), (1, 100, 7), (1, 100, 1), (1, 200, 1), (1, 400, 1), (2, 100, 1), (4, 100, 1)]
    result = {"vendi": vendi(5000 // scale, 768 // scale, arguments.rounds), "studies": []}
    v = result["vendi"]
    print(f"Vendi, n = {v['n']}, d = {v['d']}: {v['ours_s']:.3f} s; vendi_score.score_K {v['score_K_s']:.1f} s; "
          f"{v['ratio']:.0f} × faster; relative difference {v['relative_difference']:.1e}")  # fmt: skip
    print("| conditions | prompts | replicates | trajectories | states | d | seconds | peak GB | values |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for conditions, prompts, replicates in layouts:
        one = study(conditions, prompts // scale, replicates, states, d)
        result["studies"].append(one)
        count = conditions * (prompts // scale) * replicates
        print(f"| {conditions} | {prompts // scale} | {replicates} | {count} | {states} | {d} | {one['seconds']:.1f} | "
              f"{one['peak_gb']:.2f} | {one['rows']:.0f} |", flush=True)  # fmt: skip
    out = ROOT / "build" / "bench" / "metrics.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
