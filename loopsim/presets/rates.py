"""How fast a generator draws on hardware that others have measured, with where that is published. Pure data.

A rate is here only with its source; a model without one has no rate, and nothing is guessed from its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PublishedRate:
    """What somebody measured of one model."""

    seconds: float
    """For one picture, from prompt to pixels."""
    hardware: str
    """The device."""
    batch: int
    """Pictures a call."""
    steps: int
    """Denoising steps."""
    size: str
    """Width × height in pixels, such as `1024x1024`."""
    source: str
    """Where it is published."""


_STABILITY = "https://huggingface.co/stabilityai/stable-diffusion-xl-1.0-tensorrt (baseline, not optimised)"
_FAL = "https://github.com/fal-ai/stable-diffusion-benchmarks (diffusers, torch 2.1, float16)"

RATES: Mapping[str, tuple[PublishedRate, ...]] = MappingProxyType(
    {
        "sdxl": (
            PublishedRate(2.496, "NVIDIA H100", 1, 30, "1024x1024", _STABILITY),
            PublishedRate(3.704, "NVIDIA A100", 1, 30, "1024x1024", _STABILITY),
            PublishedRate(9.399, "NVIDIA A10", 1, 30, "1024x1024", _STABILITY),
        ),
        "sd-1.5": (PublishedRate(1.591, "NVIDIA A100", 1, 50, "512x512", _FAL),),
    }
)
"""Generator to its published rates, the fastest hardware first."""

EMBEDDING_WIDTHS: Mapping[str, int] = MappingProxyType(
    {
        "postcards": 64, "mock": 48, "clip-vit-b-32": 512, "clip-vit-l-14": 768, "clip-openai-l-14": 768,
        "siglip-so400m": 1152, "siglip2-b-16": 768, "siglip2-so400m": 1152, "dinov2-b": 768, "dinov2-l": 1024,
        "dinov3-b": 768, "all-mpnet-base-v2": 768, "all-minilm-l6-v2": 384,
    }
)  # fmt: skip
"""Embedder to the numbers in each of its vectors."""
