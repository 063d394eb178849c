#!/usr/bin/env python
"""Draw the postcards world and train its three models from scratch; resumable, CPU or GPU.

    python scripts/train_postcards.py all                  # everything, in order, then export into the package
    python scripts/train_postcards.py vae unet             # or some stages; each continues where it stopped
    python scripts/postcards_quality.py                    # measure, and write the model cards

Stages: data, vae, captioner (on pictures), clip, latents, refine (captioner, on reconstructions too), unet, export.
Every batch is a function of (seed, stage, step), so an interrupted training continues with the batches it would have
had. Checkpoints live under --work (not in git); `export` writes half-precision safetensors into the package.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from loopsim.models.postcards import world
from loopsim.models.postcards.draw import draw

SEED = 2025
CONTEXT = 32  # tokens of a caption with [CLS] and [SEP]; the longest the world says has 22
STEPS = {"vae": 2200, "captioner": 2500, "refine": 1300, "clip": 900, "unet": 3200}
EXPORT_TO = Path(__file__).resolve().parent.parent / "loopsim" / "models" / "postcards"

Batch = NDArray[np.int64]


def rng_for(stage: str, step: int) -> np.random.Generator:
    return np.random.default_rng((SEED, zlib.crc32(stage.encode()), step))


# ---- data ----------------------------------------------------------------------------------------------------------


def draw_pool(work: Path, name: str, n: int) -> None:
    """`n` scenes and their pictures: NAME.codes.npy (n, 5) and NAME.pictures.npy (n, 64, 64, 3)."""
    if (work / f"{name}.pictures.npy").exists():
        return
    rng = rng_for(f"pool-{name}", 0)
    codes = (world.draw_prior if name == "prior" else world.draw_even)(n, rng)
    pictures = np.stack([draw(world.Scene.from_codes(row), rng) for row in codes])
    np.save(work / f"{name}.codes.npy", codes)
    np.save(work / f"{name}.part.npy", pictures)
    (work / f"{name}.part.npy").rename(work / f"{name}.pictures.npy")


class Pool:
    """A drawn pool, read from disk as it is needed."""

    def __init__(self, work: Path, name: str) -> None:
        self.codes = np.load(work / f"{name}.codes.npy")
        self.pictures = np.load(work / f"{name}.pictures.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.codes)

    def images(self, rows: Batch) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(self.pictures[np.sort(rows)])).permute(0, 3, 1, 2)
        return x.float() / 127.5 - 1

    def captions(self, rows: Batch, rng: np.random.Generator) -> list[str]:
        return [world.caption(world.Scene.from_codes(self.codes[i]), rng) for i in np.sort(rows)]


def train_tokenizer(work: Path) -> None:
    """Byte-level BPE on captions of the world: known words are one token, any other text falls back to bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    rng = rng_for("tokenizer", 0)
    texts = [world.caption(world.Scene.from_codes(row), rng) for row in world.draw_even(20_000, rng)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["[PAD]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, padding_side="right",
        pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", bos_token="[CLS]", eos_token="[SEP]",
        unk_token="[PAD]",
    )  # fmt: skip
    fast.save_pretrained(work / "tokenizer")
    longest = max(len(ids) for ids in fast(texts)["input_ids"])
    print(f"tokenizer: {len(fast)} tokens, longest caption {longest}", flush=True)
    if longest > CONTEXT:
        raise SystemExit(f"a caption has {longest} tokens, over the context of {CONTEXT}")


def load_tokenizer(work: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(work / "tokenizer")


def encode(tokenizer: Any, texts: list[str]) -> Tensor:
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
    ).input_ids
    return ids


# ---- models --------------------------------------------------------------------------------------------------------


def build_vae() -> nn.Module:
    from diffusers import AutoencoderKL

    vae: nn.Module = AutoencoderKL(
        in_channels=3, out_channels=3, sample_size=64, latent_channels=16, norm_num_groups=8,
        block_out_channels=(16, 32, 64, 64), layers_per_block=1, mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    return vae


def build_unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    unet: nn.Module = UNet2DConditionModel(
        sample_size=8, in_channels=16, out_channels=16, block_out_channels=(64, 128), layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=128, attention_head_dim=4, norm_num_groups=16,
    )  # fmt: skip
    return unet


def build_text_encoder(vocabulary: int) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=2, projection_dim=128,
    )  # fmt: skip
    return CLIPTextModel(config)


def build_captioner(vocabulary: int) -> nn.Module:
    from transformers import BlipConfig, BlipForConditionalGeneration

    config = BlipConfig(
        text_config={
            "vocab_size": vocabulary, "hidden_size": 128, "encoder_hidden_size": 128, "intermediate_size": 384,
            "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        },
        vision_config={
            "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
            "image_size": 64, "patch_size": 8,
        },
        projection_dim=128, image_text_hidden_size=128,
    )  # fmt: skip
    return BlipForConditionalGeneration(config)


CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 96, "head_width": 24, "patch_size": 8},
    "text_cfg": {
        "context_length": CONTEXT, "width": 96, "heads": 4, "layers": 3,
        # Both are traps: without the name the 49k CLIP vocabulary is used, and the default pooling takes the position
        # of the largest token id, which in a small vocabulary is not the end of the text.
        "hf_tokenizer_name": ".", "pool_type": "eos", "eos_id": 2, "tokenizer_kwargs": {"clean": "whitespace"},
    },
}  # fmt: skip
CLIP_MEAN = (0.5, 0.5, 0.5)


def build_clip(vocabulary: int) -> nn.Module:
    from open_clip.model import CLIP

    text = {k: v for k, v in CLIP_CONFIG["text_cfg"].items() if k != "tokenizer_kwargs"}
    model: nn.Module = CLIP(
        embed_dim=CLIP_CONFIG["embed_dim"],
        vision_cfg=CLIP_CONFIG["vision_cfg"],
        text_cfg=text | {"vocab_size": vocabulary},
    )
    return model


def build_scheduler(solver: bool) -> Any:
    """The noise schedule: the training form, or the few-step solver that is shipped."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    kind = DPMSolverMultistepScheduler if solver else DDIMScheduler
    return kind(
        num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True, steps_offset=1,
        **({} if solver else {"clip_sample": False, "set_alpha_to_one": False}),
    )  # fmt: skip


# ---- training ------------------------------------------------------------------------------------------------------


class Trainer:
    """AdamW with warm-up and cosine decay, an average of the weights, and checkpoints to continue from."""

    def __init__(self, stage: str, modules: dict[str, nn.Module], args: argparse.Namespace, lr: float) -> None:
        self.stage, self.modules, self.lr = stage, nn.ModuleDict(modules).to(args.device), lr
        self.path: Path = args.work / f"{stage}.pt"
        self.total = max(1, int(STEPS[stage] * args.scale))
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
        self.average = {k: v.detach().clone() for k, v in self.modules.state_dict().items()}
        self.step = 0
        if self.path.exists():
            state = torch.load(self.path, map_location=args.device, weights_only=True)
            self.modules.load_state_dict(state["modules"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.step = state["average"], state["step"]

    def save(self) -> None:
        state = {
            "modules": self.modules.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average, "step": self.step,
        }  # fmt: skip
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)

    def run(self, loss_of: Callable[[int, np.random.Generator], Tensor], save_every: float = 60.0) -> None:
        self.modules.train()
        started, saved, first, losses = time.time(), time.time(), self.step, []
        while self.step < self.total:
            torch.manual_seed(zlib.crc32(f"{self.stage}-{self.step}".encode()))
            rate = self.lr * min(1.0, (self.step + 1) / 100)
            rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / self.total))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(self.step, rng_for(self.stage, self.step))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
            self.optimizer.step()
            self._average()
            losses.append(float(loss.detach()))
            self.step += 1
            if self.step % 50 == 0:
                pace = (time.time() - started) / (self.step - first)
                print(
                    f"{self.stage} {self.step}/{self.total} loss {np.mean(losses[-50:]):.4f} "
                    f"{pace:.3f} s/step, {(self.total - self.step) * pace / 60:.1f} min left",
                    flush=True,
                )
            if time.time() - saved > save_every:
                self.save()
                saved = time.time()
        self.save()

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        for name, value in self.modules.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)


def averaged(stage: str, modules: dict[str, nn.Module], work: Path) -> None:
    """Load the averaged weights of a stage's checkpoint into `modules`, in evaluation mode."""
    path = work / f"{stage}.pt"
    if not path.exists():
        raise SystemExit(f"{path} is missing: train the stage {stage!r} first")
    state = torch.load(path, map_location="cpu", weights_only=True)
    nn.ModuleDict(modules).load_state_dict(state["average"])
    for module in modules.values():
        module.eval()


def train_vae(args: argparse.Namespace) -> None:
    pools = [Pool(args.work, "prior"), Pool(args.work, "even")]
    vae = build_vae()

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        parts = [pool.images(rng.integers(len(pool), size=16)) for pool in pools]
        x = torch.cat(parts).to(args.device)
        with torch.autocast(args.device.partition(":")[0], torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        y, error = y.float(), 0.0
        # Colours and counts are large structures: the coarse scales keep them, the fine one keeps the edges.
        for size, weight in ((1, 1.0), (4, 1.0)):
            a, b = (F.avg_pool2d(x, size), F.avg_pool2d(y, size)) if size > 1 else (x, y)
            error = error + weight * ((a - b).abs().mean() + (a - b).square().mean())
        kl = 0.5 * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss: Tensor = error + 5e-4 * kl
        return loss

    Trainer("vae", {"vae": vae}, args, lr=1.5e-3).run(loss_of)


@torch.inference_mode()
def encode_pools(args: argparse.Namespace) -> None:
    """Latents of both pools, float16 (n, 32, 8, 8): means and log-variances; and their scale."""
    vae = build_vae().to(args.device)
    averaged("vae", {"vae": vae}, args.work)
    seen = vae_step(args.work)
    scale_file = args.work / "scale.json"
    if scale_file.exists() and json.loads(scale_file.read_text()).get("vae_step", seen) != seen:
        for name in ("prior", "even"):  # latents of an autoencoder that has been trained further since
            (args.work / f"{name}.latents.npy").unlink(missing_ok=True)
    for name in ("prior", "even"):
        if (args.work / f"{name}.latents.npy").exists():
            continue
        pool, rows = Pool(args.work, name), []
        for at in range(0, len(pool), 64):
            x = pool.images(np.arange(at, min(at + 64, len(pool)))).to(args.device)
            with torch.autocast(args.device.partition(":")[0], torch.bfloat16):
                d = vae.encode(x).latent_dist
            rows.append(torch.cat([d.mean, d.logvar], dim=1).float().cpu().numpy().astype(np.float16))
        latents = np.concatenate(rows)
        if name == "prior":
            scale = 1 / float(latents[:, :16].astype(np.float32).std())
            scale_file.write_text(json.dumps({"scaling_factor": round(scale, 5), "vae_step": seen}))
        np.save(args.work / "latents.part.npy", latents)
        (args.work / "latents.part.npy").rename(args.work / f"{name}.latents.npy")


def vae_step(work: Path) -> int:
    return int(torch.load(work / "vae.pt", map_location="cpu", weights_only=True)["step"])


def sample_latents(latents: NDArray[np.float16]) -> Tensor:
    z = torch.from_numpy(latents.astype(np.float32))
    mean, logvar = z.chunk(2, dim=1)
    return mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)


def caption_loss(model: nn.Module, tokenizer: Any, x: Tensor, texts: list[str], device: str) -> Tensor:
    ids = encode(tokenizer, texts)
    ids = ids[:, : int((ids != 0).sum(1).max())].to(device)
    out = model(
        pixel_values=x.to(device), input_ids=ids, attention_mask=(ids != 0).long(),
        labels=ids.masked_fill(ids == 0, -100),
    )  # fmt: skip
    loss: Tensor = out.loss
    return loss


def train_captioner(args: argparse.Namespace) -> None:
    pool, tokenizer = Pool(args.work, "prior"), load_tokenizer(args.work)
    model = build_captioner(len(tokenizer))

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = rng.integers(len(pool), size=64)
        return caption_loss(model, tokenizer, pool.images(rows), pool.captions(rows, rng), args.device)

    Trainer("captioner", {"captioner": model}, args, lr=1e-3).run(loss_of)


def train_refine(args: argparse.Namespace) -> None:
    """The captioner again, half of its pictures now as the autoencoder gives them back, slightly disturbed."""
    pool, tokenizer = Pool(args.work, "prior"), load_tokenizer(args.work)
    latents = np.load(args.work / "prior.latents.npy", mmap_mode="r")
    vae, model = build_vae().to(args.device), build_captioner(len(tokenizer))
    averaged("vae", {"vae": vae}, args.work)
    averaged("captioner", {"captioner": model}, args.work)
    spread = 1 / json.loads((args.work / "scale.json").read_text())["scaling_factor"]

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.integers(len(pool), size=64))
        texts, x = pool.captions(rows, rng), pool.images(rows)
        z = sample_latents(latents[rows[::2]]).to(args.device)
        z = z + torch.randn_like(z) * spread * 0.3 * torch.rand(len(z), 1, 1, 1, device=args.device)
        with torch.no_grad(), torch.autocast(args.device.partition(":")[0], torch.bfloat16):
            x[::2] = vae.decode(z).sample.float().clamp(-1, 1).cpu()
        return caption_loss(model, tokenizer, x, texts, args.device)

    Trainer("refine", {"captioner": model}, args, lr=6e-4).run(loss_of)


def train_clip(args: argparse.Namespace) -> None:
    pools, tokenizer = [Pool(args.work, "even"), Pool(args.work, "prior")], load_tokenizer(args.work)
    model = build_clip(len(tokenizer))

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        images, texts = [], []
        for pool, n in zip(pools, (96, 32), strict=True):
            rows = rng.integers(len(pool), size=n)
            images.append(pool.images(rows))
            texts += pool.captions(rows, rng)
        image = model.encode_image(torch.cat(images).to(args.device), normalize=True)
        text = model.encode_text(encode(tokenizer, texts).to(args.device), normalize=True)
        scale = model.logit_scale.clamp(max=4.6).exp()
        logits = scale * image @ text.T
        labels = torch.arange(len(logits), device=args.device)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    Trainer("clip", {"clip": model}, args, lr=1e-3).run(loss_of)


def train_unet(args: argparse.Namespace) -> None:
    pool, tokenizer = Pool(args.work, "prior"), load_tokenizer(args.work)
    latents = np.load(args.work / "prior.latents.npy")
    scale = json.loads((args.work / "scale.json").read_text())["scaling_factor"]
    unet, text_encoder, scheduler = build_unet(), build_text_encoder(len(tokenizer)), build_scheduler(False)

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.integers(len(pool), size=32))
        texts = pool.captions(rows, rng)
        texts = ["" if drop else text for text, drop in zip(texts, rng.random(32) < 0.1, strict=True)]
        z = sample_latents(latents[rows]).to(args.device) * scale
        noise = torch.randn_like(z)
        # Stratified times: one from each 1/32 of the schedule, for a quieter gradient.
        t = ((torch.randperm(32) + torch.rand(32)) / 32 * 1000).long().clamp(max=999).to(args.device)
        # Plain attention: the fused kernel's backward pass takes half of a step on a CPU in bfloat16.
        with torch.autocast(args.device.partition(":")[0], torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            states = text_encoder(encode(tokenizer, texts).to(args.device)).last_hidden_state
            v = unet(scheduler.add_noise(z, noise, t), t, states).sample
        return F.mse_loss(v.float(), scheduler.get_velocity(z, noise, t))

    Trainer("unet", {"unet": unet, "text_encoder": text_encoder}, args, lr=8e-4).run(loss_of)


# ---- export --------------------------------------------------------------------------------------------------------


def export(args: argparse.Namespace) -> None:
    """Write the three model directories, half precision, safetensors, into the package."""
    from diffusers import StableDiffusionPipeline
    from transformers import BlipImageProcessor, BlipProcessor

    tokenizer, to = load_tokenizer(args.work), args.to
    vae, unet, text_encoder = build_vae(), build_unet(), build_text_encoder(len(tokenizer))
    averaged("vae", {"vae": vae}, args.work)
    averaged("unet", {"unet": unet, "text_encoder": text_encoder}, args.work)
    scale = json.loads((args.work / "scale.json").read_text())["scaling_factor"]
    vae.register_to_config(scaling_factor=scale)
    pipeline = StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=build_scheduler(True),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(to / "generator")

    captioner = build_captioner(len(tokenizer))
    averaged("refine", {"captioner": captioner}, args.work)
    captioner.half().save_pretrained(to / "captioner")
    images = BlipImageProcessor(
        size={"height": 64, "width": 64},
        image_mean=CLIP_MEAN,
        image_std=CLIP_MEAN,
        resample=3,
        do_convert_rgb=True,
    )
    BlipProcessor(images, tokenizer).save_pretrained(to / "captioner")

    from safetensors.torch import save_file

    clip = build_clip(len(tokenizer))
    averaged("clip", {"clip": clip}, args.work)
    (to / "clip").mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() for k, v in clip.state_dict().items()}
    save_file(state, to / "clip" / "open_clip_model.safetensors")
    text_cfg = CLIP_CONFIG["text_cfg"] | {"vocab_size": len(tokenizer)}
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_MEAN, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": CLIP_CONFIG | {"text_cfg": text_cfg}, "preprocess_cfg": preprocess}
    (to / "clip" / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    tokenizer.save_pretrained(to / "clip")
    # The model cards say how long each part was trained: what was done, not what was planned.
    done = {
        stage: torch.load(args.work / f"{stage}.pt", map_location="cpu", weights_only=True)["step"] for stage in STEPS
    }
    (to / "training.json").write_text(json.dumps(done, indent=1) + "\n")
    for weights in to.rglob("*.safetensors"):
        weights.chmod(0o644)
    files = [f for d in ("generator", "captioner", "clip") for f in (to / d).rglob("*") if f.is_file()]
    print(f"exported to {to}: {sum(f.stat().st_size for f in files) / 1e6:.1f} MB", flush=True)


def make_data(args: argparse.Namespace) -> None:
    draw_pool(args.work, "prior", int(60_000 * args.scale))
    draw_pool(args.work, "even", int(12_000 * args.scale))
    if not (args.work / "tokenizer").exists():
        train_tokenizer(args.work)


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "data": make_data,
    "vae": train_vae,
    "captioner": train_captioner,
    "clip": train_clip,
    "latents": encode_pools,
    "refine": train_refine,
    "unet": train_unet,
    "export": export,
}


def stages(names: list[str]) -> Iterator[str]:
    yield from STAGES if "all" in names else names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES, "all"])
    parser.add_argument("--work", type=Path, default=Path("build/postcards"), help="checkpoints and drawn data")
    parser.add_argument("--to", type=Path, default=EXPORT_TO, help="where `export` writes the model directories")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="share of steps and data, for a trial")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    for name in stages(args.stages):
        torch.manual_seed(zlib.crc32(f"{SEED}-{name}".encode()))  # the initial weights
        STAGES[name](args)


if __name__ == "__main__":
    main()
