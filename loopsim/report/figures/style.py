"""How figures look, and how they become files: sizes, colours, legends, notes; the same bytes every time."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from loopsim.store.shards import write_bytes

FORMATS = ("png", "svg", "pdf")
"""What a figure can be written as."""
DPI = 300
"""Of PNG."""
WIDTHS = {"column": 89 / 25.4, "page": 183 / 25.4}
"""Inches: one column of a journal, and its page."""
GREY, FAINT, BAD = "#555555", "#bbbbbb", "#aa0000"
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7, "xtick.labelsize": 7,
    "ytick.labelsize": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e6e6e6", "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.4,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "figure.facecolor": "white",
    "savefig.facecolor": "white", "svg.fonttype": "none", "pdf.fonttype": 42,
    # Ids in an SVG are random otherwise, and the same run would not give the same file.
    "svg.hashsalt": "loopsim",
}  # fmt: skip
"""matplotlib settings that everything is drawn under."""

_LETTERS_AN_INCH = 20
"""Of the small print that notes are set in, on the average."""
_MOST_ENTRIES = 28
"""Of a legend: as many as there are colours and line styles."""
_LEGEND_LETTERS, _HANDLE = 18, 12
"""Letters an inch in a legend, and letters that the handle of an entry and the gap to the next take."""


def write_figure(figure: Figure, path: Path) -> tuple[str, ...]:
    """Write a figure in the format of the file's suffix, from `FORMATS`.

    Returns:
        What a reader should know: characters that the fonts at hand do not have.

    Raises:
        StoreError: the disk is full or refuses.
    """
    kind = path.suffix.lstrip(".")
    buffer = io.BytesIO()
    # No dates: the same run gives the same files.
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    write_bytes(path, buffer.getvalue())
    lacking = any("missing from" in str(one.message) for one in caught)
    for one in caught:
        if "missing from" not in str(one.message):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return ("some characters are drawn as boxes: the font at hand does not have them",) if lacking else ()


def wrap(text: str, width: int, lines: int = 4) -> str:
    """Text in lines of at most `width` letters; what is left over is an ellipsis. Nothing in it is a formula."""
    parts = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    shown = parts[:lines]
    if len(parts) > lines:
        shown[-1] = shown[-1][: width - 1].rstrip() + "…"
    return plain("\n".join(shown))


def plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")


def percent(share: float) -> str:
    """A share in whole per cent; what is there is never 0 %."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def letters(figure: Figure) -> int:
    """Letters of small print that fit across a figure."""
    return int(figure.get_size_inches()[0] * _LETTERS_AN_INCH)


def add_legend(
    figure: Figure, handles: Sequence[Artist | tuple[Artist, ...]], labels: Sequence[str], heading: str = ""
) -> None:
    """A legend above the panels, in as many columns as its labels leave room for."""
    if not handles:
        return
    if len(handles) > _MOST_ENTRIES:
        left = len(handles) - _MOST_ENTRIES
        handles = [*handles[:_MOST_ENTRIES], Line2D([], [], linestyle="")]
        labels = [*labels[:_MOST_ENTRIES], f"and {left} more"]
    shown = [wrap(label, 60, 2) for label in labels]
    longest = max(len(line) for label in shown for line in label.splitlines()) if any(shown) else 1
    columns = _legend_columns(len(handles), longest, figure.get_size_inches()[0])
    order = _across_rows(len(handles), columns)
    drawn: list[Any] = [handles[i] for i in order]  # matplotlib's own types know no handles upon each other
    figure.legend(
        drawn, [shown[i] for i in order], loc="outside upper center", ncols=columns,
        frameon=False, title=plain(heading) or None, title_fontsize=7,
    )  # fmt: skip


def _legend_columns(count: int, longest: int, inches: float) -> int:
    most = max(1, min(count, int(inches * _LEGEND_LETTERS) // (longest + _HANDLE)))
    rows = -(-count // most)
    return -(-count // rows)  # as few as the rows need: no entry is left alone under full ones


def _across_rows(count: int, columns: int) -> list[int]:
    """The order in which matplotlib, which fills columns first, must get entries to be read row by row."""
    whole, over = divmod(count, columns)
    return [row * columns + column for column in range(columns) for row in range(whole + (column < over))]


def legend_rows(labels: Sequence[str], width: float) -> int:
    """Lines of text that `add_legend` needs on a figure of a width in inches."""
    if not any(labels):
        return 0
    labels = labels[: _MOST_ENTRIES + 1]
    longest = max(min(len(label), 60) for label in labels)
    columns = _legend_columns(len(labels), longest, width)
    return -(-len(labels) // columns) * (2 if any(len(label) > 60 for label in labels) else 1)


def add_note(figure: Figure, text: str) -> None:
    """Small print under the panels."""
    if text:
        wide = int(letters(figure) * 0.97)
        figure.supxlabel(wrap(text, wide, 6), fontsize=6.5, color=GREY)


def iterations(axes: Axes) -> None:
    """An x axis of iterations: whole numbers, and no margin to speak of."""
    axes.margins(x=0.01)
    low, high = axes.get_xlim()
    if high - low < 1:  # one iteration only
        middle = (low + high) / 2
        axes.set_xlim(middle - 1, middle + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("iteration")


def title(axes: Axes, text: str, inches: float) -> None:
    """A panel's title at its left, broken to its width."""
    axes.set_title(wrap(text, max(12, int(inches * 16.5)), 3), loc="left")
