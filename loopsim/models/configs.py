"""Refusing what cannot do the job, from the configuration alone: no weights are read or downloaded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto import modeling_auto

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.families import EMBEDDING, FAMILIES, UNUSABLE, CaptionerFamily
from loopsim.models.generator_files import Place
from loopsim.models.weight_files import check_processor, check_weights
from loopsim.records import Setting


def read_config(role: str, name: str, location: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a directory or hub id.

    Args:
        role: for messages.
        name: as the user wrote it, for messages.
        location: directory or hub id.
        revision: of a hub id.

    Raises:
        ModelError: there is none; for a directory of another kind of model the message says which kind it is.
    """
    folder, found = Path(location), {}
    if not folder.is_dir() or (folder / "config.json").is_file():
        try:
            found, _ = transformers.PretrainedConfig.get_config_dict(location, revision=revision)
        except (OSError, ValueError) as error:
            raise cannot_load(role, name, error, location) from error
    if "model_type" in found:
        return dict(found)
    for file, kind in _OTHER_KINDS.items():
        if (folder / file).is_file():
            raise ModelError(f"{role} {name!r}: the directory holds {kind}")
    raise ModelError(
        f"{role} {name!r}: there is no config.json that names a model_type, so it is no model of transformers"
    )


_OTHER_KINDS: Mapping[str, str] = {
    "model_index.json": "a pipeline of diffusers, which draws pictures: name it as the generator",
    "open_clip_config.json": "a model of open_clip, which embeds: name it under embedders",
    "modules.json": "a model of sentence-transformers, which embeds texts: name it under embedders",
}


def captioner_family(name: str, location: str, settings: Mapping[str, Setting]) -> CaptionerFamily:
    """How a captioner is asked; `name` is as the user wrote it.

    Raises:
        ModelError: it describes no pictures, cannot be driven, or cannot do what the settings ask for.
    """
    revision = settings.get("revision")
    config = read_config("captioner", name, location, str(revision) if revision else None)
    family = _family(name, config, bool(settings.get("trust_remote_code")))
    _check_instruction(name, str(config.get("model_type")), family, settings)
    if family.asking == "chat" and family.template is None and not settings.get("trust_remote_code"):
        _check_template(name, location, str(revision) if revision else None)
    folder = Path(location)
    if folder.is_dir():
        if revision:
            raise ModelError(
                f"captioner {name!r}: revision is a branch, tag or commit on the hub, and this is a directory; leave "
                "it out"
            )
        check_weights("captioner", name, folder, "transformers", pickles=bool(settings.get("allow_pickle")))
        if not settings.get("trust_remote_code"):
            check_processor("captioner", name, folder)
    return family


def _family(name: str, config: Mapping[str, Any], trusted: bool) -> CaptionerFamily:
    kind = str(config.get("model_type", ""))
    say = f"captioner {name!r}"
    if kind in UNUSABLE:
        raise ModelError(f"{say}: a {kind} model is no captioner: {UNUSABLE[kind]}. {_SUCH_AS}")
    if kind in FAMILIES:
        return FAMILIES[kind]
    if kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return CaptionerFamily()
    if kind in EMBEDDING:
        raise ModelError(f"{say}: a {kind} model embeds and writes nothing: name it under embedders. {_SUCH_AS}")
    if kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(f"{say}: a {kind} model reads text only and sees no pictures. {_SUCH_AS}")
    code = config.get("auto_map") or {}
    if code and not trusted:
        raise ModelError(
            f"{say}: transformers {transformers.__version__} does not have {kind or 'this architecture'}; the model "
            "comes with Python code of its own, which could do anything on this machine. If you have read it and trust "
            "it, set trust_remote_code: true (it is then named in the manifest), and pin its revision"
        )
    for auto in ("AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForCausalLM"):
        if auto in code:
            return CaptionerFamily(auto=auto)
    if kind in transformers.CONFIG_MAPPING:
        raise ModelError(f"{say}: a {kind} model does not describe pictures. {_SUCH_AS}")
    raise ModelError(
        f"{say}: transformers {transformers.__version__} does not know model_type {kind!r}. A newer transformers may; "
        f"{_SUCH_AS[0].lower()}{_SUCH_AS[1:]}"
    )


_SUCH_AS = "Captioners are models such as blip-large, llava-1.5-7b or qwen2.5-vl-3b (`loopsim models` lists them)"


def _check_template(name: str, location: str, revision: str | None) -> None:
    """Refuse a chat model whose small files have no chat template; where they are not at hand, loading tells."""
    place = Place(location, revision)
    if any(place.find(file) for file in ("chat_template.jinja", "chat_template.json")):
        return
    found = [place.find(file) for file in ("tokenizer_config.json", "processor_config.json")]
    if found[0] is None:
        return
    for path in (path for path in found if path is not None):
        with contextlib.suppress(OSError, ValueError):  # a broken file is told of by loading
            if json.loads(path.read_text(encoding="utf-8")).get("chat_template"):
                return
    raise no_template(name)


def no_template(name: str) -> ModelError:
    """The refusal of a chat model that cannot be asked anything."""
    return ModelError(
        f"captioner {name!r}: its processor has no chat template, so it cannot be asked anything. A base model must be "
        "exchanged for the one that follows instructions (often named -instruct or -it)"
    )


def _check_instruction(name: str, kind: str, family: CaptionerFamily, settings: Mapping[str, Setting]) -> None:
    say, instruction = f"captioner {name!r}", settings.get("instruction")
    if settings.get("structured") and family.asking != "chat":
        raise ModelError(
            f"{say}: a {kind} model follows no free instructions, so it cannot be asked for structured captions; "
            "leave structured out, or take a chat model such as qwen2.5-vl-3b"
        )
    if not instruction:
        return
    if family.asking == "silent":
        raise ModelError(f"{say}: a {kind} model takes no instruction; leave it out")
    if family.tasks and instruction not in family.tasks:
        raise ModelError(
            f"{say}: a {kind} model knows these instructions only: {', '.join(family.tasks)}; it is {instruction!r}"
        )
