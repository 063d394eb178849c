"""The groups of an experiment to starts, in order."""

from __future__ import annotations

import csv
import glob
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from loopsim.errors import ExperimentError
from loopsim.experiment import Experiment, StartSettings
from loopsim.records import Start
from loopsim.seeds import digest

BranchReader = Callable[[str, str], Start]
"""Turns `RUN/TRAJECTORY/t` and a group into a start; needs the store, so it is handed in."""


def load_starts(experiment: Experiment, read_branch: BranchReader | None = None) -> tuple[tuple[Start, ...], ...]:
    """The starts of the experiment, group by group, in order.

    Raises:
        ExperimentError: a file is missing or empty, or a start is there twice.
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


def _group_starts(group: StartSettings, where: str, read_branch: BranchReader | None) -> list[Start]:
    if group.branch is not None:
        if read_branch is None:
            raise ExperimentError(f"{where}.from: branching needs the run directories at hand")
        return [read_branch(reference, group.group) for reference in group.branch]
    if group.images is not None:
        return [_image_start(path, group.group) for path in _expand(group.images, where)]
    prompts = group.prompts if group.prompts is not None else read_prompts(Path(group.file or ""), where)
    starts = []
    for i, prompt in enumerate(prompts):
        text = " ".join(prompt.split())
        if not text:
            raise ExperimentError(f"{where}: prompt number {i + 1} is empty")
        starts.append(Start(digest(["text", text]), "text", text, None, group.group))
    return starts


def read_prompts(path: Path, where: str) -> list[str]:
    """The prompts of a file: one a line, or the column `prompt` of a CSV.

    Raises:
        ExperimentError: the file is missing, empty or no text; `where` is the key that named it.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as handle:
                reader = csv.DictReader(handle)
                if "prompt" not in (reader.fieldnames or ()):
                    raise ExperimentError(f"{where}.file: {path}: a CSV of prompts needs a column named 'prompt'")
                prompts = [row["prompt"] or "" for row in reader]
        else:
            prompts = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        raise ExperimentError(f"{where}.file: {path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExperimentError(f"{where}.file: {path}: cannot be read as UTF-8 text: {error}") from None
    if not prompts:
        raise ExperimentError(f"{where}.file: {path}: holds no prompts (one a line, or a CSV with a column 'prompt')")
    return prompts


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
