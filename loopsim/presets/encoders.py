"""Which pretrained encoders are inside known models: an embedder that is part of a chain judges itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

CLIP_L = "OpenAI's CLIP ViT-L/14"
CLIP_B16 = "OpenAI's CLIP ViT-B/16"
OPEN_CLIP_H = "OpenCLIP ViT-H/14 of LAION-2B"
OPEN_CLIP_G = "OpenCLIP ViT-bigG/14 of LAION-2B"
EVA_G = "EVA-CLIP ViT-g/14"
SIGLIP = "SigLIP SO400M/14"
SIGLIP_B = "SigLIP B/16"
SIGLIP2 = "SigLIP 2 SO400M"
SIGLIP2_L = "SigLIP 2 L/16"

# Patterns are looked for in the lower-case hub id or path, so a user's copy under its usual name is recognised too.
# The encoder is the one that a model was built from; most were trained further inside it.
CONTAINED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"stable-diffusion-v1|dreamshaper", (CLIP_L,)),
    (r"stable-diffusion-2|sd-turbo", (OPEN_CLIP_H,)),
    (r"stable-diffusion-xl|sdxl|stable-diffusion-3", (CLIP_L, OPEN_CLIP_G)),
    (r"flux\.1", (CLIP_L,)),
    (r"kandinsky-2-2|stable-cascade", (OPEN_CLIP_G,)),
    (r"llava-1\.5|llava-v1\.[56]|vip-llava|kosmos-2-patch14|git-large", (CLIP_L,)),
    (r"git-base", (CLIP_B16,)),
    (r"blip2-|instructblip", (EVA_G,)),
    (r"llava-onevision|paligemma|gemma-3-\d+b|idefics[23]|smolvlm2?-(instruct|2\.2b)|joycaption", (SIGLIP,)),
    (r"smolvlm2?-(256m|500m)", (SIGLIP_B,)),
    (r"qwen3-vl-(2b|4b)", (SIGLIP2_L,)),
    (r"qwen3-vl-(8b|30b|32b|235b)", (SIGLIP2,)),
)
"""Pattern of a generator or captioner to the encoders in it; the first that is found counts."""

EMBEDDING: tuple[tuple[str, str], ...] = (
    (r"vit-l-14(-336)?(-quickgelu)?/openai|openai/clip-vit-large-patch14", CLIP_L),
    (r"vit-b-16(-quickgelu)?/openai|openai/clip-vit-base-patch16", CLIP_B16),
    (r"vit-h-14/laion2b|clip-vit-h-14-laion2b", OPEN_CLIP_H),
    (r"vit-bigg-14/laion2b|clip-vit-bigg-14-laion2b", OPEN_CLIP_G),
    (r"eva01-g-14/", EVA_G),
    (r"siglip2-so400m|so400m-1[46]-siglip2", SIGLIP2),
    (r"siglip2-large|vit-l-16-siglip2", SIGLIP2_L),
    (r"siglip-so400m|so400m-14-siglip(?!2)", SIGLIP),
    (r"siglip-base-patch16|vit-b-16-siglip(?!2)", SIGLIP_B),
)
"""Pattern of an embedder to the encoder that it is; the first that is found counts."""


def encoders_in(location: str) -> tuple[str, ...]:
    """The pretrained encoders inside a generator or captioner, as far as is known."""
    return next((found for pattern, found in CONTAINED if re.search(pattern, location.lower())), ())


def encoder_of(location: str) -> str | None:
    """The pretrained encoder that an embedder is, if it is one that known models have inside."""
    return next((found for pattern, found in EMBEDDING if re.search(pattern, location.lower())), None)


# Width, layers, and for what sees pictures the patch: what tells these encoders from each other in a configuration.
TEXT_SHAPES: Mapping[tuple[int, int], str] = {
    (768, 12): CLIP_L, (1024, 23): OPEN_CLIP_H, (1024, 24): OPEN_CLIP_H, (1280, 32): OPEN_CLIP_G,
}  # fmt: skip
"""Of CLIP text encoders: hidden size and layers; Stable Diffusion 2 leaves out the last of 24."""
VISION_SHAPES: Mapping[tuple[int, int, int], str] = {
    (1024, 24, 14): CLIP_L, (768, 12, 16): CLIP_B16, (1280, 32, 14): OPEN_CLIP_H, (1664, 48, 14): OPEN_CLIP_G,
}  # fmt: skip
"""Of CLIP vision encoders."""
SIGLIP_SHAPES: Mapping[tuple[int, int], str] = {(1152, 27): SIGLIP, (768, 12): SIGLIP_B}
"""Of SigLIP vision encoders in captioners that were built from SigLIP."""
SIGLIP2_SHAPES: Mapping[tuple[int, int], str] = {(1152, 27): SIGLIP2, (1024, 24): SIGLIP2_L}
"""Of the vision encoders of Qwen3-VL, which were built from SigLIP 2."""


def told_by(config: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The encoders that a config.json tells of: by name (True), or else by their shape (False)."""
    for part in _parts(config):
        names = [str(part[key]) for key in ("_name_or_path", "mm_vision_tower", "vision_tower") if part.get(key)]
        named = next((found for name in names if (found := encoder_of(name))), None)
        shape = _by_shape(part)
        if named is not None:
            yield named, True
        elif shape is not None:
            yield shape, False


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for key in ("vision_config", "model_cfg"):
        part = config.get(key)
        if isinstance(part, Mapping):
            # What a part does not say of itself, the whole says: GIT's eye is CLIP's, whatever it is called.
            yield {"model_type": config.get("model_type"), **part}


def _by_shape(part: Mapping[str, Any]) -> str | None:
    kind, width = str(part.get("model_type") or ""), part.get("hidden_size")
    layers = part.get("num_hidden_layers")
    if part.get("vision_cfg"):  # open_clip's own way of saying it
        vision = part["vision_cfg"]
        return VISION_SHAPES.get((vision.get("width"), vision.get("layers"), vision.get("patch_size")))
    if kind == "clip_text_model":
        return TEXT_SHAPES.get((width, layers))  # type: ignore[arg-type]
    if kind.startswith(("blip_2", "instructblip", "blip-2")):
        return EVA_G if (width, layers) == (1408, 39) else None
    if kind.startswith(("qwen3_vl", "qwen3_5")):
        return SIGLIP2_SHAPES.get((width, part.get("depth")))  # type: ignore[arg-type]
    if kind.startswith("siglip2"):
        return SIGLIP2_SHAPES.get((width, layers))  # type: ignore[arg-type]
    if kind.startswith(("siglip", "idefics", "smolvlm", "paligemma", "gemma3")):
        return SIGLIP_SHAPES.get((width, layers))  # type: ignore[arg-type]
    if kind.startswith(("clip", "git", "kosmos-2", "kosmos_2", "llava", "vipllava")):
        return VISION_SHAPES.get((width, layers, part.get("patch_size")))  # type: ignore[arg-type]
    return None
