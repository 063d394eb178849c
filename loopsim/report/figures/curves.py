"""Curves over iterations with their intervals: diversity, drift, entropy, motifs; and whether they decay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopsim.errors import NothingToDraw
from loopsim.measure import CURVES, SUMMARIES
from loopsim.report.figures import panels
from loopsim.report.figures.drawing import MODALITIES, Drawing, Source
from loopsim.report.figures.style import GREY, WIDTHS, add_note, iterations, legend_rows, plain, title
from loopsim.report.lines import Line, Lines, lines_of
from metrics import entropy

_MOST_VERDICTS = 4
_BAND = "bands and bars: 95 % intervals over starts"


def diversity(source: Source) -> Drawing:
    """How different the trajectories are from each other, and whether that decays."""
    return _grid(source, source.request.metrics or ("mean_pairwise_distance", "vendi"), "diversity")


def drift(source: Source) -> Drawing:
    """How far trajectories are from their start, from t = 1 and from one step to the next."""
    wanted = source.request.metrics or ("distance_to_start", "distance_to_first", "step_distance")
    return _grid(source, wanted, "drift")


def words(source: Source) -> Drawing:
    """Entropy of words and of whole captions."""
    return _grid(source, source.request.metrics or ("word_entropy", "caption_entropy"), "entropy")


def motifs(source: Source) -> Drawing:
    """Entropy and effective number of motifs: corrected, beside the raw numbers, under what so many could show."""
    return _grid(source, source.request.metrics or ("motif_entropy", "effective_motifs"), "motifs")


def _grid(source: Source, metrics: Sequence[str], name: str) -> Drawing:
    """Rows of metrics, columns of modalities; one modality only: metrics side by side."""
    rows = source.rows(metrics)
    curves = rows[rows["t"].notna() & rows["item"].isna()]
    if not curves["value"].notna().any():
        raise NothingToDraw(
            f"{source.path}: {', '.join(metrics)} has no curve over iterations; those that have: {', '.join(CURVES)}"
        )
    lines = lines_of(curves, source.by)
    cells = _cells(curves, metrics)
    across = 1 if source.request.width == "column" else _across(cells)
    down = math.ceil(len(cells) / across)
    fits = _decays(source, curves)
    raw = _raw(source, lines, metrics)
    figure = _figure(source, lines, down, fits.empty)
    inches = WIDTHS[source.request.width] / across
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (metric, modality) in zip(grid, cells, strict=False):
        mine = curves[(curves["metric"] == metric) & (curves["modality"] == modality)]
        fit = fits[(fits["modality"] == modality) & fits["metric"].str.startswith(f"{metric}:")]
        for line in lines.lines:
            of_line = mine.loc[mine.index.intersection(line.rows.index)]
            panels.curve(axes, of_line, line, band=not lines.crowded)
            if not lines.crowded:
                _mark_decay(axes, of_line, _of_cell(fit, line, lines), line)
        for line, values in raw.get((metric, modality), ()):
            axes.plot(values["t"], values["value"], ":", color=line.colour, linewidth=1)
        if (metric, modality) in raw:
            _ceiling(axes, source, metric, modality)
        iterations(axes)
        title(axes, f"{modality}s: {CURVES.get(metric, metric)}", inches)
        _say_verdicts(axes, fit, lines, metric)
    for axes in grid[len(cells) :]:
        axes.set_visible(False)
    panels.line_legend(figure, lines, _more_entries(fits, raw))
    add_note(figure, _note(curves, raw, lines))
    data = pd.concat([panels.drawn(lines, curves), _as_data(fits, lines), _raw_data(raw)], ignore_index=True)
    return Drawing(figure, data, panels.crowd_note(lines), _alt(name, curves, lines))


def _cells(curves: pd.DataFrame, metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Metric and modality of each panel that has anything to show, row by row."""
    some = curves[curves["value"].notna()]
    there = set(zip(some["metric"], some["modality"], strict=True))
    return [(m, k) for m in metrics for k in (*MODALITIES, "pair") if (m, k) in there]


def _across(cells: Sequence[tuple[str, str]]) -> int:
    modalities = len({k for _, k in cells})
    return modalities if modalities > 1 else min(3, len(cells))


def _figure(source: Source, lines: Lines, down: int, plain_panels: bool) -> Figure:
    width = WIDTHS[source.request.width]
    verdicts = 0 if plain_panels else min(_MOST_VERDICTS, len(lines.lines))
    head = legend_rows(panels.legend_labels(lines), width) * 0.15
    return Figure(figsize=(width, down * (2.0 + 0.13 * verdicts) + head + 0.55), layout="constrained")


# ---- decay -----------------------------------------------------------------------------------------------------------


def _decays(source: Source, curves: pd.DataFrame) -> pd.DataFrame:
    """The summary rows of the curves drawn: half-life, plateau, and so on, with the verdict."""
    frame = source.measured
    names = [f"{metric}:{part}" for metric in curves["metric"].unique() for part in SUMMARIES]
    mine = frame[frame["metric"].isin(names) & frame["modality"].isin(curves["modality"].unique())]
    return mine[mine["embedder"].isna() | mine["embedder"].isin(curves["embedder"].dropna().unique())]


def _of_cell(fits: pd.DataFrame, line: Line, lines: Lines) -> pd.DataFrame:
    """The summaries of one line's cell."""
    if fits.empty or len(lines.lines) == 1:
        return fits
    told = [k for k in line.keys if len({repr(one.keys[k]) for one in lines.lines}) > 1]
    same = np.ones(len(fits), dtype=bool)
    for key in told:
        same &= (fits[key].map(repr) == repr(line.keys[key])).to_numpy()
    return fits[same]


def _value(fits: pd.DataFrame, part: str) -> float:
    found = fits[fits["metric"].str.endswith(f":{part}")]["value"]
    return float(found.iloc[0]) if len(found) else math.nan


def _mark_decay(axes: Axes, rows: pd.DataFrame, fits: pd.DataFrame, line: Line) -> None:
    """A triangle where half of the change is done, and a dotted line where it levels off."""
    if fits.empty or rows.empty:
        return
    half, plateau = _value(fits, "half_life"), _value(fits, "plateau")
    rows = rows.dropna(subset=["value"]).sort_values("t")
    t = rows["t"].to_numpy(dtype=float)
    if not len(t):
        return
    first = t[1] if len(t) > 1 and t[0] == 0 else t[0]
    if math.isfinite(half) and first + half <= t[-1]:
        at = np.interp(first + half, t, rows["value"].to_numpy(dtype=float))
        axes.plot([first + half], [at], "v", color=line.colour, markersize=5, zorder=4)
    if math.isfinite(plateau):
        axes.hlines(plateau, t[-1] - (t[-1] - first) / 4, t[-1], color=line.colour, linestyle=":", linewidth=1)


def _say_verdicts(axes: Axes, fits: pd.DataFrame, lines: Lines, metric: str) -> None:
    """Under a panel, in the colour of its line: the verdict with half-life and plateau, or how many have which."""
    if fits.empty:
        return
    said: list[tuple[str, str]] = []
    for line in lines.lines:
        mine = _of_cell(fits, line, lines)
        if not mine.empty and mine["verdict"].notna().any():
            verdict = str(mine["verdict"].dropna().iloc[0]).partition(":")[0]
            said.append((_in_words(line, verdict, mine), line.colour))
    if len(said) > _MOST_VERDICTS:
        counts = pd.Series([words.rpartition(": ")[2].partition(",")[0] for words, _ in said]).value_counts(sort=False)
        said = [(", ".join(f"{verdict}: {count}" for verdict, count in counts.items()), GREY)]
    for i, (words_, colour) in enumerate(said):
        axes.annotate(
            plain(words_), (0, 0), (0, -28 - 9 * i), xycoords="axes fraction", textcoords="offset points", va="top",
            fontsize=6.5, color=colour,
        )  # fmt: skip


def _in_words(line: Line, verdict: str, fits: pd.DataFrame) -> str:
    name = line.name if len(line.name) <= 34 else line.name[:33] + "…"
    parts = [f"{name}: {verdict}" if name else verdict]
    for part, words_, digits in (("half_life", "half-life", 1), ("plateau", "plateau", 2)):
        value = _value(fits, part)
        if math.isfinite(value):
            parts.append(f"{words_} {value:.{digits}f}")
    return ", ".join(parts)


def _as_data(fits: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    parts = [_of_cell(fits, line, lines).assign(line=line.name or "all") for line in lines.lines]
    whole = pd.concat(parts) if parts else fits
    return whole[[c for c in ("line", "condition", "label", "group", *panels.DATA_COLUMNS) if c in whole]]


# ---- raw and corrected -----------------------------------------------------------------------------------------------

_RAW = {"motif_entropy": entropy.shannon, "effective_motifs": entropy.effective_number}
Raw = dict[tuple[str, str], list[tuple[Line, pd.DataFrame]]]


def _raw(source: Source, lines: Lines, metrics: Sequence[str]) -> Raw:
    """Plug-in values of the numbers of motifs, from the stored assignments; none where there are too many lines."""
    wanted = [m for m in metrics if m in _RAW]
    if not wanted or lines.crowded:
        return {}
    table, found = source.run.trajectories(), {}
    for modality in source.modalities:
        assigned = source.motifs(modality)
        for metric in wanted:
            own = []
            for line in lines.lines:
                rows = np.ones(len(table), dtype=bool)
                for key, value in line.keys.items():
                    if value is not None and value == value and key in table:
                        rows &= (table[key] == value).to_numpy()
                counts = assigned.counts(rows)
                there = counts.sum(axis=1) > 0
                values = [float(_RAW[metric](one)) for one in counts[there]]
                own.append((line, pd.DataFrame({"t": assigned.ts[there], "value": values})))
            found[metric, modality] = own
    return found


def _ceiling(axes: Axes, source: Source, metric: str, modality: str) -> None:
    """What all motifs equally full would show."""
    k = source.motifs(modality).k
    axes.axhline(math.log2(k) if metric == "motif_entropy" else k, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))


def _raw_data(raw: Raw) -> pd.DataFrame:
    parts = [
        values.assign(line=line.name or "all", modality=modality, metric=f"{metric} (raw)")
        for (metric, modality), own in raw.items()
        for line, values in own
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _more_entries(fits: pd.DataFrame, raw: Raw) -> list[tuple[Artist, str]]:
    more: list[tuple[Artist, str]] = []
    if not fits.empty and (fits["metric"].str.endswith(":half_life") & fits["value"].notna()).any():
        more.append((Line2D([], [], color=GREY, marker="v", linestyle="", markersize=5), "half of the change done"))
        more.append((Line2D([], [], color=GREY, linestyle=":", linewidth=1), "plateau"))
    if raw:
        more.append((Line2D([], [], color=GREY, linestyle=":", linewidth=1), "not corrected for small n"))
        more.append((Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (1, 3))), "all motifs equally full"))
    return more


# ---- words -----------------------------------------------------------------------------------------------------------


def _note(curves: pd.DataFrame, raw: Raw, lines: Lines) -> str:
    parts = [f"embedder {name}" for name in curves["embedder"].dropna().unique()[:1]]
    counts = curves["n"].dropna()
    if len(counts):
        low, high = int(counts.min()), int(counts.max())
        parts.append(f"n = {low}" if low == high else f"n = {low} to {high}")
    if not lines.crowded:
        parts.append(_BAND)
    named = set(curves.loc[curves["modality"] == "image", "metric"])
    if {"distance_to_start", "distance_to_first"} <= named and _same(curves):
        parts.append("pictures begin at t = 1, so their distances to the start and to t = 1 are one")
    if raw:
        parts.append("lines with bands are corrected for the low bias of small n")
    return "; ".join(parts)


def _same(curves: pd.DataFrame) -> bool:
    """Whether distances of pictures to the start are those to t = 1."""
    images = curves[curves["modality"] == "image"]
    both = [images[images["metric"] == one].sort_values(["condition", "group", "t"]) for one in
            ("distance_to_start", "distance_to_first")]  # fmt: skip
    first, second = (one["value"].to_numpy(dtype=float) for one in both)
    return len(first) == len(second) and bool(np.allclose(first, second, equal_nan=True))


def _alt(name: str, curves: pd.DataFrame, lines: Lines) -> str:
    """First and last value of every line, up to four."""
    said = []
    metric = curves["metric"].iloc[0]
    for line in lines.lines[:4]:
        rows = line.rows[(line.rows["metric"] == metric) & line.rows["value"].notna()].sort_values("t")
        for modality, block in rows.groupby("modality", sort=False):
            first, last = block.iloc[0], block.iloc[-1]
            said.append(
                f"{line.name + ', ' if line.name else ''}{modality}s {first['value']:.3g} at t = {first['t']} to "
                f"{last['value']:.3g} at t = {last['t']}"
            )
    more = f"; {len(lines.lines) - 4} more lines" if len(lines.lines) > 4 else ""
    return f"Curves of {name} over iterations. {CURVES.get(metric, metric)}: {'; '.join(said)}{more}."
