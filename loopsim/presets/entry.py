"""What is known of a model by name; pure data, nothing is imported or loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loopsim.records import Setting

AnyRole = Literal["generator", "captioner", "embedder"]

DIFFUSERS = "loopsim.models.diffusers:DiffusersGenerator"
TRANSFORMERS = "loopsim.models.transformers:TransformersCaptioner"
AUTOREGRESSIVE = "loopsim.models.autoregressive:AutoregressiveGenerator"
OPEN_CLIP = "loopsim.models.open_clip:OpenClipEmbedder"
TRANSFORMERS_EMBEDDER = "loopsim.models.transformers_embedder:TransformersEmbedder"
SENTENCE = "loopsim.models.sentence:SentenceEmbedder"


WEIGHT_SETTINGS = (
    "revision", "variant", "dtype", "base", "loras", "refiner", "t5", "safety_checker", "placement", "compile",
    "trust_remote_code", "allow_pickle",
)  # fmt: skip
"""Settings that decide what is loaded: conditions that differ in others share one loaded model."""


def of_postcards(name: str) -> bool:
    """Whether a name is of the embedded models, which know one small drawn world: `postcards`, `postcards-flat`, …"""
    return name == "postcards" or name.startswith("postcards-")


@dataclass(frozen=True)
class Entry:
    """One known model."""

    name: str
    """What the experiment file says."""
    role: AnyRole
    """Its role; a name may exist once for each role."""
    adapter: str
    """`module:Class`, imported on use; empty for an embedder whose library only its files on the hub tell."""
    location: str
    """Hub id, or `package:PATH` for what is shipped inside loopsim, or empty for a model that is code."""
    note: str
    """One line for `loopsim models`."""
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    """Settings where this model wants other than the role's defaults."""
    family: str = ""
    """The architecture, as the adapters tell models apart."""
    native: str = ""
    """Width × height that it was trained to draw, such as `1024x1024`; empty where it draws nothing."""
    licence: str = ""
    """Of the weights."""
    token_limit: int | None = None
    """Tokens that a generator's or embedder's text encoder reads; None where there is no limit, or none is known."""
    vram_gb: float | None = None
    """GB (10⁹ bytes) that the weights need in bfloat16, an embedder's in float32, which it runs in; rounded up, and
    without what a batch needs on top. Estimated: parameters, by its card or configuration, times bytes."""
    gated: bool = False
    """Whether the hub asks to accept terms, and for a token, before it can be downloaded."""

    reads: frozenset[str] | None = None
    """Of an embedder, what it embeds: `text`, `image`; None where only its files tell."""

    @property
    def embedded(self) -> bool:
        """Whether it runs with no download."""
        return not self.location or self.location.startswith("package:")

    def path(self) -> str:
        """The location to hand to a loader: a directory of the package, or the hub id."""
        if self.location.startswith("package:"):
            return str(Path(__file__).parents[1] / self.location.removeprefix("package:"))
        return self.location
