"""Embedders that transformers loads: CLIP, SigLIP and their kin for pictures and texts, DINO for pictures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.base import Embedder, Pixels, unit_rows
from loopsim.models.configs import read_config
from loopsim.models.pickles import pickled
from loopsim.models.torch_setup import pick_device
from loopsim.models.transformers import quiet
from loopsim.models.weight_files import check_processor, check_weights

_BATCH = 64

Kind = Literal["both", "pooled", "class token"]
"""`both`: pictures and texts in one space. Pictures only otherwise: by the model's own pooling, or its class token."""

KINDS: Mapping[str, Kind] = {
    "clip": "both", "chinese_clip": "both", "altclip": "both", "metaclip_2": "both", "align": "both",
    "siglip": "both", "siglip2": "both",
    "dinov2": "pooled", "dinov2_with_registers": "pooled", "dinov3_vit": "pooled", "dinov3_convnext": "pooled",
    "clip_vision_model": "pooled", "siglip_vision_model": "pooled", "siglip2_vision_model": "pooled",
    # Its pooling layer belongs to a task and is missing from many checkpoints.
    "vit": "class token",
}  # fmt: skip
"""`model_type` to what a model embeds, and how."""


def _kind(location: str, name: str, commit: str | None = None) -> tuple[Kind, dict[str, Any]]:
    config = read_config("embedder", name, location, commit)
    model_type = str(config.get("model_type", ""))
    if model_type in KINDS:
        return KINDS[model_type], config
    raise ModelError(
        f"embedder {name!r}: a {model_type or 'nameless'} model gives no vectors that loopsim knows how to read. "
        f"From transformers it takes {', '.join(KINDS)}; texts alone are embedded by sentence-transformers (a "
        "directory with a modules.json)"
    )


def _check_files(location: str, name: str, kind: Kind) -> None:
    """Refuse a directory that lacks weights, or what makes their input."""
    if Path(location).is_dir():
        check_weights("embedder", name, Path(location), "transformers")
        check_processor("embedder", name, Path(location), words=kind == "both")


def _modalities(kind: Kind) -> frozenset[str]:
    return frozenset({"image", "text"} if kind == "both" else {"image"})


class TransformersEmbedder(Embedder):
    """Vectors of a transformers model, float32; `modalities` says whether it reads texts."""

    def __init__(self, location: str, name: str, device: str, commit: str | None = None) -> None:
        self.name = name
        self.device = pick_device(device)
        self.kind, self.config = _kind(location, name, commit)
        _check_files(location, name, self.kind)
        self.modalities = _modalities(self.kind)
        loader = transformers.AutoProcessor if self.kind == "both" else transformers.AutoImageProcessor
        try:
            with quiet():
                self.processor: Any = loader.from_pretrained(location, revision=commit)
                self.model: Any = transformers.AutoModel.from_pretrained(
                    location, revision=commit, dtype=torch.float32, use_safetensors=True
                )
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError, ImportError, SafetensorError) as error:
            if isinstance(error, OSError) and "safetensors" in str(error):
                raise pickled("embedder", name) from error
            raise cannot_load("embedder", name, error, location) from error
        self.model.to(self.device).eval()

    @classmethod
    def check(cls, location: str, name: str) -> None:
        """Read the configuration, and of a directory whether its weights are whole.

        Raises:
            ModelError: it embeds nothing; its weights are not there, pickles, or cut off; it has no processor.
        """
        _check_files(location, name, _kind(location, name)[0])

    @classmethod
    def reads(cls, location: str, name: str) -> frozenset[str]:
        """Texts and pictures, or pictures only, by the configuration."""
        return _modalities(_kind(location, name)[0])

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d)."""
        rows = []
        for at in range(0, len(images), _BATCH):
            pictures = [Image.fromarray(image) for image in images[at : at + _BATCH]]
            inputs = self.processor(images=pictures, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                if self.kind == "both":
                    rows.append(_vectors(self.model.get_image_features(**inputs)))
                elif self.kind == "pooled":
                    rows.append(_vectors(self.model(**inputs)))
                else:
                    rows.append(self.model(**inputs).last_hidden_state[:, 0])
        return unit_rows(torch.cat(rows).float().cpu().numpy())

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d); texts beyond the model's context are cut by its tokenizer.

        Raises:
            ModelError: the model sees pictures only.
        """
        if self.kind != "both":
            raise ModelError(
                f"embedder {self.name!r} sees pictures only; for texts add one that reads, such as siglip2-b-16 or "
                "clip-vit-b-32"
            )
        rows = []
        for at in range(0, len(texts), _BATCH):
            inputs = self.processor.tokenizer(
                list(texts[at : at + _BATCH]), padding=self._padding, truncation=True, max_length=self.token_limit,
                return_tensors="pt",
            ).to(self.device)  # fmt: skip
            with torch.inference_mode():
                rows.append(_vectors(self.model.get_text_features(**inputs)))
        return unit_rows(torch.cat(rows).float().cpu().numpy())

    @property
    def token_limit(self) -> int:
        """Tokens of a text that are read."""
        positions = getattr(self.model.config.text_config, "max_position_embeddings", 512)
        return min(int(positions), int(self.processor.tokenizer.model_max_length))

    @property
    def _padding(self) -> bool | str:
        # SigLIP was trained on texts of full length, and reads its vector off the last position.
        return "max_length" if str(self.config["model_type"]).startswith("siglip") else True


def _vectors(out: Any) -> Tensor:
    """Newer releases give an object with the vectors in it, older ones the vectors."""
    return out if isinstance(out, Tensor) else out.pooler_output
