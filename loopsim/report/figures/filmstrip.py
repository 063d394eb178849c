"""Filmstrips: trajectories in rows, iterations in columns, captions under the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from loopsim import images
from loopsim.errors import NothingToDraw, StoreError
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.embedding_map import picked_notes
from loopsim.report.figures.pick import picked
from loopsim.report.figures.style import BAD, FAINT, GREY, WIDTHS, percent, wrap
from loopsim.report.motifs import medoids
from loopsim.report.selection import drift

_ROWS = 6
_COLUMNS = {"page": 8, "column": 4}
_NARROWEST, _WIDEST = 0.55, 1.3
"""Inches that a column must have for captions to be read, and has at most."""
_GAP, _TOP, _LINE, _LINES = 0.05, 0.22, 0.083, 6
"""Inches between pictures, above the first row, and of a line; most lines of a caption."""


@dataclass(frozen=True)
class _Layout:
    """Where the cells of a strip lie, in inches: pictures fill their column, captions have the lines they need."""

    width: float
    head: float
    cell: float
    tall: float
    lines: tuple[int, ...]
    captions: bool

    @classmethod
    def of(cls, width: str, columns: int, texts: list[list[str | None]], picture: bytes) -> _Layout:
        inches = WIDTHS[width]
        head = max(0.8, inches / (columns + 1.15) * 1.1 if columns > 6 else 1.0)
        cell = min((inches - head) / columns, _WIDEST)
        captions = cell >= _NARROWEST
        pixels = decoded(picture)
        ratio = min(2.0, max(0.5, pixels.shape[0] / pixels.shape[1]))
        letters = _letters(cell)
        lines = [max((wrap(t or "", letters, _LINES).count("\n") + 1 for t in row), default=1) for row in texts]
        return cls(
            head + columns * cell,
            head,
            cell,
            (cell - _GAP) * ratio,
            tuple(lines if captions else [0] * len(lines)),
            captions,
        )

    def _row(self, i: int) -> float:
        """Height of a row with its captions."""
        return self.tall + self.lines[i] * _LINE + 0.1

    def head_lines(self, i: int) -> int:
        """Lines of small print that fit before a row."""
        return max(2, int((self._row(i) - 0.05) / (_LINE * 1.08)))

    @property
    def height(self) -> float:
        """Of the whole figure."""
        return _TOP + sum(self._row(i) for i in range(len(self.lines)))

    def axes(self, figure: Figure, i: int, k: int) -> Axes:
        """The axes of row i; column 0 is for words."""
        top = self.height - _TOP - sum(self._row(j) for j in range(i))
        left = 0.02 if k == 0 else self.head + (k - 1) * self.cell
        wide = self.head - _GAP if k == 0 else self.cell - _GAP
        place = (left / self.width, (top - self.tall) / self.height, wide / self.width, self.tall / self.height)
        axes = figure.add_axes(place)
        axes.axis("off")
        return axes


def _letters(inches: float) -> int:
    """Letters of a caption that fit a column."""
    return max(8, int(inches * 24))


@dataclass(frozen=True)
class _Row:
    """One trajectory of the strip."""

    trajectory_id: str
    head: str
    marked: int | None


def filmstrip(source: Source) -> Drawing:
    """Pictures of some trajectories at some iterations, with what was said of them."""
    ids = picked(source, source.request.rows or _ROWS)
    rows, marked = _heads(source, ids)
    ts = _iterations(source, ids, marked)
    pictures = source.run.pictures(ids, ts)
    if not pictures:
        raise NothingToDraw(no_pictures(source, ids))
    steps = source.run.steps(["trajectory_id", "t", "text"])
    steps = steps[steps["trajectory_id"].isin(ids)]
    texts = {(one.trajectory_id, one.t): one.text for one in steps.itertuples()}
    last = steps.groupby("trajectory_id")["t"].max().to_dict()
    table = [
        {
            "row": i, "trajectory_id": row.trajectory_id, "t": t, "text": texts.get((row.trajectory_id, t)),
            "status": _status(pictures.get((row.trajectory_id, t)), t, last.get(row.trajectory_id, -1)),
        }
        for i, row in enumerate(rows)
        for t in ts
    ]  # fmt: skip
    said = [[texts.get((row.trajectory_id, t)) for t in ts] for row in rows]
    strip = _Layout.of(source.request.width, len(ts), said, next(iter(pictures.values())))
    figure = Figure(figsize=(strip.width, strip.height))
    for i, row in enumerate(rows):
        _head(strip.axes(figure, i, 0), row, strip.head, strip.head_lines(i))
        for k, t in enumerate(ts, start=1):
            axes = strip.axes(figure, i, k)
            one = table[i * len(ts) + k - 1]
            caption = str(one["text"] or "") if strip.captions else ""
            _cell(axes, pictures.get((row.trajectory_id, t)), caption, str(one["status"]), strip, row.marked == t)
            if i == 0:
                axes.set_title(f"t = {t}" if strip.captions else str(t), fontsize=7 if strip.captions else 6, pad=3)
    notes = picked_notes(source, ids)
    if not strip.captions:
        notes += (f"{len(ts)} columns leave no room for captions; the CSV has them",)
    alt = f"{len(rows)} trajectories over iterations {ts[0]} to {ts[-1]}, each picture with its caption."
    named = source.trajectories[["trajectory_id", "label", "group", "start_text"]]
    return Drawing(figure, pd.DataFrame(table).merge(named, on="trajectory_id", how="left"), notes, alt)


def no_pictures(source: Source, ids: list[str]) -> str:
    """Why there is nothing to show."""
    if not ids:
        return f"{source.path}: no trajectory is left to show"
    if source.run.imported is not None:
        return (
            f"{source.path}: no pictures are stored: these trajectories were imported as texts or vectors; import "
            "them again with a column of pictures (`loopsim import … --out NEW`)"
        )
    return f"{source.path}: no pictures are stored yet; `loopsim run` with the same experiment goes on"


def _heads(source: Source, ids: list[str]) -> tuple[list[_Row], list[int]]:
    """What stands before each row, and the iterations that must be shown."""
    table = source.trajectories.set_index("trajectory_id")
    several = [c for c in ("label", "group") if table.loc[ids, c].nunique(dropna=False) > 1]
    extra: dict[str, str] = {}
    marked: dict[str, int] = {}
    if not source.request.trajectories:
        if source.request.choose == "motifs":
            inside = np.isin(source.motifs(source.modalities[0]).ids, source.trajectories["trajectory_id"])
            for one in medoids(source.motifs(source.modalities[0]), inside):
                if one.trajectory_id in ids and one.trajectory_id not in extra:
                    extra[one.trajectory_id] = f"motif {one.motif}, {percent(one.share)}"
                    marked[one.trajectory_id] = one.t
        elif source.request.choose.endswith("drifted"):
            distances = drift(source.states(source.modalities[0]))
            extra = {name: f"drift {distances[name]:.2f}" for name in ids}
    rows = []
    for name in ids:
        one = table.loc[name]
        start = one["start_text"] if isinstance(one["start_text"], str) else "(a picture)"
        notes = [str(one[c]).replace(", ", ",\n") for c in several] + ([extra[name]] if name in extra else [])
        head = "\n".join([*(f"[{note}]" for note in notes), start])
        rows.append(_Row(name, head, marked.get(name)))
    return rows, list(marked.values())


def _iterations(source: Source, ids: list[str], marked: list[int]) -> list[int]:
    """Iterations to show: evenly from first to last, and those that must be there."""
    steps = source.run.steps(["trajectory_id", "t"])
    there = sorted(int(t) for t in steps.loc[steps["trajectory_id"].isin(ids), "t"].unique())
    kinds = set(source.trajectories.set_index("trajectory_id").loc[ids, "start_kind"]) if ids else set()
    if kinds == {"text"} and len(there) > 1:  # at the start there is nothing to see
        there = there[1:]
    if not there:
        raise NothingToDraw(no_pictures(source, ids))
    count = min(source.request.columns or _COLUMNS[source.request.width], len(there))
    chosen = {there[round(i)] for i in np.linspace(0, len(there) - 1, count)}
    need = [t for t in dict.fromkeys(marked) if t in there and t not in chosen]
    free = sorted(chosen - {there[0], there[-1]} - set(marked), reverse=True)
    # What must be there takes the place of what is evenly there; where it cannot, the strip grows.
    for t in need:
        if free:
            chosen.discard(min(free, key=lambda one: abs(one - t)))
            free = [one for one in free if one in chosen]
        chosen.add(t)
    return sorted(chosen)


def _status(picture: bytes | None, t: int, last: int) -> str:
    if picture is not None:
        return "drawn"
    return "missing" if t <= last else "ended"


def _head(axes: Axes, row: _Row, inches: float, lines: int) -> None:
    note = wrap(row.head, max(10, int(inches * 22)), lines - 1) + f"\n({row.trajectory_id[:8]})"
    axes.text(0.0, 1.0, note, transform=axes.transAxes, ha="left", va="top", fontsize=5.5, style="italic")


def _cell(axes: Axes, picture: bytes | None, text: str, status: str, strip: _Layout, marked: bool) -> None:
    if picture is None:
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f4f4f4", edgecolor=FAINT, linewidth=0.5))
        word = {"ended": "ended", "missing": "no picture"}[status]
        axes.text(0.5, 0.5, word if strip.captions else "–", ha="center", va="center", fontsize=6,
                  color=BAD if status == "ended" else GREY)  # fmt: skip
    else:
        pixels = decoded(picture)
        axes.imshow(pixels, interpolation="nearest")
        axes.set_anchor("N")
        if marked:
            high, wide = pixels.shape[:2]
            axes.add_patch(Rectangle((-0.5, -0.5), wide, high, fill=False, edgecolor=BAD, linewidth=1.6))
    if text:
        axes.annotate(wrap(text, _letters(strip.cell), _LINES), (0.5, 0), (0, -2), xycoords="axes fraction",
                      textcoords="offset points", ha="center", va="top", fontsize=5)  # fmt: skip


def decoded(picture: bytes) -> NDArray[np.uint8]:
    """Pixels, thinned to what print can show."""
    try:
        pixels = images.decode(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise StoreError(f"a stored picture cannot be read: {error}") from None
    step = max(1, min(pixels.shape[:2]) // 512)
    return pixels[::step, ::step]
