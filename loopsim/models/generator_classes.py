"""Which class of diffusers a pipeline is, and how one that is not in the table is driven."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from loopsim.errors import ModelError
from loopsim.models.generator_files import Checkpoint
from loopsim.presets.pipelines import GUIDANCE_NAMES, PIPELINES, Pipeline
from loopsim.records import ModelSpec

_OWN_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "wuerstchen")
"""What a component of a published pipeline comes from, where that is no code of its repository."""


def by_signature(kind: Any) -> Pipeline:
    """How a pipeline that is not in the table is driven, as far as its class tells.

    Raises:
        ModelError: it draws nothing from a prompt alone.
    """
    parameters = inspect.signature(kind.__call__).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    such = "name one that draws from a prompt, such as sdxl (`loopsim models` lists them)"
    if "prompt" not in parameters or not {"num_inference_steps", "generator"} <= set(parameters):
        raise ModelError(
            f"a {kind.__name__} is no text-to-image pipeline: it takes no prompt, steps and generator; {such}"
        )
    more = {"strength", "mask_image", "control_image", "controlnet_conditioning_scale", "num_frames"} & set(parameters)
    if set(needed) - {"self", "prompt"} or more:
        raise ModelError(
            f"a {kind.__name__} is no text-to-image pipeline: it needs more than a prompt, or makes a film; {such}"
        )
    guidance = next((name for name in GUIDANCE_NAMES if name in parameters), None)
    return Pipeline("unlisted", guidance=guidance, negative="negative_prompt" in parameters)


def class_of(spec: ModelSpec, checkpoint: Checkpoint) -> Any:
    """The class that loads a pipeline.

    Raises:
        ModelError: diffusers does not have it, and code that comes with the model was not allowed.
    """
    import diffusers

    name = checkpoint.class_name() or ""
    row = PIPELINES.get(name)
    name = (row.loads if row is not None else None) or name
    kind = getattr(diffusers, name, None)
    if kind is None:
        if spec.settings.get("trust_remote_code"):
            return diffusers.DiffusionPipeline
        raise ModelError(
            f"generator {spec.model!r} is a {name}, which diffusers {diffusers.__version__} does not have: install a "
            "newer diffusers; or, if its repository brings its own code and you trust it, write trust_remote_code: true"
        )
    return kind


def way_of(spec: ModelSpec, checkpoint: Checkpoint) -> Pipeline:
    """How a pipeline is driven: by the table, or by its signature.

    Raises:
        ModelError: as `class_of`, or it is no text-to-image pipeline.
    """
    row = PIPELINES.get(checkpoint.class_name() or "")
    if row is not None:
        return row
    kind = class_of(spec, checkpoint)
    if kind.__name__ == "DiffusionPipeline":  # of its repository's own code, which is not read before it is loaded
        return Pipeline("unlisted")
    try:
        return by_signature(kind)
    except ModelError as error:
        raise ModelError(f"generator {spec.model!r}: {error}") from None


def check_code(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse components that are code of the repository, unless that was allowed.

    Raises:
        ModelError: there are some.
    """
    for name, library in _strange(checkpoint.read() or {}):
        if not spec.settings.get("trust_remote_code") and _brings(checkpoint, name, library):
            raise own_code(spec, f"{name}/{library}.py")


def _strange(index: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = {name: part[0] for name, part in index.items() if isinstance(part, list) and len(part) == 2}
    return [(name, str(lib)) for name, lib in parts.items() if lib is not None and lib not in _OWN_LIBRARIES]


def _brings(checkpoint: Checkpoint, name: str, library: str) -> bool:
    return checkpoint.place.find(f"{name}/{library}.py") is not None


def own_code(spec: ModelSpec, file: str = "") -> ModelError:
    """The refusal of code that comes with a model."""
    where = f" ({file})" if file else ""
    return ModelError(
        f"generator {spec.model!r} brings code of its own{where}, which would run here: read it, and if you trust it, "
        "write trust_remote_code: true"
    )
