"""Embedders of texts that sentence-transformers loads; pictures they do not see."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.base import Embedder, Pixels, unit_rows
from loopsim.models.torch_setup import pick_device
from loopsim.models.weight_files import check_weights

_BATCH = 64


class SentenceEmbedder(Embedder):
    """A sentence-transformers model: texts to unit rows, float32."""

    modalities = frozenset({"text"})

    def __init__(self, location: str, name: str, device: str, commit: str | None = None) -> None:
        self.check(location, name)
        self.name = name
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

        from loopsim.models.transformers import quiet

        try:
            with quiet():
                self.model: Any = SentenceTransformer(
                    location, device=pick_device(device), revision=commit,
                    model_kwargs={"dtype": torch.float32, "use_safetensors": True},
                )  # fmt: skip
        except (
            OSError,
            ValueError,
            KeyError,
            AttributeError,
            RuntimeError,
            ImportError,
            TypeError,
            SafetensorError,
        ) as error:
            raise cannot_load("embedder", name, error, location) from error
        self.model.eval()

    @classmethod
    def check(cls, location: str, name: str) -> None:
        """Look whether the package is there, and the weights of a directory.

        Raises:
            ModelError: the package is not, and the message has the command that installs it; or there are no weights,
                or they are pickles, or cut off.
        """
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ModelError(
                f"embedder {name!r} needs sentence-transformers, which is not installed here: "
                "pip install 'loopsim[sentence]'"
            )
        if Path(location).is_dir():
            check_weights("embedder", name, Path(location), "sentence-transformers")

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Refused.

        Raises:
            ModelError: always: the model reads texts only.
        """
        raise ModelError(
            f"embedder {self.name!r} reads texts only; for pictures add one that sees, such as clip-vit-b-32"
        )

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d); texts beyond the model's context are cut by its tokenizer."""
        vectors = self.model.encode(list(texts), batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True)
        return unit_rows(np.asarray(vectors))
