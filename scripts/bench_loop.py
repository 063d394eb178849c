"""Time whole loops on postcards models: loopsim, the ways peers run the loop, and the bare models, interleaved.

Run as `scripts/bench loop`. All sides use the same adapters, weights, settings, prompts and seeds:

- `notebook`: trajectory after trajectory, one picture at a time; PNG file, then the embeddings of picture and caption,
  inline; a table of captions written at the end.
- `lockstep N`: chunks of N trajectories advance together; each picture as lossless WebP into its own SQLite commit;
  embeddings afterwards, in batches.
- `loopsim`: `run_plan` into a run directory, embeddings afterwards.
- `bare`: the batched calls of generator and captioner, and nothing else; no embeddings, nothing stored.

The peers' ways are re-implemented from descriptions of them, for this bench only. Whether all sides make the same is
measured in the round that warms up, and printed: kernels may round otherwise for a batch of another size.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import positive  # the script beside this one
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
from loopsim.store import Run, open_run

ROOT = Path(__file__).resolve().parent.parent
Way = Callable[["Bench", Path], None]


Made = dict[tuple[str, int], tuple[Any, str]]
"""Picture (uint8, height × width × 3) and caption by trajectory and iteration."""


class Bench:
    """A plan and its loaded models, shared by every side.

    Args:
        plan: of one generator and one captioner.
        pool: holds the models of the plan.
        embedder: by name or directory.
        device: where it embeds.
    """

    def __init__(self, plan: Plan, pool: ModelPool, embedder: str, device: str = "cpu") -> None:
        self.plan, self.pool, self.device = plan, pool, device
        chain = plan.conditions[0].chain
        self.generator: ImageGenerator = pool.generator(chain[0])
        self.captioner: Captioner = pool.captioner(chain[1])
        self.embedder: Embedder = load_embedder(embedder, device)
        self.made: Made | None = None
        """What the sides that call `chunk` make, while it is to be kept."""

    @property
    def iterations(self) -> int:
        return self.plan.experiment.iterations

    def chunk(self, members: list[Any], texts: list[str], t: int) -> tuple[list[Any], list[str]]:
        """One step of some trajectories: pictures and captions."""
        seeds = [[step_seed(m, t, role, 0, False) for m in members] for role in ("generator", "captioner")]
        pictures = [d.pixels for d in self.generator.generate(texts, seeds[0])]
        captions = [c.text for c in self.captioner.describe(pictures, seeds[1])]
        if self.made is not None:
            for member, picture, caption in zip(members, pictures, captions, strict=True):
                self.made[member.id, t] = picture, caption
        return pictures, captions


def postcards_bench(trajectories: int, iterations: int, cohort: int) -> Bench:
    """Loops of the embedded models."""
    rng = np.random.default_rng(0)
    prompts = [world.plain_caption(world.Scene.from_codes(row)) for row in world.draw_even(2 * trajectories, rng)]
    raw = {
        "name": "bench", "iterations": iterations, "cohort": cohort, "generator": "postcards",
        "captioner": {"model": "postcards", "temperature": 1.0}, "embedders": "postcards",
        "starts": {"prompts": list(dict.fromkeys(prompts))[:trajectories]},
    }  # fmt: skip
    return Bench(make_plan(parse_experiment(raw)), ModelPool("cpu"), "postcards")


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
    embed_run(run, bench.embedder.name, bench.device)  # loads the embedder anew, which the others have at hand


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


def made_by(run: Run) -> Made:
    """What loopsim has stored."""
    steps = run.steps(["trajectory_id", "t", "image", "text"], images=True)
    rows = steps[steps["t"] > 0].itertuples(index=False)
    return {(i, int(t)): (images.decode(picture["bytes"]), text) for i, t, picture, text in rows}


def agreement(ours: Made, theirs: Made) -> dict[str, float]:
    """How far two sides made the same.

    `steps`, `pictures` and `captions` are the shares that are the same to the byte. A chain whose caption differs once
    goes its own way, so how kernels round is told by the first iteration alone, where both sides draw the same prompts
    with the same seeds: there `first_captions` is the share of captions that agree, and `first_pixel_difference` the
    largest difference of a pixel (of 255).

    Raises:
        ValueError: the sides did not make the same steps of the same trajectories.
    """
    if not ours or ours.keys() != theirs.keys():
        raise ValueError(f"{len(ours)} steps against {len(theirs)}, or not of the same trajectories")
    drawn = {key: np.array_equal(ours[key][0], theirs[key][0]) for key in ours}
    said = {key: ours[key][1] == theirs[key][1] for key in ours}
    first = [key for key in ours if key[1] == min(t for _, t in ours)]
    apart = [np.abs(ours[key][0].astype(int) - theirs[key][0].astype(int)).max() for key in first]
    return {
        "steps": statistics.mean(float(drawn[key] and said[key]) for key in ours),
        "pictures": statistics.mean(map(float, drawn.values())),
        "captions": statistics.mean(map(float, said.values())),
        "first_captions": statistics.mean(float(said[key]) for key in first),
        "first_pixel_difference": float(max(apart)),
    }


def tell_agreement(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print how far the sides made the same as loopsim."""
    columns = (
        "steps the same to the byte | pictures | captions | captions at t = 1 | largest difference of a pixel, t = 1"
    )
    print(f"\n| loopsim against | {columns} |\n| --- | --- | --- | --- | --- | --- |")
    for name, one in found.items():
        shares = " | ".join(f"{one[key]:.1%}" for key in ("steps", "pictures", "captions", "first_captions"))
        print(f"| {name} | {shares} | {one['first_pixel_difference']:g} of 255 |")
    if any(one["steps"] < 1 for one in found.values()):
        print("\nNot everything is the same to the byte: the seeds are, but other batch sizes round otherwise.")


def measure(bench: Bench, rounds: int) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Seconds of each side by round, and how far each made the same as loopsim.

    Each round takes the sides in another order, after one round to warm up, in which what they make is compared.
    """
    names, seconds = list(WAYS), {name: [] for name in WAYS}
    made: dict[str, Made] = {}
    for k in range(rounds + 1):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            bench.made = {} if k == 0 else None
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                WAYS[name](bench, Path(folder))
                if k > 0:
                    seconds[name].append(time.perf_counter() - started)
                else:
                    stored = Path(folder) / "run"
                    made[name] = made_by(open_run(stored)) if stored.exists() else bench.made or {}
        print(f"round {k}: " + ", ".join(f"{n} {s[-1]:.1f} s" for n, s in seconds.items() if s), file=sys.stderr)
    return seconds, {name: agreement(made["loopsim"], made[name]) for name in names if name != "loopsim"}


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
    parser.add_argument("--trajectories", type=positive, default=64)
    parser.add_argument("--iterations", type=positive, default=4)
    parser.add_argument("--cohort", type=positive, default=64)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "loop.json")
    args = parser.parse_args()
    pin(args.threads)
    bench = postcards_bench(args.trajectories, args.iterations, args.cohort)
    seconds, same = measure(bench, args.rounds)
    steps = len(bench.plan.trajectories) * args.iterations
    found = ratios(seconds)
    print("| way | seconds, median | steps/s |\n| --- | --- | --- |")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {steps / median:.1f} |")
    print("\n| loopsim against | median ratio | lowest, highest | target |\n| --- | --- | --- | --- |")
    for name, values in found.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {min(values):.2f}, {max(values):.2f} | {TARGETS[name]:g} |")
    tell_agreement(same)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known = {
        "arguments": {k: str(v) for k, v in vars(args).items()}, "seconds": seconds, "ratios": found, "same": same,
    }  # fmt: skip
    args.out.write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
