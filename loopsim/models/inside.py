"""Which pretrained encoders a model has inside: by its name, or else by the small files that are at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsim import catalog
from loopsim.models import revisions
from loopsim.paths import is_directory
from loopsim.presets import encoders
from loopsim.presets.hosted import is_hosted
from loopsim.records import ModelSpec

_CONFIGURATIONS = (
    "config.json", "open_clip_config.json", *(
        f"{part}/config.json"
        for part in ("text_encoder", "text_encoder_2", "image_encoder", "prior_text_encoder", "prior_image_encoder")
    ),
)  # fmt: skip
"""Where a model or a pipeline describes an encoder."""


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder, or a network of its shape."""

    name: str
    """As in `loopsim.presets.encoders`."""
    certain: bool
    """Whether a name says so; a shape alone is as a rule that encoder, fine-tuned or not, but need not be."""


def encoders_inside(spec: ModelSpec) -> tuple[Encoder, ...]:
    """The encoders inside a generator or captioner, its base and its refiner; a LoRA changes none of them."""
    if is_hosted(spec.model):
        return ()
    places = [catalog.find(spec.role, spec.model).path()]
    places += [
        catalog.find("generator", str(spec.settings[part])).path()
        for part in ("base", "refiner")
        if spec.settings.get(part)
    ]
    found: dict[str, Encoder] = {}
    for place in places:
        for encoder in _of_place(place):
            if encoder.name not in found or encoder.certain:
                found[encoder.name] = encoder
    return tuple(found.values())


def encoder_of_embedder(location: str) -> Encoder | None:
    """The encoder that an embedder is, if it is one that models have inside."""
    named = encoders.encoder_of(location)
    if named is not None:
        return Encoder(named, True)
    for config in _configurations(location):
        for name, certain in encoders.told_by(config):
            return Encoder(name, certain)
    return None


def _of_place(location: str) -> list[Encoder]:
    named = encoders.encoders_in(location)
    if named:
        return [Encoder(name, True) for name in named]
    return [Encoder(*told) for config in _configurations(location) for told in encoders.told_by(config)]


def _configurations(location: str) -> Iterator[Mapping[str, Any]]:
    """The configurations of a directory, or of a hub model as far as the cache has them; broken ones tell nothing."""
    for path in (_at_hand(location, name) for name in _CONFIGURATIONS):
        if path is None:
            continue
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # whoever loads it says so
        if isinstance(config, dict):
            yield config


def _at_hand(location: str, name: str) -> Path | None:
    if location and is_directory(Path(location)):
        path = Path(location) / name
        return path if path.is_file() else None
    hub = revisions.hub_id(location)
    if hub is None:
        return None
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(hub, name, cache_dir=constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) else None
