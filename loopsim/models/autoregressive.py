"""Image generators that write a picture token by token, as transformers carries them: Janus and Emu3.

They are guided and sampled here, not by transformers: a row's tokens are drawn with noise of its own (`sampling`),
where the library's sampling would make every picture depend on its neighbours in the batch and on the order of calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from loopsim.models import cannot_load
from loopsim.models.base import Chunks, Drawing, ImageGenerator, Pixels
from loopsim.models.diffusers import quiet
from loopsim.models.generator_checks import check_settings
from loopsim.models.generator_files import no_safetensors
from loopsim.models.sampling import LARGE, RowSampler, sample_all, sample_top_first
from loopsim.models.token_checks import check_token_settings, check_tokens, config_of, token_remarks
from loopsim.models.torch_setup import pick_device, pick_dtype
from loopsim.presets.styles import changes_prompts, drawn_prompt, negative_of
from loopsim.records import ModelSpec, Setting


def guided(scores: Tensor, guidance: float) -> Tensor:
    """Rows with the prompt and, below them, the same without, to guided logits (classifier-free guidance).

    Args:
        scores: logits, shape (2n, vocabulary).
        guidance: 1 or less is none.

    Returns:
        float32, shape (n, vocabulary).
    """
    with_prompt, without = scores.float().chunk(2)
    return with_prompt if guidance <= 1 else without + guidance * (with_prompt - without)


class TokenSampler(LogitsProcessor):
    """Guides, then picks each row's next token of the picture with the row's own noise.

    Args:
        seeds: one integer in [0, 2⁶⁴) a row.
        guidance: as in `guided`.
        temperature: 0 takes the likeliest token.
        top_k: draw among so many only; None is all.
    """

    def __init__(self, seeds: Sequence[int], guidance: float, temperature: float, top_k: int | None) -> None:
        self.seeds = RowSampler(seeds, 1.0, 1.0).seeds
        self.guidance, self.temperature, self.top_k = guidance, temperature, top_k
        self.position = 0

    def pick(self, scores: Tensor) -> Tensor:
        """Index of the next token of each row, shape (n,), from scores of shape (2n, choices)."""
        logits, seeds = guided(scores, self.guidance), self.seeds.to(scores.device)
        position, self.position = self.position, self.position + 1
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        if self.top_k is not None and self.top_k < logits.shape[1]:
            least = logits.topk(self.top_k, dim=-1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        sample = sample_top_first if logits.shape[1] > LARGE else sample_all
        return sample(logits / self.temperature, seeds, position)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (n, vocabulary) whose largest is the token picked: what Janus asks for, which doubles rows itself."""
        chosen = self.pick(scores)
        return torch.full_like(scores[: len(chosen)], -torch.inf).scatter(1, chosen.unsqueeze(1), 0.0)


class GridSampler(TokenSampler):
    """The same for Emu3: rows of tokens, each closed by an end-of-line token; both halves are given the same token.

    Args:
        sampler: seeds, guidance, temperature and top_k, as in `TokenSampler`.
        choices: ids of the vocabulary that are picture tokens, shape (choices,).
        end_of_line: id of the token that closes a line.
        width: picture tokens in a line.
    """

    def __init__(self, sampler: TokenSampler, choices: Tensor, end_of_line: int, width: int) -> None:
        self.sampler, self.choices, self.end_of_line, self.width = sampler, choices, end_of_line, width
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (2n, vocabulary) whose largest is the token picked."""
        self.step += 1
        if self.step % (self.width + 1) == 0:
            chosen = torch.full((len(scores) // 2,), self.end_of_line, device=scores.device)
        else:
            choices = self.choices.to(scores.device)
            chosen = choices[self.sampler.pick(scores[:, choices])]
        return torch.full_like(scores, -torch.inf).scatter(1, chosen.repeat(2).unsqueeze(1), 0.0)


class _Family(ABC):
    """What differs between the models: the words around a prompt, the order of tokens, the decoder."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor

    @abstractmethod
    def around(self, prompt: str) -> str:
        """The prompt with what the model is used to around it."""

    @abstractmethod
    def image_tokens(self, size: str) -> int:
        """Tokens of one picture."""

    @abstractmethod
    def native(self) -> str:
        """Width x height."""

    @abstractmethod
    def draw(self, prompts: list[str], negative: str, size: str, sampler: TokenSampler) -> Tensor:
        """Pictures as the decoder gives them, shape (n, height, width, 3)."""

    def pixels(self, decoded: Tensor) -> NDArray[np.uint8]:
        """Decoded pictures to pixels: the processor's normalisation undone, alike with each of its back ends."""
        eyes = self.processor.image_processor
        mean, std = (torch.tensor(v, device=decoded.device) for v in (eyes.image_mean, eyes.image_std))
        whole: Tensor = ((decoded.float() * std + mean) * 255).round().clamp(0, 255)
        if not torch.isfinite(whole).all():
            raise RuntimeError("the picture has values that are no numbers; write dtype: float32 or bfloat16")
        return np.asarray(whole.byte().cpu().numpy())


class _Janus(_Family):
    def around(self, prompt: str) -> str:
        if not getattr(self.processor, "chat_template", None):
            return prompt
        content = [{"type": "text", "text": prompt}]
        return str(
            self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        )

    def image_tokens(self, size: str) -> int:
        return int(self.model.model.vision_model.config.num_image_tokens)

    def native(self) -> str:
        side = round(self.image_tokens("native") ** 0.5)
        factor = 2 ** (len(self.model.config.vq_config.channel_multiplier) - 1)
        return f"{side * factor}x{side * factor}"

    def draw(self, prompts: list[str], negative: str, size: str, sampler: TokenSampler) -> Tensor:
        text = [self.around(prompt) for prompt in prompts]
        inputs = self.processor(text=text, generation_mode="image", return_tensors="pt", padding=True)
        tokens = self.model.generate(
            input_ids=inputs["input_ids"].to(self.model.device),
            attention_mask=inputs["attention_mask"].to(self.model.device),
            generation_mode="image", do_sample=False, num_beams=1,
            guidance_scale=1.0,  # the sampler guides: their own would come after it
            logits_processor=LogitsProcessorList([sampler]),
        )  # fmt: skip
        return self.model.decode_image_tokens(tokens)


class _Emu3(_Family):
    def around(self, prompt: str) -> str:
        return f"{self.processor.bos_token}{prompt}"

    def _grid(self, size: str) -> tuple[int, int]:
        width, height = (int(side) // self.unit() for side in (self.native() if size == "native" else size).split("x"))
        return width, height

    def image_tokens(self, size: str) -> int:
        width, height = self._grid(size)
        return height * (width + 1)

    def unit(self) -> int:
        return int(self.processor.downsample_ratio)

    def native(self) -> str:
        side = round(self.processor.image_area**0.5)
        return f"{side}x{side}"

    def draw(self, prompts: list[str], negative: str, size: str, sampler: TokenSampler) -> Tensor:
        width, height = self._grid(size)
        inputs = self.processor(
            text=[*prompts, *[negative] * len(prompts)], return_for_image_generation=True, ratio=f"{width}:{height}",
            image_area=width * height * self.unit() ** 2, return_tensors="pt", padding=True, padding_side="left",
        )  # fmt: skip
        mapping = self.model.vocabulary_mapping
        grid = GridSampler(sampler, torch.as_tensor(mapping.image_tokens), int(mapping.eol_token_id), width)
        out = self.model.generate(
            input_ids=inputs["input_ids"].to(self.model.device),
            attention_mask=inputs["attention_mask"].to(self.model.device),
            do_sample=False, num_beams=1, max_new_tokens=self.image_tokens(size), top_k=None,
            logits_processor=LogitsProcessorList([grid]),
        )  # fmt: skip
        tokens = out[: len(prompts), inputs["input_ids"].shape[1] :]
        # The decoder takes off the three tokens that close a picture, which are not written here.
        tokens = torch.nn.functional.pad(tokens, (0, 3))
        return self.model.decode_image_tokens(image_tokens=tokens, height=height, width=width).permute(0, 2, 3, 1)


_FAMILIES: Mapping[str, type[_Family]] = {"janus": _Janus, "emu3": _Emu3}
"""`model_type` to what draws with it."""


class AutoregressiveGenerator(ImageGenerator):
    """One adapter over the models of transformers that draw token by token."""

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.spec, self.settings = spec, spec.settings
        self.device = pick_device(device)
        self.dtype = pick_dtype(str(self.settings["dtype"]), self.device)
        self._said: set[str] = set()
        self._configured: Mapping[str, Setting] | None = None
        check_tokens(location, spec)
        self.config = config_of(location, spec)
        with quiet():
            self.processor, self.model = self._load(location)
        self.family = _FAMILIES[str(self.config["model_type"])](self.model, self.processor)
        self.configure(spec.settings)
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.token_limit = (
            None if positions is None else positions - self.family.image_tokens(str(self.settings["size"]))
        )
        self.chunks = Chunks(spec.batch_size or (4 if self.device == "cpu" else 8))

    def _load(self, location: str) -> tuple[Any, Any]:
        s = self.settings
        arguments = {"revision": s["revision"], "trust_remote_code": bool(s.get("trust_remote_code"))}
        try:
            processor = transformers.AutoProcessor.from_pretrained(location, **arguments)
            model = transformers.AutoModelForImageTextToText.from_pretrained(
                location, dtype=self.dtype, use_safetensors=None if s.get("allow_pickle") else True, **arguments
            )
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
            if Path(location).is_dir() and "safetensors" in str(error):
                raise no_safetensors(self.spec) from error
            raise cannot_load("generator", self.spec.model, error, location) from error
        return processor, model.to(self.device).eval()

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Take the settings of another condition.

        Raises:
            ModelError: a setting that means nothing where a picture is written token by token, or a wrong size.
        """
        if self._configured == settings:
            return
        spec = ModelSpec("generator", self.spec.model, settings)
        check_settings(spec)
        check_token_settings(spec, self.config)
        self.settings = self._configured = settings
        for line in token_remarks(spec, self.config):
            if line not in self._said:
                self._said.add(line)
                self.notices.append(line)

    @classmethod
    def check(cls, location: str, spec: ModelSpec) -> None:
        """Read the configuration at a location, and nothing else.

        Raises:
            ModelError: it draws nothing, or cannot do what the settings ask for.
        """
        check_tokens(location, spec)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None) -> list[Drawing]:
        """Draw each prompt with its own noise."""
        texts = [drawn_prompt(prompt, seed, self.settings) for prompt, seed in zip(prompts, seeds, strict=True)]
        with quiet():
            drawn = self.chunks.map(self._call, list(zip(texts, seeds, strict=True)), width)
        tell = changes_prompts(self.settings)
        return [
            Drawing(pixels, chunk, seconds, {"prompt": text} if tell else None)
            for (pixels, chunk, seconds), text in zip(drawn, texts, strict=True)
        ]

    def _call(self, rows: list[tuple[str, int]]) -> list[Pixels]:
        s, top_k = self.settings, self.settings.get("top_k")
        sampler = TokenSampler(
            [seed for _, seed in rows],
            float(s["guidance"] or 0.0),
            float(s["temperature"] or 0.0),
            None if top_k is None else int(top_k),
        )
        with torch.inference_mode():
            drawn = self.family.draw([prompt for prompt, _ in rows], negative_of(s), str(s["size"]), sampler)
            return list(self.family.pixels(drawn))

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Tokens of each prompt with the words that stand around it."""
        texts = [self.family.around(prompt) for prompt in prompts]
        return [len(row) for row in self.processor.tokenizer(texts, padding=False, verbose=False)["input_ids"]]

    def describe_settings(self) -> dict[str, object]:
        """Model class, dtype, device, and how tokens are drawn."""
        return {
            "class": type(self.model).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
            "attention": self.model.config._attn_implementation,
            "size": self.family.native(),
        }
