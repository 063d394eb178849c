"""Weights that are pickles: read only with leave, since reading one can run any program."""

from __future__ import annotations

from loopsim.errors import ModelError


def pickled(role: str, name: str, what: str = "the weights are pickles (pytorch_model.bin)") -> ModelError:
    """The refusal of weights that are no safetensors."""
    leave = (
        "; convert them, or name another embedder"
        if role == "embedder"  # which has no settings
        else "; convert them, or write allow_pickle: true if you trust their maker"
    )
    return ModelError(
        f"{role} {name!r}: {what}, which can run code when they are read, and there are no safetensors{leave}. On the "
        "hub a conversion may wait as revision: refs/pr/N"
    )
