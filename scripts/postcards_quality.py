#!/usr/bin/env python
"""Measure the embedded models on held-out scenes, and write the numbers into their model cards.

    python scripts/postcards_quality.py                 # measure, write quality.json and the three model cards
    python scripts/postcards_quality.py --n 64 --dry    # a quick look, nothing written

Pictures are drawn with a seed of their own, so none was seen in training; combinations of attributes were. Everything
runs through loopsim's adapters.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loopsim.catalog import settings_of
from loopsim.models import load_captioner, load_embedder, load_generator
from loopsim.models.base import Captioner, ImageGenerator, Pixels
from loopsim.models.diffusers import DiffusersGenerator
from loopsim.models.postcards import truth, world
from loopsim.models.postcards.draw import draw
from loopsim.records import ModelSpec

FOLDER = Path(__file__).resolve().parent.parent / "loopsim" / "models" / "postcards"
SEED = 77_000
Codes = NDArray[np.int64]


def scenes(source: str, n: int) -> tuple[Codes, list[Pixels], list[str]]:
    rng = np.random.default_rng((SEED, source == "prior"))
    codes = (world.draw_prior if source == "prior" else world.draw_even)(n, rng)
    drawn = [world.Scene.from_codes(row) for row in codes]
    return codes, [draw(scene, rng) for scene in drawn], [world.caption(scene, rng) for scene in drawn]


def read(captioner: Captioner, images: list[Pixels]) -> Codes:
    return truth.caption_codes([c.text for c in captioner.describe(images, [0] * len(images))])


def accuracy(found: Codes, codes: Codes) -> dict[str, float]:
    right = found == codes
    each = {name: round(float(right[:, k].mean()), 4) for k, name in enumerate(world.ATTRIBUTES)}
    return {"overall": round(float(right.mean()), 4), **each}


@torch.inference_mode()
def reconstructions(generator: DiffusersGenerator, images: list[Pixels]) -> list[Pixels]:
    out: list[Pixels] = []
    for at in range(0, len(images), 32):
        x = torch.from_numpy(np.stack(images[at : at + 32])).permute(0, 3, 1, 2).float() / 127.5 - 1
        vae = generator.pipe.vae
        y = vae.decode(vae.encode(x.to(vae.dtype)).latent_dist.mode()).sample.float().clamp(-1, 1)
        out += list(((y + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).numpy())
    return out


def losses(found: Codes, codes: Codes, draws: int = 500) -> dict[str, dict[str, float]]:
    """What a step loses of each attribute: symmetric confusion, and pull towards likelier values.

    With F[i, j] the share of scenes with value i that come back as j, noise is Σ min(F[i, j], F[j, i]) over ordered
    pairs and the rest is one-sided; pull is the one-sided flow to values that the prior finds likelier less the flow to
    less likely ones. Few errors look one-sided by chance: `one_sided_by_chance` is their mean with every error's
    direction drawn at random.
    """
    rng, out = np.random.default_rng(SEED), {}
    for k, name in enumerate(world.ATTRIBUTES):
        p = world.prior_marginals()[name]
        pairs = np.array([(a, b) for a, b in zip(codes[:, k], found[:, k], strict=True) if b >= 0 and a != b])
        flow = flows(pairs, len(p)) / len(codes)
        one_sided = np.clip(flow - flow.T, 0, None)
        chance = []
        for _ in range(draws if len(pairs) else 0):
            turned = np.where(rng.random(len(pairs))[:, None] < 0.5, pairs, pairs[:, ::-1])
            again = flows(turned, len(p)) / len(codes)
            chance.append(np.clip(again - again.T, 0, None).sum())
        out[name] = {
            "lost": round(float((found[:, k] != codes[:, k]).mean()), 4),
            "not_named": round(float((found[:, k] < 0).mean()), 4),
            "noise": round(float(np.minimum(flow, flow.T).sum()), 4),
            "one_sided": round(float(one_sided.sum()), 4),
            "one_sided_by_chance": round(float(np.mean(chance)) if chance else 0.0, 4),
            "pull_to_prior": round(float((one_sided * np.sign(p[None, :] - p[:, None])).sum()), 4),
        }
    return out


def flows(pairs: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    table = np.zeros((size, size))
    if len(pairs):
        np.add.at(table, (pairs[:, 0], pairs[:, 1]), 1.0)
    return table


def retrieval(n: int, repeats: int) -> float:
    """Share of pictures whose own caption is the nearest of n distinct scenes' captions, over `repeats` sets."""
    embedder, rng, hits = load_embedder("postcards"), np.random.default_rng(SEED), []
    for _ in range(repeats):
        codes = np.unique(world.draw_even(n + 20, rng), axis=0)
        codes = codes[rng.permutation(len(codes))[:n]]
        drawn = [world.Scene.from_codes(row) for row in codes]
        texts = embedder.embed_texts([world.caption(scene, rng) for scene in drawn])
        images = embedder.embed_images([draw(scene, rng) for scene in drawn])
        hits.append(float(((images @ texts.T).argmax(axis=1) == np.arange(n)).mean()))
    return round(statistics.mean(hits), 4)


def speed(
    generator: ImageGenerator, captioner: Captioner, prompts: list[str], images: list[Pixels]
) -> dict[str, float]:
    """Median milliseconds a picture and a caption at a batch of 32 (three runs after one to warm up)."""
    drawing, describing = [], []
    for _ in range(4):
        started = time.perf_counter()
        generator.generate(prompts[:32], list(range(32)))
        drawing.append((time.perf_counter() - started) / 32 * 1e3)
        started = time.perf_counter()
        captioner.describe(images[:32], list(range(32)))
        describing.append((time.perf_counter() - started) / 32 * 1e3)
    return {
        "threads": torch.get_num_threads(),
        "ms_per_image": round(statistics.median(drawing[1:]), 1),
        "ms_per_caption": round(statistics.median(describing[1:]), 1),
    }


def measure(n: int) -> dict[str, Any]:
    generator_spec = ModelSpec("generator", "postcards", settings_of("generator", "postcards", {}))
    generator = load_generator(generator_spec)
    captioner = load_captioner(ModelSpec("captioner", "postcards", settings_of("captioner", "postcards", {})))
    assert isinstance(generator, DiffusersGenerator)
    result: dict[str, Any] = {"n": n, "settings": dict(generator_spec.settings)}
    for source in ("prior", "even"):
        codes, images, prompts = scenes(source, n)
        result[f"captioner_{source}_pictures"] = accuracy(read(captioner, images), codes)
        result[f"captioner_{source}_reconstructions"] = accuracy(
            read(captioner, reconstructions(generator, images)), codes
        )
        drawn = [d.pixels for d in generator.generate(prompts, list(range(n)))]
        found = read(captioner, drawn)
        result[f"loop_{source}_prompts"] = accuracy(found, codes)
        if source == "even":
            result["lost_in_a_step"] = losses(found, codes)
            result["captioner_lost"] = losses(read(captioner, images), codes)
            result["speed"] = speed(generator, captioner, prompts, images)
    result["clip_retrieval_top1_of_100"] = retrieval(100, 10)
    result["megabytes"] = round(sum(f.stat().st_size for f in FOLDER.rglob("*.safetensors")) / 1e6, 2)
    return result


# ---- model cards -----------------------------------------------------------------------------------------------------

_HEAD = """---
license: apache-2.0
library_name: {library}
tags: [loopsim, postcards, synthetic]
---

# postcards {role}

{what}

**Data.** Drawn by the project itself (`loopsim/models/postcards/world.py`, `draw.py`): 64 × 64 scenes of a subject
(20), its colour (8), number (3), place (8) and mood (6), with hundreds of phrasings a scene. The prior is long-tailed
and correlated, and written down: `world.prior()`. {data}

**Recipe.** `python scripts/train_postcards.py all`, from scratch on 2 CPU cores; {recipe}
Batches are a function of seed 2025, stage and step; the initial weights of the shipped models were not seeded.
Weights are stored in half precision and loaded in float32.

**Measured** by `python scripts/postcards_quality.py` on {n} held-out pictures of each kind (drawn with another seed;
many combinations of attributes occur in training too):

{table}

**Limits.** {limits}
"""


def rows(result: dict[str, Any], keys: dict[str, str]) -> str:
    lines = ["| | all five | " + " | ".join(world.ATTRIBUTES) + " |", "| --- " * (len(world.ATTRIBUTES) + 2) + "|"]
    for key, title in keys.items():
        values = [f"{result[key][name]:.1%}" for name in ("overall", *world.ATTRIBUTES)]
        lines.append(f"| {title} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def loss_rows(lost: dict[str, dict[str, float]]) -> str:
    titles = {
        "lost": "lost or changed", "not_named": "of this: not named", "noise": "symmetric confusion (noise)",
        "one_sided": "one-sided confusion", "one_sided_by_chance": "one-sided expected by chance",
        "pull_to_prior": "net pull to likelier values",
    }  # fmt: skip
    lines = ["| | " + " | ".join(lost) + " |", "| --- " * (len(lost) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(f"{lost[a][key]:.1%}" for a in lost) + " |" for key, title in titles.items()]
    return "\n".join(lines)


def write_cards(result: dict[str, Any], steps: dict[str, int]) -> None:
    n, pace = result["n"], result["speed"]
    generator = _HEAD.format(
        library="diffusers", role="generator", n=n,
        what="A `StableDiffusionPipeline`: `AutoencoderKL` (8 × 8 × 16 latents), a two-level UNet, a three-layer CLIP "
        "text encoder trained with it, v-prediction with zero terminal SNR, DPM-Solver++.",
        data="60,000 pictures from the prior; the autoencoder saw 12,000 evenly drawn ones as well.",
        recipe=f"autoencoder {steps['vae']} steps of 32 pictures, UNet and text encoder {steps['unet']} steps of 32.",
        table="Attributes that the captioner reads back from generated pictures:\n\n"
        + rows(result, {"loop_prior_prompts": "prompts from the prior", "loop_even_prompts": "evenly drawn prompts"})
        + "\n\nWhat one step (draw, then describe greedily) does to evenly drawn prompts, shares of prompts:\n\n"
        + loss_rows(result["lost_in_a_step"])
        + f"\n\nSpeed on {pace['threads']} CPU threads at a batch of 32: {pace['ms_per_image']} ms a picture "
        f"({result['settings']['steps']} steps, guidance {result['settings']['guidance']}).",
        limits="A toy: it knows 20 things. Words outside the world are read as bytes and drawn as something. Errors "
        "are those of a small, shortly trained model; a fall in diversity below the prior's is under-training, "
        "not culture.",
    )  # fmt: skip
    captioner = _HEAD.format(
        library="transformers", role="captioner", n=n,
        what="A `BlipForConditionalGeneration`: 4 + 3 layers of width 128, 8 × 8 patches.",
        data="60,000 pictures from the prior only, so its own prior is the world's.",
        recipe=f"{steps['captioner']} steps of 64 pictures, then {steps['refine']} with every second picture as the "
        "autoencoder gives it back.",
        table="Attributes right, greedy captions:\n\n"
        + rows(result, {
            "captioner_prior_pictures": "prior, pictures", "captioner_prior_reconstructions": "prior, reconstructions",
            "captioner_even_pictures": "even, pictures", "captioner_even_reconstructions": "even, reconstructions",
        })
        + "\n\nWhat it loses of evenly drawn pictures by itself, shares of pictures:\n\n"
        + loss_rows(result["captioner_lost"])
        + f"\n\nSpeed on {pace['threads']} CPU threads at a batch of 32: {pace['ms_per_caption']} ms a caption.",
        limits="It always names all five attributes, whatever the picture; rare subjects are the ones it misreads.",
    )  # fmt: skip
    clip = _HEAD.format(
        library="open_clip",
        role="embedder",
        n=n,
        what="A CLIP: 4 + 3 layers of width 96, 64 dimensions, pooled at the end of the text.",
        data="Three of four training pictures are evenly drawn, so that it tells rare things apart as well.",
        recipe=f"{steps['clip']} contrastive steps of 128 pairs.",
        table=f"Top-1 retrieval of a picture's caption among 100 distinct scenes' (10 sets): "
        f"{result['clip_retrieval_top1_of_100']:.1%}.",
        limits="Its distances mean something in this world only; texts beyond 32 tokens are cut.",
    )
    for name, text in (("generator", generator), ("captioner", captioner), ("clip", clip)):
        (FOLDER / name / "README.md").write_text(text, encoding="utf-8")
    (FOLDER / "quality.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = measure(args.n)
    print(json.dumps(result, indent=1))
    if not args.dry:
        write_cards(result, json.loads((FOLDER / "training.json").read_text()))


if __name__ == "__main__":
    main()
