"""The figures of a run: every kind by its name, drawn from what was stored and measured, with their numbers as CSV.

`draw_figures` draws all that the run allows; `plot` draws one as it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
import pandas as pd

from loopsim.errors import NothingToDraw, UsageError
from loopsim.report.figures import mosaic, style
from loopsim.report.figures.drawing import Animation, Drawing, Request, Source
from loopsim.report.figures.style import FORMATS
from loopsim.store import Run
from loopsim.store.shards import storing, write_bytes

__all__ = ["FORMATS", "KINDS", "Animation", "Drawing", "Kind", "Request", "Source", "draw", "draw_figures", "plot"]


@dataclass(frozen=True)
class Kind:
    """One kind of figure."""

    where: str
    """`module:function`, imported on use; the function takes a `Source` and returns a `Drawing` or an `Animation`."""
    line: str
    """What it shows."""
    takes: frozenset[str]
    """Fields of `Request` that it heeds, beside `where` and `width`."""

    def function(self) -> Callable[[Source], Drawing | Animation]:
        """What draws it."""
        module, _, name = self.where.partition(":")
        found: Callable[[Source], Drawing | Animation] = getattr(importlib.import_module(module), name)
        return found


def _kind(where: str, line: str, *takes: str) -> Kind:
    return Kind(f"loopsim.report.figures.{where}", line, frozenset(takes))


_CURVES = ("by", "pooled", "metrics", "modalities", "embedder")
_CHOSEN = ("trajectories", "choose", "rows", "embedder")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "diversity": _kind("curves:diversity", "how different trajectories are from each other, and whether it decays",
                           *_CURVES),
        "drift": _kind("curves:drift", "distance from the start, from t = 1, and from step to step", *_CURVES),
        "entropy": _kind("curves:words", "entropy of words and of whole captions", "by", "pooled", "metrics"),
        "motifs": _kind("curves:motifs", "entropy and effective number of motifs, corrected and raw", *_CURVES),
        "memory": _kind("memory:memory", "distances of strangers and twins, and what the start still fixes",
                        "by", "modalities", "embedder"),
        "survival": _kind("survival:survival", "how long the concepts named at the start last, by category", *_CURVES),
        "occupancy": _kind("occupancy:occupancy", "share of the trajectories in each motif over time, stacked",
                           "by", "modalities", "embedder"),
        "transitions": _kind("occupancy:transitions", "moves from motif to motif, as a matrix",
                             "by", "modalities", "embedder"),
        "map": _kind("embedding_map:embedding_map", "all states in the plane (PCA or UMAP), with trajectories",
                     "by", "modalities", "method", *_CHOSEN),
        "attribution": _kind("attribution:attribution", "variance that prompts, models and settings account for",
                             "modalities", "embedder"),
        "truth": _kind("truth:truth", "postcards only: entropy of what captions name against the known prior", "by"),
        "sheet": _kind("sheet:sheet", "contact sheet of the motifs: a picture, share and caption of each",
                       "modalities", "embedder"),
        "filmstrip": _kind("filmstrip:filmstrip", "trajectories in rows, iterations in columns, captions under them",
                           "columns", *_CHOSEN),
        "mosaic": _kind("mosaic:mosaic", "animation: a frame an iteration, a tile a trajectory (GIF, MP4)"),
    }
)  # fmt: skip
"""Name to kind, in reading order."""

_OPTIONS = {"metrics": "metric", "modalities": "modality", "trajectories": "trajectory"}
"""Field of `Request` to the option's name, where they differ."""


def draw_figures(run: Run, measurements: pd.DataFrame) -> list[Path]:
    """Every figure that the run and its measurements allow, into `figures/` of the run, as PNG, SVG, PDF and CSV.

    A mosaic is among them where its pictures are few and small enough to be decoded within a minute or so.

    Returns:
        The PNG files, and the GIF of the mosaic, in reading order.

    Raises:
        StoreError: the disk is full or refuses.
    """
    source, made = Source(run, measurements=measurements), []
    for name in KINDS:
        if name == "mosaic" and mosaic.pixels(run) > mosaic.CHEAP:
            continue
        try:
            drawn = _drawn(name, source)
        except NothingToDraw:  # the run has nothing of the kind
            continue
        formats = ("gif",) if isinstance(drawn, Animation) else FORMATS
        paths, _ = _written(drawn, run.path / "figures", name, formats)
        made.append(paths[0])
    return made


def draw(
    run: Run, kind: str, request: Request | None = None, measurements: pd.DataFrame | None = None
) -> Drawing | Animation:
    """One figure, not written.

    Args:
        run: the run.
        kind: a name from `KINDS`.
        request: what is wanted of it.
        measurements: instead of those stored.

    Raises:
        UsageError: the kind is unknown, or is asked for what it does not heed, or for what is not there.
        NothingToDraw: the run does not have what the figure needs.
    """
    request = request or Request()
    _check(kind, request)
    return _drawn(kind, Source(run, request, measurements))


def _drawn(kind: str, source: Source) -> Drawing | Animation:
    with mpl.rc_context(style.STYLE):
        return KINDS[kind].function()(source)


def _check(kind: str, request: Request) -> None:
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"no kind of figure is called {kind!r}.{hint} There are {', '.join(KINDS)}")
    for name in (f.name for f in fields(Request) if f.name not in ("where", "width")):
        if getattr(request, name) != getattr(Request(), name) and name not in KINDS[kind].takes:
            heeded = ", ".join(f"--{_OPTIONS.get(one, one)}" for one in sorted({"where", *KINDS[kind].takes}))
            raise UsageError(f"{kind} does not heed --{_OPTIONS.get(name, name)}; it heeds {heeded}")
    if request.width not in style.WIDTHS:
        raise UsageError(f"--width {request.width!r} is not known; known: {', '.join(style.WIDTHS)}")
    unknown = [one for one in request.modalities if one not in ("image", "text")]
    if unknown:
        raise UsageError(f"--modality {unknown[0]!r} is not known; known: image, text")


def plot(
    run: Run, kind: str, request: Request | None = None, out: Path | None = None, formats: Sequence[str] = ()
) -> tuple[list[Path], tuple[str, ...]]:
    """Draw one figure into files, with its numbers as CSV beside it.

    Args:
        run: the run.
        kind: a name from `KINDS`.
        request: what is wanted of it.
        out: a file, whose suffix is the format, or a folder; `figures/` of the run where None. In a folder the name
            says the kind and what was asked.
        formats: `png`, `svg`, `pdf`; of a mosaic `gif`, `mp4`. All of them where empty, and MP4 where ffmpeg is there.

    Returns:
        The files, the CSV last, and what a reader should know of the figure.

    Raises:
        UsageError, NothingToDraw: as `draw`; and where a format is not one of the kind's.
        StoreError: the disk is full or refuses.
    """
    request = request or Request()
    _check(kind, request)
    folder, name, wanted = _target(run, kind, request, out, formats)
    drawn = draw(run, kind, request)
    return _written(drawn, folder, name, wanted)


def _target(
    run: Run, kind: str, request: Request, out: Path | None, formats: Sequence[str]
) -> tuple[Path, str, tuple[str, ...]]:
    """Folder, name without suffix, and formats; refused before anything is drawn."""
    known = mosaic.FORMATS if kind == "mosaic" else FORMATS
    for one in formats:
        if one not in known:
            raise UsageError(f"--format {one!r}: {kind} is written as {', '.join(known)}")
    every = ("gif", "mp4") if kind == "mosaic" and mosaic.ffmpeg() else ("gif",) if kind == "mosaic" else FORMATS
    wanted = tuple(dict.fromkeys(formats)) or every
    if out is None or out.is_dir() or not out.suffix:
        return out or run.path / "figures", _name(kind, request), wanted
    suffix = out.suffix.lstrip(".").lower()
    if suffix not in known:
        raise UsageError(f"--out {out}: {kind} is written as {', '.join(known)}; a folder's name has no dot")
    if formats and set(formats) != {suffix}:
        raise UsageError(f"--out {out} says {suffix}, --format {', '.join(formats)}: give one of them")
    return out.parent, out.stem, (suffix,)


def _name(kind: str, request: Request) -> str:
    """The kind and what was asked of it: figures asked for otherwise do not take each other's place."""
    parts = [kind]
    if request.by:
        parts.append(f"{'pooled-' if request.pooled else ''}by-{request.by}")
    parts += [f"{column}-{value}" for column, value in request.where]
    parts += [*request.metrics, *request.modalities, *request.trajectories]
    base = Request()
    for name in ("embedder", "choose", "rows", "columns", "method", "width"):
        value = getattr(request, name)
        if value != getattr(base, name):
            parts.append(f"{name}-{value}" if name in ("rows", "columns") else str(value))
    return re.sub(r"[^\w.=-]+", "_", "-".join(parts))[:120]


def _written(
    drawn: Drawing | Animation, folder: Path, name: str, formats: Sequence[str]
) -> tuple[list[Path], tuple[str, ...]]:
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths, notes = [folder / f"{name}.{one}" for one in formats], list(drawn.notes)
    for path in paths:
        if isinstance(drawn, Animation):
            mosaic.write_animation(drawn, path)
        else:
            with mpl.rc_context(style.STYLE):
                notes += style.write_figure(drawn.figure, path)
    table = folder / f"{name}.csv"
    write_bytes(table, drawn.data.to_csv(index=False).encode())
    return [*paths, table], tuple(dict.fromkeys(notes))
