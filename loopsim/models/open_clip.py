"""Embedders that open_clip loads: a local directory, or `MODEL/PRETRAINED`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from open_clip.pretrained import download_pretrained_from_hf
from PIL import Image
from safetensors import SafetensorError

from loopsim.models import cannot_load
from loopsim.models.base import Embedder, Pixels, unit_rows
from loopsim.models.embedder_kinds import check_open_clip, open_clip_source
from loopsim.models.torch_setup import pick_device

_BATCH = 64


class OpenClipEmbedder(Embedder):
    """A CLIP model; pictures and texts in one space, float32."""

    def __init__(self, location: str, name: str, device: str, commit: str | None = None) -> None:
        self.check(location, name)
        self.name = name
        self.device = pick_device(device)
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)  # open_clip tells the root logger about every file it reads
        try:
            source, arguments = _source(location, commit)
            created: Any = open_clip.create_model_and_transforms(source, device=self.device, **arguments)
            self.tokenizer: Any = open_clip.get_tokenizer(_tokenizer_source(source, location))
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise cannot_load("embedder", name, error, location) from error
        finally:
            logging.disable(previous)
        self.model, _, self.preprocess = created
        self.model.eval()

    @classmethod
    def check(cls, location: str, name: str) -> None:
        """Look the name up in open_clip's list.

        Raises:
            ModelError: open_clip knows no such weights.
        """
        check_open_clip(name, location)

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d)."""
        rows = []
        for at in range(0, len(images), _BATCH):
            batch = torch.stack([self.preprocess(Image.fromarray(image)) for image in images[at : at + _BATCH]])
            with torch.inference_mode():
                rows.append(self.model.encode_image(batch.to(self.device)).float().cpu().numpy())
        return unit_rows(np.concatenate(rows))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d); texts beyond the model's context are cut by its tokenizer."""
        rows = []
        for at in range(0, len(texts), _BATCH):
            ids = self.tokenizer(list(texts[at : at + _BATCH]))
            with torch.inference_mode():
                rows.append(self.model.encode_text(ids.to(self.device)).float().cpu().numpy())
        return unit_rows(np.concatenate(rows))


def _source(location: str, commit: str | None) -> tuple[str, dict[str, Any]]:
    """open_clip's name of a model and what it is created with: a directory, `MODEL/TAG`, or else a hub id."""
    if Path(location).is_dir():
        return f"local-dir:{location}", {}
    model, _, tag = location.removeprefix("hf-hub:").partition("/")
    if model in open_clip.list_models() and not location.startswith("hf-hub:"):
        return model, _tagged(model, tag, commit)
    repository = f"{model}/{tag}"
    if commit is None:
        return f"hf-hub:{repository}", {}
    # open_clip takes no commit: its files are brought here, and read as a directory's are.
    snapshot_download(repository, revision=commit, allow_patterns=["*.json", "*.txt", "*.model"])
    return f"local-dir:{Path(download_pretrained_from_hf(repository, revision=commit)).parent}", {}


def _tagged(model: str, tag: str, commit: str | None) -> dict[str, Any]:
    """The weights of a tag of open_clip's, at a commit, and the pixels and activation that they were trained with."""
    trained: Any = open_clip.get_pretrained_cfg(model, tag)
    # The library says only in a warning that weights were trained with another activation than their model's.
    quick = {"force_quick_gelu": bool(trained.get("quick_gelu"))}
    repository, file = open_clip_source(model, tag)
    if commit is None or repository is None:
        return {"pretrained": tag, **quick}
    return {
        "pretrained": download_pretrained_from_hf(repository, filename=file, revision=commit),
        "image_mean": trained.get("mean"),
        "image_std": trained.get("std"),
        "image_interpolation": trained.get("interpolation"),
        "image_resize_mode": trained.get("resize_mode"),
        **quick,
    }


def _tokenizer_source(source: str, location: str) -> str:
    """Where the tokenizer is: with the weights, or where a hub model says that borrows another one's."""
    folder = Path(source.removeprefix("local-dir:"))
    if Path(location).is_dir() or not source.startswith("local-dir:"):
        return source
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    borrows = config.get("model_cfg", {}).get("text_cfg", {}).get("hf_tokenizer_name")
    own = any(folder.glob("*token*")) or any(folder.glob("*.model"))
    return f"hf-hub:{location.removeprefix('hf-hub:')}" if borrows and not own else source
