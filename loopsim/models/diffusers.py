"""Image generators that diffusers loads: a pipeline directory or a hub id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
import transformers

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.base import Chunks, Drawing, ImageGenerator, Pixels
from loopsim.models.torch_setup import pick_device, pick_dtype
from loopsim.records import ModelSpec, Setting


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Over-long prompts and absent checkers are logged by diffusers; loopsim counts and flags them itself."""
    before = diffusers.logging.get_verbosity()
    diffusers.logging.set_verbosity_error()
    for library in (diffusers, transformers):  # a pipeline's text encoders are loaded by transformers
        library.logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers.logging.set_verbosity(before)
        for library in (diffusers, transformers):
            library.logging.enable_progress_bar()


class DiffusersGenerator(ImageGenerator):
    """One adapter over diffusers' text-to-image pipelines.

    The initial noise (and a stochastic scheduler's) comes from one CPU generator an image, so a picture does not
    depend on its neighbours beyond the rounding of kernels. A safety checker is left out: it returns black frames,
    which a loop then describes; the licence of most models leaves that to the user.
    """

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.settings = spec.settings
        self.device = pick_device(device)
        self.dtype = pick_dtype(str(self.settings["dtype"]), self.device)
        with _quiet():
            self.pipe = self._load(location)
        self.pipe.set_progress_bar_config(disable=True)
        self._native_scheduler = self.pipe.scheduler
        self.configure(spec.settings)
        self.pipe.to(self.device)
        for name in ("unet", "vae"):
            if getattr(self.pipe, name, None) is not None:
                getattr(self.pipe, name).to(memory_format=torch.channels_last)
        tokenizer = getattr(self.pipe, "tokenizer", None)
        self.token_limit = getattr(tokenizer, "model_max_length", None)
        self.chunks = Chunks(spec.batch_size or (32 if self.device == "cpu" else 8))

    def _load(self, location: str) -> Any:
        try:
            index = diffusers.DiffusionPipeline.load_config(location, revision=self.settings["revision"])
            extra = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
            return diffusers.DiffusionPipeline.from_pretrained(
                location, dtype=self.dtype, revision=self.settings["revision"], **extra
            )
        except (OSError, ValueError, AttributeError, KeyError, RuntimeError) as error:
            raise cannot_load("generator", location, error) from error

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Take the settings of another condition.

        Raises:
            ModelError: the scheduler is none that this pipeline can use; the message lists them.
        """
        self.settings = settings
        name, native = str(settings["scheduler"]), self._native_scheduler
        if name == "native":
            self.pipe.scheduler = native
            return
        known = {kind.__name__: kind for kind in native.compatibles}
        if name not in known:
            raise ModelError(f"scheduler {name!r}: this generator can use {', '.join(sorted(known))}")
        self.pipe.scheduler = known[name].from_config(native.config)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None) -> list[Drawing]:
        """Draw each prompt with its own noise."""
        rows = list(zip(prompts, seeds, strict=True))
        with _quiet():
            return [Drawing(*out) for out in self.chunks.map(self._call, rows, width)]

    def _call(self, rows: list[tuple[str, int]]) -> list[Pixels]:
        arguments: dict[str, Any] = {
            "num_inference_steps": self.settings["steps"],
            "guidance_scale": self.settings["guidance"],
            "generator": [torch.Generator("cpu").manual_seed(seed) for _, seed in rows],
            "output_type": "np",
        }
        if self.settings["size"] != "native":
            arguments["width"], arguments["height"] = (int(v) for v in str(self.settings["size"]).split("x"))
        if self.settings["negative_prompt"]:
            arguments["negative_prompt"] = [self.settings["negative_prompt"]] * len(rows)
        with torch.inference_mode():
            images = self.pipe(prompt=[prompt for prompt, _ in rows], **arguments).images
        return list((np.asarray(images) * 255).round().clip(0, 255).astype(np.uint8))

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Tokens of each prompt with the begin and end tokens, uncut."""
        tokenizer = getattr(self.pipe, "tokenizer", None)
        if tokenizer is None:
            return [None] * len(prompts)
        # verbose=False: the warning about long inputs is what the flag says.
        ids = tokenizer(list(prompts), truncation=False, padding=False, verbose=False)["input_ids"]
        return [len(row) for row in ids]

    def describe_settings(self) -> dict[str, object]:
        """Pipeline, scheduler, dtype, device and memory format."""
        return {
            "pipeline": type(self.pipe).__name__,
            "scheduler": type(self.pipe.scheduler).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
            "memory_format": "channels_last",
            "safety_checker": False,
        }
