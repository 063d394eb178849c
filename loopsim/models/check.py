"""Trying a model out: what it would need, and one step with it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from loopsim import catalog, models
from loopsim.errors import ModelError
from loopsim.models import repositories, revisions
from loopsim.models.base import ChainModel, Pixels, RowFailure
from loopsim.paths import expanded, is_directory
from loopsim.presets.entry import AnyRole, Entry
from loopsim.presets.hosted import HOSTED, PRICES, is_hosted
from loopsim.records import ModelSpec

PROMPT = "a red boat by the sea at sunset"
"""What is drawn, and embedded."""
SEED = 1
"""Of the one step."""


@dataclass(frozen=True)
class Needs:
    """What is known of a model before it is loaded; None where nobody has said so."""

    role: AnyRole
    """What it is to do."""
    model: str
    """Its name."""
    location: str
    """Hub id, directory, or the service's name of it."""
    family: str | None
    """The architecture."""
    native: str | None
    """Width × height that it was trained to draw."""
    licence: str | None
    """Of the weights: as the hub's card says, or else as loopsim's table does."""
    token_limit: int | None
    """Tokens that its text encoder reads."""
    gated: bool | None
    """Whether the hub asks to accept terms."""
    download_gb: float | None
    """GB (10⁹ bytes) of weights that would be downloaded."""
    memory_gb: float | None
    """GB that the weights need in bfloat16 (an embedder's in float32), without what a batch needs on top."""
    here: bool
    """Whether nothing has to be downloaded."""
    commit: str | None
    """Of a hub model: the commit that its revision stands for now."""
    parts: tuple[str, ...] = ()
    """What is loaded beside it, in words."""


@dataclass(frozen=True)
class Trial:
    """What one step gave."""

    loading_seconds: float
    """Until the model was loaded."""
    step_seconds: float
    """For the one call."""
    parameters: int | None
    """Numbers in its weights; None for a model that has none here."""
    device_gb: float | None
    """The most memory that a CUDA device held for it, GB; None elsewhere."""
    gave: str
    """What came out, in words."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What was pinned: class, dtype, device, …"""


def roles_of(name: str) -> tuple[AnyRole, ...]:
    """The roles in which a name is known, or which the files of a directory tell.

    Raises:
        ModelError: the name is nothing at all, or does not tell what the model is to do.
    """
    entries = (*catalog.ENTRIES, *HOSTED)
    known = tuple(dict.fromkeys(entry.role for entry in entries if name in (entry.name, entry.location)))
    if known:
        return known
    folder = expanded(name)
    if is_directory(folder) and (folder / "model_index.json").is_file():
        return ("generator",)
    if not is_directory(folder) and not is_hosted(name) and revisions.hub_id(name) is None:
        close = difflib.get_close_matches(name, [entry.name for entry in entries], 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ModelError(f"{name!r} is no known name, directory or hub id.{hint} `loopsim models` lists the names")
    raise ModelError(f"{name!r}: what is it to do? Say --role generator, captioner or embedder")


def needs_of(role: AnyRole, name: str, spec: ModelSpec | None = None) -> Needs:
    """What a model would need; it is refused as a run would refuse it.

    Args:
        role: what it is to do.
        name: of the model.
        spec: of a generator or captioner, with its settings.

    Raises:
        ModelError: it is unknown, gated, missing, neither reachable nor in the cache, or not fit for its settings.
    """
    entry = catalog.find(role, name)
    looked = repositories.look_at_embedder(name) if spec is None else repositories.look_at(spec)
    own = next((found for found in looked if found.source.what == role), None)
    found = None if own is None else own.needs
    downloads = [one.download_gb for one in looked if one.download_gb is not None]
    return Needs(
        role=role,
        model=name,
        location=entry.path() or "code",
        family=entry.family or None,
        native=entry.native or None,
        licence=(found.licence if found else None) or entry.licence or None,
        token_limit=entry.token_limit,
        gated=found.gated if found and found.gated is not None else entry.gated or None,
        download_gb=sum(downloads) if downloads else None,
        memory_gb=entry.vram_gb,
        here=all(one.here for one in looked) if looked else not is_hosted(name) and _on_disk(entry),
        commit=found.commit if found else None,
        parts=tuple(_in_words(one) for one in looked if one is not own),
    )


def try_chain_model(spec: ModelSpec, device: str = "auto") -> Trial:
    """Load a generator or captioner, and draw or describe one picture with it. A hosted one is asked, and paid, once.

    Raises:
        ModelError: it cannot be loaded, does not fit the settings, or refuses.
    """
    started = time.perf_counter()
    load = models.load_generator if spec.role == "generator" else models.load_captioner
    model: Any = load(spec, device)
    model.configure(spec.settings)
    loaded = time.perf_counter()
    result = (model.generate([PROMPT], [SEED]) if spec.role == "generator" else model.describe([scene()], [SEED]))[0]
    ended = time.perf_counter()
    if isinstance(result, RowFailure):
        raise ModelError(f"{spec.role} {spec.model!r} was loaded, but: {result.message}")
    if spec.role == "generator":
        height, width = result.pixels.shape[:2]
        gave = f"a picture of {width} × {height} for {PROMPT!r}"
    else:
        gave = f"{result.text!r}" + (", cut by max_new_tokens" if result.truncated else "")
    cost = (result.details or {}).get("cost")
    gave += "" if cost is None else f", for about ${cost:.4f}"
    return _trial(model, loaded - started, ended - loaded, gave, model.describe_settings())


def try_embedder(name: str, device: str = "auto") -> Trial:
    """Load an embedder, and embed one text and one picture, or whichever it can.

    Raises:
        ModelError: it cannot be loaded.
    """
    models.check_embedder(name)
    started = time.perf_counter()
    model: Any = models.load_embedder(name, device)
    loaded = time.perf_counter()
    sizes = []
    if "text" in model.modalities:
        sizes.append(f"a text in {model.embed_texts([PROMPT]).shape[1]} dimensions")
    if "image" in model.modalities:
        sizes.append(f"a picture in {model.embed_images([scene()]).shape[1]} dimensions")
    ended = time.perf_counter()
    gave = " and ".join(sizes)
    return _trial(model, loaded - started, ended - loaded, gave, {})


def pinned(spec: ModelSpec, commit: str | None) -> ModelSpec:
    """The spec at a commit, so that what is loaded is what was looked up."""
    return spec if commit is None else replace(spec, settings={**spec.settings, "revision": commit})


def price_of(spec: ModelSpec) -> str | None:
    """What a hosted model charges, in words; None for other models, and where nobody knows."""
    if not is_hosted(spec.model):
        return None
    if spec.price is not None:
        return f"{spec.price.in_words()}, as the settings say"
    known = PRICES.get(spec.model)
    return None if known is None else known.in_words()


def device_memory(device: str) -> str:
    """A device and its memory, in words.

    Raises:
        ModelError: there is no such device here.
    """
    import torch

    from loopsim.models.torch_setup import pick_device

    name = pick_device(device)
    if not name.startswith("cuda"):
        return name
    properties = torch.cuda.get_device_properties(name)
    return f"{name}, {properties.name} with {properties.total_memory / 1e9:.0f} GB"


def scene() -> Pixels:
    """A simple picture: sky, sea and a red square, 64 × 64."""
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[:36], picture[36:] = (150, 200, 240), (30, 80, 150)
    picture[28:44, 20:44] = (200, 40, 40)
    return picture


def _in_words(found: repositories.Found) -> str:
    size = found.download_gb
    return f"{found.source.what} {found.source.name}" + (f", {size:.1f} GB to download" if size else "")


def _on_disk(entry: Entry) -> bool:
    return entry.embedded or entry.path().startswith(("/", ".", "~"))


def _trial(model: Any, loading: float, step: float, gave: str, settings: Mapping[str, object]) -> Trial:
    import torch

    weights = _weights(model)
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else None
    return Trial(loading, step, weights, memory, gave, settings)


def _weights(model: ChainModel) -> int | None:
    """Parameters of every torch module that an adapter holds, itself or in its pipeline; None where it holds none."""
    import torch

    held = list(vars(model).values())
    for one in list(held):
        held += list(getattr(one, "components", {}).values()) if hasattr(one, "components") else []
    modules = {id(one): one for one in held if isinstance(one, torch.nn.Module)}
    counted = {id(p): p.numel() for module in modules.values() for p in module.parameters()}
    return sum(counted.values()) if counted else None
