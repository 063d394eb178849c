"""Captioners that transformers loads: a directory or hub id of an image-to-text model with a processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.base import Caption, Captioner, Chunks, Pixels
from loopsim.models.captions import asking_for, clean, keys_of
from loopsim.models.configs import captioner_family, no_template
from loopsim.models.families import default_instruction
from loopsim.models.pickles import pickled
from loopsim.models.sampling import RowSampler
from loopsim.models.torch_setup import pick_device, pick_dtype
from loopsim.records import ModelSpec

TURN_ENDS = ("<|im_end|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<|eot_id|>", "<|end|>")
"""Tokens that end a chat model's turn, and that some checkpoints forget to name as their end."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the notes and bars of transformers."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        transformers.logging.enable_progress_bar()


class TransformersCaptioner(Captioner):
    """One adapter over transformers' image-to-text models; `families` says how each is asked.

    Rows are padded on the left where the text goes on from the prompt, sampled with noise of their own, and read from
    the first token after the prompt on, so no prompt has to be recognised in what comes back.
    """

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.settings = spec.settings
        self.name, self.location = spec.model, location
        self.family = captioner_family(spec.model, location, spec.settings)
        self.device = pick_device(device)
        self.dtype = pick_dtype(str(self.settings["dtype"]), self.device)
        with quiet():
            self.processor: Any = self._load_processor()
            self.model: Any = self._load_model()
        self.model.to(self.device).eval()
        if not self.model.config.is_encoder_decoder:
            self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        self.chunks = Chunks(spec.batch_size or (32 if self.device == "cpu" else 16))
        self.ends, self.specials = self._token_sets()
        self.banned = self._placeholders()

    @classmethod
    def check(cls, location: str, spec: ModelSpec) -> None:
        """Read the configuration, and nothing else.

        Raises:
            ModelError: it is no captioner, or cannot do what the settings ask for.
        """
        captioner_family(spec.model, location, spec.settings)

    # ---- loading -----------------------------------------------------------------------------------------------------

    def _source(self) -> dict[str, Any]:
        trusted = bool(self.settings.get("trust_remote_code"))
        return {"revision": self.settings["revision"], "trust_remote_code": trusted}

    def _load_processor(self) -> Any:
        try:
            processor: Any = transformers.AutoProcessor.from_pretrained(self.location, **self._source())
            if not isinstance(processor, transformers.ProcessorMixin):
                # Older checkpoints keep the two apart, and the class gives whichever it finds.
                processor = _Pair(
                    transformers.AutoImageProcessor.from_pretrained(self.location, **self._source()),
                    transformers.AutoTokenizer.from_pretrained(self.location, **self._source()),
                )
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError, ImportError, TypeError) as error:
            raise cannot_load("captioner", self.name, error, self.location) from error
        if self.family.asking == "chat" and not self._template(processor):
            raise no_template(self.name)
        return processor

    def _load_model(self) -> Any:
        kind = getattr(transformers, self.family.auto)
        pickles = bool(self.settings.get("allow_pickle"))
        try:
            return kind.from_pretrained(
                self.location, dtype=self.dtype, use_safetensors=None if pickles else True, **self._source()
            )
        except (
            OSError, ValueError, KeyError, AttributeError, RuntimeError, ImportError, TypeError, SafetensorError
        ) as error:  # fmt: skip
            if not pickles and isinstance(error, OSError) and "safetensors" in str(error):
                raise pickled("captioner", self.name) from error
            raise cannot_load("captioner", self.name, error, self.location) from error

    def _token_sets(self) -> tuple[frozenset[int], frozenset[int]]:
        tokenizer = self.processor.tokenizer
        text = self.model.config.get_text_config(decoder=True)
        # BLIP ends with its [SEP], which is not what its configuration calls the end token.
        ends = {tokenizer.sep_token_id, getattr(text, "sep_token_id", None), *self._configured_ends()}
        if self.family.asking == "chat":
            known = tokenizer.get_vocab()
            ends |= {tokenizer.eos_token_id, *(known.get(token) for token in TURN_ENDS)}
        found = frozenset(i for i in ends if i is not None)
        if self.family.asking == "chat":
            self.model.generation_config.eos_token_id = sorted(found)
        marked = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        return found, frozenset(tokenizer.all_special_ids) | marked

    def _configured_ends(self) -> set[int]:
        # BLIP-2 and Kosmos-2 hand over to a language model with a generation configuration of its own.
        writer = getattr(self.model, "language_model", None) or getattr(self.model, "text_model", None) or self.model
        configured = (getattr(m.generation_config, "eos_token_id", None) for m in {self.model, writer}
                      if getattr(m, "generation_config", None) is not None)  # fmt: skip
        return {i for ids in configured for i in (ids if isinstance(ids, list) else [ids]) if i is not None}

    def _placeholders(self) -> list[int]:
        # A captioner that writes the token a picture stands for would be looked at as if one came there.
        sources = (self.model.config, getattr(self.model.config, "vision_config", None), self.processor)
        names = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
        found = {getattr(source, name, None) for source in sources for name in names}
        return sorted(i for i in found if isinstance(i, int))

    # ---- asking ------------------------------------------------------------------------------------------------------

    @property
    def instruction(self) -> str | None:
        """What the captioner is asked: the experiment's instruction, or the family's own."""
        s = self.settings
        keys = keys_of(s.get("structured"))
        asked = str(s["instruction"]) if s["instruction"] else self.family.default
        if keys:
            return asking_for(keys, asked or "Describe this image.")
        if asked is None and self.family.asking == "chat":
            limit = s["max_words"]
            return default_instruction(int(s["max_new_tokens"] or 1), int(limit) if limit else None)
        return asked

    @property
    def prompt(self) -> str | None:
        """The instruction as the processor gets it: for a chat model, in its template."""
        if self.family.asking != "chat" or self.instruction is None:
            return self.instruction
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self.instruction}]}
        template = self._template(self.processor)
        # Thoughts would use up the tokens that the caption needs.
        options = {"enable_thinking": False} if template and "enable_thinking" in template else {}
        rendered: str = self.processor.apply_chat_template(
            [message], chat_template=template, add_generation_prompt=True, tokenize=False, **options
        )
        return rendered

    def _template(self, processor: Any) -> str | None:
        own = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
        if isinstance(own, dict):
            own = own.get("default") or next(iter(own.values()))
        return own or self.family.template

    def _inputs(self, images: Sequence[Pixels]) -> Any:
        prompt, pictures = self.prompt, [Image.fromarray(image) for image in images]
        arguments: dict[str, Any] = {"return_tensors": "pt"}
        if prompt is not None:
            arguments |= {"text": [prompt] * len(pictures), "padding": True}
            begin = self.processor.tokenizer.bos_token
            if self.family.asking == "chat" and begin and prompt.startswith(begin):
                arguments["add_special_tokens"] = False  # the template has written it
        # A list of one each: several pictures side by side would otherwise be taken for one row's.
        nested = [[picture] for picture in pictures] if self.family.asking == "chat" else pictures
        inputs = self.processor(images=nested, **arguments)
        inputs.pop("labels", None)
        if self.family.ends_prefix and prompt:
            inputs |= {name: inputs[name][:, :-1] for name in ("input_ids", "attention_mask")}
        return inputs.to(self.device, self.dtype)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def describe(self, images: Sequence[Pixels], seeds: Sequence[int], width: int | None = None) -> list[Caption]:
        """Describe each picture."""
        rows = list(zip(images, seeds, strict=True))
        with quiet():
            out = self.chunks.map(self._call, rows, width)
        return [Caption(c.text, c.tokens, c.truncated, chunk, seconds) for c, chunk, seconds in out]

    def _call(self, rows: list[tuple[Pixels, int]]) -> list[Caption]:
        s = self.settings
        temperature, top_p = float(s["temperature"] or 0.0), float(s["top_p"] or 1.0)
        sampler = RowSampler([seed for _, seed in rows], temperature, top_p, self.banned)
        inputs = self._inputs([image for image, _ in rows])
        with torch.inference_mode():
            sequences: Tensor = self.model.generate(
                **inputs,
                max_new_tokens=s["max_new_tokens"],
                do_sample=False,
                num_beams=s["beams"],
                logits_processor=transformers.LogitsProcessorList([sampler]),
            )
        if sampler.first is None:  # what came back cannot be told from the prompt, and was drawn in another way
            raise ModelError(
                f"captioner {self.name!r}: a {type(self.model).__name__} has a way of writing of its own, and cannot "
                "be driven; name another captioner (`loopsim models` lists them)"
            )
        return [self._read(row) for row in sequences[:, sampler.first :].tolist()]

    def _read(self, ids: list[int]) -> Caption:
        first = next((k for k, i in enumerate(ids) if i not in self.specials), len(ids))
        end = next((k for k in range(first, len(ids)) if ids[k] in self.ends), None)
        if first == len(ids):  # nothing but special tokens: an empty caption, which has ended
            end = first
        words = [i for i in ids[first:end] if i not in self.specials]
        text = clean(self.processor.tokenizer.decode(words, skip_special_tokens=True))
        return Caption(text, len(words), end is None and len(ids) >= int(self.settings["max_new_tokens"] or 0))

    def describe_settings(self) -> dict[str, object]:
        """Model class, dtype, device, and the prompt as the model got it."""
        return {
            "class": type(self.model).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
            "prompt": self.prompt,
            "trust_remote_code": bool(self.settings.get("trust_remote_code")),
        }


class _Pair:
    """An image processor and a tokenizer that no processor joins, for captioners that are asked nothing."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    def __call__(self, images: list[Image.Image], return_tensors: str) -> Any:
        return self.image_processor(images, return_tensors=return_tensors)
