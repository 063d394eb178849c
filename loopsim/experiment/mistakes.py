"""What pydantic found wrong, in the words of the experiment file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from loopsim.experiment.controls import ControlSettings
from loopsim.experiment.schema import CaptionerSettings, Experiment, GeneratorSettings
from loopsim.experiment.starts import StartSettings


def explain(error: ValidationError, data: Any) -> str:
    """One line for each thing that is wrong, with its key; `data` is what was validated."""
    lines = []
    for item in error.errors():
        where = _location(item["loc"], data)
        if item["type"] == "extra_forbidden":
            known = _known_keys(item["loc"])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            message = f"unknown key; {hint}known keys: {', '.join(known)}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] not in ("missing", "value_error"):
                message += f" (it is {str(item['input'])[:80]!r})"
        line = f"{where}: {message}" if where else message
        if line not in lines:
            lines.append(line)
    return "\n  ".join(lines)


def _location(loc: Sequence[int | str], data: Any) -> str:
    """A pydantic location in the words of the file: `chain.0.generator.0.steps` of a pair is `generator.steps`."""
    parts = [str(p) for p in loc if not (isinstance(p, str) and p.startswith(("function-", "list[", "literal[")))]
    if len(parts) >= 3 and parts[0] == "chain" and parts[2] in ("generator", "captioner"):
        plain = len(data.get("chain", ())) == 2
        head = parts[2] if plain else ".".join(parts[:3])
        return ".".join([head, *parts[4:]])
    return ".".join(parts)


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    if len(loc) > 3 and loc[0] == "chain":
        return list((GeneratorSettings if loc[2] == "generator" else CaptionerSettings).model_fields)
    if loc[0] == "chain":
        return ["generator", "captioner"]
    if loc[0] == "starts" and len(loc) > 1:
        return [field.alias or name for name, field in StartSettings.model_fields.items()]
    if loc[0] == "controls" and len(loc) > 1:
        return list(ControlSettings.model_fields)
    return [*Experiment.model_fields, "generator", "captioner"]
