"""Whether what is put on a generator goes with it: weights on a base, a refiner, LoRAs. From small files alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models.generator_classes import class_of
from loopsim.models.generator_files import Checkpoint, locate, read_json
from loopsim.models.hub_files import no_variant, parts_of, weights_of
from loopsim.models.loras import check_loras, lora_file, parse_loras
from loopsim.models.weight_files import check_weights, read_header
from loopsim.presets.pipelines import PIPELINES
from loopsim.records import ModelSpec

_REFINERS = ("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLPipeline")


def check_parts(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse parts that do not belong together.

    Raises:
        ModelError: the message says which, and what to write instead.
    """
    if spec.settings.get("base"):
        _check_base(spec, checkpoint)
    row = PIPELINES.get(checkpoint.class_name() or "")
    if row is not None and row.loads is not None and checkpoint.prior() is None:
        raise ModelError(
            f"generator {spec.model!r} is a {checkpoint.class_name()}, the second of two stages, and the head of its "
            "README.md names no prior to begin with; write `prior: [owner/name]` there, or fetch the file too"
        )
    if spec.settings.get("refiner"):
        _check_refiner(spec)
    if spec.settings.get("loras"):
        _check_loras(spec, checkpoint)
    if spec.settings.get("variant") and Path(checkpoint.pipeline).is_dir():
        _check_variant(spec, checkpoint)
    if Path(checkpoint.pipeline).is_dir():
        _check_weights(spec, checkpoint)


def check_base_name(spec: ModelSpec) -> None:
    """Refuse a preset as a base that has more than its pipeline.

    Raises:
        ModelError: the message says what to write instead; or there is no such model.
    """
    who, base = f"generator {spec.model!r}", str(spec.settings["base"])
    entry = catalog.find("generator", base)
    more = {key: entry.defaults[key] for key in ("loras", "refiner", "base") if entry.defaults.get(key)}
    if more:
        wanted = ", ".join(f"{key}: {value}" for key, value in more.items())
        raise ModelError(
            f"{who}: base {base!r} is more than a pipeline, and a base brings its pipeline only; write base: "
            f"{more.get('base', entry.location)}, and beside it {wanted}"
        )


def _check_base(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    if checkpoint.weights is None:
        return
    if checkpoint.weights.is_dir():
        component_place(spec, checkpoint)
    elif checkpoint.weights.suffix == ".safetensors":
        _check_single_file(spec, checkpoint.weights)
        if not hasattr(class_of(spec, checkpoint), "from_single_file"):
            raise ModelError(
                f"generator {spec.model!r}: a {checkpoint.class_name()} takes no single file of weights; name a "
                "directory instead"
            )


def component_place(spec: ModelSpec, checkpoint: Checkpoint) -> tuple[str, str]:
    """The place that the one network of `weights` takes in its base, and its class.

    Raises:
        ModelError: the base has no such part.
    """
    name = str((read_json(str(checkpoint.weights), "config.json") or {}).get("_class_name"))
    index = checkpoint.read() or {}
    place = next((key for key, part in index.items() if isinstance(part, list) and part[-1] == name), None)
    if place is None:
        raise ModelError(
            f"generator {spec.model!r} is a {name}, and its base {spec.settings['base']!r} has no such part; it must "
            "be the pipeline that it was made from"
        )
    return place, name


def _check_single_file(spec: ModelSpec, path: Path) -> None:
    names = read_header("generator", spec.model, path)
    if any("lora_" in name or ".lora." in name for name in names):
        raise ModelError(
            f"generator {spec.model!r} is a LoRA, which goes on top of a model; write model: {spec.settings['base']}, "
            f"loras: {spec.model}@1"
        )


def _check_refiner(spec: ModelSpec) -> None:
    refiner = str(spec.settings["refiner"])
    place = locate(refiner)
    index = read_json(place, "model_index.json", spec.commits.get(place))
    if index is not None and index.get("_class_name") not in _REFINERS:
        raise ModelError(
            f"generator {spec.model!r}: refiner {refiner!r} is a {index.get('_class_name')}; Stable Diffusion XL is "
            "refined by stabilityai/stable-diffusion-xl-refiner-1.0, or one of its kind"
        )
    if index is None and Path(place).exists():
        raise ModelError(f"generator {spec.model!r}: refiner {refiner!r} has no model_index.json, so it is no pipeline")
    if index is not None and Path(place).is_dir():
        pickles, variant = bool(spec.settings.get("allow_pickle")), spec.settings.get("variant")
        check_weights(
            "refiner", refiner, Path(place), "diffusers", variant=str(variant) if variant else None, pickles=pickles,
            parts=parts_of(index), filled=("text_encoder_2", "vae"),  # which it shares with the base
        )  # fmt: skip


def _check_loras(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    who = f"generator {spec.model!r}"
    loras = parse_loras(str(spec.settings["loras"]))
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f'{who}: loras need the package peft: pip install "loopsim[lora]"')
    kind = class_of(spec, checkpoint)
    if not hasattr(kind, "load_lora_weights"):
        raise ModelError(f"{who}: a {kind.__name__} takes no loras; leave loras out")
    check_loras(loras, spec)
    for path in (lora_file(lora, spec) for lora in loras if Path(lora.source).exists()):
        if path.suffix == ".safetensors" and not any(
            "lora" in key.lower() for key in read_header("lora", path.name, path)
        ):
            raise ModelError(
                f"{who}: lora {str(path)!r} is no LoRA: its weights are those of a whole network, or of another kind "
                "of adapter"
            )


def _check_variant(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse a variant that no component of a directory comes in: diffusers would read the plain weights silently."""
    folder, variant = Path(checkpoint.pipeline), str(spec.settings["variant"])
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*")]
    found = weights_of("diffusers", names, variant=variant, pickles=True, parts=parts_of(checkpoint.read() or {}))
    if not found.in_variant:
        raise no_variant("generator", spec.model, variant, found.variants)


def _check_weights(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse a directory with a component whose weights are not there, pickles, or cut off."""
    s, index = spec.settings, checkpoint.read() or {}
    left_out = [] if s.get("safety_checker") else ["safety_checker"]
    left_out += ["text_encoder_3", "tokenizer_3"] if s.get("t5") is False else []
    single = checkpoint.weights is not None and checkpoint.weights.is_file()  # and the base fills in what that lacks
    filled = [] if checkpoint.weights is None or single else [component_place(spec, checkpoint)[0]]
    common: dict[str, Any] = {
        "variant": str(s["variant"]) if s.get("variant") else None, "pickles": bool(s.get("allow_pickle")),
    }  # fmt: skip
    if not single:
        what, name = ("base", str(s["base"])) if s.get("base") else ("generator", spec.model)
        folder, parts = Path(checkpoint.pipeline), parts_of(index, left_out)
        _check_components(what, name, folder, index, {*left_out, *filled})
        check_weights(what, name, folder, "diffusers", parts=parts, filled=filled, **common)
    if filled:
        check_weights("generator", spec.model, Path(str(checkpoint.weights)), "diffusers", parts=("",), **common)


def _check_components(what: str, name: str, folder: Path, index: Mapping[str, Any], filled: Collection[str]) -> None:
    """Refuse a directory that lacks a folder which its `model_index.json` names."""
    named = [key for key, part in index.items() if isinstance(part, list) and len(part) == 2 and part[0] is not None]
    lacking = [key for key in named if key not in filled and not (folder / key).is_dir()]
    if lacking:
        raise ModelError(
            f"{what} {name!r}: model_index.json names {', '.join(lacking)}, and there is no such folder beside it; "
            "fetch the directory again, such as with `hf download OWNER/NAME --local-dir DIRECTORY`"
        )
