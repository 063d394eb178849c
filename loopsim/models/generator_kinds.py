"""What a directory or hub id is that was named as a generator and is no pipeline: said with where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopsim.errors import ModelError
from loopsim.models.generator_files import Checkpoint, token_model
from loopsim.records import ModelSpec

_FILES: Mapping[str, str] = {
    "open_clip_config.json": "a model of open_clip, which embeds: name it under embedders",
    "modules.json": "a model of sentence-transformers, which embeds texts: name it under embedders",
    "adapter_config.json": "an adapter (a LoRA): name the pipeline that it was made for as the model, and this one as "
    "loras",
    "scheduler_config.json": "a scheduler: name the pipeline as the model, and this one's class as scheduler",
}


def no_pipeline(spec: ModelSpec, checkpoint: Checkpoint) -> ModelError:
    """The refusal of what has no `model_index.json`.

    Raises:
        ModelError: a file of it cannot be read.
    """
    config = checkpoint.place.json("config.json")
    other = next((text for file, text in _FILES.items() if checkpoint.place.find(file)), None)
    found = f"it is {other}" if other else _of_config(spec, config or {})
    return ModelError(
        f"generator {spec.model!r} is no text-to-image model: {found}. A generator is a pipeline of diffusers (a "
        "directory with a model_index.json, or its hub id), or an autoregressive model that draws (Janus, Emu3)"
    )


def _of_config(spec: ModelSpec, config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    if kind is None:
        component = config.get("_class_name")
        if component is None:
            return "it has no model_index.json"
        return (
            f"it is one component, a {component}; only a directory can be put on a base: bring it here with "
            f"`hf download {spec.model} --local-dir DIRECTORY`, and write model: DIRECTORY, base: the pipeline that "
            "it belongs to"
        )
    from loopsim.models.families import EMBEDDING, FAMILIES

    what = f"it is a {kind!r} model of transformers, which"
    if token_model(config):
        return (
            f"it draws token by token, which loopsim sees in a directory only: `hf download {spec.model} --local-dir "
            "DIRECTORY`, and write model: DIRECTORY"
        )
    if kind in EMBEDDING:
        return f"{what} embeds: name it under embedders"
    if kind in FAMILIES or "vision_config" in config:
        return f"{what} describes pictures: name it as the captioner"
    return f"{what} draws no pictures"
