"""The models loopsim knows by name: where they are, which adapter loads them, and their right defaults.

Nothing is imported or loaded here, so a plan can be made on a machine without torch.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from loopsim.errors import ModelError
from loopsim.paths import expanded, is_directory, is_file
from loopsim.presets import hosted
from loopsim.presets.captioners import CAPTIONER_DEFAULTS, CAPTIONERS
from loopsim.presets.embedders import EMBEDDER_FILES, EMBEDDERS
from loopsim.presets.entry import AUTOREGRESSIVE, DIFFUSERS, OPEN_CLIP, TRANSFORMERS, AnyRole, Entry
from loopsim.presets.generators import AUTOREGRESSIVE_DEFAULTS, GENERATOR_DEFAULTS, GENERATORS, with_own_loras
from loopsim.records import Setting

__all__ = [
    "CAPTIONER_DEFAULTS",
    "ENTRIES",
    "GENERATOR_DEFAULTS",
    "AnyRole",
    "Entry",
    "find",
    "preset_name",
    "settings_of",
]

ENTRIES: tuple[Entry, ...] = (*GENERATORS, *CAPTIONERS, *EMBEDDERS)
"""Every model known by name."""

_ADAPTERS: Mapping[AnyRole, str] = {
    "generator": DIFFUSERS,
    "captioner": TRANSFORMERS,
    "embedder": OPEN_CLIP,
}


_ENTRY_OF_HUB_ID: Mapping[tuple[AnyRole, str], Entry] = {
    (entry.role, entry.location): entry for entry in reversed(ENTRIES) if "/" in entry.location and not entry.embedded
}
"""The first entry of each hub id: the plain model comes before what is made of it with other settings."""


def preset_name(role: AnyRole, name: str) -> str:
    """The name that a model has here, if it is called by its hub id; otherwise the name itself."""
    same = _ENTRY_OF_HUB_ID.get((role, name))
    return name if same is None else same.name


def _draws_tokens(folder: Path) -> bool:
    """Whether a directory of transformers holds a model that draws; a broken file is for the loader to tell."""
    with contextlib.suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return isinstance(config, dict) and config.get("model_type") in ("janus", "emu3")
    return False


def _embedder_adapter(name: str, folder: Path) -> str:
    """What loads a directory, by the file that tells; looked for now, not when everything has been generated."""
    for file, adapter in EMBEDDER_FILES.items():
        if (folder / file).is_file():
            return adapter
    if (folder / "model_index.json").is_file():
        raise ModelError(f"embedder {name!r}: the directory holds a pipeline of diffusers: name it as the generator")
    raise ModelError(
        f"embedder {name!r}: the directory has no {', '.join(EMBEDDER_FILES)}, so it is no model of open_clip, "
        "transformers or sentence-transformers"
    )


def _refuse_other_role(role: AnyRole, name: str) -> None:
    """Refuse a name or hub id that is known, and known to be something else."""
    others = [entry for entry in ENTRIES if name in (entry.name, entry.location) and name]
    if not others or any(entry.role == role for entry in others) or is_directory(expanded(name)):
        return
    other = others[0].role
    raise ModelError(f"{role} {name!r}: this is known as {_A[other]} ({others[0].note}): name it under {_KEYS[other]}")


_A: Mapping[AnyRole, str] = {"generator": "a generator", "captioner": "a captioner", "embedder": "an embedder"}
_KEYS: Mapping[AnyRole, str] = {"generator": "generator", "captioner": "captioner", "embedder": "embedders"}


def find(role: AnyRole, name: str) -> Entry:
    """The entry of a model: known by name, or made for a directory or a hub id (anything with a slash).

    Raises:
        ModelError: the name is none of these; the message lists the known ones.
    """
    for entry in ENTRIES:
        if entry.role == role and entry.name == name:
            return entry
    if hosted.is_hosted(name):
        return hosted.find(role, name)
    _refuse_other_role(role, name)
    same = _ENTRY_OF_HUB_ID.get((role, name))
    if same is not None:  # a model keeps its right defaults when it is called by its hub id
        return replace(same, name=name)
    path = expanded(name)
    if name and is_directory(path):
        if role == "embedder":
            return Entry(name, role, _embedder_adapter(name, path), str(path), "a directory")
        if role == "generator" and not (path / "model_index.json").is_file() and _draws_tokens(path):
            return Entry(name, role, AUTOREGRESSIVE, str(path), "a directory", AUTOREGRESSIVE_DEFAULTS)
        return Entry(name, role, _ADAPTERS[role], str(path), "a directory")
    if role == "generator" and path.suffix in (".safetensors", ".ckpt") and is_file(path):
        return Entry(name, role, _ADAPTERS[role], str(path), "a file of weights, on top of a base")
    if name.startswith((".", "/", "~")):
        raise ModelError(f"{role} {name!r}: there is no such directory")
    if re.fullmatch(r"(hf-hub:)?[\w.-]+/[\w.-]+", name):
        by_files = role == "embedder" and not name.startswith("hf-hub:")
        return Entry(name, role, "" if by_files else _ADAPTERS[role], name, "a hub id")
    known = [entry.name for entry in ENTRIES if entry.role == role]
    close = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ModelError(
        f"unknown {role} {name!r}.{hint} Known: {', '.join(known)}; or a hub id such as 'owner/name', or a directory"
    )


def settings_of(role: AnyRole, name: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Every setting of a chain's model: given ones over the model's own over the role's defaults.

    Raises:
        ModelError: the model is unknown, or does not take what is given.
    """
    base = GENERATOR_DEFAULTS if role == "generator" else CAPTIONER_DEFAULTS
    if hosted.is_hosted(name):
        return hosted.settings_of(role, name, base, given)
    if given.get("request") is not None:
        raise ModelError(f"{role} {name!r}: request is for hosted models; this one runs here")
    own = find(role, name).defaults
    settings = {**base, **own, **{k: v for k, v in given.items() if v is not None}}
    if own.get("loras") and given.get("loras"):
        settings["loras"] = with_own_loras(str(own["loras"]), str(given["loras"]))
    if settings.get("variant") == "native":  # the plain weights, where a preset would take others
        settings["variant"] = None
    return settings
