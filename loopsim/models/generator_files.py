"""What an image generator's small files say before any weight is read: `model_index.json` and the configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models.loras import parse_loras
from loopsim.models.revisions import hub_id, is_commit, mended, needs_of
from loopsim.presets.pipelines import PIPELINES
from loopsim.records import ModelSpec

SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
"""Endings of weights that stand alone."""


class Place:
    """A directory, or a repository of the hub at one commit, whose small files can be read.

    Args:
        location: directory or hub id.
        revision: branch, tag or commit of a hub id.
    """

    def __init__(self, location: str, revision: str | None = None) -> None:
        self.location, self.revision = location, revision
        self._commit: tuple[str, bool] | None = None

    def find(self, name: str) -> Path | None:
        """A file on this machine; None where there is none.

        Raises:
            ModelError: the hub does not hand the model out; or it cannot be asked, and nothing is in the cache.
        """
        folder = Path(self.location)
        if folder.is_dir():
            return folder / name if (folder / name).is_file() else None
        if hub_id(self.location) is None:
            return None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        commit, ask = self._looked_up()
        try:
            return Path(hf_hub_download(self.location, name, revision=commit, local_files_only=not ask))
        except (EntryNotFoundError, FileNotFoundError):  # absent on the hub, or, where it is not asked, in the cache
            return None
        except Exception as error:
            raise mended(self.location, self.revision, error) from error

    def _looked_up(self) -> tuple[str, bool]:
        """The commit, and whether the hub can be asked for files: once, since it is tried for long where it cannot."""
        if self._commit is None:
            if self.revision is not None and is_commit(self.revision):
                self._commit = self.revision, True
            else:
                needs = needs_of(self.location, self.revision)
                self._commit = needs.commit, needs.gated is not None
        return self._commit

    def json(self, name: str) -> Mapping[str, Any] | None:
        """The content of a JSON file; None where there is none.

        Raises:
            ModelError: as `find`, or it is no JSON object.
        """
        path = self.find(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"generator {self.location!r}: {name} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise ModelError(f"generator {self.location!r}: {name} is no JSON object")
        return content


@dataclass(frozen=True)
class Checkpoint:
    """Where a generator's parts come from."""

    pipeline: str
    """Directory or hub id of the whole pipeline."""
    weights: Path | None = None
    """A file, or the directory of one component, whose weights take the place of the pipeline's."""
    revision: str | None = None
    """Branch, tag or commit of `pipeline`, where that is a hub id."""
    _seen: dict[str, Mapping[str, Any] | None] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def place(self) -> Place:
        """Where the small files are."""
        return Place(self.pipeline, self.revision)

    def read(self, component: str = "") -> Mapping[str, Any] | None:
        """A component's configuration, or `model_index.json` for none; None where there is no such file.

        Raises:
            ModelError: the file is there and cannot be read.
        """
        if component not in self._seen:  # once: the hub is asked for each file
            self._seen[component] = self._find(component)
        return self._seen[component]

    def _find(self, component: str) -> Mapping[str, Any] | None:
        if component:
            names = [f"{component}/{name}" for name in ("config.json", "scheduler_config.json")]
        else:
            names = ["model_index.json"]
        return next((found for name in names if (found := self.place.json(name))), None)

    def class_name(self) -> str | None:
        """The pipeline's class; None where the location has no `model_index.json`."""
        index = self.read()
        return None if index is None else str(index.get("_class_name"))

    def prior(self) -> str | None:
        """The pipeline that this one begins with, where that has a repository of its own, as the model card says.

        Directory or hub id; None for a pipeline that is whole, and for a card that names none.
        """
        row = PIPELINES.get(self.class_name() or "")
        path = None if row is None or row.loads is None else self.place.find("README.md")
        if path is None:
            return None
        import yaml
        from huggingface_hub import metadata_load

        try:
            named = (metadata_load(path) or {}).get("prior")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ModelError(f"generator {self.pipeline!r}: the head of README.md cannot be read: {error}") from None
        first = named[0] if isinstance(named, list) and named else named
        return str(first) if first else None


def read_json(location: str, name: str, revision: str | None = None) -> Mapping[str, Any] | None:
    """A JSON file of a directory or of the hub. As `Place.json`."""
    return Place(location, revision).json(name)


def token_model(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model of transformers that draws token by token."""
    return config.get("model_type") in ("janus", "emu3")


def locate(name: str) -> str:
    """The location of a generator by name, directory or hub id.

    Raises:
        ModelError: it is none of these.
    """
    return catalog.find("generator", name).path()


def checkpoint_of(location: str, spec: ModelSpec) -> Checkpoint:
    """Sort out `model` and `base`: the whole pipeline, or weights on top of one.

    Raises:
        ModelError: weights without a base, a base without weights, or a pickle that was not allowed.
    """
    revision = str(spec.settings["revision"]) if spec.settings.get("revision") else None
    base, path = spec.settings.get("base"), Path(location)
    whole = Checkpoint(location, revision=revision)
    component = path.is_dir() and not (path / "model_index.json").is_file() and _is_component(path)
    if not path.is_file() and not component:
        if base:
            raise ModelError(
                f"generator {spec.model!r} is a whole pipeline, and takes no base; leave base out, or make the base "
                "the model and give what goes on top of it as loras"
            )
        return whole
    if not base:
        what = "a single file" if path.is_file() else "one component"
        raise ModelError(
            f"generator {spec.model!r} is {what}, not a pipeline: say which pipeline it belongs to, such as base: sdxl"
        )
    if path.is_file() and path.suffix != ".safetensors" and not spec.settings.get("allow_pickle"):
        raise ModelError(
            f"generator {spec.model!r} is a pickle, which can run any program when it is loaded; take the .safetensors "
            "that its publisher offers, or write allow_pickle: true if you trust them"
        )
    return Checkpoint(locate(str(base)), path, revision)


def _is_component(folder: Path) -> bool:
    config = read_json(str(folder), "config.json")
    return config is not None and "_class_name" in config


@dataclass(frozen=True)
class Part:
    """Weights that are loaded beside a generator's own."""

    part: Literal["base", "refiner", "prior", "lora"]
    """What they are to it."""
    location: str
    """Directory, file or hub id."""
    revision: str | None = None
    """Of a base, which takes the setting that a local file of weights has no use for; the others have none."""


def parts_of(location: str, spec: ModelSpec) -> Iterator[Part]:
    """Everything that is loaded beside a generator: its base, refiner, prior and LoRAs, as far as the files tell.

    Raises:
        ModelError: one of them is neither a directory, a file nor a hub id.
    """
    s = spec.settings
    revision = str(s["revision"]) if s.get("revision") else None
    if s.get("base"):
        yield Part("base", locate(str(s["base"])), revision)
    if prior := Checkpoint(locate(str(s["base"])) if s.get("base") else location, revision=revision).prior():
        yield Part("prior", prior)
    if s.get("refiner"):
        yield Part("refiner", locate(str(s["refiner"])))
    for lora in parse_loras(str(s["loras"])) if s.get("loras") else ():
        yield Part("lora", lora.source)


def no_safetensors(spec: ModelSpec) -> ModelError:
    """The refusal of weights that are pickles."""
    return ModelError(
        f"generator {spec.model!r} has weights that are no safetensors: pickles can run any program when they are "
        "loaded; look for a conversion, or write allow_pickle: true if you trust its publisher"
    )
