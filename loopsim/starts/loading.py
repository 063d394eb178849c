"""The groups of an experiment to starts, in order."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loopsim.errors import ExperimentError
from loopsim.experiment import Experiment, StartSettings
from loopsim.records import Setting, Start
from loopsim.seeds import digest
from loopsim.starts.columns import check_name
from loopsim.starts.picking import rows_of
from loopsim.starts.templates import PATTERN, fill

BranchReader = Callable[[str, str], Start]
"""Turns `RUN/TRAJECTORY/t` and a group into a start; needs the store, so it is handed in."""


def load_starts(experiment: Experiment, read_branch: BranchReader | None = None) -> tuple[tuple[Start, ...], ...]:
    """The starts of the experiment, group by group, in order.

    Raises:
        ExperimentError: a file is missing or empty, a start is there twice, or a column's name is taken.
    """
    groups = tuple(tuple(_group_starts(group, f"starts.{k}", read_branch)) for k, group in enumerate(experiment.starts))
    seen: dict[str, int] = {}
    for i, start in enumerate(start for group in groups for start in group):
        if start.id in seen:
            what = start.text if start.kind == "text" else str(start.image)
            raise ExperimentError(
                f"starts: number {seen[start.id] + 1} and number {i + 1} are the same ({what!r:.90}); "
                "remove one, and use replicates to run a start several times"
            )
        seen[start.id] = i
    return groups


def text_start(text: str, group: str, facts: Mapping[str, Setting] = MappingProxyType({})) -> Start:
    """A text-first start; white space is evened out, and only the text makes the id."""
    text = " ".join(text.split())
    return Start(digest(["text", text]), "text", text, None, group, facts=MappingProxyType(dict(facts)))


def _group_starts(group: StartSettings, where: str, read_branch: BranchReader | None) -> list[Start]:
    if group.branch is not None:
        if read_branch is None:
            raise ExperimentError(f"{where}.from: branching needs the run directories at hand")
        return [read_branch(reference, group.group) for reference in group.branch]
    if group.images is not None:
        return [_image_start(path, group.group) for path in _expand(group.images, where)]
    if group.template is not None:
        return _template_starts(group, where)
    if group.file is not None:
        return [text_start(row.text, group.group, row.facts) for row in rows_of(group, where)]
    return [_prompt_start(row, i, group.group, where) for i, row in enumerate(group.prompts or ())]


def _prompt_start(row: str | Mapping[str, Setting], i: int, group: str, where: str) -> Start:
    facts = {} if isinstance(row, str) else {name: value for name, value in row.items() if name != "prompt"}
    start = text_start(row if isinstance(row, str) else str(row["prompt"]), group, facts)
    if not start.text:
        raise ExperimentError(f"{where}: prompt number {i + 1} is empty")
    for name in facts:
        check_name(name, f"{where}.prompts.{i}", "give it another name")
    return start


def _template_starts(group: StartSettings, where: str) -> list[Start]:
    factors = {
        name: dict(levels) if isinstance(levels, dict) else {level: str(level) for level in levels}
        for name, levels in (group.factors or {}).items()
    }
    given: Any = group.template
    templates: dict[Setting, str] = (
        given if isinstance(given, dict) else dict(enumerate(given, 1)) if isinstance(given, list) else {1: given}
    )
    for name in [*factors, *([PATTERN] if len(templates) > 1 else [])]:
        check_name(name, f"{where}.factors", f"give the factor another name, such as {name}_of_start")
    if PATTERN in factors and len(templates) > 1:
        raise ExperimentError(f"{where}.factors: {PATTERN!r} is the column that tells the templates apart; rename it")
    filled = fill(templates, factors, group.sample, group.sample_seed or 0, where)
    starts: dict[str, Start] = {}
    for one in filled:
        start = text_start(one.text, group.group, one.facts)
        if not start.text:
            raise ExperimentError(f"{where}.template: {_named(one.facts)} makes an empty prompt")
        if start.id in starts:
            raise ExperimentError(
                f"{where}.template: {_named(starts[start.id].facts)} and {_named(one.facts)} make the same prompt "
                f"({start.text!r:.90}); give the levels other words, or leave one out"
            )
        starts[start.id] = start
    return list(starts.values())


def _named(facts: Mapping[str, Setting]) -> str:
    return ", ".join(f"{name}={value}" for name, value in facts.items())


def read_prompts(path: Path, where: str) -> list[str]:
    """The prompts of a file, as `starts` reads them.

    Raises:
        ExperimentError: the file is missing, empty or no text; `where` is the key that named it.
    """
    return [row.text for row in rows_of(StartSettings.model_validate({"file": str(path)}), where)]


def _expand(patterns: Iterable[str], where: str) -> list[Path]:
    paths: list[Path] = []
    for pattern in patterns:
        wild = any(c in pattern for c in "*?[") and not Path(pattern).exists()
        found = sorted(glob.glob(pattern)) if wild else [pattern]
        if not found:
            raise ExperimentError(f"{where}.images: {pattern}: no file matches")
        paths += [Path(name) for name in found]
    return paths


def _image_start(path: Path, group: str) -> Start:
    from PIL import Image, UnidentifiedImageError

    try:
        content = path.read_bytes()
        with Image.open(path) as image:
            image.load()  # to the end: a file that was cut off has a sound beginning
    except FileNotFoundError:
        raise ExperimentError(f"image start {path}: there is no such file") from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ExperimentError(f"image start {path}: cannot be read as an image ({error})") from None
    return Start(hashlib.sha256(content).hexdigest()[:12], "image", None, path, group)
