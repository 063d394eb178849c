"""Image generators that diffusers loads: a pipeline directory or a hub id, weights on a base, LoRAs on either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
import transformers

from loopsim.errors import ModelError
from loopsim.models import generator_checks as checks
from loopsim.models import generator_varying as varying
from loopsim.models.base import Chunks, Drawing, ImageGenerator, Pixels
from loopsim.models.generator_classes import way_of
from loopsim.models.generator_files import checkpoint_of
from loopsim.models.generator_loading import load_pipeline, load_refiner
from loopsim.models.generator_memory import compile_blocks, place
from loopsim.models.generator_schedulers import make_scheduler, own_schedulers
from loopsim.models.generator_tokens import TokenCounter
from loopsim.models.torch_setup import pick_device, pick_dtype
from loopsim.presets.pipelines import IGNORES_GUIDANCE, PIPELINES
from loopsim.presets.styles import changes_prompts, drawn_prompt, negative_of
from loopsim.records import ModelSpec, Setting

_CONVOLUTIONAL = ("unet", "vae", "movq")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Over-long prompts and absent checkers are logged by diffusers; loopsim counts and flags them itself."""
    libraries = (diffusers, transformers)  # a pipeline's text encoders are loaded by transformers
    before = [library.logging.get_verbosity() for library in libraries]
    for library in libraries:
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.logging.set_verbosity(verbosity)
            library.logging.enable_progress_bar()


class DiffusersGenerator(ImageGenerator):
    """One adapter over diffusers' text-to-image pipelines; `PIPELINES` says how each is driven.

    The initial noise (and a stochastic scheduler's) comes from one CPU generator an image, so a picture does not
    depend on its neighbours beyond the rounding of kernels. A safety checker is left out unless it is asked for: it
    returns black frames, which a loop then describes.
    """

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.settings = spec.settings
        self._said: set[str] = set()
        self._configured: Mapping[str, Setting] | None = None
        self.device = pick_device(device)
        self.dtype = pick_dtype(str(self.settings["dtype"]), self.device)
        with quiet():
            self.spec, self.checkpoint = spec, checks.check_diffusers(location, spec)
            name = self.checkpoint.class_name() or ""
            self.row = way_of(spec, self.checkpoint)
            self.pinned = self._pinned(name)
            self.pipe = load_pipeline(self.checkpoint, spec, self.dtype)
            self.refiner = load_refiner(self.pipe, spec, self.dtype) if self.settings.get("refiner") else None
            self._settle()
        self._native_scheduler: Any = getattr(self.pipe, "scheduler", None)
        self.configure(spec.settings)
        self.counter = TokenCounter(self.pipe, PIPELINES.get(name))
        self.token_limit = self.counter.limit
        self._texts: dict[str, str] = {}
        self._variations: Any = None  # the image-to-image pipeline, once it is asked for
        self.chunks = Chunks(spec.batch_size or (32 if self.device == "cpu" else 8))

    def _pinned(self, name: str) -> dict[str, object]:
        other = IGNORES_GUIDANCE[name].pinned if checks.ignores_guidance(name, self.checkpoint) else {}
        return {**self.row.pinned, **other}

    def _settle(self) -> None:
        """Memory format, place and compilation: what is done once, before the first picture."""
        pipes: list[Any] = [pipe for pipe in (self.pipe, self.refiner) if pipe is not None]
        for pipe in pipes:
            pipe.set_progress_bar_config(disable=True)
            for name in _CONVOLUTIONAL:
                part = getattr(pipe, name, None)
                # One by one: an autoencoder of films has weights of five dimensions beside them.
                for module in part.modules() if part is not None else ():
                    if isinstance(module, torch.nn.Conv2d):
                        module.to(memory_format=torch.channels_last)
        self.placement, line = place(pipes, str(self.settings.get("placement") or "auto"), self.device)
        if line is not None:
            self.notices.append(f"generator {self.spec.model}: {line}")
        self.compiled = (
            [what for pipe in pipes for what in compile_blocks(pipe)] if self.settings.get("compile") else []
        )

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Take the settings of another condition.

        Raises:
            ModelError: a setting that this pipeline cannot take; the message says which it can.
        """
        if self._configured == settings:
            return
        spec = ModelSpec("generator", self.spec.model, settings)
        checks.check_settings(spec)
        checks.check_files(spec, self.checkpoint)
        self.settings = settings
        text = str(settings["scheduler"])
        if text != "native" and (self._native_scheduler is None or hasattr(self.pipe, "prior_pipe")):
            raise ModelError(own_schedulers(text, type(self.pipe).__name__))
        if self._native_scheduler is not None:
            native, config = type(self._native_scheduler), self._native_scheduler.config
            steps = int(settings["steps"] or 1)
            chosen = None if text == "native" else make_scheduler(text, native, config, steps)
            self.pipe.scheduler = chosen or self._native_scheduler
        for line in checks.remarks(spec, self.checkpoint):
            if line not in self._said:
                self._said.add(line)
                self.notices.append(line)
        self._configured = settings

    @classmethod
    def check(cls, location: str, spec: ModelSpec) -> None:
        """Read the small files at a location, and nothing else.

        Raises:
            ModelError: it is no text-to-image pipeline, or cannot do what the settings ask for.
        """
        checks.check_diffusers(location, spec)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None) -> list[Drawing]:
        """Draw each prompt with its own noise.

        Raises:
            RuntimeError: a picture has values that are no numbers, as a half-precision autoencoder makes them.
        """
        texts = [drawn_prompt(prompt, seed, self.settings) for prompt, seed in zip(prompts, seeds, strict=True)]
        rows = list(zip(texts, seeds, strict=True))
        with quiet():
            drawn = self.chunks.map(self._call, rows, width)
        tell = changes_prompts(self.settings)
        self._texts = dict(zip(prompts, texts, strict=True))
        return [
            Drawing(pixels, chunk, seconds, {"prompt": text} if tell else None, flags)
            for ((pixels, flags), chunk, seconds), text in zip(drawn, texts, strict=True)
        ]

    @classmethod
    def check_varying(cls, location: str, spec: ModelSpec, strength: float) -> None:
        """As in `ImageGenerator`."""
        varying.check_strength(spec.settings, strength)
        with quiet():
            name = checkpoint_of(location, spec).class_name()
        if name is not None:
            varying.variation_class(name)

    def vary(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        width: int | None = None,
    ) -> list[Drawing]:
        """Make a picture from each picture, without style and refiner. As in `ImageGenerator`.

        Raises:
            ModelError: diffusers has no image-to-image pipeline for this one, or the strength is too small.
        """
        varying.check_strength(self.settings, strength)
        with quiet():
            pipe = self._variations or varying.variation_pipeline(self.pipe, self.placement, self.device)
            self._variations, pipe.scheduler = pipe, self.pipe.scheduler
            wanted = varying.size_of(self.pipe, str(self.settings["size"]))

            def call(rows: list[tuple[Pixels, str, int]]) -> list[tuple[Pixels, tuple[str, ...]]]:
                return self._read(varying.vary(pipe, rows, wanted, strength, self._arguments(len(rows))))

            drawn = self.chunks.map(call, list(zip(images, prompts, seeds, strict=True)), width)
        return [Drawing(pixels, chunk, seconds, None, flags) for (pixels, flags), chunk, seconds in drawn]

    def _arguments(self, n: int) -> dict[str, Any]:
        """What every call of the base is given, besides prompts and generators."""
        s, row = self.settings, self.row
        guidance = float(s["guidance"] or 0.0)
        arguments: dict[str, Any] = {**self.pinned, row.steps: s["steps"], "output_type": "np"}
        if row.guidance is not None:
            arguments[row.guidance] = guidance
        if s["size"] != "native":
            arguments["width"], arguments["height"] = (int(v) for v in str(s["size"]).split("x"))
        negative = negative_of(s) or (row.blank or "")
        if negative and row.negative and guidance > row.off:
            arguments["negative_prompt"] = [negative] * n
        return arguments

    def _call(self, rows: list[tuple[str, int]]) -> list[tuple[Pixels, tuple[str, ...]]]:
        arguments = self._arguments(len(rows))
        generators = [torch.Generator("cpu").manual_seed(seed) for _, seed in rows]
        share = float(self.settings.get("refiner_start") or 0.8)
        with torch.inference_mode():
            if self.refiner is not None:
                arguments |= {"denoising_end": share, "output_type": "latent"}
            # A fresh list: some pipelines write into the one they are given.
            out = self.pipe(prompt=[prompt for prompt, _ in rows], generator=generators, **arguments)
            if self.refiner is not None:
                out = self.refiner(
                    prompt=[prompt for prompt, _ in rows],
                    image=out.images,
                    generator=generators,
                    denoising_start=share,
                    **{
                        k: v
                        for k, v in arguments.items()
                        if k not in ("denoising_end", "output_type", "width", "height")
                    },
                    output_type="np",
                )
        return self._read(out)

    def _read(self, out: Any) -> list[tuple[Pixels, tuple[str, ...]]]:
        images = np.asarray(out.images)
        if not np.isfinite(images).all():
            raise RuntimeError(
                f"the picture has values that are no numbers: the autoencoder overflowed in {self._dtype_name}; "
                "write dtype: float32, or bfloat16 where the GPU has it"
            )
        size = str(self.settings["size"])
        if size != "native" and size != f"{images.shape[2]}x{images.shape[1]}":
            raise ModelError(
                f"size {size}: this pipeline draws {images.shape[2]}x{images.shape[1]} instead; write that"
            )
        taken = getattr(out, "nsfw_content_detected", None) or [False] * len(images)
        pixels = (images * 255).round().clip(0, 255).astype(np.uint8)
        return [(p, ("safety_checked",) if bad else ()) for p, bad in zip(pixels, taken, strict=True)]

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Tokens of each prompt, uncut, in the text encoder that cuts first; a style counts once it was drawn."""
        with quiet():
            return self.counter.count([self._texts.get(prompt, prompt) for prompt in prompts])

    @property
    def _dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def describe_settings(self) -> dict[str, object]:
        """Pipeline, scheduler, dtype, device, memory format, what was put on it, and what every call is given."""
        said = {
            name: self.settings[name]
            for name in (
                "base",
                "loras",
                "refiner",
                "style",
                "suffix",
                "expand",
                "trust_remote_code",
                "allow_pickle",
                "variant",
            )
            if self.settings.get(name)
        } | ({} if self.settings.get("t5") is None else {"t5": self.settings["t5"]})
        return {
            "pipeline": type(self.pipe).__name__,
            "family": self.row.family,
            "guidance_is": f"{self.row.guidance} ({self.row.meaning})",
            "scheduler": type(getattr(self.pipe, "scheduler", None)).__name__,
            "dtype": self._dtype_name,
            "device": self.device,
            "memory_format": "channels_last",
            "attention": "sdpa",
            "placement": self.placement,
            "compiled": self.compiled,
            "safety_checker": getattr(self.pipe, "safety_checker", None) is not None,
            "pinned": self.pinned,
            **said,
        }
