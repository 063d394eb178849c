"""Captioners that transformers loads: a directory or hub id of an image-to-text model with a processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.base import Caption, Captioner, Chunks, Pixels
from loopsim.models.sampling import RowSampler
from loopsim.models.torch_setup import pick_device, pick_dtype
from loopsim.records import ModelSpec


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        transformers.logging.enable_progress_bar()


class TransformersCaptioner(Captioner):
    """One adapter over `AutoModelForImageTextToText` for captioners that take a picture and, at most, a text prefix.

    Chat models need their template and are refused: without it they answer something else than was asked.
    """

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.settings = spec.settings
        self.device = pick_device(device)
        self.dtype = pick_dtype(str(self.settings["dtype"]), self.device)
        revision = self.settings["revision"]
        try:
            with _quiet():
                self.processor: Any = transformers.AutoProcessor.from_pretrained(location, revision=revision)
                self.model: Any = transformers.AutoModelForImageTextToText.from_pretrained(
                    location, dtype=self.dtype, revision=revision
                )
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise cannot_load("captioner", location, error) from error
        if getattr(self.processor, "chat_template", None):
            raise ModelError(f"captioner {location!r}: chat models are not driven by this version of loopsim")
        self.model.to(self.device).eval()
        self.chunks = Chunks(spec.batch_size or (32 if self.device == "cpu" else 16))
        self.ends, self.specials = self._token_sets()

    def _token_sets(self) -> tuple[frozenset[int], frozenset[int]]:
        tokenizer = self.processor.tokenizer
        text = self.model.config.get_text_config()
        # BLIP ends with its [SEP], which is not what its configuration calls the end token.
        eos = self.model.generation_config.eos_token_id
        ends = {tokenizer.sep_token_id, getattr(text, "sep_token_id", None)}
        ends |= set(eos) if isinstance(eos, list) else {eos}
        return frozenset(i for i in ends if i is not None), frozenset(tokenizer.all_special_ids)

    def describe(self, images: Sequence[Pixels], seeds: Sequence[int], width: int | None = None) -> list[Caption]:
        """Describe each picture."""
        rows = list(zip(images, seeds, strict=True))
        with _quiet():
            out = self.chunks.map(self._call, rows, width)
        return [Caption(c.text, c.tokens, c.truncated, chunk, seconds) for c, chunk, seconds in out]

    def _call(self, rows: list[tuple[Pixels, int]]) -> list[Caption]:
        s = self.settings
        instruction = str(s["instruction"]) if s["instruction"] else None
        arguments: dict[str, Any] = {"text": [instruction] * len(rows), "padding": True} if instruction else {}
        inputs = self.processor(images=[image for image, _ in rows], return_tensors="pt", **arguments)
        inputs = inputs.to(self.device, self.dtype)
        generation: dict[str, Any] = {
            "max_new_tokens": s["max_new_tokens"],
            "do_sample": False,
            "num_beams": s["beams"],
        }
        temperature, top_p = float(s["temperature"] or 0.0), float(s["top_p"] or 1.0)
        if temperature > 0:
            sampler = RowSampler([seed for _, seed in rows], temperature, top_p)
            generation["logits_processor"] = transformers.LogitsProcessorList([sampler])
        with torch.inference_mode():
            sequences: Tensor = self.model.generate(**inputs, **generation)
        return [self._read(row, instruction) for row in sequences.tolist()]

    def _read(self, ids: list[int], instruction: str | None) -> Caption:
        first = next((k for k, i in enumerate(ids) if i not in self.specials), len(ids))
        end = next((k for k in range(first, len(ids)) if ids[k] in self.ends), None)
        if first == len(ids):  # nothing but special tokens: an empty caption, which has ended
            end = first
        words = [i for i in ids[first:end] if i not in self.specials]
        text = " ".join(self.processor.tokenizer.decode(words, skip_special_tokens=True).split())
        if instruction and text.lower().startswith(instruction.lower().strip()):
            echo = len(self.processor.tokenizer(instruction, add_special_tokens=False)["input_ids"])
            words, text = words[echo:], text[len(instruction.strip()) :].strip()
        return Caption(text, len(words), end is None)

    def describe_settings(self) -> dict[str, object]:
        """Model class, dtype and device."""
        return {
            "class": type(self.model).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
        }
