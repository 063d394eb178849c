"""Schedulers by name: `native`, or `CLASS(option=value, …)` of those that go with the native one."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Any

from loopsim.errors import ModelError
from loopsim.models.generator_files import Checkpoint
from loopsim.presets.pipelines import Pipeline
from loopsim.records import ModelSpec


def parse_scheduler(text: str) -> tuple[str, dict[str, object]]:
    """`NAME(key=value, …)` to name and options; values are numbers, True, False, None or words.

    Raises:
        ModelError: it is written in another way.
    """
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", text.strip())
    if match is None:
        raise ModelError(f"scheduler {text!r}: it is written NAME, or NAME(key=value, key=value)")
    options: dict[str, object] = {}
    for part in filter(None, (p.strip() for p in (match[2] or "").split(","))):
        pair = re.fullmatch(r"(\w+)\s*=\s*(\S+)", part)
        if pair is None:
            raise ModelError(f"scheduler {text!r}: options are written NAME(key=value, key=value)")
        try:
            options[pair[1]] = ast.literal_eval(pair[2])
        except (ValueError, SyntaxError):
            options[pair[1]] = pair[2]
    return match[1], options


def make_scheduler(text: str, native: Any, config: Mapping[str, Any], steps: int) -> Any:
    """The scheduler of a name, with the native one's configuration and the options of the name.

    Args:
        text: as the setting is written.
        native: class of the scheduler that the pipeline came with.
        config: of that scheduler.
        steps: that it will be asked for.

    Raises:
        ModelError: it does not go with the pipeline, or does not take the options or the steps.
    """
    name, options = parse_scheduler(text)
    known = {kind.__name__: kind for kind in native._get_compatibles()}
    if name not in known:
        raise ModelError(
            f"scheduler {name!r}: this generator can use {', '.join(sorted(known))}; or write scheduler: native"
        )
    takes = inspect.signature(known[name].__init__).parameters
    unknown = [key for key in options if key not in takes]
    if unknown:
        raise ModelError(f"scheduler {text!r}: {name} has no {unknown[0]!r}, but {', '.join(list(takes)[1:])}")
    try:
        made = known[name].from_config(dict(config), **options)
        moved = "mu" in inspect.signature(made.set_timesteps).parameters and made.config.get("use_dynamic_shifting")
        made.set_timesteps(steps, **({"mu": 1.0} if moved else {}))  # what a wrong option, or too many steps, come to
        return known[name].from_config(dict(config), **options)
    except (ValueError, TypeError, NotImplementedError, ImportError, AttributeError, IndexError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"scheduler {text!r} with steps: {steps}: {first[:300]}") from None


def check_scheduler(spec: ModelSpec, checkpoint: Checkpoint, row: Pipeline | None) -> None:
    """Refuse a scheduler that the pipeline cannot use, from its small files.

    Raises:
        ModelError: as `make_scheduler`, or the pipeline keeps its own.
    """
    text = str(spec.settings.get("scheduler") or "native")
    if text == "native":
        return
    who, index = f"generator {spec.model!r}", checkpoint.read() or {}
    part = index.get("scheduler")
    if (row is not None and row.loads is not None) or "prior_scheduler" in index or not part or part[0] is None:
        raise ModelError(f"{who}: {own_schedulers(text, checkpoint.class_name() or 'pipeline')}")
    import diffusers

    native = getattr(diffusers, str(part[-1]), None)
    if native is None or not hasattr(native, "_get_compatibles"):
        return  # of the pipeline's own code; loading will tell
    config = {k: v for k, v in (checkpoint.read("scheduler") or {}).items() if not k.startswith("_")}
    try:
        make_scheduler(text, native, config, int(spec.settings.get("steps") or 1))
    except ModelError as error:
        raise ModelError(f"{who}: {error}") from None


def own_schedulers(text: str, kind: str) -> str:
    """Why a pipeline keeps the schedulers it came with."""
    return f"scheduler {text!r}: a {kind} has stages, each with a scheduler of its own; write native"
