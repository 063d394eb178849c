"""Schedulers by name: `native`, or `CLASS(option=value, …)` of those that go with the native one."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping
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
    known = _alike(native)
    if name not in known:
        usable = ", ".join(sorted(n for n, kind in known.items() if _fault(kind, config, {}, steps) is None))
        raise ModelError(f"scheduler {name!r}: this generator can use {usable}; or write scheduler: native")
    takes = inspect.signature(known[name].__init__).parameters
    unknown = [key for key in options if key not in takes]
    if unknown:
        raise ModelError(f"scheduler {text!r}: {name} has no {unknown[0]!r}, but {', '.join(list(takes)[1:])}")
    fault = _fault(known[name], config, options, steps)
    if fault is not None:
        raise ModelError(f"scheduler {text!r} with steps: {steps}: {fault}")
    with _quiet():
        return known[name].from_config(dict(config), **options)


_DISTILLED = ("LCMScheduler", "TCDScheduler")
"""What models and LoRAs distilled to few steps are drawn with. diffusers does not count them among those that go with
Stable Diffusion's, though they read the same configuration, and the cards of such LoRAs ask for them."""


def _alike(native: Any) -> dict[str, Any]:
    """Name to class of the schedulers that go with one."""
    import diffusers

    found = {kind.__name__: kind for kind in native._get_compatibles()}
    more = _DISTILLED if "DDIMScheduler" in found else ()
    return found | {name: getattr(diffusers, name) for name in more}


def _fault(kind: Any, config: Mapping[str, Any], options: Mapping[str, object], steps: int) -> str | None:
    """What a wrong option, or too many steps, come to when a scheduler is made; None where all is well."""
    try:
        with _quiet():
            made = kind.from_config(dict(config), **options)
            moved = "mu" in inspect.signature(made.set_timesteps).parameters
            made.set_timesteps(steps, **({"mu": 1.0} if moved and made.config.get("use_dynamic_shifting") else {}))
    except (ValueError, TypeError, NotImplementedError, ImportError, AttributeError, LookupError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0][:300] if lines else type(error).__name__
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Options of one scheduler that another has no use for are remarked upon by diffusers, each time."""
    import diffusers

    before = diffusers.logging.get_verbosity()
    diffusers.logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers.logging.set_verbosity(before)


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
