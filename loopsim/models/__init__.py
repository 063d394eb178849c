"""The three model roles and their adapters; each adapter's module is imported when a model of it is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

from loopsim import catalog
from loopsim.errors import ModelError, NotAtHand
from loopsim.models.base import Captioner, Embedder, ImageGenerator
from loopsim.presets.entry import AUTOREGRESSIVE, DIFFUSERS
from loopsim.records import ModelSpec


def _adapter(entry: catalog.Entry, commit: str | None = None) -> Any:
    adapter = entry.adapter
    if not adapter:  # an embedder whose library only its files tell
        from loopsim.models.embedder_kinds import adapter_of

        adapter = adapter_of(entry.path(), commit)
    module, _, name = adapter.partition(":")
    return getattr(importlib.import_module(module), name)


def load_generator(spec: ModelSpec, device: str = "auto") -> ImageGenerator:
    """The image generator of a chain, on a device.

    Raises:
        ModelError: unknown, not a model, or not to be loaded here.
    """
    entry = catalog.find("generator", spec.model)
    return cast(ImageGenerator, _adapter(entry)(entry.path(), spec, device))


def load_captioner(spec: ModelSpec, device: str = "auto") -> Captioner:
    """The captioner of a chain, on a device.

    Raises:
        ModelError: unknown, not a model, or not to be loaded here.
    """
    entry = catalog.find("captioner", spec.model)
    return cast(Captioner, _adapter(entry)(entry.path(), spec, device))


def load_embedder(name: str, device: str = "auto", commit: str | None = None) -> Embedder:
    """An embedder by name, on a device.

    Args:
        name: known by name, `MODEL/PRETRAINED` of open_clip, a hub id or a directory.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        commit: of a model on the hub; None takes its branch as it stands.

    Raises:
        ModelError: unknown, not a model, or not to be loaded here.
    """
    entry = catalog.find("embedder", name)
    return cast(Embedder, _adapter(entry, commit)(entry.path(), name, device, commit))


def check_model(spec: ModelSpec) -> None:
    """Refuse a model of a chain that cannot do what is asked of it, before any weights are read.

    Raises:
        ModelError: unknown, of another kind, or not fit for the settings.
    """
    entry = catalog.find(spec.role, spec.model)
    if entry.embedded and entry.location and not Path(entry.path()).is_dir():
        raise ModelError(f"{spec.role} {spec.model!r} is not in this installation of loopsim; install it anew")
    if entry.adapter in _CHECKS:  # without the adapter's libraries, which take seconds to import
        module, _, name = _CHECKS[entry.adapter].partition(":")
        getattr(importlib.import_module(module), name)(entry.path(), spec)
    elif not entry.embedded or any(spec.settings.get(name) for name in _ASKED):
        _adapter(entry).check(entry.path(), spec)


_ASKED = ("structured", "revision")
"""Settings that an embedded captioner may not be able to take: only then is its library imported to check it."""

_CHECKS = {
    DIFFUSERS: "loopsim.models.generator_checks:check_diffusers",
    AUTOREGRESSIVE: "loopsim.models.token_checks:check_tokens",
}
"""Adapter to the check that its `check` is."""


def check_varying(spec: ModelSpec, strength: float) -> None:
    """Refuse a generator that cannot make pictures from pictures, before any weights are read.

    Raises:
        ModelError: it draws from words only, or the strength is too small for its steps.
    """
    entry = catalog.find("generator", spec.model)
    adapter = _adapter(entry)
    if adapter.vary is ImageGenerator.vary:
        raise ModelError(
            f"generator {spec.model!r} draws from words only, so it cannot take part in controls: [image_to_image]; "
            "leave that control out"
        )
    adapter.check_varying(entry.path(), spec, strength)


def check_embedder(name: str) -> None:
    """Refuse an embedder that is none, before any weights are read.

    Raises:
        ModelError: unknown, or of another kind.
    """
    entry = catalog.find("embedder", name)
    if not entry.embedded:
        _adapter(entry).check(entry.path(), name)


def modalities_of(name: str) -> frozenset[str]:
    """What an embedder embeds, `text`, `image` or both, before any weights are read.

    Raises:
        ModelError: unknown, or of another kind.
        NotAtHand: its configuration would tell, and cannot be had.
    """
    entry = catalog.find("embedder", name)
    if entry.reads is not None:
        return entry.reads
    return cast(Embedder, _adapter(entry)).reads(entry.path(), name)


def unread(name: str, modalities: frozenset[str]) -> str | None:
    """What an embedder does not read, and so is not measured by it, in words; None if it reads both."""
    if modalities == {"image"}:
        return f"the embedder {name} sees pictures only: texts are not measured by it"
    if modalities == {"text"}:
        return f"the embedder {name} reads texts only: pictures are not measured by it"
    return None


def cannot_load(what: str, name: str, error: Exception, location: str | None = None) -> ModelError:
    """One message for everything that goes wrong while weights are loaded.

    Args:
        what: the role, or the part of a model.
        name: as the user wrote it.
        error: what the library raised.
        location: the directory or hub id that the name stands for, where that is another.
    """
    from loopsim.models.revisions import advice, is_absence

    mend = advice(location or name, None, error)
    if mend is not None:
        return (NotAtHand if is_absence(error) else ModelError)(f"{what} {name!r} cannot be loaded: {mend}")
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"{what} {name!r} cannot be loaded: {first[:300]}\n"
        "  It must be a model directory, or a hub id that this machine can download or has in its cache."
    )
