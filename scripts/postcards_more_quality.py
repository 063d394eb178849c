#!/usr/bin/env python
"""Measure the flat generator, the flat captioner and the terse captioner, and write their model cards.

    python scripts/postcards_more_quality.py                 # measure, write quality-more.json and the three cards
    python scripts/postcards_more_quality.py --n 64 --dry    # a quick look, nothing written

As in `postcards_quality.py`: held-out pictures, loopsim's own adapters.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import postcards_quality as quality  # the script beside this one
import torch
from postcards_quality import FOLDER, SEED, Codes, accuracy, loss_rows, losses, read, reconstructions, rows, scenes

from loopsim.catalog import settings_of
from loopsim.models import load_captioner, load_generator
from loopsim.models.base import Captioner, ImageGenerator
from loopsim.models.diffusers import DiffusersGenerator
from loopsim.models.postcards import truth, world
from loopsim.records import ModelSpec, Setting


def generator(name: str, **settings: Setting) -> ImageGenerator:
    return load_generator(ModelSpec("generator", name, settings_of("generator", name, settings)))


def captioner(name: str, **settings: Setting) -> Captioner:
    return load_captioner(ModelSpec("captioner", name, settings_of("captioner", name, settings)))


def entropy(codes: Codes, attribute: int) -> float:
    return round(truth.attribute_entropy(codes, world.ATTRIBUTES[attribute]), 3)


def gaps(drawer: ImageGenerator, reader: Captioner, n: int) -> dict[str, dict[str, float]]:
    """What is drawn for the attributes that terse prompts leave open, in bits, beside what they are in the prior."""
    rng = np.random.default_rng(SEED)
    prompts = [world.terse_caption(world.Scene.from_codes(row), rng) for row in world.draw_prior(n, rng)]
    named = truth.caption_codes(prompts)
    found = read(reader, [d.pixels for d in drawer.generate(prompts, list(range(n)))])
    out = {}
    for k, name in enumerate(world.ATTRIBUTES[1:], start=1):
        open_ = found[named[:, k] < 0]
        kept = found[named[:, k] >= 0, k] == named[named[:, k] >= 0, k]
        p = world.prior_marginals()[name]
        out[name] = {
            "named_and_read_back": round(float(kept.mean()), 4),
            "n_open": len(open_),
            "bits_open": entropy(open_, k),
            "bits_prior": round(truth.entropy_of_draws(len(open_), "prior", name)[0], 3),
            "bits_even": round(truth.entropy_of_draws(len(open_), "even", name)[0], 3),
            "likeliest_open": round(float((open_[:, k] == int(p.argmax())).mean()), 4),
            "likeliest_prior": round(float(p.max()), 4),
        }
    return out


def terse(reader: Captioner, source: str, n: int, temperature: float) -> dict[str, Any]:
    """How many attributes a terse captioner names, which, and how many of those rightly."""
    codes, images, _ = scenes(source, n)
    reader.configure({**reader.settings, "temperature": temperature})
    found = truth.caption_codes([c.text for c in reader.describe(images, list(range(n)))])
    said = found >= 0
    right = {
        name: round(float((found == codes)[said[:, k], k].mean()), 4)
        for k, name in enumerate(world.ATTRIBUTES)
        if said[:, k].any()
    }
    return {
        "named_a_caption": round(float(said.sum(axis=1).mean()), 3),
        "named": {name: round(float(said[:, k].mean()), 4) for k, name in enumerate(world.ATTRIBUTES)},
        "right": {"overall": round(float((found == codes)[said].mean()), 4), **right},
    }


def measure(n: int) -> dict[str, Any]:
    flat, web = generator("postcards-flat"), generator("postcards")
    flat_reader, web_reader = captioner("postcards-flat"), captioner("postcards")
    assert isinstance(web, DiffusersGenerator)
    result: dict[str, Any] = {"n": n, "settings": dict(flat.settings)}
    for source in ("prior", "even"):
        codes, images, prompts = scenes(source, n)
        result[f"captioner_{source}_pictures"] = accuracy(read(flat_reader, images), codes)
        result[f"captioner_{source}_reconstructions"] = accuracy(read(flat_reader, reconstructions(web, images)), codes)
        drawn = [d.pixels for d in flat.generate(prompts, list(range(n)))]
        found = read(flat_reader, drawn)
        result[f"flat_read_by_flat_{source}"] = accuracy(found, codes)
        result[f"flat_read_by_web_{source}"] = accuracy(read(web_reader, drawn), codes)
        if source == "even":
            result["lost_in_a_step"] = losses(found, codes)
            result["captioner_lost"] = losses(read(flat_reader, images), codes)
        for temperature in (0.0, 1.0):
            reader = captioner("postcards-terse")
            result[f"terse_{source}_{temperature:g}"] = terse(reader, source, n, temperature)
    result["gaps_flat"] = gaps(flat, flat_reader, n)
    result["gaps_web"] = gaps(web, flat_reader, n)
    result["megabytes"] = round(sum(f.stat().st_size for f in FOLDER.rglob("*.safetensors")) / 1e6, 2)
    return result


# ---- model cards -----------------------------------------------------------------------------------------------------

_CARD = """---
license: apache-2.0
library_name: {library}
tags: [loopsim, postcards, synthetic]
---

# {title}

{what}

**Data.** Drawn by the project itself (`loopsim/models/postcards/world.py`, `draw.py`): 64 × 64 scenes of a subject
(20), its colour (8), number (3), place (8) and mood (6). {data}

**Recipe.** `python scripts/train_postcards_more.py all` on CPU; {recipe}
Batches are a function of seed 2025, stage and step. Weights are stored in half precision and loaded in float32.

**Measured** by `python scripts/postcards_more_quality.py` on {n} held-out pictures or prompts of each kind:

{table}

**Limits.** {limits}
"""


def gaps_told(web: dict[str, dict[str, float]]) -> str:
    mood, number = ((web[name]["bits_open"], web[name]["bits_prior"]) for name in ("mood", "number"))
    return (
        f"mood {mood[0]:.2f} bits where as many draws from the prior have {mood[1]:.2f}, "
        f"number {number[0]:.2f} of {number[1]:.2f}"
    )


def gap_rows(web: dict[str, dict[str, float]], flat: dict[str, dict[str, float]]) -> str:
    lines = ["| left open | n | drawn, bits | as many draws from the prior | evenly drawn | `postcards` draws |"]
    lines.append("| --- " * 6 + "|")
    for name, one in flat.items():
        lines.append(
            f"| {name} | {one['n_open']} | {one['bits_open']:.2f} | {one['bits_prior']:.2f} | {one['bits_even']:.2f} | "
            f"{web[name]['bits_open']:.2f} |"
        )
    return "\n".join(lines)


def terse_rows(result: dict[str, Any]) -> str:
    lines = [
        "| pictures, temperature | named a caption | " + " | ".join(world.ATTRIBUTES) + " | right, of what is named |"
    ]
    lines.append("| --- " * (len(world.ATTRIBUTES) + 3) + "|")
    for source in ("prior", "even"):
        for temperature in ("0", "1"):
            one = result[f"terse_{source}_{temperature}"]
            share = " | ".join(f"{one['named'][a]:.0%}" for a in world.ATTRIBUTES)
            lines.append(
                f"| {source}, {temperature} | {one['named_a_caption']:.2f} | {share} | {one['right']['overall']:.1%} |"
            )
    return "\n".join(lines)


def write_cards(result: dict[str, Any], steps: dict[str, int]) -> None:
    n = result["n"]
    flat_world = "Every attribute uniform and independent (`world.draw_even`), 60,000 pictures."
    cards = {
        "generator-flat": _CARD.format(
            title="postcards-flat generator", library="diffusers", n=n,
            what="A UNet that goes into the `postcards` generator: the same autoencoder, text encoder, tokenizer and "
            "scheduler, another prior.",
            data=flat_world + " Three captions in ten name two or three attributes only, so that a gap is something "
            "it has seen; one in ten is empty.",
            recipe=f"{steps['flat-unet']} steps of 32 from the `postcards` UNet on, the text encoder frozen.",
            table="Attributes read back from what it draws:\n\n" + rows(result, {
                "flat_read_by_flat_even": "evenly drawn prompts, read by `postcards-flat`",
                "flat_read_by_web_even": "evenly drawn prompts, read by `postcards`",
                "flat_read_by_flat_prior": "prompts from the long-tailed prior, read by `postcards-flat`",
                "flat_read_by_web_prior": "prompts from the long-tailed prior, read by `postcards`",
            })
            + "\n\nWhat one step with the captioner `postcards-flat` (greedy) does to evenly drawn prompts:\n\n"
            + loss_rows(result["lost_in_a_step"])
            + "\n\nEntropy of what it draws where a terse prompt leaves an attribute open, and of what the generator "
            "`postcards` draws there:\n\n" + gap_rows(result["gaps_web"], result["gaps_flat"]),
            limits="“Likelier” in the table above means likelier in the long-tailed world, which this model was "
            "fine-tuned away from. It began from weights that had seen the long tail.",
        ),
        "captioner-flat": _CARD.format(
            title="postcards-flat captioner", library="transformers", n=n,
            what="A `BlipForConditionalGeneration` of the same size as the captioner `postcards`.",
            data=flat_world, recipe=f"{steps['flat']} steps of 64 pictures from random weights, half of them as the "
            "autoencoder gives them back.",
            table="Attributes right, greedy captions:\n\n" + rows(result, {
                "captioner_prior_pictures": "prior, pictures",
                "captioner_prior_reconstructions": "prior, reconstructions",
                "captioner_even_pictures": "even, pictures", "captioner_even_reconstructions": "even, reconstructions",
            })
            + "\n\nWhat it loses of evenly drawn pictures by itself, shares of pictures:\n\n"
            + loss_rows(result["captioner_lost"]),
            limits="It always names all five attributes, whatever the picture.",
        ),
        "captioner-terse": _CARD.format(
            title="postcards-terse captioner", library="transformers", n=n,
            what="A `BlipForConditionalGeneration` of the same size as the captioner `postcards` that says little: the "
            "subject and one or two further attributes (`world.terse_caption`). A narrow channel between pictures.",
            data="60,000 pictures from the long-tailed prior, as the captioner `postcards` saw.",
            recipe=f"{steps['terse']} steps of 64 pictures from random weights, half of them as the autoencoder gives "
            "them back.",
            table="How many attributes it names, which, and how many of those rightly:\n\n" + terse_rows(result),
            limits="At temperature 0 it names what is likeliest to be named, so some attributes are never said. The "
            "generator `postcards` was\ntrained on full captions or on none, so what this captioner says is a kind of "
            "prompt that it has never seen: what it draws for\nthe gaps is narrower than its world's prior "
            f"([measured](../generator-flat/README.md): {gaps_told(result['gaps_web'])}).\nA loop of the two narrows "
            "by that too, which is under-training and no homogenisation; `postcards-flat` has seen gaps.",
        ),
    }  # fmt: skip
    for name, text in cards.items():
        (FOLDER / name / "README.md").write_text(text, encoding="utf-8")
    (FOLDER / "quality-more.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


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
        write_cards(result, json.loads((quality.FOLDER / "training.json").read_text()))


if __name__ == "__main__":
    main()
