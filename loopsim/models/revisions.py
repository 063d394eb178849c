"""Which commit of a hub model is meant: asked of the hub, or of the cache where there is no network.

Also what to do about a model that the hub does not hand out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from loopsim import catalog
from loopsim.errors import ModelError, NotAtHand
from loopsim.paths import is_directory
from loopsim.records import ModelSpec

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"(?:hf-hub:)?([\w.-]+/[\w.-]+)")
_TIMEOUT = 20.0

Commits = Mapping[tuple[str, str, str | None], str]
"""Commit on the hub by role, name and revision of a model; by part, location and revision of what is beside it."""
NO_COMMITS: Commits = MappingProxyType({})


@dataclass(frozen=True)
class Wanted:
    """Files of a repository, by patterns in which `*` goes over slashes too."""

    include: tuple[str, ...] = ()
    """None is all."""
    exclude: tuple[str, ...] = ()
    """Of those."""


EVERYTHING = Wanted()


@dataclass(frozen=True)
class Needs:
    """What is known of a repository before anything is downloaded."""

    commit: str
    """The commit that the revision stands for."""
    files: Mapping[str, int | None]
    """Path to bytes of every file: as the hub lists them, or where it was not asked, what the cache holds."""
    cached: frozenset[str]
    """Paths that the cache holds of that commit."""
    asked: bool
    """Whether the hub was asked, so that `files` is all there is."""
    gated: bool | None = None
    """Whether terms have to be accepted; None where the hub was not asked."""
    licence: str | None = None
    """As its card says; None where it does not, or the hub was not asked."""
    connected: tuple[str, ...] = ()
    """Repositories that its card names as belonging to it: a decoder's prior."""

    def gigabytes(self, names: Iterable[str]) -> float | None:
        """GB (10⁹ bytes) of some of the files; None where the size of none is known."""
        sizes = [size for name in names if (size := self.files.get(name)) is not None]
        return sum(sizes) / 1e9 if sizes else None


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
        ModelError: gated or missing; the message says what to do.
        NotAtHand: neither reachable nor in the cache.
    """
    return needs_of(location, revision).commit


def needs_of(location: str, revision: str | None, wanted: Wanted = EVERYTHING, who: str = "") -> Needs:
    """What a repository of the hub holds, and the commit that a revision of it stands for.

    Args:
        location: hub id.
        revision: branch, tag or commit; None is the main branch.
        wanted: files of it, for the command that a message names.
        who: how a message begins.

    Raises:
        ModelError: gated or missing.
        NotAtHand: neither reachable nor in the cache.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = hub_id(location) or location
    noted = _noted(name, revision)
    if constants.is_offline_mode():
        if noted is None or not _has(name, noted):
            raise mended(name, revision, LocalEntryNotFoundError("not in the cache"), wanted, who)
        return _cached_needs(name, noted)
    try:
        info = HfApi().model_info(name, revision=revision, timeout=_TIMEOUT, files_metadata=True)
        if info.gated:
            HfApi().auth_check(name)  # the card of a gated model is public, its files are not
    except Exception as error:  # noqa: BLE001 - the hub's HTTP library has changed its name, and its errors, twice
        answered = getattr(getattr(error, "response", None), "status_code", 500)
        if answered < 500 or noted is None:
            raise mended(name, revision, error, wanted, who) from None
        return _cached_needs(name, noted)
    commit, card = str(info.sha), info.card_data
    licence, prior = getattr(card, "license", None), getattr(card, "prior", None) or ()
    return Needs(
        commit,
        {file.rfilename: file.size for file in info.siblings or ()},
        frozenset(_cached_files(name, commit)),
        True,
        bool(info.gated),
        str(licence) if licence else None,
        (prior,) if isinstance(prior, str) else tuple(prior),
    )


def _cached_needs(name: str, commit: str) -> Needs:
    files = _cached_files(name, commit)
    return Needs(commit, files, frozenset(files), False)


def mended(
    location: str, revision: str | None, error: BaseException, wanted: Wanted = EVERYTHING, who: str = ""
) -> ModelError:
    """The error for a model that the hub does not hand out: what is wrong, and the command that mends it."""
    said = advice(location, revision, error, wanted)
    if said is not None:
        return NotAtHand(who + said) if is_absence(error) else ModelError(who + said)
    why = f"{type(error).__name__}: {_first(error)}"
    return NotAtHand(f"{who}{location} is not in the cache, and cannot be looked up on the hub: {why}")


def is_absence(error: BaseException) -> bool:
    """Whether an error says that something is not in the cache, where the hub could not be asked for it."""
    from huggingface_hub import errors

    return any(isinstance(e, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)) for e in _causes(error))


def advice(location: str, revision: str | None, error: BaseException, wanted: Wanted = EVERYTHING) -> str | None:
    """What to do about an error of the hub, found anywhere in a chain of causes; None for errors of another kind.

    Args:
        location: hub id.
        revision: branch, tag or commit.
        error: what was raised.
        wanted: files of it.
    """
    from huggingface_hub import errors

    name = hub_id(location) or location
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
            return f"{name} is not in the cache, and {why}. {to_download(name, revision, wanted)}"
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


def to_download(name: str, revision: str | None, wanted: Wanted = EVERYTHING) -> str:
    """The sentence that says how to bring (some files of) a repository into the cache."""
    at = f" --revision {revision}" if revision else ""
    only = "".join(f' --include "{pattern}"' for pattern in wanted.include)
    but = "".join(f' --exclude "{pattern}"' for pattern in wanted.exclude)
    return f"Where there is a network: `hf download {name}{at}{only}{but}`"


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


def _cached_files(name: str, commit: str) -> dict[str, int | None]:
    """Path to bytes of the files that the cache holds of a commit."""
    folder = _folder(name) / "snapshots" / commit
    paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
