"""Which weights of a repository are read, told from the names of its files. Pure.

Repositories hold the same weights several times: in half precision beside full (a *variant*), as pickles beside
safetensors, for other frameworks, in one file for web interfaces. What follows is what the libraries take of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loopsim.errors import ModelError
from loopsim.models.revisions import Wanted

Library = Literal["diffusers", "transformers", "open_clip", "sentence-transformers", "lora"]
"""Whose rules decide what is read."""

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_SAFE, _PICKLED = r"(?:diffusion_pytorch_model|model)", r"(?:diffusion_pytorch_model|pytorch_model)"
_OPEN_CLIP = "open_clip_pytorch_model.bin"
_PART = re.compile(r"-\d{5}-of-(\d{5})")
_WEIGHTLESS = re.compile(r"Tokenizer|Processor|FeatureExtractor|Scheduler")
_VARIANT = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)\.([\w-]+?)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)"
)


@dataclass(frozen=True)
class Weights:
    """What would be read of a repository."""

    files: tuple[str, ...]
    """Paths in it, sorted."""
    pickled: tuple[str, ...] = ()
    """Components whose only weights are pickles that may not be read; empty is the repository's root."""
    lacking: tuple[str, ...] = ()
    """Components without any weights."""
    variants: tuple[str, ...] = ()
    """Variants that its components come in."""

    @property
    def in_variant(self) -> bool:
        """Whether any of the files is of a variant."""
        return any(_VARIANT.fullmatch(name.rpartition("/")[2]) for name in self.files)


def weights_of(
    library: Library,
    names: Iterable[str],
    *,
    variant: str | None = None,
    pickles: bool = False,
    parts: Iterable[str] = (),
    file: str | None = None,
) -> Weights:
    """The weights that a library reads.

    Args:
        library: which.
        names: paths of all files of the repository.
        variant: such as `fp16`; a component that does not come in it is read without, as diffusers does.
        pickles: whether pickles may be read where there are no safetensors.
        parts: for diffusers, the folders of the components that are loaded (`parts_of`).
        file: for open_clip, the file that is asked for; None is the usual one.
    """
    there = sorted(names)
    if library == "open_clip":
        return _open_clip(there, file or _OPEN_CLIP)
    if library == "transformers":
        folders: list[str] = [""]
    elif library == "sentence-transformers":
        modules = {name.partition("/")[0] for name in there if re.match(r"\d+_\w+/", name)}
        folders = ["", *sorted(f for f in modules if any(_weights_in(there, f)))]
    else:
        folders = list(parts)
    found: list[str] = []
    pickled: list[str] = []
    lacking: list[str] = []
    variants: set[str] = set()
    for folder in folders:
        safe, unsafe = _weights_in(there, folder, variant)
        variants |= _variants_in(there, folder)
        if safe or (unsafe and pickles):
            found += safe or unsafe
        else:
            (pickled if unsafe else lacking).append(folder)
    return Weights(tuple(sorted(found)), tuple(pickled), tuple(lacking), tuple(sorted(variants)))


def parts_of(index: Mapping[str, Any], left_out: Iterable[str] = ()) -> tuple[str, ...]:
    """The components with weights that a `model_index.json` names, without those left empty, and those left out."""
    skipped = set(left_out)
    return tuple(
        name
        for name, part in index.items()
        if isinstance(part, list) and len(part) == 2 and part[0] is not None and name not in skipped
        and not _WEIGHTLESS.search(str(part[1]))
    )  # fmt: skip


def wanted_of(
    library: Library, variant: str | None = None, file: str | None = None, left_out: Iterable[str] = ()
) -> Wanted:
    """What is to be downloaded for these weights, where nobody can say which files there are.

    Args:
        library: which reads them.
        variant: of diffusers; components that do not come in it are not matched.
        file: for open_clip and LoRAs, the one that is asked for.
        left_out: components of diffusers that are not loaded.
    """
    small: tuple[str, ...] = ("*.json", "*.txt", "*.model", "*.jinja")
    if library == "open_clip":
        return Wanted((*small, _safe_name(file or _OPEN_CLIP)))
    if library == "lora":
        return Wanted((file or "*.safetensors",))
    if library == "diffusers":
        small = ("README.md", *small)  # names a decoder's prior
        without = tuple(f"{part}/*.safetensors" for part in left_out)
        if variant is not None:
            return Wanted((*small, f"*/*.{variant}.safetensors", f"*/*.{variant}-*.safetensors"), without)
        return Wanted((*small, "*/*model.safetensors", "*/*model-?????-of-?????.safetensors"), without)
    more = ("[0-9]_*/model.safetensors",) if library == "sentence-transformers" else ()
    return Wanted((*small, "model.safetensors", "model-*.safetensors", *more))


def no_variant(what: str, name: str, variant: str, variants: Iterable[str]) -> ModelError:
    """The refusal of a variant that the weights do not come in."""
    there = ", ".join(variants)
    return ModelError(
        f"{what} {name!r} has no weights of variant {variant!r}; it has {there or 'none but the plain ones'}. Write "
        "variant: native for the plain ones"
    )


# ---- one folder ------------------------------------------------------------------------------------------------------


def _weights_in(there: list[str], folder: str, variant: str | None = None) -> tuple[list[str], list[str]]:
    """Safetensors and pickles of one folder, in the variant where it comes in it."""
    inside = _inside(there, folder)
    both = []
    for stem, ending in ((_SAFE, "safetensors"), (_PICKLED, "bin")):
        chosen: list[str] = []
        if variant is not None:
            v = re.escape(variant)
            chosen = _matching(inside, rf"{stem}\.{v}{_SHARD}\.{ending}")
            chosen = chosen or _matching(inside, rf"{stem}-\d{{5}}-of-\d{{5}}\.{v}\.{ending}")  # as it was once written
        chosen = chosen or _matching(inside, rf"{stem}{_SHARD}\.{ending}")
        if not chosen and any(name.endswith(f".{ending}.index.json") for name in inside):  # which names them
            chosen = _matching(inside, rf"[\w.-]+{_SHARD[:-1]}\.{ending}")
        both.append(chosen)
    prefix = f"{folder}/" if folder else ""
    safe, unsafe = ([prefix + name for name in _whole(names)] for names in both)
    return safe, unsafe


def _inside(there: list[str], folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    inside = [name.removeprefix(prefix) for name in there if name.startswith(prefix)]
    return [name for name in inside if "/" not in name]


def _matching(names: list[str], pattern: str) -> list[str]:
    return [name for name in names if re.fullmatch(pattern, name)]


def _whole(names: list[str]) -> list[str]:
    """One file where it is there beside its own shards; no shards where some are not there, as in a cache."""
    alone = [name for name in names if not _PART.search(name)]
    complete = not alone and all(int(match[1]) == len(names) for name in names if (match := _PART.search(name)))
    return alone or (names if complete else [])


def _variants_in(there: list[str], folder: str) -> set[str]:
    found = {match[1] for name in _inside(there, folder) if (match := _VARIANT.fullmatch(name))}
    return found - {"non_ema"}


def _open_clip(there: list[str], file: str) -> Weights:
    # Its pickles are read in torch's mode that runs no code.
    chosen = next((name for name in (_safe_name(file), file) if name in there), None)
    return Weights((chosen,)) if chosen is not None else Weights((), lacking=("",))


def _safe_name(file: str) -> str:
    return "open_clip_model.safetensors" if file == _OPEN_CLIP else re.sub(r"\.(bin|pth?)$", ".safetensors", file)
