"""Pictures made from pictures, for the control `image_to_image`: diffusers' own pipelines on the same components."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL import Image, ImageOps

from loopsim.errors import ModelError
from loopsim.models.base import Pixels
from loopsim.models.generator_memory import place
from loopsim.records import Setting


def variation_class(name: str | None) -> Any:
    """The image-to-image class that goes with a text-to-image class of diffusers.

    Raises:
        ModelError: diffusers has none, or one that edits by instruction instead of adding noise.
    """
    from diffusers.pipelines import auto_pipeline as auto

    family = next((k for k, kind in auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if kind.__name__ == name), None)
    kind = auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.get(family)
    if kind is None or not {"image", "strength"} <= set(inspect.signature(kind.__call__).parameters):
        raise ModelError(
            f"a {name} makes no picture from a picture, so it cannot take part in controls: [image_to_image]; leave "
            "that control out, or take a generator that can (Stable Diffusion, SDXL, FLUX.1, Qwen-Image, Z-Image, …)"
        )
    return kind


def check_strength(settings: Mapping[str, Setting], strength: float) -> None:
    """Refuse a strength at which not one step would be taken.

    Raises:
        ModelError: so it is; the message says which would do.
    """
    steps = int(settings["steps"] or 1)
    if int(steps * strength) < 1:
        raise ModelError(
            f"controls: image_to_image: a strength of {strength:g} takes that share of the {steps} steps, which is not "
            f"one; write strength: {math.ceil(100 / steps) / 100:g} or more"
        )


def variation_pipeline(pipe: Any, placement: str, device: str) -> Any:
    """The image-to-image pipeline on the components of `pipe`: no weights are loaded again, and none is changed.

    Raises:
        ModelError: there is none.
    """
    kind = variation_class(type(pipe).__name__)
    # Not `from_pipe`, which casts the components, and they are the loop's own, to one dtype.
    said = {**pipe.config, **pipe.components}
    made = kind(**{name: said[name] for name in inspect.signature(kind.__init__).parameters if name in said})
    made.set_progress_bar_config(disable=True)
    place([made], placement, device)
    return made


@contextlib.contextmanager
def kept(pipe: Any) -> Iterator[None]:
    """Give the autoencoder back the dtypes and values that it had: SDXL casts it to the dtype of its latents."""
    vae = getattr(pipe, "vae", None)
    weights = [] if vae is None else [*vae.parameters(), *vae.buffers()]
    before = [weight.data for weight in weights]
    try:
        yield
    finally:
        for weight, data in zip(weights, before, strict=True):
            if weight.dtype != data.dtype:
                weight.data = data.to(weight.device)


def size_of(pipe: Any, size: str) -> tuple[int, int] | None:
    """Width and height of a setting `WIDTHxHEIGHT` or `native`; None where the pipeline does not say its own."""
    if size != "native":
        width, _, height = size.partition("x")
        return int(width), int(height)
    side = getattr(pipe, "default_sample_size", None)
    if side is None:
        side = getattr(getattr(getattr(pipe, "unet", None), "config", None), "sample_size", None)
    return None if not isinstance(side, int) else (side * pipe.vae_scale_factor, side * pipe.vae_scale_factor)


def fitted(pixels: Pixels, size: tuple[int, int] | None) -> Image.Image:
    """A picture scaled to a size and cut to its shape in the middle; as it is where it has the size already."""
    image = Image.fromarray(pixels)
    if size is None or image.size == size:
        return image
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def vary(
    pipe: Any,
    rows: Sequence[tuple[Pixels, str, int]],
    size: tuple[int, int] | None,
    strength: float,
    arguments: Mapping[str, Any],
) -> Any:
    """One call: what the pipeline returns for (picture, prompt, seed) rows."""
    given = [fitted(pixels, size) for pixels, _, _ in rows]
    # Some take the size from the picture; those that ask for it would scale the picture to their own.
    asks = {"width", "height"} <= set(inspect.signature(pipe.__call__).parameters)
    sides = dict(zip(("width", "height"), given[0].size, strict=True)) if asks else {}
    with kept(pipe), torch.inference_mode():
        return pipe(
            prompt=[prompt for _, prompt, _ in rows],
            image=given,
            generator=[torch.Generator("cpu").manual_seed(seed) for _, _, seed in rows],
            strength=strength,
            **{key: value for key, value in arguments.items() if key not in ("width", "height")},
            **sides,
        )
