"""Which commit of a hub model is meant: asked of the hub, or of the cache where there is no network.

Also what to do about a model that the hub does not hand out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.paths import is_directory
from loopsim.records import ModelSpec

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"(?:hf-hub:)?([\w.-]+/[\w.-]+)")
_TIMEOUT = 20.0

Commits = Mapping[tuple[str, str, str | None], str]
"""Commit on the hub by role, name and revision of a model; by part, location and revision of what is beside it."""
NO_COMMITS: Commits = MappingProxyType({})


@dataclass(frozen=True)
class Needs:
    """What the hub says about a model before it is downloaded."""

    commit: str
    """The commit that the revision stands for."""
    download_gb: float | None
    """GB (10⁹ bytes) of the weights in safetensors; None where the hub was not asked, or does not say."""
    gated: bool | None
    """Whether terms have to be accepted; None where the hub was not asked."""
    licence: str | None
    """As its card says; None where it does not, or the hub was not asked."""
    here: bool
    """Whether that commit is in the cache, in part at least."""


def hub_id(location: str) -> str | None:
    """The hub id that a location is, or None for a directory, a file, or nothing at all."""
    match = _HUB_ID.fullmatch(location)
    return match[1] if match and not is_directory(Path(location)) else None


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit's whole hash, which stands for itself."""
    return _COMMIT.fullmatch(revision) is not None


def commit_of(location: str, revision: str | None) -> str:
    """The commit that a revision of a hub model stands for, now.

    A commit stands for itself. Without network (or with `HF_HUB_OFFLINE=1`) it is what the cache has noted.

    Args:
        location: hub id.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        ModelError: gated, missing, or neither reachable nor in the cache; the message says what to do.
    """
    return needs_of(location, revision).commit


def needs_of(location: str, revision: str | None) -> Needs:
    """What a hub model would need, and the commit that a revision of it stands for.

    Raises:
        ModelError: as `commit_of`.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = hub_id(location) or location
    noted = _noted(name, revision)
    if constants.is_offline_mode():
        if noted is None or not _has(name, noted):
            raise mended(name, revision, LocalEntryNotFoundError("not in the cache"))
        return Needs(noted, None, None, None, True)
    try:
        info = HfApi().model_info(name, revision=revision, timeout=_TIMEOUT, files_metadata=True)
        if info.gated:
            HfApi().auth_check(name)  # the card of a gated model is public, its files are not
    except Exception as error:  # noqa: BLE001 - the hub's HTTP library has changed its name, and its errors, twice
        answered = getattr(getattr(error, "response", None), "status_code", 500)
        if answered < 500 or noted is None:
            raise mended(name, revision, error) from None
        return Needs(noted, None, None, None, _has(name, noted))
    commit = str(info.sha)
    licence = getattr(info.card_data, "license", None)
    return Needs(commit, _weights(info), bool(info.gated), str(licence) if licence else None, _has(name, commit))


def mended(location: str, revision: str | None, error: BaseException) -> ModelError:
    """The message for a model that the hub does not hand out: what is wrong, and the command that mends it."""
    return ModelError(
        advice(location, revision, error)
        or f"{location} is not in the cache, and cannot be looked up on the hub: {type(error).__name__}: "
        f"{_first(error)}"
    )


def advice(location: str, revision: str | None, error: BaseException) -> str | None:
    """What to do about an error of the hub, found anywhere in a chain of causes; None for errors of another kind."""
    from huggingface_hub import errors

    name = hub_id(location) or location
    at = f" --revision {revision}" if revision else ""
    for cause in _causes(error):
        if isinstance(cause, errors.GatedRepoError):
            return (
                f"{name} is gated. Accept its terms at https://huggingface.co/{name}, then log in with `hf auth login`"
            )
        if isinstance(cause, errors.DisabledRepoError):
            return f"{name} was disabled by its owner or by the hub, and cannot be downloaded"
        if isinstance(cause, errors.RepositoryNotFoundError):
            return (
                f"{name}: there is no such model on the hub, or it is private. Look at https://huggingface.co/{name}; "
                "if it is there for you, log in with `hf auth login`"
            )
        if isinstance(cause, errors.RevisionNotFoundError):
            return f"{name} has no revision {revision!r}; see https://huggingface.co/{name}/commits/main"
        if isinstance(cause, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
            from huggingface_hub import constants

            why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the hub cannot be reached"
            return f"{name} is not in the cache, and {why}. Where there is a network: `hf download {name}{at}`"
    return None


def pinned_spec(spec: ModelSpec, commits: Commits) -> ModelSpec:
    """The spec with its revision, and what is loaded beside it, at the commits of a run.

    Args:
        spec: as the experiment says.
        commits: of the run; what has none is loaded as its branch stands.
    """
    asked = spec.settings.get("revision")
    revision = None if asked is None else str(asked)
    own = commits.get((spec.role, spec.model, revision))
    base = spec.settings.get("base")
    if own is None and base:
        own = commits.get(("base", catalog.find("generator", str(base)).path(), revision))
    beside = {name: c for (part, name, _), c in commits.items() if part in ("refiner", "prior", "lora")}
    settings = spec.settings if own is None else {**spec.settings, "revision": own}
    return replace(spec, settings=settings, commits=beside)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no reason given"


def _folder(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _noted(name: str, revision: str | None) -> str | None:
    """The commit that the cache has noted for a revision, or that the revision is."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    path = _folder(name) / "refs" / (revision or "main")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _has(name: str, commit: str) -> bool:
    return (_folder(name) / "snapshots" / commit).is_dir()


def _weights(info: Any) -> float | None:
    """GB of the weights in safetensors; of several precisions side by side, all."""
    sizes = [f.size for f in info.siblings or () if f.rfilename.endswith(".safetensors") and f.size]
    return sum(sizes) / 1e9 if sizes else None
