"""Bringing a pipeline of diffusers into memory: whole, or weights on a base; LoRAs; a refiner."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.generator_classes import class_of, own_code
from loopsim.models.generator_files import Checkpoint, locate, no_safetensors
from loopsim.models.generator_parts import component_place
from loopsim.models.loras import Lora, lora_file, parse_loras
from loopsim.records import ModelSpec

_ERRORS = (OSError, ValueError, AttributeError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError)


def load_pipeline(checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype) -> Any:
    """The pipeline of a checkpoint with everything that the settings put on it, on the CPU.

    Raises:
        ModelError: something cannot be loaded, or does not belong together.
    """
    s = spec.settings
    index = checkpoint.read() or {}
    arguments: dict[str, Any] = {"dtype": dtype}
    if "safety_checker" in index and not s.get("safety_checker"):
        arguments |= {"safety_checker": None, "requires_safety_checker": False}
    # Where a text encoder was left out (Stable Diffusion 3 without T5), its absence must be said.
    arguments |= {
        name: None
        for name, part in index.items()
        if isinstance(part, list) and part[:1] == [None] and name.startswith(("text_encoder", "tokenizer"))
    }
    if s.get("t5") is False:
        arguments |= {"text_encoder_3": None, "tokenizer_3": None}
    kind = class_of(spec, checkpoint)
    _put_back_moved(index)
    try:
        if checkpoint.weights is not None and checkpoint.weights.is_file():
            arguments.pop("requires_safety_checker", None)
            pipe = _of_single_file(kind, checkpoint, spec, arguments)
        elif (prior := checkpoint.prior()) is not None:
            parts = _in_two_stages(checkpoint, prior, spec, arguments | _safety(spec) | _variant(spec))
            pipe = kind(**parts | (_component(checkpoint, spec, dtype) if checkpoint.weights is not None else {}))
        else:
            arguments |= _safety(spec) | _variant(spec) | {"revision": checkpoint.revision}
            if checkpoint.weights is not None:
                arguments |= _component(checkpoint, spec, dtype)
            pipe = kind.from_pretrained(checkpoint.pipeline, **arguments)
    except ModelError:
        raise
    except _ERRORS as error:
        raise _why(spec, checkpoint, error) from error
    if s.get("loras"):
        _add_loras(pipe, parse_loras(str(s["loras"])), spec)
    return pipe


def load_refiner(pipe: Any, spec: ModelSpec, dtype: torch.dtype) -> Any:
    """The pipeline that goes on where the base leaves off; it shares the second text encoder and the autoencoder.

    Raises:
        ModelError: it cannot be loaded.
    """
    location = locate(str(spec.settings["refiner"]))
    try:
        return diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
            location, revision=spec.commits.get(location), dtype=dtype, text_encoder_2=pipe.text_encoder_2,
            vae=pipe.vae, **_safety(spec), **_variant(spec),
        )  # fmt: skip
    except _ERRORS as error:
        raise cannot_load("refiner", str(spec.settings["refiner"]), error, location) from error


def _put_back_moved(index: Mapping[str, Any]) -> None:
    """Published Würstchen and Stable Cascade name a module that diffusers has moved, and then does not find."""
    if any(isinstance(part, list) and part[:1] == ["wuerstchen"] for part in index.values()):
        from diffusers import pipelines

        if not hasattr(pipelines, "wuerstchen"):
            pipelines.wuerstchen = importlib.import_module("diffusers.pipelines.deprecated.wuerstchen")


def _of_single_file(kind: Any, checkpoint: Checkpoint, spec: ModelSpec, arguments: Mapping[str, Any]) -> Any:
    """A pipeline with the weights of one file, and what that lacks (text encoders, mostly) from its base."""
    index, lent = checkpoint.read() or {}, dict[str, Any]()
    given = {**arguments, "config": checkpoint.pipeline, "revision": checkpoint.revision}
    while True:
        try:
            return kind.from_single_file(str(checkpoint.weights), **given, **lent)
        except SingleFileComponentError as error:
            lacks = re.search(r"Failed to load (\w+)", str(error))
            parts = {name: part for name, part in index.items() if isinstance(part, list) and name not in lent}
            place = next((name for name, part in parts.items() if lacks and part[-1] == lacks[1]), None)
            if place is None:
                raise ValueError(str(error)) from error
            library = diffusers if parts[place][0] == "diffusers" else transformers
            lent[place] = getattr(library, parts[place][-1]).from_pretrained(
                checkpoint.pipeline, subfolder=place, revision=checkpoint.revision, dtype=arguments["dtype"],
                **_safety(spec),
            )  # fmt: skip


def _in_two_stages(checkpoint: Checkpoint, prior: str, spec: ModelSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a decoder and, under the names that the whole has for them, of its prior.

    Loaded one by one: diffusers would look for the decoder's commit in the repository of the prior.
    """
    decoder = getattr(diffusers, checkpoint.class_name() or "")
    parts = dict(decoder.from_pretrained(checkpoint.pipeline, revision=checkpoint.revision, **arguments).components)
    commit = spec.commits.get(prior)
    _put_back_moved(Checkpoint(prior, revision=commit).read() or {})
    first = diffusers.DiffusionPipeline.from_pretrained(prior, revision=commit, **arguments)
    return parts | {f"prior_{name}": part for name, part in first.components.items()}


def _safety(spec: ModelSpec) -> dict[str, Any]:
    # What is not said is left out: some pipelines do not know the words.
    found: dict[str, Any] = {} if spec.settings.get("allow_pickle") else {"use_safetensors": True}
    return found | ({"trust_remote_code": True} if spec.settings.get("trust_remote_code") else {})


def _variant(spec: ModelSpec) -> dict[str, Any]:
    """Which of several copies of the weights is read; a component that has no such copy is read without."""
    return {"variant": spec.settings["variant"]} if spec.settings.get("variant") else {}


def _component(checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype) -> dict[str, Any]:
    """The one network of `weights`, by the place that it takes in the base."""
    place, name = component_place(spec, checkpoint)
    return {place: getattr(diffusers, name).from_pretrained(str(checkpoint.weights), dtype=dtype, **_safety(spec))}


def _add_loras(pipe: Any, loras: list[Lora], spec: ModelSpec) -> None:
    who = f"generator {spec.model!r}"
    names = [f"lora{k}" for k in range(len(loras))]
    pickle = {} if spec.settings.get("allow_pickle") else {"use_safetensors": True}
    for name, lora in zip(names, loras, strict=True):
        path = lora_file(lora, spec)
        try:
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name, **pickle)
        except _ERRORS as error:
            raise cannot_load("lora", lora.source, error) from error
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise ModelError(f"{who}: lora {lora.source!r} has nothing for this model: it was made for another base")
    pipe.set_adapters(names, [lora.scale for lora in loras])
    # Mixed in for good: no cost a step, and no other way of computing than without them.
    pipe.fuse_lora(adapter_names=names)
    pipe.unload_lora_weights()


def _why(spec: ModelSpec, checkpoint: Checkpoint, error: Exception) -> ModelError:
    text = str(error)
    if re.search(r"no file named \S*safetensors|use_safetensors|does not appear to have a file named", text):
        return no_safetensors(spec)
    if "trust_remote_code" in text:
        return own_code(spec)
    return cannot_load("generator", spec.model, error, str(checkpoint.weights or checkpoint.pipeline))
