#!/usr/bin/env python
"""Train the further embedded models: a UNet and a captioner of the flat world, and a terse captioner; resumable.

    python scripts/train_postcards_more.py all             # everything, in order, then export into the package
    python scripts/train_postcards_more.py flat-unet       # or some stages; each continues where it stopped

Stages: data, latents, flat (captioner), terse (captioner), flat-unet, export. All share the autoencoder, the tokenizer
and the text encoder of the models that `train_postcards.py` made, as they are shipped. The UNet begins from the shipped
one and goes on with evenly drawn scenes, so that it has another prior but needs a fraction of the steps; the captioners
begin from random weights. The flat world is `world.draw_even`: every attribute uniform and independent.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import train_postcards as first  # the script beside this one
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from loopsim.models.postcards import world
from loopsim.models.postcards.draw import draw

SHIPPED = first.EXPORT_TO
STEPS = {"flat": 3600, "terse": 3600, "flat-unet": 6000}
TERSE_SHARE = 0.3
"""Share of few-word captions that the flat UNet is trained on, so that a gap in a caption is something it has seen."""

first.STEPS.update(STEPS)


def generator_part(name: str) -> nn.Module:
    """A component of the shipped generator, in float32."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    kind = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}[name]
    module: nn.Module = kind.from_pretrained(SHIPPED / "generator" / name, dtype=torch.float32).float()
    return module


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(SHIPPED / "generator" / "tokenizer")


def make_data(args: argparse.Namespace) -> None:
    """60,000 scenes of each world and their pictures."""
    for name, draw_codes in (("prior", world.draw_prior), ("flat", world.draw_even)):
        if (args.work / f"{name}.pictures.npy").exists():
            continue
        rng, n = first.rng_for(f"pool-{name}", 0), int(60_000 * args.scale)
        codes = draw_codes(n, rng)
        np.save(args.work / f"{name}.codes.npy", codes)
        np.save(args.work / f"{name}.part.npy", np.stack([draw(world.Scene.from_codes(row), rng) for row in codes]))
        (args.work / f"{name}.part.npy").rename(args.work / f"{name}.pictures.npy")


@torch.inference_mode()
def encode_pools(args: argparse.Namespace) -> None:
    """Latents of the flat pool, float16 (n, 32, 8, 8), and every second picture of both pools as they come back."""
    vae = generator_part("vae").eval()
    for name in ("flat", "prior"):
        if (args.work / f"{name}.again.npy").exists():
            continue
        pool, latents, again = first.Pool(args.work, name), [], []
        torch.manual_seed(zlib.crc32(f"again-{name}".encode()))
        for at in range(0, len(pool), 64):
            d = vae.encode(pool.images(np.arange(at, min(at + 64, len(pool))))).latent_dist
            latents.append(torch.cat([d.mean, d.logvar], dim=1).numpy().astype(np.float16))
            z = d.sample()[::2]
            z = z + torch.randn_like(z) / vae.config.scaling_factor * 0.3 * torch.rand(len(z), 1, 1, 1)
            y = (vae.decode(z).sample.clamp(-1, 1) + 1) * 127.5
            again.append(y.round().permute(0, 2, 3, 1).to(torch.uint8).numpy())
        if name == "flat":
            np.save(args.work / "flat.latents.npy", np.concatenate(latents))
        np.save(args.work / "again.part.npy", np.concatenate(again))
        (args.work / "again.part.npy").rename(args.work / f"{name}.again.npy")


def train_captioner(stage: str, pool_name: str, say: Callable[..., str], args: argparse.Namespace) -> None:
    """Half of the pictures as drawn, half as the autoencoder gives them back, slightly disturbed."""
    pool, words = first.Pool(args.work, pool_name), tokenizer()
    again = np.load(args.work / f"{pool_name}.again.npy", mmap_mode="r")
    torch.manual_seed(zlib.crc32(f"{first.SEED}-{stage}".encode()))
    model = first.build_captioner(len(words))

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.integers(len(pool), size=64))
        x = pool.images(rows)
        even = np.flatnonzero(rows % 2 == 0)  # these have a reconstruction
        back = torch.from_numpy(np.ascontiguousarray(again[rows[even] // 2])).permute(0, 3, 1, 2).float()
        x[torch.from_numpy(even)] = back / 127.5 - 1
        texts = [say(world.Scene.from_codes(pool.codes[i]), rng) for i in rows]
        return first.caption_loss(model, words, x, texts, args.device)

    first.Trainer(stage, {"captioner": model}, args, lr=1e-3).run(loss_of)


def train_flat(args: argparse.Namespace) -> None:
    train_captioner("flat", "flat", world.caption, args)


def train_terse(args: argparse.Namespace) -> None:
    train_captioner("terse", "prior", world.terse_caption, args)


def train_unet(args: argparse.Namespace) -> None:
    """The shipped UNet on evenly drawn scenes; the text encoder stays as it is."""
    pool, words = first.Pool(args.work, "flat"), tokenizer()
    latents = np.load(args.work / "flat.latents.npy", mmap_mode="r")
    scale = generator_part("vae").config.scaling_factor
    unet, encoder = generator_part("unet"), generator_part("text_encoder").eval()
    scheduler = first.build_scheduler(False)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.integers(len(pool), size=32))
        texts = []
        for i, share in zip(rows, rng.random(32), strict=True):
            say = world.terse_caption if share < TERSE_SHARE else world.caption
            texts.append("" if share > 0.9 else say(world.Scene.from_codes(pool.codes[i]), rng))
        z = first.sample_latents(latents[rows]) * scale
        noise = torch.randn_like(z)
        t = ((torch.randperm(32) + torch.rand(32)) / 32 * 1000).long().clamp(max=999)
        with torch.no_grad():
            states = encoder(first.encode(words, texts)).last_hidden_state
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            v = unet(scheduler.add_noise(z, noise, t), t, states).sample
        return F.mse_loss(v.float(), scheduler.get_velocity(z, noise, t))

    first.Trainer("flat-unet", {"unet": unet}, args, lr=6e-4).run(loss_of)


def export(args: argparse.Namespace) -> None:
    """Half-precision safetensors: two captioner directories, and a UNet that goes into the shipped generator.

    What has not been trained yet is left out.
    """
    from transformers import BlipProcessor

    words, done = tokenizer(), {}
    trained = [stage for stage in STEPS if (args.work / f"{stage}.pt").exists()]
    for stage in [stage for stage in trained if stage != "flat-unet"]:
        to = args.to / f"captioner-{stage}"
        model = first.build_captioner(len(words))
        first.averaged(stage, {"captioner": model}, args.work)
        model.half().save_pretrained(to)
        BlipProcessor.from_pretrained(SHIPPED / "captioner").save_pretrained(to)
    if "flat-unet" in trained:
        unet = generator_part("unet")
        first.averaged("flat-unet", {"unet": unet}, args.work)
        unet.half().save_pretrained(args.to / "generator-flat" / "unet")
        said = args.to / "generator-flat" / "unet" / "config.json"
        config = json.loads(said.read_text())
        config.pop("_name_or_path", None)  # where it was loaded from is a path of this machine
        said.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for stage in trained:
        done[stage] = torch.load(args.work / f"{stage}.pt", map_location="cpu", weights_only=True)["step"]
    record = json.loads((args.to / "training.json").read_text()) if (args.to / "training.json").exists() else {}
    (args.to / "training.json").write_text(json.dumps(record | done, indent=1) + "\n")
    for weights in args.to.rglob("*.safetensors"):
        weights.chmod(0o644)


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "data": make_data, "latents": encode_pools, "flat": train_flat, "terse": train_terse, "flat-unet": train_unet,
    "export": export,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES, "all"])
    parser.add_argument("--work", type=Path, default=Path("build/postcards-more"), help="checkpoints and drawn data")
    parser.add_argument("--to", type=Path, default=SHIPPED, help="where `export` writes the model directories")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="share of steps and data, for a trial")
    args = parser.parse_args()
    args.device = "cpu"
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    for name in STAGES if "all" in args.stages else args.stages:
        STAGES[name](args)


if __name__ == "__main__":
    main()
