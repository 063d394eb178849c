"""`loopsim models` and `loopsim models check`: what is known by name, and whether it works here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loopsim import catalog
from loopsim.cli._shared import JsonOption, app, print_json, print_text, reporting, say, table
from loopsim.errors import UsageError
from loopsim.presets.hosted import HOSTED, PRICES, is_hosted, service_of

if TYPE_CHECKING:
    from loopsim.models.check import Needs, Trial
    from loopsim.records import ModelSpec

models = typer.Typer(help="List the models known by name, and try one out.", invoke_without_command=True)
app.add_typer(models, name="models")

_COLUMNS = {
    "generator": ("name", "family", "size", "steps", "guidance", "tokens", "GB", "licence", "gated", "here"),
    "captioner": ("name", "family", "max tokens", "GB", "licence", "gated", "here"),
    "embedder": ("name", "family", "tokens", "GB", "licence", "gated", "here"),
}

_HOSTED_COLUMNS = ("name", "role", "size", "max tokens", "price", "here")


@models.callback()
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models known by name, and which are usable here without a download."""
    if context.invoked_subcommand is not None:
        return
    with reporting():
        rows = [_row(entry) for entry in (*catalog.ENTRIES, *HOSTED)]
        if as_json:
            print_json(rows)
            return
        for role, columns in _COLUMNS.items():
            chosen = [row for row in rows if row["role"] == role and not is_hosted(row["name"])]
            cells = [[_cell(row, column) for column in columns] for row in chosen]
            table(f"{role.capitalize()}s", columns, cells, whole="name")
        chosen = [row for row in rows if is_hosted(row["name"])]
        cells = [[_cell(row, column) for column in _HOSTED_COLUMNS] for row in chosen]
        table("Hosted models", _HOSTED_COLUMNS, cells, whole="name")
        print_text(
            "tokens: what the text encoder reads. GB: memory of the weights in bfloat16, "
            "or of an embedder in float32, which it runs in.\n"
            "Any hub id (owner/name), model directory, or hosted model (openai:MODEL, anthropic:MODEL, google:MODEL, "
            "endpoint:NAME/MODEL) can be named too.\n"
            "Notes, locations and all settings: loopsim models --json. Try one out: loopsim models check NAME"
        )


def _row(entry: catalog.Entry) -> dict[str, Any]:
    settings = {} if entry.role == "embedder" else catalog.settings_of(entry.role, entry.name, {})
    price = PRICES.get(entry.name)
    return {
        "role": entry.role,
        "name": entry.name,
        "family": entry.family or None,
        "size": settings["size"] if settings.get("size") not in (None, "native") else entry.native or None,
        "steps": settings.get("steps"),
        "guidance": settings.get("guidance"),
        "max tokens": settings.get("max_new_tokens"),
        "tokens": entry.token_limit,
        "GB": entry.vram_gb,
        "licence": entry.licence or None,
        "gated": entry.gated,
        "here": _is_here(entry),
        "what": entry.note,
        "location": entry.location,
        "settings": settings,
        "price": None if price is None else price.in_words(),
    }


def _cell(row: dict[str, Any], column: str) -> str:
    value = row[column]
    if column == "gated":
        return "yes" if value else ""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _is_here(entry: catalog.Entry) -> str:
    if is_hosted(entry.name):
        variables = service_of(entry.name)[0].key_variables
        found = next((name for name in variables if os.environ.get(name)), None)
        return "yes" if found else f"needs {variables[-1]}"
    if entry.embedded:
        return "yes" if not entry.location or Path(entry.path()).is_dir() else "no: not in this installation"
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = (Path(HF_HUB_CACHE) / f"models--{entry.location.replace('/', '--')}").is_dir()
    return "cached" if cached else "download"


@models.command("check")
def check_model(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A name, hub id, directory or hosted model.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as steps=4.")
    ] = None,
    role: Annotated[
        Literal["generator", "captioner", "embedder"] | None,
        typer.Option(help="What it is to do.", show_default="every role that it is known in"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    load: Annotated[bool, typer.Option("--load/--no-load", help="Load it and run one step, or only look.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Say what a model would need, then load it and run one step. A hosted model is asked, and paid, once."""
    with reporting():
        from loopsim.models import check
        from loopsim.runner import check_device

        check_device(device)
        results = []
        roles = (role,) if role else check.roles_of(name)
        if settings and len(roles) > 1:
            raise UsageError(f"{name!r} is known as {', '.join(roles)}: say --role, for the settings are of one")
        if settings and roles == ("embedder",):
            raise UsageError("an embedder has no settings")
        for one in roles:
            spec = None if one == "embedder" else _spec(one, name, settings or ())
            needs = check.needs_of(one, name, spec)
            price = None if spec is None else check.price_of(spec)
            if not as_json:
                print_text(_needs_text(needs, price, check.device_memory(device)))
            trial = None
            if load:
                say(f"loading {one} {name}")
                trial = (
                    check.try_embedder(name, device)
                    if spec is None
                    else check.try_chain_model(check.pinned(spec, needs.commit), device)
                )
                if not as_json:
                    print_text(_trial_text(trial))
            results.append(
                {
                    "needs": dataclasses.asdict(needs),
                    "price": price,
                    "trial": None if trial is None else dataclasses.asdict(trial),
                }
            )
        if as_json:
            print_json(results)


def _spec(role: str, name: str, settings: Sequence[str]) -> ModelSpec:
    """The spec of one model with settings, checked as an experiment's are."""
    import yaml

    from loopsim.experiment import parse_experiment
    from loopsim.plan import make_plan

    given: dict[str, Any] = {"model": name}
    for one in settings:
        key, equals, value = one.partition("=")
        if not equals or key == "model":
            raise UsageError(f"{one!r}: must be KEY=VALUE with a setting of the {role}, such as batch_size=1")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"{one!r}: the value is not YAML") from None
    chain = {"generator": "mock", "captioner": "mock"} | {role: given}
    plan = make_plan(parse_experiment({"name": "check", "iterations": 1, "starts": ["x"], **chain}, "settings"))
    if len(plan.conditions) > 1:
        raise UsageError(f"{' '.join(settings)}: a list is an axis of an experiment; one model is tried with one value")
    return next(spec for spec in plan.conditions[0].chain if spec.role == role)


def _needs_text(needs: Needs, price: str | None, device: str) -> str:
    dtype = "float32" if needs.role == "embedder" else "bfloat16"
    known = [
        ("family", needs.family),
        ("draws", needs.native),
        ("text encoder", None if needs.token_limit is None else f"{needs.token_limit} tokens"),
        ("licence", needs.licence),
        ("gated", {True: "yes: the hub asks to accept terms", False: "no", None: None}[needs.gated]),
        ("commit", needs.commit),
        ("here", "yes" if needs.here else None),
        ("beside it", "; ".join(needs.parts) or None),
        ("download", None if needs.download_gb is None else f"{needs.download_gb:.1f} GB"),
        ("memory", None if needs.memory_gb is None else f"{needs.memory_gb:g} GB for the weights in {dtype}"),
        ("device", device),
        ("price", price),
    ]
    lines = [f"  {label + ':':<14}{value}" for label, value in known if value]
    return "\n".join([f"{needs.role} {needs.model} ({needs.location})", *lines])


def _trial_text(trial: Trial) -> str:
    parameters = None if trial.parameters is None else f"{trial.parameters / 1e6:,.1f} million"
    memory = None if trial.device_gb is None else f"{trial.device_gb:.1f} GB at most"
    pinned = ", ".join(f"{key} {value}" for key, value in trial.settings.items())
    known = [
        ("loaded", f"in {trial.loading_seconds:.1f} s"),
        ("parameters", parameters),
        ("pinned", pinned or None),
        ("one step", f"{trial.step_seconds:.2f} s: {trial.gave}"),
        ("used", memory),
    ]
    return "\n".join(f"  {label + ':':<14}{value}" for label, value in known if value)
