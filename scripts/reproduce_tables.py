"""The tables that the READMEs of experiments/ show, from the measurements stored beside them, and from nothing else.

A twin `postcards.yaml` leaves `results/postcards.parquet` (the measurements that a table rests on, with n, signature
and reason) in its study's folder; a comparison leaves a CSV. What a table shows is listed in `STUDIES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from loopsim.measure import interval, number
from loopsim.models.postcards.truth import entropy_of_draws

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
NOT_YET = "The twin has not been run yet: `scripts/reproduce` runs it and fills this in."
When = Literal["start", "first", "last", "whole", "verdict", "prior"]


@dataclass(frozen=True)
class Column:
    """One column of a table of cells."""

    heading: str
    """What stands above it."""
    metric: str
    """The metric."""
    when: When = "last"
    """`start`: t = 0; `first`: t = 1; `last`: the last iteration; `whole`: of the whole run; `verdict`: its word;
    `prior`: an entropy that as many independent scenes of the world's prior would show."""
    modality: str = "text"
    """`text` or `image`."""
    item: str | None = None
    """Of what, where a metric has items."""
    digits: int = 2
    """After the point."""


@dataclass(frozen=True)
class Cells:
    """A table with a line for each condition and group of starts."""

    title: str
    """A sentence above it."""
    results: str
    """Name of the stored measurements, without ending."""
    columns: tuple[Column, ...]
    """What is shown of each cell."""
    by: tuple[str, ...] = ("label", "group")
    """Columns that name a cell."""


@dataclass(frozen=True)
class Items:
    """A table with a line for each item of one metric."""

    title: str
    """A sentence above it."""
    results: str
    """Name of the stored measurements."""
    metric: str
    """The metric, such as `attribution`, of texts and of pictures."""


@dataclass(frozen=True)
class Lines:
    """A table of the lines of `loopsim compare`."""

    title: str
    """A sentence above it."""
    results: str
    """Name of the stored comparisons."""


Table = Cells | Items | Lines

MODALITIES = {"text": "texts", "image": "pictures"}
"""Modality to what tables call it."""
_DISTANCE = "mean_pairwise_distance"


def _both(
    heading: str, metric: str, when: When = "last", item: str | None = None, digits: int = 2
) -> tuple[Column, ...]:
    """The column of texts beside that of pictures."""
    return (
        Column(f"texts: {heading}", metric, when, "text", item, digits),
        Column(f"pictures: {heading}", metric, when, "image", item, digits),
    )


_DISTANCES = tuple(
    column
    for modality, name in MODALITIES.items()
    for column in (
        Column(f"{name}: at t = 1", _DISTANCE, "first", modality),
        Column(f"{name}: at the end", _DISTANCE, "last", modality),
        Column(f"{name}: verdict", f"{_DISTANCE}:half_life", "verdict", modality),
    )
)
_MEMORY = _both("memory late", "memory", "whole", "late")
_MOTIFS = _both("motifs at the end", "effective_motifs", digits=1)
_STEP = _both("step at the end", "step_distance")
_ENTROPY_LATE = (
    Column("entropy at t = 1", "attribute_entropy", "first"),
    Column("entropy at the end", "attribute_entropy"),
)
_ENTROPY = (
    Column("entropy of what captions name (bits) at t = 0", "attribute_entropy", "start"),
    *_ENTROPY_LATE,
    Column("as many draws from the prior", "attribute_entropy", "prior"),
    Column("entropy of the subject at t = 0", "subject_entropy", "start"),
    Column("subject at the end", "subject_entropy"),
    Column("subject, as many draws from the prior", "subject_entropy", "prior"),
)
_ORIGIN = tuple(
    Column(heading, metric, "whole", modality, digits=digits)
    for modality, what in MODALITIES.items()
    for heading, metric, digits in (
        (f"{what}: time to lose it", "time_to_lose_origin", 0),
        (f"{what}: never lost by the end", "time_to_lose_origin:never", 2),
    )
)
_CLUSTERS = (
    Column("silhouette at the best k", "endpoint_silhouette", "whole"),
    Column("p, against a Gaussian cloud", "endpoint_clusters:p_gaussian", "whole"),
    Column("p, against t = 0", "endpoint_clusters:p_start", "whole"),
    Column("clusters by density", "density_clusters", "whole", digits=0),
    Column("share in none", "density_noise", "whole"),
)
_KEPT = (
    "median iteration at which a trajectory is no longer among the nearest tenth to its own origin, for three "
    "iterations in a row (– : more than half keep it)"
)
_SURVIVAL = tuple(
    Column(name, "concept_survival", item=name) for name in ("subject", "colour", "number", "place", "mood")
)
_BETWEEN = "Cosine distance between trajectories, of texts and of pictures [95 % interval over starts]."
_SHORT = f"{_BETWEEN} Short captions are close to each other at once: compare levels of texts at equal length only."
_VARIETY = "Memory, effective number of motifs, and entropy of what captions name (bits)."
_DIRECTIONS = tuple(
    Column(f"{lost} > {come}", "concept_replacements", "whole", item=f"{category}: {lost} > {come}")
    for category, rare, typical in (
        ("subject", "robot", "person"), ("colour", "purple", "blue"), ("place", "desert", "street"),
        ("mood", "storm", "sunny"),
    )
    for lost, come in ((rare, typical), (typical, rare))
)  # fmt: skip
_SHOWN = tuple(
    Column(f"{who}: {heading}", "concept_share", when, item=f"subject: {who}")
    for who in ("person", "robot")
    for heading, when in (("at t = 0", "start"), ("at t = 1", "first"), ("at the end", "last"))
)
_MAJORITY = tuple(
    Column(heading, f"concept_to_majority{part}", "whole", item=category)
    for category in ("subject", "colour", "place", "mood")
    for heading, part in ((category, ""), ("if drawn", ":expected"))
)

STUDIES: Mapping[str, tuple[Table, ...]] = {
    "elevator_music": (
        Cells(_BETWEEN, "postcards", _DISTANCES),
        Cells(
            "Memory, motifs, and whether endpoints are clustered.", "postcards",
            (*_MEMORY, *_MOTIFS, *_both("endpoints", "endpoint_silhouette", "verdict")),
        ),
        Cells(
            "Against the known truth: attributes parsed from captions, mean of five, and what as many independent "
            "draws from the prior would show [95 % of such draws].", "postcards", _ENTROPY,
        ),
        Cells(f"Time to lose the origin: {_KEPT}.", "postcards", _ORIGIN),
        Cells("What endpoints cluster into, beside noise and the starts at t = 0.", "postcards", _CLUSTERS),
        Cells("The long variant: distances.", "postcards_long", _DISTANCES),
        Cells("The long variant: what is kept.", "postcards_long", (*_MEMORY, *_MOTIFS, *_ENTROPY[1:4])),
        Cells("The long variant: time to lose the origin.", "postcards_long", _ORIGIN),
    ),
    "crossed_panel": (
        Items("Whose doing: shares of variance (ω²) for these prompts and models only.", "postcards", "attribution"),
        Cells(_SHORT, "postcards", _DISTANCES),
        Cells(_VARIETY, "postcards", (*_MEMORY, *_MOTIFS, *_ENTROPY_LATE)),
        Cells("By tier of prompt.", "postcards-by-tier", _DISTANCES, by=("label", "tier")),
    ),
    "bottleneck": (
        Cells(_SHORT, "postcards", (Column("words a caption", "caption_words", digits=1), *_DISTANCES)),
        Cells(_VARIETY, "postcards", (*_MEMORY, *_MOTIFS, *_ENTROPY_LATE)),
    ),
    "temperature": (
        Cells(_BETWEEN, "postcards", _DISTANCES),
        Cells(
            "Memory, rest, and entropy of what captions name (bits).", "postcards",
            (*_MEMORY, *_STEP, *_both("absorbed in fixed points or cycles", "absorbed", "whole"), _ENTROPY_LATE[1]),
        ),
    ),
    "recursion": (
        Cells(
            "Distances from the origin and of a step, of pictures [95 % interval over starts].", "postcards",
            (Column("from the origin at t = 1", "distance_to_start", "first", "image"),
             Column("from the origin at the end", "distance_to_start", "last", "image"),
             Column("of a step at the end", "step_distance", "last", "image")),
        ),
        Cells(_BETWEEN, "postcards", _DISTANCES),
    ),
    "people": (
        Cells(
            "Share of the named concepts still there at the end, in captions [95 % interval over starts].", "postcards",
            _SURVIVAL,
        ),
        Cells(
            "The same by who is named.", "postcards-by-who",
            _SURVIVAL,
            by=("label", "who"),
        ),
        Cells("Concepts that gave way to another of their kind, a trajectory.", "postcards-by-who",
              (Column("replacements", "concept_replacements", "whole"),), by=("label", "who")),
        Cells("Of these, a rare value that gave way to the typical one, and the reverse (–: never).", "postcards",
              _DIRECTIONS),
        Cells("Share of the replacements by what most chains of other starts showed at that time, and the same if the "
              "new were drawn from all that these showed (–: none to judge).", "postcards-by-who", _MAJORITY,
              by=("label", "who")),
        Cells("Drift of who is shown: share of the trajectories whose caption names a person, and a robot.",
              "postcards-shown", _SHOWN, by=("label",)),
    ),
    "alternating": (
        Cells(f"The alternating chain. {_BETWEEN}", "postcards", _DISTANCES),
        Cells(f"The alternating chain. {_VARIETY}", "postcards", (*_MEMORY, *_MOTIFS, *_ENTROPY_LATE)),
        Cells("The single pairs: distances.", "postcards_pairs", _DISTANCES),
        Cells("The single pairs: what is kept.", "postcards_pairs", (*_MEMORY, *_MOTIFS, *_ENTROPY_LATE)),
        Lines("`loopsim compare`: the alternating chain against each pair, texts.", "postcards-compared"),
    ),
    "controls": (
        Cells(_BETWEEN, "postcards", _DISTANCES),
        Cells(
            "Memory, steps, distance from the first picture, and entropy of what captions name (bits).", "postcards",
            (*_MEMORY, *_STEP, Column("pictures: from the first at the end", "distance_to_first", "last", "image"),
             _ENTROPY_LATE[1]),
        ),
    ),
}  # fmt: skip
"""Study to what its README shows."""


def metrics_of(study: str) -> set[str]:
    """The metrics that a study's tables rest on, to be stored."""
    named: set[str] = set()
    for table in STUDIES[study]:
        if isinstance(table, Cells):
            named |= {column.metric for column in table.columns}
        elif isinstance(table, Items):
            named.add(table.metric)
    return named


def tables_of(study: str, folder: Path) -> str:
    """The tables of a study as Markdown, from what is stored in its folder.

    Args:
        study: key of `STUDIES`.
        folder: the study's folder.
    """
    parts = []
    for table in STUDIES[study]:
        path = folder / "results" / f"{table.results}{'.csv' if isinstance(table, Lines) else '.parquet'}"
        if not path.exists():
            continue
        if isinstance(table, Lines):
            body = _of_lines(pd.read_csv(path))
        elif isinstance(table, Items):
            body = _of_items(pd.read_parquet(path), table)
        else:
            body = _of_cells(pd.read_parquet(path), table)
        if body:
            parts.append(f"{table.title} (`results/{path.name}`)\n\n{body}")
    figures = sorted((folder / "figures").glob("postcards*.png"))
    parts += [f"![{figure.stem}](figures/{figure.name})" for figure in figures]
    return "\n\n".join(parts) or NOT_YET


def put(text: str, name: str, body: str) -> str:
    """A README with what stands between the markers of `name` exchanged.

    Raises:
        ValueError: it has no such markers.
    """
    begin, end = BEGIN.format(name), END.format(name)
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"there must be one {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n{body}\n{end}", text)


def _of_cells(rows: pd.DataFrame, table: Cells) -> str:
    if not {column.metric for column in table.columns} <= set(rows["metric"]):
        return ""  # stored before the table asked for it: a measurement without a value has a row too
    named = rows[rows[list(table.by)].notna().all(axis=1)]
    keys = [k for k in table.by if named[k].nunique() > 1] or [table.by[0]]
    lines = []
    for cell, part in named.groupby(list(table.by), sort=False, dropna=False):
        names = dict(zip(table.by, cell if isinstance(cell, tuple) else (cell,), strict=True))
        shown = [_cell(part, column) for column in table.columns]
        if any(text != "–" for text in shown):
            lines.append([*(str(names[k]) for k in keys), *shown])
    heads = ["condition" if k == "label" else "starts" if k == "group" else k for k in keys]
    return _markdown([*heads, *(column.heading for column in table.columns)], lines) if lines else ""


def _cell(part: pd.DataFrame, column: Column) -> str:
    rows = part[(part["metric"] == column.metric) & (part["modality"] == column.modality)]
    if column.item is not None:
        rows = rows[rows["item"] == column.item]
    elif rows["item"].isna().any():  # the metric as a whole, where there are parts of it too
        rows = rows[rows["item"].isna()]
    elif rows["item"].nunique() > 1:
        raise ValueError(f"{column.metric}: is told of {', '.join(map(str, rows['item'].unique()))}: say which in item")
    if rows["embedder"].isna().any():  # of the words themselves, where vectors say it too
        rows = rows[rows["embedder"].isna()]
    if column.when in ("whole", "verdict"):
        rows = rows[rows["t"].isna()]
    else:
        rows = rows[rows["t"].notna()].sort_values("t")
        if column.when in ("start", "first"):
            rows = rows[rows["t"] == (0 if column.when == "start" else 1)]
    if rows.empty:
        return "–"
    row = rows.iloc[-1]
    if column.when == "prior":
        return interval(_of_draws(column.metric, int(row["n"])), column.digits)
    if column.when == "verdict":
        return str(row["verdict"]).partition(":")[0] if row["verdict"] else "–"
    return interval(_with_limits(row), column.digits)


def _with_limits(row: pd.Series) -> tuple[float, float, float]:
    return float(row["value"]), float(row["ci_low"]), float(row["ci_high"])


def _of_draws(metric: str, n: int) -> tuple[float, float, float]:
    name = metric.removesuffix("_entropy")
    return entropy_of_draws(n, attribute=None if name == "attribute" else name)


def _of_items(rows: pd.DataFrame, table: Items) -> str:
    found = rows[rows["metric"] == table.metric].set_index(["item", "modality"])
    lines = []
    for item in found.index.unique("item"):
        of = [found.loc[(item, modality)] if (item, modality) in found.index else None for modality in MODALITIES]
        lines.append([str(item), *("–" if row is None else interval(_with_limits(row), 3) for row in of)])
    heads = ["of what: factor", *(f"{name}: share [95 % interval]" for name in MODALITIES.values())]
    return _markdown(heads, lines) if lines else ""


def _of_lines(rows: pd.DataFrame) -> str:
    lines = [
        [str(row["first"]), str(row["second"]), str(row["modality"]), str(row["measure"]),
         interval((float(row["difference"]), float(row["ci_low"]), float(row["ci_high"]))),
         number(float(row["p_adjusted"])), str(row["verdict"])]
        for _, row in rows.iterrows()
    ]  # fmt: skip
    heads = ["first", "second", "of", "measure", "second − first [95 % interval]", "p adjusted", "verdict"]
    return _markdown(heads, lines) if lines else ""


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
