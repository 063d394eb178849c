"""What the engine asks of a model, and the chunking that every adapter shares."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import ModelError
from loopsim.records import ModelSpec, Setting

Pixels = NDArray[np.uint8]
"""One picture: uint8 of shape (height, width, 3), RGB."""
Row = TypeVar("Row")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Drawing:
    """A generated picture."""

    pixels: Pixels
    """uint8 (height, width, 3)."""
    chunk: int
    """Rows of the call that made it, padding included."""
    seconds: float
    """Its share of the call."""
    details: Mapping[str, object] | None = None
    """What a service said beside it; JSON values."""
    flags: tuple[str, ...] = ()
    """Names from `FLAGS` that only the model can know."""


@dataclass(frozen=True)
class Caption:
    """A description."""

    text: str
    """What the model said, without special tokens, instruction echo or surrounding space; may be empty."""
    tokens: int | None
    """Tokens produced, without the end token; None where a service does not say."""
    truncated: bool
    """Whether max_new_tokens cut it."""
    chunk: int = 0
    """Rows of the call that made it, padding included."""
    seconds: float = 0.0
    """Its share of the call."""
    details: Mapping[str, object] | None = None
    """What a service said beside it; JSON values."""


@dataclass(frozen=True)
class RowFailure:
    """What a model gives in place of a row that it could not do, so that the other rows need not be asked for again."""

    message: str
    """What happened; begins with `refused:` where the service declined the content."""
    refused: bool = False
    """Whether it was declined: then it is about the row, however many rows there are."""


class ChainModel(ABC):
    """What generators and captioners share: settings that may change while the weights stay."""

    settings: Mapping[str, Setting]
    """Resolved settings of the condition that is being run."""

    @cached_property
    def notices(self) -> list[str]:
        """What loading found that a user should know, one line each; whoever shows a line takes it out."""
        return []

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Take the settings of another condition; weights, revision and dtype are the same."""
        self.settings = settings

    @classmethod
    def check(cls, location: str, spec: ModelSpec) -> None:
        """Read the configuration at a location, and nothing else, before anything is made.

        Raises:
            ModelError: it is no model of this role, or cannot do what the settings ask for.
        """
        return  # many have nothing to check

    @abstractmethod
    def describe_settings(self) -> dict[str, object]:
        """What was pinned and cannot be seen in the settings (dtype, device, memory format), for the log."""


class ImageGenerator(ChainModel):
    """Text to image."""

    token_limit: int | None = None
    """Tokens the text encoder reads; None where there is no limit."""

    @abstractmethod
    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None
    ) -> Sequence[Drawing | RowFailure]:
        """Draw each prompt with its own noise.

        Args:
            prompts: n texts.
            seeds: n integers in [0, 2⁶⁴); row i's noise depends on seeds[i] only.
            width: rows that the chunking is made for (default n): a cohort that has lost members keeps its shapes.
        """

    def vary(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        width: int | None = None,
    ) -> Sequence[Drawing | RowFailure]:
        """Make a picture from each picture, for the control `image_to_image`.

        Args:
            images: n pictures of any size; those of another size than the model draws are scaled first.
            prompts: n texts, empty for none.
            seeds: as in `generate`.
            strength: in (0, 1]; the share of the noise that is put on, at 1 nothing of the picture is left.
            width: as in `generate`.

        Raises:
            ModelError: this generator draws from words only.
        """
        raise ModelError(
            f"a {type(self).__name__} draws from words only, so it cannot take part in controls: [image_to_image]; "
            "leave that control out"
        )

    @classmethod
    def check_varying(cls, location: str, spec: ModelSpec, strength: float) -> None:
        """Read the configuration at a location, and nothing else, before anything is made.

        Raises:
            ModelError: `vary` would refuse.
        """
        return  # many have nothing to check

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Tokens of each prompt, uncut; None where the model has no tokenizer."""
        return [None] * len(prompts)


class Captioner(ChainModel):
    """Image to text."""

    @abstractmethod
    def describe(
        self, images: Sequence[Pixels], seeds: Sequence[int], width: int | None = None
    ) -> Sequence[Caption | RowFailure]:
        """Describe each picture; row i's randomness depends on seeds[i] only. Arguments as in `generate`."""


class Embedder(ABC):
    """Either to unit vector."""

    name: str
    """The catalog's name, used as folder and column value."""
    modalities: frozenset[str] = frozenset({"image", "text"})
    """What it embeds; asking for the other raises ModelError."""

    @classmethod
    def check(cls, location: str, name: str) -> None:
        """Read the name or configuration, and nothing else, before anything is made.

        Raises:
            ModelError: there is no such embedder, or it is none.
        """
        return  # many have nothing to check

    @classmethod
    def reads(cls, location: str, name: str) -> frozenset[str]:
        """What an embedder at a location will have as its `modalities`; no more than its configuration is read.

        Raises:
            ModelError: it is none.
        """
        return cls.modalities

    @abstractmethod
    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d)."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d)."""


class Chunks:
    """Splits rows into equal chunks, pads the last one, and halves on out-of-memory, remembering it."""

    def __init__(self, batch_size: int) -> None:
        self.limit = batch_size
        self.too_many: int | None = None
        """Rows a call that the device had no memory for, the last time that it had none."""

    def size(self, width: int) -> int:
        """Rows a call for `width` rows: as few calls as the limit allows, as even as can be."""
        return math.ceil(width / math.ceil(width / self.limit))

    def map(
        self, call: Callable[[list[Row]], Sequence[Result]], rows: Sequence[Row], width: int | None = None
    ) -> list[tuple[Result, int, float]]:
        """`call` on padded chunks; each result with its chunk's size and its share of the seconds.

        Padding repeats the chunk's last row, so every call has one of few shapes: kernels round differently for others.
        """
        done: list[tuple[Result, int, float]] = []
        while len(done) < len(rows):
            size = self.size(max(width or 0, len(rows)))
            chunk = list(rows[len(done) : len(done) + size])
            padded = chunk + [chunk[-1]] * (size - len(chunk))
            started = time.perf_counter()
            try:
                results = call(padded)
            except Exception as error:
                if not out_of_memory(error) or size == 1:
                    raise
                self.too_many, self.limit = size, max(1, size // 2)
            if self.limit < size:  # outside the handler, whose traceback would hold on to what is to be freed
                free_memory()
                continue
            seconds = (time.perf_counter() - started) / len(chunk)
            done += [(result, size, seconds) for result in results[: len(chunk)]]
        return done


_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""What torch says of CUDA and MPS, of the CPU's memory on Linux and on others, and what cuBLAS and cuDNN say."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a call failed for want of memory, so that fewer rows may do."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(k in text for k in _NO_MEMORY))


def free_memory() -> None:
    """Give back what dropped models and failed calls have left."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def unit_rows(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to length 1 (float32).

    Raises:
        ValueError: a row is zero or not finite, and has no direction.
    """
    norms = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise ValueError("an embedding is zero or not finite")
    return np.asarray(x / norms, dtype=np.float32)
