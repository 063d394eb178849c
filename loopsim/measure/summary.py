"""The tables at the end of a run: what a reader needs first of the measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

BY = ("label", "group")
"""Columns that name a cell where it is one condition and group of starts."""
Interval = tuple[float, float, float]
NOTHING: Interval = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Summary:
    """One line of the first table: does the distance between trajectories fall?"""

    label: str
    """The condition, or what else trajectories are grouped by."""
    group: str
    """The group of starts; empty where groups are pooled."""
    modality: str
    """`image` or `text`."""
    embedder: str
    """Whose vectors."""
    first_t: int
    """The first iteration after the start."""
    last_t: int
    """The last iteration."""
    first: Interval
    """Value and interval at the first iteration after the start."""
    last: Interval
    """Value and interval at the last iteration."""
    half_life: Interval
    """Iterations; nan where no decay is established."""
    plateau: Interval
    """Where it levels off; nan where no decay is established."""
    verdict: str
    """`decay`, `no decay`, `rise` or `undecided`."""
    reason: str
    """The verdict in words."""
    memory: tuple[Interval, Interval]
    """Share of what sets trajectories apart that is the start, early and late; nan without replicates."""
    motifs: tuple[Interval, Interval]
    """Effective number of motifs at the first iteration after the start and at the last."""
    clusters: str
    """Whether endpoints are clustered beyond the nulls; empty where it was not measured."""


def summaries(
    measurements: pd.DataFrame, metric: str = "mean_pairwise_distance", by: Sequence[str] = BY
) -> list[Summary]:
    """A line for each cell, modality and embedder, in the order of the measurements."""
    if "control" in measurements and not {"condition", "label", "control"} & set(by):
        by = (*by, "control")  # measured apart from the loop, whatever the grouping
    keys = [*by, "modality", "embedder"]
    of_vectors = measurements[measurements["embedder"].notna() & (measurements["modality"] != "pair")]
    lines = []
    for _, cell in of_vectors.groupby(keys, sort=False, dropna=False):
        found = cell[cell["metric"] == f"{metric}:half_life"]
        curve = cell[(cell["metric"] == metric) & cell["t"].notna()].sort_values("t")
        if found.empty or curve.empty:
            continue
        after = curve[(curve["t"] > curve["t"].min()) | (curve["modality"] == "image")]
        after = curve if after.empty else after
        ends = (int(after["t"].min()), int(after["t"].max()))
        verdict, reason = _verdict(found.iloc[0])
        head = cell.iloc[0]
        group = "" if head["group"] is None or "group" not in by else str(head["group"])
        memory = tuple(_one(cell, "memory", item=item) for item in ("early", "late"))
        motifs = tuple(_one(cell, "effective_motifs", t=t) for t in ends)
        silhouette = cell[cell["metric"] == "endpoint_silhouette"]
        label = ", ".join(_named(name, head[name]) for name in by if name != "group")
        endpoints = "" if silhouette.empty else str(silhouette["verdict"].iloc[0] or silhouette["undefined"].iloc[0])
        lines.append(
            Summary(
                label, group, str(head["modality"]), str(head["embedder"]), *ends, _interval(after.iloc[0]),
                _interval(after.iloc[-1]), _interval(found.iloc[0]), _one(cell, f"{metric}:plateau"), verdict, reason,
                (memory[0], memory[1]), (motifs[0], motifs[1]), endpoints,
            )
        )  # fmt: skip
    return lines


def _verdict(row: pd.Series) -> tuple[str, str]:
    """The verdict and its reason; where nothing could be tested, undecided, for the reason that it could not."""
    if pd.isna(row["verdict"]):
        return "undecided", str(row["undefined"] or "")
    verdict, _, reason = str(row["verdict"]).partition(": ")
    return verdict, reason


def _named(column: str, value: object) -> str:
    return f"control={value}" if column == "control" else str(value)


def _one(cell: pd.DataFrame, metric: str, t: int | None = None, item: str | None = None) -> Interval:
    found = cell[cell["metric"] == metric]
    if t is not None or item is not None:
        found = found[found["t"] == t] if t is not None else found[found["item"] == item]
    return NOTHING if found.empty else _interval(found.iloc[0])


def _interval(row: pd.Series) -> Interval:
    return float(row["value"]), float(row["ci_low"]), float(row["ci_high"])


def number(value: float, digits: int = 3) -> str:
    """A number for a table; a dash for nan."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(values: Interval, digits: int = 3) -> str:
    """A value with its interval for a table; a dash for nan."""
    if math.isnan(values[0]):
        return "–"
    limits = "" if math.isnan(values[1]) else f" [{number(values[1], digits)}, {number(values[2], digits)}]"
    return number(values[0], digits) + limits
