"""What an image generator's small files say before any weight is read: `model_index.json` and the configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models.loras import parse_loras
from loopsim.models.revisions import hub_id, mended
from loopsim.presets.pipelines import PIPELINES
from loopsim.records import ModelSpec

SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
"""Endings of weights that stand alone."""


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
        return next((found for name in names if (found := read_json(self.pipeline, name, self.revision))), None)

    def class_name(self) -> str | None:
        """The pipeline's class; None where the location has no `model_index.json`."""
        index = self.read()
        return None if index is None else str(index.get("_class_name"))

    def prior(self) -> str | None:
        """The pipeline that this one begins with, where that has a repository of its own, as the model card says.

        Directory or hub id; None for a pipeline that is whole, and for a card that names none.
        """
        row = PIPELINES.get(self.class_name() or "")
        path = None if row is None or row.loads is None else find_file(self.pipeline, "README.md", self.revision)
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
    """A JSON file of a directory or of the hub (its cache, when offline); None where there is none.

    Raises:
        ModelError: it is no JSON object.
    """
    path = find_file(location, name, revision)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"generator {location!r}: {name} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"generator {location!r}: {name} is no JSON object")
    return content


def find_file(location: str, name: str, revision: str | None = None) -> Path | None:
    """A small file of a directory or of the hub, on this machine; None where there is none.

    Raises:
        ModelError: the hub does not hand the model out.
    """
    folder = Path(location)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    if hub_id(location) is None:
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(location, name, revision=revision))
    except (EntryNotFoundError, FileNotFoundError):
        # Absent on the hub; or offline and not in the cache, which loading will tell better.
        return None
    except Exception as error:
        raise mended(location, revision, error) from error


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
    if s.get("base"):
        yield Part("base", locate(str(s["base"])), str(s["revision"]) if s.get("revision") else None)
    elif prior := Checkpoint(location, revision=str(s["revision"]) if s.get("revision") else None).prior():
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
