"""Time whole loops on postcards models: loopsim, the ways peers run the loop, and the bare models, interleaved.

Run as `scripts/bench loop`. All sides use the same adapters, weights, settings, prompts and seeds:

- `notebook`: trajectory after trajectory, one picture at a time; PNG file, then the embeddings of picture and caption,
  inline; a table of captions written at the end.
- `lockstep N`: chunks of N trajectories advance together; each picture as lossless WebP into its own SQLite commit;
  embeddings afterwards, in batches.
- `loopsim`: `run_plan` into a run directory, embeddings afterwards.
- `bare`: the batched calls of generator and captioner, and nothing else; no embeddings, nothing stored.

The peers' ways are re-implemented from descriptions of them, for this bench only.
"""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from loopsim import images
from loopsim.embed import embed_run
from loopsim.experiment import parse_experiment
from loopsim.models import load_embedder
from loopsim.models.base import Captioner, Embedder, ImageGenerator
from loopsim.models.pool import ModelPool
from loopsim.models.postcards import world
from loopsim.models.torch_setup import pin
from loopsim.plan import Plan, make_plan
from loopsim.runner import run_plan
from loopsim.seeds import step_seed

ROOT = Path(__file__).resolve().parent.parent
Way = Callable[["Bench", Path], None]


class Bench:
    """A plan and its loaded models, shared by every side."""

    def __init__(self, trajectories: int, iterations: int, cohort: int) -> None:
        rng = np.random.default_rng(0)
        prompts = [world.plain_caption(world.Scene.from_codes(row)) for row in world.draw_even(2 * trajectories, rng)]
        raw = {
            "name": "bench", "iterations": iterations, "cohort": cohort, "generator": "postcards",
            "captioner": {"model": "postcards", "temperature": 1.0}, "embedders": "postcards",
            "starts": {"prompts": list(dict.fromkeys(prompts))[:trajectories]},
        }  # fmt: skip
        self.plan: Plan = make_plan(parse_experiment(raw))
        self.pool = ModelPool("cpu")
        chain = self.plan.conditions[0].chain
        self.generator: ImageGenerator = self.pool.generator(chain[0])
        self.captioner: Captioner = self.pool.captioner(chain[1])
        self.embedder: Embedder = load_embedder("postcards", "cpu")

    @property
    def iterations(self) -> int:
        return self.plan.experiment.iterations

    def chunk(self, members: list[Any], texts: list[str], t: int) -> tuple[list[Any], list[str]]:
        """One step of some trajectories: pictures and captions."""
        seeds = [[step_seed(m, t, role, 0, False) for m in members] for role in ("generator", "captioner")]
        pictures = [d.pixels for d in self.generator.generate(texts, seeds[0])]
        return pictures, [c.text for c in self.captioner.describe(pictures, seeds[1])]


def notebook(bench: Bench, folder: Path) -> None:
    rows = []
    for member in bench.plan.trajectories:
        text = member.start.text or ""
        for t in range(1, bench.iterations + 1):
            (picture,), (text,) = bench.chunk([member], [text], t)
            Image.fromarray(picture).save(folder / f"{member.id}-{t}.png")
            vector = bench.embedder.embed_images([picture]) @ bench.embedder.embed_texts([text]).T
            rows.append((member.id, t, text, float(vector[0, 0])))
    with (folder / "captions.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def lockstep(size: int) -> Way:
    def way(bench: Bench, folder: Path) -> None:
        base = sqlite3.connect(folder / "loops.sqlite")
        base.execute("create table steps (trajectory text, t int, image blob, caption text, vector blob)")
        members = list(bench.plan.trajectories)
        pictures: list[Any] = []
        captions: list[str] = []
        for at in range(0, len(members), size):
            chunk = members[at : at + size]
            texts = [m.start.text or "" for m in chunk]
            for t in range(1, bench.iterations + 1):
                drawn, texts = bench.chunk(chunk, texts, t)
                for member, picture, text in zip(chunk, drawn, texts, strict=True):
                    row = (member.id, t, images.encode(picture, "webp"), text)
                    base.execute("insert into steps (trajectory, t, image, caption) values (?, ?, ?, ?)", row)
                    base.commit()
                pictures += drawn
                captions += texts
        for at in range(0, len(captions), 64):
            vectors = (
                bench.embedder.embed_images(pictures[at : at + 64]),
                bench.embedder.embed_texts(captions[at : at + 64]),
            )
            base.execute("insert into steps (vector) values (?)", (np.concatenate(vectors).tobytes(),))
        base.commit()
        base.close()

    return way


def loopsim(bench: Bench, folder: Path) -> None:
    run = run_plan(bench.plan, folder / "run", pool=bench.pool, threads=torch.get_num_threads())
    embed_run(run, "postcards", "cpu")  # loads the embedder anew, which the others have at hand


def generating(bench: Bench, folder: Path) -> None:
    run_plan(bench.plan, folder / "run", pool=bench.pool, threads=torch.get_num_threads())


def bare(bench: Bench, folder: Path) -> None:
    for cohort in bench.plan.cohorts:
        members = list(cohort.trajectories)
        texts = [m.start.text or "" for m in members]
        for t in range(1, bench.iterations + 1):
            _, texts = bench.chunk(members, texts, t)


WAYS: dict[str, Way] = {
    "loopsim": loopsim, "notebook": notebook, "lockstep 4": lockstep(4), "lockstep 8": lockstep(8),
    "loopsim, generating only": generating, "bare": bare,
}  # fmt: skip
TARGETS = {"notebook": 4.0, "lockstep 4": 1.5, "lockstep 8": 1.15, "bare": 0.92}
"""How many times as fast loopsim is to be (generating only, against `bare`)."""


def measure(bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side by round; each round takes the sides in another order, after one round to warm up."""
    names, seconds = list(WAYS), {name: [] for name in WAYS}
    for k in range(rounds + 1):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                WAYS[name](bench, Path(folder))
                if k > 0:
                    seconds[name].append(time.perf_counter() - started)
        print(f"round {k}: " + ", ".join(f"{n} {s[-1]:.1f} s" for n, s in seconds.items() if s), file=sys.stderr)
    return seconds


def ratios(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Of each round: how many times as fast loopsim was; against the bare models, what generating reached of them."""
    found = {
        name: [other / ours for other, ours in zip(seconds[name], seconds["loopsim"], strict=True)]
        for name in ("notebook", "lockstep 4", "lockstep 8")
    }
    found["bare"] = [b / g for b, g in zip(seconds["bare"], seconds["loopsim, generating only"], strict=True)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--cohort", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "loop.json")
    args = parser.parse_args()
    pin(args.threads)
    bench = Bench(args.trajectories, args.iterations, args.cohort)
    seconds = measure(bench, args.rounds)
    steps = args.trajectories * args.iterations
    found = ratios(seconds)
    print("| way | seconds, median | steps/s |\n| --- | --- | --- |")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {steps / median:.1f} |")
    print("\n| loopsim against | median ratio | lowest, highest | target |\n| --- | --- | --- | --- |")
    for name, values in found.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {min(values):.2f}, {max(values):.2f} | {TARGETS[name]:g} |")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known = {"arguments": {k: str(v) for k, v in vars(args).items()}, "seconds": seconds, "ratios": found}
    args.out.write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
