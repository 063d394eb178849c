"""An experiment file to an `Experiment`: YAML, overrides, validation, and paths that hold from anywhere."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from loopsim.errors import ExperimentError
from loopsim.experiment.controls import ControlSettings
from loopsim.experiment.grid import to_schema
from loopsim.experiment.mistakes import explain
from loopsim.experiment.schema import Experiment
from loopsim.experiment.starts import StartSettings
from loopsim.paths import expanded


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, which YAML libraries let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_experiment(raw: object, source: str = "experiment") -> Experiment:
    """Validate plain data.

    Raises:
        ExperimentError: one line for each thing that is wrong, with source and key.
    """
    if not isinstance(raw, dict):
        raise ExperimentError(
            f"{source}: must be a mapping of keys such as name, iterations, starts, generator, captioner"
        )
    try:
        data = to_schema(raw)
    except ValueError as error:
        raise ExperimentError(f"{source}: {error}") from None
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise ExperimentError(f"{source}: {explain(error, data)}") from None


def _set(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ExperimentError(f"override {override!r}: must be key=value, such as iterations=5 or generator.steps=4")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise ExperimentError(f"override {override!r}: the value is not YAML") from None
    *parents, last = key.split(".")
    node: Any = raw
    for depth, part in enumerate(parents):
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            if isinstance(node[int(part)], str) and parents[depth - 1] in ("generator", "captioner"):
                node[int(part)] = {"model": node[int(part)]}
            node = node[int(part)]
            continue
        if not isinstance(node, dict) or part not in node:
            raise ExperimentError(f"override {override!r}: the experiment has no {'.'.join(parents[: depth + 1])!r}")
        if isinstance(node[part], str) and part in ("generator", "captioner"):
            node[part] = {"model": node[part]}
        node = node[part]
    if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ExperimentError(f"override {override!r}: {'.'.join(parents)!r} has no settings of its own")


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file (or a folder that has an `experiment.yaml`) and apply `key=value` overrides.

    Prompt files and images are looked for beside the file; the result names them by absolute path.

    Raises:
        ExperimentError: the file is missing, is not YAML, or does not fit the schema.
    """
    if path.is_dir():
        path = path / "experiment.yaml"
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise ExperimentError(f"{path}: there is no such experiment file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ExperimentError(f"{path}: not YAML: {at}{getattr(error, 'problem', error)}") from None
    except ValueError as error:  # a date or number that YAML's form allows and its value does not
        raise ExperimentError(f"{path}: not YAML: {error}") from None
    if isinstance(raw, dict) and "imported" in raw:
        raise ExperimentError(
            f"{path}: these trajectories were imported, so there is nothing to run; `loopsim measure {path.parent}` "
            f"measures them, and an experiment with starts: {{from: [{path.parent}/TRAJECTORY/t]}} goes on from a step"
        )
    if isinstance(raw, dict):
        for override in overrides:
            _set(raw, override)
    experiment = parse_experiment(raw, str(path))
    return experiment.model_copy(
        update={
            "starts": [_absolute(s, path.parent) for s in experiment.starts],
            "controls": [_absolute_pool(c, path.parent) for c in experiment.controls],
        }
    )


def _absolute_pool(control: ControlSettings, folder: Path) -> ControlSettings:
    if control.file is None:
        return control
    return control.model_copy(update={"file": str((folder / expanded(control.file)).resolve())})


def _absolute(start: StartSettings, folder: Path) -> StartSettings:
    def fix(name: str) -> str:
        return str((folder / expanded(name)).resolve())

    def fix_pattern(name: str) -> str:
        # The folder's own name may hold what glob takes for a wildcard.
        whole = expanded(name)
        return str(whole if whole.is_absolute() else Path(glob.escape(str(folder.resolve()))) / whole)

    update: dict[str, object] = {}
    if start.file is not None:
        update["file"] = fix(start.file)
    if start.images is not None:
        update["images"] = [fix(name) if Path(fix(name)).exists() else fix_pattern(name) for name in start.images]
    return start.model_copy(update=update)
