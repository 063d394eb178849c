"""What is refused, or said, about an image generator before its weights are read: as far as the small files tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models.generator_classes import check_code, way_of
from loopsim.models.generator_files import Checkpoint, checkpoint_of
from loopsim.models.generator_kinds import no_pipeline
from loopsim.models.generator_parts import check_base_name, check_parts
from loopsim.models.generator_schedulers import check_scheduler
from loopsim.models.revisions import hub_id
from loopsim.presets.entry import DIFFUSERS
from loopsim.presets.generators import FEW_STEPS, FewSteps, lora_sources
from loopsim.presets.pipelines import IGNORES_GUIDANCE, PIPELINES, Pipeline
from loopsim.presets.styles import STYLES, negative_of
from loopsim.records import ModelSpec


def few_steps_of(spec: ModelSpec) -> FewSteps | None:
    """What is known of a distilled model, by its name or hub id, or by the LoRA that it was distilled into."""
    known = FEW_STEPS.get(catalog.preset_name("generator", spec.model))
    if known is not None:
        return known
    loras = lora_sources(str(spec.settings.get("loras") or ""))
    for name, few in FEW_STEPS.items():
        own = catalog.find("generator", name).defaults.get("loras")
        if own and lora_sources(str(own)) & loras:
            return few
    return None


def check_settings(spec: ModelSpec) -> None:
    """Refuse what the settings alone tell, without any file.

    Raises:
        ModelError: the message says what to write instead.
    """
    s, who = spec.settings, f"generator {spec.model!r}"
    if s.get("style") and s["style"] not in STYLES:
        raise ModelError(f"{who}: style {s['style']!r} is unknown; there are {', '.join(sorted(STYLES))}")
    if s.get("refiner_start") and not s.get("refiner"):
        raise ModelError(f"{who}: refiner_start says when a refiner takes over, and there is none; set refiner too")
    if s.get("base"):
        check_base_name(spec)
    few, guidance = few_steps_of(spec), float(s.get("guidance") or 0.0)
    if few is not None and not few.lowest <= guidance <= few.highest:
        span = f"{few.lowest:g}" if few.lowest == few.highest else f"{few.lowest:g} to {few.highest:g}"
        raise ModelError(
            f"{who}: guidance {guidance:g} on a distilled model, which was trained for {span}: its pictures would "
            f"be mush; write guidance: {few.lowest:g}, or leave guidance out"
        )


def check_diffusers(location: str, spec: ModelSpec) -> Checkpoint:
    """Refuse everything that settings and small files tell, of a directory or of the hub; no weights are read.

    diffusers is imported only where the class, the scheduler or a part has to be asked.

    Raises:
        ModelError: no text-to-image pipeline, or it cannot do what the settings ask for; the message says what to
            write instead.
    """
    check_settings(spec)
    checkpoint = checkpoint_of(location, spec)
    check_files(spec, checkpoint)
    check_code(spec, checkpoint)
    check_scheduler(spec, checkpoint, PIPELINES.get(checkpoint.class_name() or ""))
    check_parts(spec, checkpoint)
    return checkpoint


def check_early(spec: ModelSpec) -> None:
    """Refuse, before a run is made, what can be told without the hub: all of it for a directory.

    Raises:
        ModelError: as `check_settings` and `check_files`.
    """
    entry = catalog.find("generator", spec.model)
    check_settings(spec)
    if entry.adapter != DIFFUSERS or not Path(entry.path()).exists():
        return
    checkpoint = checkpoint_of(entry.path(), spec)
    if Path(checkpoint.pipeline).is_dir():
        check_files(spec, checkpoint)


def check_files(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Refuse what the settings and the small files tell together.

    Raises:
        ModelError: no text-to-image pipeline; a guidance, negative prompt or size that it cannot take.
    """
    name, who = checkpoint.class_name(), f"generator {spec.model!r}"
    if name is None:
        raise no_pipeline(spec, checkpoint)
    if spec.settings.get("revision") and hub_id(checkpoint.pipeline) is None:
        raise ModelError(
            f"{who}: revision is a branch, tag or commit on the hub, and this is a directory; leave it out"
        )
    for setting in ("temperature", "top_k"):
        if spec.settings.get(setting) is not None:
            raise ModelError(
                f"{who}: {setting} is for generators that draw token by token; a {name} does not; leave it out"
            )
    row = way_of(spec, checkpoint)
    _check_guidance(spec, checkpoint, name, row)
    _check_size(spec, checkpoint, row)
    _check_t5(spec, checkpoint, row)
    if spec.settings.get("refiner") and row.family != "Stable Diffusion XL":
        raise ModelError(f"{who}: a refiner goes on after Stable Diffusion XL only, and this is {_family(row, name)}")


def _family(row: Pipeline, name: str) -> str:
    return f"a {name}" if row.family == "unlisted" else row.family


def _check_t5(spec: ModelSpec, checkpoint: Checkpoint, row: Pipeline) -> None:
    """`t5: false` leaves the third text encoder out, which only Stable Diffusion 3 can do without."""
    wanted, who = spec.settings.get("t5"), f"generator {spec.model!r}"
    if wanted is None:
        return
    name = checkpoint.class_name() or ""
    if row.family != "Stable Diffusion 3":
        raise ModelError(
            f"{who}: t5 says whether the third text encoder of Stable Diffusion 3 is loaded, and this is "
            f"{_family(row, name)}, which has none; leave t5 out"
        )
    index = checkpoint.read() or {}
    if wanted and (index.get("text_encoder_3") or [None])[0] is None:
        raise ModelError(f"{who}: t5: true, but it comes without T5 (model_index.json); leave t5 out")


def ignores_guidance(name: str, checkpoint: Checkpoint) -> bool:
    """Whether the files say that the network does not read guidance."""
    condition = IGNORES_GUIDANCE.get(name)
    if condition is None:
        return False
    config = checkpoint.read(condition.component) or {}
    return condition.key in config and config[condition.key] == condition.value


def reads_negative(name: str, row: Pipeline, checkpoint: Checkpoint, guidance: float) -> str | None:
    """Why a negative prompt has no effect; None where it has one."""
    if not row.negative:
        return f"{_family(row, 'pipeline')} reads none"
    if guidance <= row.off:
        return f"there is no guidance up to {row.off:g}, and guidance is {guidance:g}"
    if (checkpoint.read("unet") or {}).get("time_cond_proj_dim") is not None:
        return "this network was distilled with its guidance as an input"
    return None


def _check_guidance(spec: ModelSpec, checkpoint: Checkpoint, name: str, row: Pipeline) -> None:
    s, who = spec.settings, f"generator {spec.model!r}"
    guidance = float(s.get("guidance") or 0.0)
    if guidance > 1 and ignores_guidance(name, checkpoint):
        raise ModelError(
            f"{who}: guidance {guidance:g} on a distilled model, which does not read it; write guidance: 0, and "
            "steps: 4 or what its authors say"
        )
    if s.get("negative_prompt"):
        why = reads_negative(name, row, checkpoint, guidance)
        if why is not None:
            raise ModelError(f"{who}: a negative prompt would have no effect, since {why}; leave negative_prompt out")


def vae_factor(config: Mapping[str, Any]) -> int | None:
    """How many times an autoencoder makes a side smaller, from its configuration; None where that does not say."""
    for key, extra in (("encoder_block_out_channels", -1), ("block_out_channels", -1), ("temperal_downsample", 0)):
        if isinstance(config.get(key), list):
            return int(2 ** (len(config[key]) + extra))
    return None


def size_unit(row: Pipeline, checkpoint: Checkpoint) -> int | None:
    """What width and height must be multiples of; None where the files do not say."""
    if isinstance(row.unit, int):
        return row.unit
    factor = next((f for part in ("vae", "movq") if (f := vae_factor(checkpoint.read(part) or {}))), None)
    if factor is None:
        return None
    return {"vae": factor, "2 vae": 2 * factor, "vae²": factor**2}[row.unit]


def _check_size(spec: ModelSpec, checkpoint: Checkpoint, row: Pipeline) -> None:
    size = str(spec.settings.get("size") or "native")
    unit = size_unit(row, checkpoint)
    if size == "native" or unit is None:
        return
    sides = [int(side) for side in size.split("x")]
    if any(side % unit for side in sides):
        near = "x".join(str(max(unit, round(side / unit) * unit)) for side in sides)
        raise ModelError(
            f"generator {spec.model!r}: size {size}: {row.family} draws multiples of {unit} only; write size: {near}"
        )


def remarks(spec: ModelSpec, checkpoint: Checkpoint) -> list[str]:
    """What a user should know, one line each, where nothing is wrong enough to be refused."""
    s, lines, name = spec.settings, [], checkpoint.class_name() or ""
    row, index = PIPELINES.get(name), checkpoint.read() or {}
    if row is None:
        lines.append(
            f"generator {spec.model}: {name} is not in loopsim's table of pipelines: guidance, size and token limit "
            "are what its class says, unchecked"
        )
    if (index.get("safety_checker") or [None])[0] is not None:
        if s.get("safety_checker"):
            lines.append(
                f"generator {spec.model}: its safety checker is kept; pictures that it takes away come back black, are "
                "flagged, and are described like any other"
            )
        else:
            lines.append(
                f"generator {spec.model}: its safety checker is left out, since black pictures would become an "
                "attractor; most licences leave that to you, so read yours (safety_checker: true keeps it)"
            )
    elif s.get("safety_checker"):
        lines.append(f"generator {spec.model}: it comes with no safety checker, so safety_checker: true keeps none")
    few = few_steps_of(spec)
    if few is not None and int(s.get("steps") or 1) > few.steps:
        lines.append(
            f"generator {spec.model}: {s.get('steps')} steps for a model distilled to at most "
            f"{few.steps}: more do not help"
        )
    guidance = float(s.get("guidance") or 0.0)
    if row is not None and s.get("style") and negative_of({"style": s["style"]}):
        why = reads_negative(name, row, checkpoint, guidance)
        if why is not None:
            lines.append(f"generator {spec.model}: the negative part of style {s['style']} has no effect, since {why}")
    return lines
