"""What a result depended on: versions, code, hardware, and the very files of the models."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loopsim import __version__, catalog
from loopsim.models import revisions
from loopsim.models.generator_files import parts_of
from loopsim.models.hosted.endpoint import address_of
from loopsim.models.revisions import NO_COMMITS, Commits, pinned_spec
from loopsim.presets.hosted import is_hosted
from loopsim.records import ModelSpec

_PACKAGES = ("torch", "diffusers", "transformers", "open_clip_torch", "tokenizers", "safetensors", "numpy", "pillow")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _git() -> dict[str, object] | None:
    """Commit of a development checkout, and whether it was changed; None for an installed package."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def usable_cpus() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 (16 hexadecimal digits) of every file under a folder that a model is made of, by relative path.

    Model cards and hidden files are left out: changing them changes no output.
    """
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or path.suffix.lower() == ".md" or any(part.startswith(".") for part in name.parts):
            continue
        hashes[str(name)] = _hash_file(path)
    return hashes


def _hash_file(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()[:16]


def describe_models(specs: Iterable[ModelSpec], pinned: Commits = NO_COMMITS) -> list[dict[str, Any]]:
    """Where each distinct model comes from.

    Args:
        specs: the models.
        pinned: commits that a run began with, which are not looked up again.

    Returns:
        For each its role, name and revision, and the hashes of its files (a directory), the commit that the revision
        stands for (a hub model), or the address (a hosted one).

    Raises:
        ModelError: a hub model is gated, missing, or neither reachable nor in the cache.
    """
    specs, described = list(specs), []
    looked_up = dict(pinned)  # a part of several models is asked for once, and is one commit in all of them
    trusted = {(s.role, s.model) for s in specs if s.settings.get("trust_remote_code")}
    named = ("revision", "safety_checker", *_PARTS)
    for spec in {(s.role, s.model, *(s.settings.get(key) for key in named)): s for s in specs}.values():
        role, name, revision = spec.role, spec.model, spec.settings.get("revision")
        location = catalog.find(role, name).path()
        entry: dict[str, Any] = {"role": role, "model": name, "revision": revision}
        if (role, name) in trusted:
            entry["trust_remote_code"] = True  # Python code that came with the model was run
        if role == "generator" and not is_hosted(name):
            entry["safety_checker"] = bool(spec.settings.get("safety_checker"))  # kept only if it was asked for
        if is_hosted(name):
            entry |= {"location": location, "base_url": address_of(name)}
        else:
            entry |= _weights(location, (role, name, None if revision is None else str(revision)), looked_up)
        parts = _parts(spec, looked_up)
        described.append(entry | ({"parts": parts} if parts else {}))
    return described


_PARTS = ("base", "refiner", "loras")
"""Settings that name further weights."""


def _parts(spec: ModelSpec, looked_up: dict[tuple[str, str, str | None], str]) -> list[dict[str, Any]]:
    """Everything that is loaded beside the model itself, and what tells it from others."""
    location = catalog.find(spec.role, spec.model).path()
    if spec.role != "generator" or is_hosted(spec.model) or not location:
        return []
    found = []
    for part in parts_of(location, pinned_spec(spec, looked_up)):
        # As it was asked for, not as it is pinned: the commit is looked up by that.
        asked = spec.settings.get("revision") if part.part == "base" else None
        revision = None if asked is None else str(asked)
        weights = _weights(part.location, (part.part, part.location, revision), looked_up)
        said = {"part": part.part, "location": part.location}
        found.append(said | ({"revision": revision} if revision else {}) | weights)
    return found


def _weights(
    location: str, key: tuple[str, str, str | None], looked_up: dict[tuple[str, str, str | None], str]
) -> dict[str, Any]:
    """Where weights come from, and what tells them from others: hashes of their files, or a commit of the hub.

    Args:
        location: directory, file or hub id; empty for a model that is code.
        key: of the commit; its last element is the revision.
        looked_up: commits that are known; one that is asked of the hub is added.
    """
    path = Path(location)
    if location and path.is_dir():
        return {"files": hash_files(path)}
    if location and path.is_file():
        return {"files": {path.name: _hash_file(path)}}
    if revisions.hub_id(location):
        if key not in looked_up:
            looked_up[key] = revisions.commit_of(location, key[2])
        return {"location": location, "commit": looked_up[key]}
    return {"location": location or "code"}


def describe_embedder(name: str, pinned: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Where an embedder comes from, and what tells its weights from others.

    Args:
        name: of the embedder.
        pinned: what a run's manifest says of it: a commit that stands there is not looked up again.

    Returns:
        `embedder` (the name) with the hashes of its files (a directory), or its location and, where it is loaded from
        the hub, the repository and the commit.

    Raises:
        ModelError: it is unknown, gated, missing, or neither reachable nor in the cache.
    """
    from loopsim.models.embedder_kinds import hub_of

    entry = catalog.find("embedder", name)
    location = entry.path()
    said: dict[str, Any] = {"embedder": name}
    if location and Path(location).is_dir():
        return said | {"files": hash_files(Path(location))}
    if pinned is not None and pinned.get("location") == location and pinned.get("commit"):
        return dict(pinned)
    said["location"] = location or "code"
    repository = hub_of(location)
    if repository is None:
        return said
    return said | {"repository": repository, "commit": revisions.commit_of(repository, None)}


def commits_in(manifest: Mapping[str, Any]) -> Commits:
    """The commits that a run's manifest pins: of its models, and of what is loaded beside them."""
    found: dict[tuple[str, str, str | None], str] = {}
    for model in manifest.get("provenance", {}).get("models") or ():
        named = [
            (model["role"], model["model"], model),
            *((p["part"], p["location"], p) for p in model.get("parts") or ()),
        ]
        found |= {
            (what, name, one.get("revision")): str(one["commit"]) for what, name, one in named if one.get("commit")
        }
    return found


def collect(specs: Iterable[ModelSpec], pinned: Commits = NO_COMMITS, embedders: Iterable[str] = ()) -> dict[str, Any]:
    """Everything a manifest keeps about where its numbers come from.

    Arguments and errors as of `describe_models` and `describe_embedder`.
    """
    return {
        "loopsim": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": _versions(),
        "git": _git(),
        "models": describe_models(specs, pinned),
        "embedders": [describe_embedder(name) for name in embedders],
    }
