"""The models loopsim knows by name: where they are, which adapter loads them, and their right defaults.

Pure data: nothing is imported or loaded here, so a plan can be made on a machine without torch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loopsim.errors import ModelError
from loopsim.paths import expanded, is_directory
from loopsim.records import Setting

AnyRole = Literal["generator", "captioner", "embedder"]

_DIFFUSERS = "loopsim.models.diffusers:DiffusersGenerator"
_TRANSFORMERS = "loopsim.models.transformers:TransformersCaptioner"
_OPEN_CLIP = "loopsim.models.open_clip:OpenClipEmbedder"

GENERATOR_DEFAULTS: Mapping[str, Setting] = {
    "steps": 30, "guidance": 5.0, "size": "native", "negative_prompt": "", "scheduler": "native",
    "revision": None, "dtype": "auto",
}  # fmt: skip
"""What a generator does where neither the experiment nor the model's entry says otherwise."""
CAPTIONER_DEFAULTS: Mapping[str, Setting] = {
    "instruction": None, "max_new_tokens": 64, "max_words": None, "temperature": 0.0, "top_p": 1.0, "beams": 1,
    "revision": None, "dtype": "auto",
}  # fmt: skip
"""What a captioner does where neither the experiment nor the model's entry says otherwise."""


@dataclass(frozen=True)
class Entry:
    """One known model."""

    name: str
    """What the experiment file says."""
    role: AnyRole
    """Its role; a name may exist once for each role."""
    adapter: str
    """`module:Class`, imported on use."""
    location: str
    """Hub id, or `package:PATH` for what is shipped inside loopsim, or empty for a model that is code."""
    note: str
    """One line for `loopsim models`."""
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    """Settings where this model wants other than the role's defaults."""

    @property
    def embedded(self) -> bool:
        """Whether it runs with no download."""
        return not self.location or self.location.startswith("package:")

    def path(self) -> str:
        """The location to hand to a loader: a directory of the package, or the hub id."""
        if self.location.startswith("package:"):
            return str(Path(__file__).parent / self.location.removeprefix("package:"))
        return self.location


ENTRIES: tuple[Entry, ...] = (
    Entry("postcards", "generator", _DIFFUSERS, "package:models/postcards/generator",
          "latent diffusion of a small drawn world, 64 × 64", {"steps": 5, "guidance": 2.0}),
    Entry("mock", "generator", "loopsim.models.mock:MockGenerator", "",
          "coloured noise from prompt and seed, instant", {"steps": 1, "guidance": 1.0}),
    Entry("sd-1.5", "generator", _DIFFUSERS, "stable-diffusion-v1-5/stable-diffusion-v1-5",
          "Stable Diffusion 1.5, 512 × 512", {"guidance": 7.5}),
    Entry("sdxl", "generator", _DIFFUSERS, "stabilityai/stable-diffusion-xl-base-1.0",
          "Stable Diffusion XL base 1.0, 1024 × 1024"),
    Entry("sdxl-turbo", "generator", _DIFFUSERS, "stabilityai/sdxl-turbo",
          "SDXL distilled: one step, no guidance, 512 × 512", {"steps": 1, "guidance": 0.0, "size": "512x512"}),
    Entry("postcards", "captioner", _TRANSFORMERS, "package:models/postcards/captioner",
          "BLIP of a small drawn world, names all five attributes", {"max_new_tokens": 30}),
    Entry("mock", "captioner", "loopsim.models.mock:MockCaptioner", "", "words from the pixels, instant"),
    Entry("blip-base", "captioner", _TRANSFORMERS, "Salesforce/blip-image-captioning-base",
          "BLIP base, short captions"),
    Entry("blip-large", "captioner", _TRANSFORMERS, "Salesforce/blip-image-captioning-large",
          "BLIP large, short captions"),
    Entry("postcards", "embedder", _OPEN_CLIP, "package:models/postcards/clip", "CLIP of a small drawn world"),
    Entry("mock", "embedder", "loopsim.models.mock:MockEmbedder", "", "hashed words and colours, instant"),
    Entry("clip-vit-b-32", "embedder", _OPEN_CLIP, "ViT-B-32/laion2b_s34b_b79k", "OpenCLIP ViT-B/32, LAION-2B"),
    Entry("clip-vit-l-14", "embedder", _OPEN_CLIP, "ViT-L-14/datacomp_xl_s13b_b90k", "OpenCLIP ViT-L/14, DataComp-XL"),
)  # fmt: skip
"""Every model known by name."""

_ADAPTERS: Mapping[AnyRole, str] = {
    "generator": _DIFFUSERS,
    "captioner": _TRANSFORMERS,
    "embedder": _OPEN_CLIP,
}


def find(role: AnyRole, name: str) -> Entry:
    """The entry of a model: known by name, or made for a directory or a hub id (anything with a slash).

    Raises:
        ModelError: the name is none of these; the message lists the known ones.
    """
    for entry in ENTRIES:
        if entry.role == role and entry.name == name:
            return entry
    path = expanded(name)
    if name and is_directory(path):
        if role == "embedder" and not (path / "open_clip_config.json").is_file():
            # Looked for now, not when everything has been generated.
            raise ModelError(
                f"embedder {name!r}: the directory has no open_clip_config.json, so it is no model of open_clip"
            )
        return Entry(name, role, _ADAPTERS[role], str(path), "a directory")
    if name.startswith((".", "/", "~")):
        raise ModelError(f"{role} {name!r}: there is no such directory")
    if re.fullmatch(r"(hf-hub:)?[\w.-]+/[\w.-]+", name):
        return Entry(name, role, _ADAPTERS[role], name, "a hub id")
    known = [entry.name for entry in ENTRIES if entry.role == role]
    close = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ModelError(
        f"unknown {role} {name!r}.{hint} Known: {', '.join(known)}; or a hub id such as 'owner/name', or a directory"
    )


def settings_of(role: AnyRole, name: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Every setting of a chain's model: given ones over the model's own over the role's defaults."""
    base = GENERATOR_DEFAULTS if role == "generator" else CAPTIONER_DEFAULTS
    return {**base, **find(role, name).defaults, **{k: v for k, v in given.items() if v is not None}}
