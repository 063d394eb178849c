"""From raw YAML to the schema's shape: grids of models, groups of starts, the judge where none is named."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from loopsim.experiment.controls import to_controls
from loopsim.presets.embedders import DEFAULT_JUDGE
from loopsim.presets.entry import of_postcards

PROMPT_FILES = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow")
"""What a file of prompts may end in."""
_WHOLE_LISTS = frozenset({"loras", "structured"})
"""Settings that are lists themselves: a list is one value, and only a list of lists is an axis."""


def to_schema(raw: dict[str, Any]) -> dict[str, Any]:
    """Plain data in the shape that `Experiment` validates.

    Raises:
        ValueError: what is there cannot be brought into it; the message names the key.
    """
    data = dict(raw)
    if "chain" in data and ("generator" in data or "captioner" in data):
        raise ValueError("give either chain, or generator and captioner, not both")
    if "chain" in data:
        links = data["chain"]
    else:
        for role in ("generator", "captioner"):
            if role not in data:
                raise ValueError(f"{role} is missing: which model? (or give a chain)")
            if not data[role] or (isinstance(data[role], dict) and not data[role].get("model")):
                raise ValueError(f"{role}: which model? Give a name, or a mapping with the key model")
        links = [{"generator": data.pop("generator")}, {"captioner": data.pop("captioner")}]
    if isinstance(links, list):
        data["chain"] = [
            {role: _cells(role, spec) for role, spec in link.items()} if isinstance(link, dict) else link
            for link in links
        ]
    if "starts" in data:
        data["starts"] = _start_groups(data["starts"])
    if "controls" in data:
        data["controls"] = to_controls(data["controls"])
    data.setdefault("embedders", _judge(data["chain"]))
    return data


def _grid(spec: object) -> object:
    """A model spec to a list of concrete ones: a name, a mapping with list-valued settings, or a list of these."""
    if isinstance(spec, list):
        return [cell for one in spec for cell in _as_list(_grid(one))]
    if isinstance(spec, str):
        return [{"model": spec}]
    if isinstance(spec, dict):
        axes = {key: value if _is_axis(key, value) else [value] for key, value in spec.items()}
        return [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*axes.values())]
    return spec


def _is_axis(key: str, value: object) -> bool:
    if key in _WHOLE_LISTS:
        return isinstance(value, list) and any(isinstance(item, list) for item in value)
    return isinstance(value, list)


def _cells(role: str, spec: object) -> object:
    cells = _grid(spec)
    if cells == []:
        raise ValueError(f"{role}: an empty list leaves nothing to run")
    return cells


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _start_groups(starts: object) -> object:
    if isinstance(starts, (str, dict)):
        starts = [starts]
    if not isinstance(starts, list):
        return starts
    if starts and all(isinstance(s, str) for s in starts):
        # A lone string that looks like a file is one; several strings are the prompts themselves.
        lone = starts[0] if len(starts) == 1 and " " not in starts[0].strip() else ""
        suffix = Path(lone).suffix.lower()
        if suffix in PROMPT_FILES:
            return [{"file": lone}]
        if suffix and suffix[1:].isalnum():
            raise ValueError(
                f"starts: is {lone!r} a file? Prompts are read from {', '.join(PROMPT_FILES)}; "
                "write {prompts: [...]} if not"
            )
        return [{"prompts": starts}]
    groups = []
    for start in starts:
        if isinstance(start, dict):
            start = {k: _as_list(v) if k in ("images", "from", "prompts") else v for k, v in start.items()}
        groups.append(start)
    return groups


def _judge(chain: object) -> list[str]:
    """The embedder where none is named: one that knows the world of the models, and is part of none of them."""
    cells = [
        cell for link in _as_list(chain) if isinstance(link, dict) for spec in link.values() for cell in _as_list(spec)
    ]
    names = {cell.get("model") for cell in cells if isinstance(cell, dict)}
    small = all(isinstance(name, str) and (name == "mock" or of_postcards(name)) for name in names)
    return ["postcards"] if small else [DEFAULT_JUDGE]
