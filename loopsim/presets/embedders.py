"""Embedders known by name, and what tells one library's directories from another's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from loopsim.presets.entry import OPEN_CLIP, SENTENCE, TRANSFORMERS_EMBEDDER, Entry

EMBEDDER_FILES: Mapping[str, str] = MappingProxyType(
    {"modules.json": SENTENCE, "open_clip_config.json": OPEN_CLIP, "config.json": TRANSFORMERS_EMBEDDER}
)
"""The file that tells an embedder's library, in the order they are looked for: some repositories serve several."""

DEFAULT_JUDGE = "clip-vit-b-32"
"""The embedder where the experiment names none: small, reads texts and pictures, and is part of no known generator or
captioner, so that no model of a chain judges itself."""


_BOTH, _PICTURES, _TEXTS = frozenset({"image", "text"}), frozenset({"image"}), frozenset({"text"})


def _gigabytes(millions: float) -> float:
    """Memory of so many million parameters in float32, which embedders run in; rounded up to a tenth."""
    return math.ceil(millions * 4 / 100) / 10


def _open_clip(name: str, location: str, note: str, millions: float) -> Entry:
    return Entry(
        name, "embedder", OPEN_CLIP, location, note, family="CLIP", licence="MIT", token_limit=77,
        vram_gb=_gigabytes(millions), reads=_BOTH,
    )  # fmt: skip


def _transformers(
    name: str, location: str, note: str, family: str, licence: str, tokens: int | None, millions: float,
    gated: bool = False,
) -> Entry:  # fmt: skip
    return Entry(
        name, "embedder", TRANSFORMERS_EMBEDDER, location, note, family=family, licence=licence, token_limit=tokens,
        vram_gb=_gigabytes(millions), gated=gated, reads=_PICTURES if tokens is None else _BOTH,
    )  # fmt: skip


def _sentence(name: str, note: str, tokens: int, millions: float) -> Entry:
    location = f"sentence-transformers/{name}"
    return Entry(
        name.lower(), "embedder", SENTENCE, location, note, family="sentence-transformers", licence="Apache 2.0",
        token_limit=tokens, vram_gb=_gigabytes(millions), reads=_TEXTS,
    )  # fmt: skip


# The last number of a row: millions of parameters, of both towers where there are two.
EMBEDDERS: tuple[Entry, ...] = (
    Entry("postcards", "embedder", OPEN_CLIP, "package:models/postcards/clip", "CLIP of a small drawn world",
          family="CLIP", licence="Apache 2.0", token_limit=32, vram_gb=0.1, reads=_BOTH),
    Entry("mock", "embedder", "loopsim.models.mock:MockEmbedder", "", "hashed words and colours, instant",
          reads=_BOTH),
    _open_clip("clip-vit-b-32", "ViT-B-32/laion2b_s34b_b79k", "OpenCLIP ViT-B/32, LAION-2B", 151.3),
    _open_clip("clip-vit-l-14", "ViT-L-14/datacomp_xl_s13b_b90k", "OpenCLIP ViT-L/14, DataComp-XL", 427.6),
    _open_clip("clip-openai-l-14", "ViT-L-14/openai", "OpenAI's CLIP ViT-L/14, which SD, SDXL and LLaVA have inside",
               427.6),
    _transformers("siglip-so400m", "google/siglip-so400m-patch14-384", "SigLIP SO400M/14 at 384 pixels",
                  "SigLIP", "Apache 2.0", 64, 878.0),
    _transformers("siglip2-b-16", "google/siglip2-base-patch16-224", "SigLIP 2 B/16 at 224 pixels",
                  "SigLIP 2", "Apache 2.0", 64, 375.2),
    _transformers("siglip2-so400m", "google/siglip2-so400m-patch14-384", "SigLIP 2 SO400M/14 at 384 pixels",
                  "SigLIP 2", "Apache 2.0", 64, 1136.0),
    _transformers("dinov2-b", "facebook/dinov2-base", "DINOv2 ViT-B/14, pictures only", "DINOv2", "Apache 2.0", None,
                  86.6),
    _transformers("dinov2-l", "facebook/dinov2-large", "DINOv2 ViT-L/14, pictures only", "DINOv2", "Apache 2.0", None,
                  304.4),
    _transformers("dinov3-b", "facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3 ViT-B/16, pictures only",
                  "DINOv3", "DINOv3", None, 85.7, gated=True),
    _sentence("all-mpnet-base-v2", "sentence-transformers, texts only", 384, 109.5),
    _sentence("all-MiniLM-L6-v2", "sentence-transformers, small, texts only", 256, 22.7),
)  # fmt: skip
"""Every embedder known by name."""
