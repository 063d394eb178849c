"""Whether the weights of a directory are there, and whole: told before anything is made, from names and headers."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from loopsim.errors import ModelError
from loopsim.models.hub_files import Library, weights_of
from loopsim.models.pickles import pickled

_HEADER = 100_000_000
"""Longest header of a safetensors file, bytes: more is refused by the format."""
_POINTER = b"version https://git-lfs"
"""How the small file begins that git puts in place of a large one."""


def check_weights(
    what: str,
    name: str,
    folder: Path,
    library: Library,
    *,
    variant: str | None = None,
    pickles: bool = False,
    parts: Iterable[str] = (),
    filled: Collection[str] = (),
) -> None:
    """Refuse a directory whose weights are not there, may not be read, or end too early.

    Args:
        what: role or part, for messages.
        name: as the user wrote it, for messages.
        folder: the directory.
        library: which reads them.
        variant: as for `weights_of`.
        pickles: whether pickles may be read where there are no safetensors.
        parts: for diffusers, the folders of the components that are loaded.
        filled: of these, those whose weights come from elsewhere.

    Raises:
        ModelError: the message says which file, and what to do.
    """
    names = [path.relative_to(folder).as_posix() for depth in ("*", "*/*") for path in folder.glob(depth)]
    loaded = [part for part in parts if part not in filled]
    weights = weights_of(library, names, variant=variant, pickles=pickles, parts=loaded)
    if weights.pickled:
        where = ", ".join(part for part in weights.pickled if part)
        raise pickled(what, name, f"the weights of {where} are pickles" if where else _PICKLES)
    # A sentence model may have all its weights in folders.
    if weights.lacking and not (library == "sentence-transformers" and weights.files):
        raise _lacking(what, name, weights.lacking[0], names, library)
    for file in weights.files:
        if file.endswith(".safetensors"):
            read_header(what, name, folder / file)


_PICTURES = ("preprocessor_config.json", "processor_config.json")
_WORDS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken", "tekken.json")


def check_processor(what: str, name: str, folder: Path, *, words: bool = True) -> None:
    """Refuse a directory of transformers without what makes pictures and words into a network's input.

    transformers goes on with an empty tokenizer where there is none.

    Args:
        what: role, for messages.
        name: as the user wrote it, for messages.
        folder: the directory.
        words: whether texts are read or written.

    Raises:
        ModelError: the message says what is missing, and how to put it there.
    """
    lacking = [] if any((folder / file).is_file() for file in _PICTURES) else [f"processor ({' or '.join(_PICTURES)})"]
    if words and not any(path.is_file() for pattern in _WORDS for path in folder.glob(pattern)):
        lacking.append("tokenizer (tokenizer.json)")
    if lacking:
        kind = "AutoProcessor" if words else "AutoImageProcessor"
        raise ModelError(
            f"{what} {name!r}: the directory has no {' and no '.join(lacking)}. Put that of the model it was made from "
            f"there: python -c \"import transformers; transformers.{kind}.from_pretrained('OWNER/NAME')"
            ".save_pretrained('DIRECTORY')\""
        )


def check_file(what: str, name: str, path: Path) -> None:
    """Refuse one file of weights that was cut off, or is a pointer.

    Raises:
        ModelError: as `read_header`.
    """
    if path.suffix == ".safetensors":
        read_header(what, name, path)
    elif _begins(path) == _POINTER:
        raise _pointer(what, name, path)


def read_header(what: str, name: str, path: Path) -> Mapping[str, Any]:
    """The header of a safetensors file: tensor by name, with its place in the file.

    Args:
        what: role or part, for messages.
        name: as the user wrote it, for messages.
        path: of the file.

    Raises:
        ModelError: it is none, ends before its last tensor, or is a pointer of git-lfs.
    """
    if _begins(path) == _POINTER:
        raise _pointer(what, name, path)
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            found: Any = json.loads(handle.read(length)) if length <= min(_HEADER, size) else None
        tensors = {key: one for key, one in found.items() if key != "__metadata__"}
        whole = 8 + length + max((one["data_offsets"][1] for one in tensors.values()), default=0)
    except (OSError, ValueError, struct.error, AttributeError, TypeError, LookupError):
        raise ModelError(
            f"{what} {name!r}: {path.name} is no safetensors file, or was cut off: fetch it again"
        ) from None
    if size < whole:
        raise ModelError(
            f"{what} {name!r}: {_short(path)} was cut off after {size:,} of its {whole:,} bytes: fetch it again"
        )
    return tensors


_PICKLES = "the weights are pickles (pytorch_model.bin)"


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(len(_POINTER))
    except OSError:
        return b""


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _pointer(what: str, name: str, path: Path) -> ModelError:
    return ModelError(
        f"{what} {name!r}: {_short(path)} is a pointer of git-lfs and not the weights: run `git lfs pull` in the "
        "directory, or fetch it with `hf download OWNER/NAME --local-dir DIRECTORY`"
    )


def _lacking(what: str, name: str, part: str, names: Iterable[str], library: Library) -> ModelError:
    prefix = f"{part}/" if part else ""
    shards = [one for one in names if one.startswith(prefix) and "-of-" in one and one.endswith(".safetensors")]
    of = f" of {part}" if part else ""
    why = (
        f"only some of the shards{of} are there ({', '.join(sorted(shards)[:3])})"
        if shards
        else f"there are no weights{of} that {library} reads"
    )
    return ModelError(
        f"{what} {name!r}: {why}, which are {prefix}{'diffusion_pytorch_' if library == 'diffusers' else ''}"
        "model.safetensors or all of its shards; fetch the directory again, such as with `hf download OWNER/NAME "
        "--local-dir DIRECTORY`"
    )
