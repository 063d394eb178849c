"""LoRAs as they are written in an experiment, and the one file of weights that each stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loopsim.errors import ModelError
from loopsim.paths import expanded, is_directory, is_file
from loopsim.records import ModelSpec

_USUAL = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")
_OF_TRAINING = ("scheduler", "optimizer", "checkpoint", "training_args")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Lora:
    """One low-rank adaptation."""

    source: str
    """File, directory or hub id."""
    weight_name: str | None
    """File within a hub repository; None where there is one only."""
    scale: float
    """How strongly it is mixed in; 1 is as trained."""


def parse_loras(text: str) -> list[Lora]:
    """`path-or-id@scale + …`, as the setting is kept; each is a file, a directory, `owner/name` or `owner/name/FILE`.

    Raises:
        ModelError: one of them is none of these.
    """
    found = []
    for part in text.split(" + "):
        source, at, number = part.strip().rpartition("@")
        if not at or not re.fullmatch(r"-?\d+(\.\d+)?", number):
            source, number = part.strip(), "1"
        path = expanded(source)
        if source and (is_file(path) or is_directory(path)):
            found.append(Lora(str(path), None, float(number)))
            continue
        match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/(.+\.(?:safetensors|bin)))?", source)
        if match is None or source.startswith((".", "/", "~")):
            raise ModelError(
                f"lora {source!r}: there is no such file; a LoRA is a .safetensors file, a hub id owner/name, or "
                "owner/name/file.safetensors, with @scale behind it"
            )
        found.append(Lora(match[1], match[2], float(number)))
    return found


def check_loras(loras: Sequence[Lora], spec: ModelSpec) -> None:
    """Refuse LoRAs that could not be read, as far as that can be told on this machine.

    Raises:
        ModelError: as `lora_file`; one on the hub that is named without its file is not looked at.
    """
    for lora in loras:
        if lora.weight_name is not None:
            _allowed(lora.weight_name, bool(spec.settings.get("allow_pickle")), _who(spec, lora))
        elif Path(lora.source).exists():
            lora_file(lora, spec)


def _who(spec: ModelSpec, lora: Lora) -> str:
    return f"generator {spec.model!r}: lora {lora.source!r}"


def lora_file(lora: Lora, spec: ModelSpec) -> Path:
    """The file of a LoRA, on this machine; one on the hub is brought here at the commit that the spec pins.

    Raises:
        ModelError: there is no such file, or several and no telling which, or it is a pickle that was not allowed.
    """
    who, source = _who(spec, lora), Path(lora.source)
    pickles = bool(spec.settings.get("allow_pickle"))
    if source.is_file():
        return source.with_name(_allowed(source.name, pickles, who))
    commit = spec.commits.get(lora.source)
    if lora.weight_name is not None:
        _allowed(lora.weight_name, pickles, who)
    names = [lora.weight_name] if lora.weight_name is not None else _files(lora.source, commit)
    name = choose_lora(names, pickles, who)
    if source.is_dir():
        return source / name
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(lora.source, name, revision=commit))
    except Exception as error:
        raise _cannot(lora.source, commit, error) from error


def choose_lora(names: Sequence[str], pickles: bool, who: str) -> str:
    """Which of the files of a directory or repository is the LoRA.

    Raises:
        ModelError: none is, or there is no telling which, or only one that is a pickle and was not allowed.
    """
    safe = [n for n in names if n.endswith(".safetensors")]
    unsafe = [n for n in names if n.endswith(_PICKLES)]
    found = [n for n in safe or unsafe if not any(word in n for word in _OF_TRAINING)]
    usual = [n for n in found if n in _USUAL]
    if len(usual or found) == 1:
        return _allowed((usual or found)[0], pickles, who)
    if not found:
        raise ModelError(f"{who} holds no weights: a LoRA is one .safetensors file")
    raise ModelError(f"{who} holds several files: write which, as owner/name/FILE or path: {', '.join(sorted(found))}")


def _allowed(name: str, pickles: bool, who: str) -> str:
    if name.endswith(".safetensors") or pickles:
        return name
    raise ModelError(
        f"{who} is a pickle ({name}), which can run any program when it is loaded; take a .safetensors file, or write "
        "allow_pickle: true if you trust its publisher"
    )


def _files(source: str, commit: str | None) -> list[str]:
    """Names of the files in a directory, or in a repository on the hub (offline: of those in the cache)."""
    folder = Path(source)
    if folder.is_dir():
        return sorted(p.name for p in folder.iterdir() if p.is_file())
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        if not constants.is_offline_mode():
            return list(HfApi().list_repo_files(source, revision=commit))
        folder = Path(snapshot_download(source, revision=commit))
    except Exception as error:
        raise _cannot(source, commit, error) from error
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _cannot(source: str, commit: str | None, error: Exception) -> ModelError:
    from loopsim.models.revisions import mended

    return mended(source, commit, error)
