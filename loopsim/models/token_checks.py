"""What is refused, or said, of a generator that draws token by token before its weights are read: Janus and Emu3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopsim.errors import ModelError
from loopsim.models.generator_checks import check_settings
from loopsim.models.generator_files import read_json, token_model
from loopsim.models.revisions import hub_id
from loopsim.models.weight_files import check_weights
from loopsim.presets.styles import negative_of
from loopsim.records import ModelSpec, Setting

_DIFFUSION_ONLY = ("steps", "base", "loras", "refiner", "t5", "compile", "safety_checker", "variant")
_EMU3_UNIT = 8
"""Pixels of a side that one token stands for; fixed in its processor."""


def check_tokens(location: str, spec: ModelSpec) -> None:
    """Refuse what settings and configuration tell, of a directory or of the hub; no weights are read.

    Raises:
        ModelError: it draws nothing, or cannot do what the settings ask for; the message says what to write instead.
    """
    check_settings(spec)
    check_meaning(spec)
    config = config_of(location, spec)
    check_token_settings(spec, config)
    if Path(location).is_dir():
        pickles = bool(spec.settings.get("allow_pickle"))
        check_weights("generator", spec.model, Path(location), "transformers", pickles=pickles)


def config_of(location: str, spec: ModelSpec) -> Mapping[str, Any]:
    """The config.json of a model that draws token by token.

    Raises:
        ModelError: it is of another kind, or not to be had.
    """
    who, revision = f"generator {spec.model!r}", spec.settings.get("revision")
    if revision and hub_id(location) is None:
        raise ModelError(
            f"{who}: revision is a branch, tag or commit on the hub, and this is a directory; leave it out"
        )
    asked = None if revision is None else str(revision)
    config = read_json(location, "config.json", asked)
    if config is None or not token_model(config):
        kind = repr((config or {}).get("model_type"))
        raise ModelError(f"{who}: a {kind} model draws no pictures; emu3, janus do")
    return config


def native_of(config: Mapping[str, Any]) -> str | None:
    """The one size that a Janus draws, `WIDTHxHEIGHT`; None for Emu3, which draws many."""
    if config["model_type"] != "janus":
        return None
    # What a config.json leaves out is what the classes of transformers have.
    tokens = int(config.get("vision_config", {}).get("num_image_tokens", 576))
    levels = len(config.get("vq_config", {}).get("channel_multiplier", (1, 1, 2, 2, 4)))
    side = round(tokens**0.5) * 2 ** (levels - 1)
    return f"{side}x{side}"


def reads_no_negative(settings: Mapping[str, Setting], config: Mapping[str, Any]) -> str | None:
    """Why a negative prompt has no effect; None where it has one."""
    if config["model_type"] == "janus":
        return "Janus reads none"
    guidance = float(settings.get("guidance") or 0.0)
    return f"there is no guidance up to 1, and guidance is {guidance:g}" if guidance <= 1 else None


def check_token_settings(spec: ModelSpec, config: Mapping[str, Any]) -> None:
    """Refuse settings that mean nothing where a picture is written token by token, and sizes that it does not draw.

    Raises:
        ModelError: the message says what to write instead.
    """
    check_meaning(spec)
    s, who = spec.settings, f"generator {spec.model!r}"
    why = reads_no_negative(s, config)
    if s.get("negative_prompt") and why is not None:
        raise ModelError(f"{who}: a negative prompt would have no effect, since {why}; leave negative_prompt out")
    size, native = str(s.get("size") or "native"), native_of(config)
    if size in ("native", native):
        return
    if native is not None:
        raise ModelError(f"{who}: size {size}: it draws {native} only; write size: native")
    sides = [int(side) for side in size.split("x")]
    if any(side % _EMU3_UNIT for side in sides):
        near = "x".join(str(max(1, round(side / _EMU3_UNIT)) * _EMU3_UNIT) for side in sides)
        raise ModelError(f"{who}: size {size}: it draws multiples of {_EMU3_UNIT} only; write size: {near}")


def check_meaning(spec: ModelSpec) -> None:
    """Refuse settings that are of diffusion, without any file.

    Raises:
        ModelError: the message names them.
    """
    s, who = spec.settings, f"generator {spec.model!r}"
    # false is what most of these are anyway; of t5 it is a wish.
    wrong = [k for k in _DIFFUSION_ONLY if s.get(k) is not None and (s[k] is not False or k == "t5")]
    if s.get("scheduler") not in (None, "native"):
        wrong.append("scheduler")
    if s.get("placement") not in (None, "auto", "resident"):
        wrong.append("placement")
    if wrong:
        named = ", ".join(wrong)
        raise ModelError(f"{who} draws token by token and has no {named}; leave that out, or write null")


def token_remarks(spec: ModelSpec, config: Mapping[str, Any]) -> list[str]:
    """What a user should know, one line each, where nothing is wrong enough to be refused."""
    style, why = spec.settings.get("style"), reads_no_negative(spec.settings, config)
    if not style or why is None or not negative_of({"style": style}):
        return []
    return [f"generator {spec.model}: the negative part of style {style} has no effect, since {why}"]
