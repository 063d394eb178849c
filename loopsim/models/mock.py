"""Instant offline models for tests, benches and trying an experiment file; deterministic, and no one's idea of art."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loopsim.models.base import Caption, Captioner, Chunks, Drawing, Embedder, ImageGenerator, Pixels, unit_rows
from loopsim.records import ModelSpec, Setting

WORDS = ("red", "blue", "sea", "house", "tree", "night", "two", "storm", "field", "lamp", "bird", "road")
_SIDE = 16


class MockGenerator(ImageGenerator):
    """Blocks of colour from a hash of prompt and seed. The prompt "fail" raises, "black" is drawn black."""

    token_limit = 8

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.chunks = Chunks(spec.batch_size or 64)
        self.configure(spec.settings)

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Take the settings of another condition."""
        self.settings = settings
        size = str(settings.get("size", "native"))
        self.size = (_SIDE, _SIDE) if size == "native" else tuple(int(v) for v in size.split("x"))

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None) -> list[Drawing]:
        """Draw each prompt."""
        rows = list(zip(prompts, seeds, strict=True))
        return [
            Drawing(*out) for out in self.chunks.map(lambda chunk: [self._draw(*row) for row in chunk], rows, width)
        ]

    def vary(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        width: int | None = None,
    ) -> list[Drawing]:
        """Each picture blended with what its prompt would give; one of another size is left out of the blend."""
        rows = list(zip(images, prompts, seeds, strict=True))

        def blend(image: Pixels, prompt: str, seed: int) -> Pixels:
            drawn = self._draw(prompt, seed)
            if image.shape != drawn.shape:
                return drawn
            return np.asarray(image * (1 - strength) + drawn * strength, dtype=np.float64).round().astype(np.uint8)

        return [Drawing(*out) for out in self.chunks.map(lambda chunk: [blend(*row) for row in chunk], rows, width)]

    def _draw(self, prompt: str, seed: int) -> Pixels:
        if prompt == "fail":
            raise RuntimeError("the mock generator was asked to fail")
        if prompt == "black":
            return np.zeros((self.size[1], self.size[0], 3), dtype=np.uint8)
        return self._blocks(prompt, seed)

    def _blocks(self, prompt: str, seed: int) -> Pixels:
        key = int.from_bytes(hashlib.sha256(f"{seed}:{prompt}".encode()).digest()[:8], "big")
        blocks = np.random.default_rng(key).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        tall, wide = -(-self.size[1] // 4), -(-self.size[0] // 4)
        return np.ascontiguousarray(blocks.repeat(tall, axis=0).repeat(wide, axis=1)[: self.size[1], : self.size[0]])

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Words of each prompt."""
        return [len(prompt.split()) for prompt in prompts]

    def describe_settings(self) -> dict[str, object]:
        """Nothing is pinned."""
        return {}


class WillingGenerator(MockGenerator):
    """The same, for whom "fail" and "black" are prompts like others."""

    def _draw(self, prompt: str, seed: int) -> Pixels:
        return self._blocks(prompt, seed)


class MockCaptioner(Captioner):
    """Five words picked by the pixels and, with a temperature, by the seed. A black picture gets an empty caption."""

    def __init__(self, location: str, spec: ModelSpec, device: str) -> None:
        self.settings = spec.settings
        self.chunks = Chunks(spec.batch_size or 64)

    def describe(self, images: Sequence[Pixels], seeds: Sequence[int], width: int | None = None) -> list[Caption]:
        """Describe each picture."""
        rows = list(zip(images, seeds, strict=True))
        out = self.chunks.map(lambda chunk: [self._say(*row) for row in chunk], rows, width)
        limit = int(self.settings.get("max_new_tokens") or 64)
        captions = []
        for words, chunk, seconds in out:
            captions.append(Caption(" ".join(words[:limit]), len(words[:limit]), len(words) > limit, chunk, seconds))
        return captions

    def _say(self, image: Pixels, seed: int) -> list[str]:
        if not image.any():
            return []
        key = zlib.crc32(np.ascontiguousarray(image).tobytes())
        if self.settings.get("temperature"):
            key ^= seed & 0xFFFFFFFF
        picks = np.random.default_rng(key).integers(0, len(WORDS), 5)
        return [WORDS[i] for i in picks]

    def describe_settings(self) -> dict[str, object]:
        """Nothing is pinned."""
        return {}


class MockEmbedder(Embedder):
    """Texts as counts of hashed words, pictures as mean colours of a grid; both in 48 dimensions."""

    def __init__(self, location: str, name: str, device: str, commit: str | None = None) -> None:
        self.name = name

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Unit rows of shape (n, 48)."""
        rows = []
        for image in images:
            cells = [np.array_split(band, 4, axis=1) for band in np.array_split(image.astype(np.float64), 4, axis=0)]
            rows.append(np.concatenate([cell.mean(axis=(0, 1)) for band in cells for cell in band]) + 1.0)
        return unit_rows(np.stack(rows))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows of shape (n, 48)."""
        rows = np.full((len(texts), 48), 0.01)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[zlib.crc32(word.encode()) % 48] += 1.0
        return unit_rows(rows)
