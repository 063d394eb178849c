"""Curves, maps and motifs as chunks of a report: what is drawn over the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from loopsim.errors import LoopsimError
from loopsim.measure import CURVES
from loopsim.report.chunks import rounded
from loopsim.report.maps import make_map
from loopsim.report.members import Member
from loopsim.report.motifs import Assigned, assigned_motifs, medoids
from loopsim.states import embedders_of, states
from metrics.text import words

FIRST = (
    "mean_pairwise_distance", "vendi", "distance_to_start", "step_distance", "effective_motifs", "motif_entropy",
    "word_entropy", "stranger_distance", "twin_distance", "concept_survival", "clip_score",
)  # fmt: skip
"""The curves that a list of them begins with."""
GRID = 4095
"""Places along each axis of a map: finer than a screen."""
_WORDS = 4
_FUNCTION_WORDS = frozenset(
    words(
        "a an and are as at be been but by for from had has have he her his in into is it its of off on onto or out "
        "over she so some than that the their them there these they this those to up very was were what where which "
        "while who with"
    )
)
"""English words that tell nothing of a picture; captions in other languages keep theirs."""


@dataclass(frozen=True)
class Layer:
    """What one chunk is of."""

    run: int
    """Number of the run."""
    embedder: str
    """Whose vectors."""
    modality: str
    """`image` or `text`."""


def layers(parts: Sequence[Member]) -> list[Layer]:
    """Every run, embedder and modality that there are vectors of."""
    return [
        Layer(member.index, embedder, modality)
        for member in parts
        for embedder in embedders_of(member.run)
        for modality in member.run.modalities(embedder)
    ]


# ---- curves ----------------------------------------------------------------------------------------------------------


def curve_metrics(measured: Sequence[pd.DataFrame | None]) -> list[str]:
    """The metrics that have a value at each iteration, those that are looked at most first."""
    there = {
        str(name)
        for frame in measured
        if frame is not None
        for name in frame.loc[frame["t"].notna() & frame["value"].notna(), "metric"].unique()
    }
    order = [*FIRST, *(name for name in CURVES if name not in FIRST)]
    return [name for name in order if name in there] + sorted(there - set(order))


def curve_entry(metric: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the head says of a curve."""
    return {
        "metric": metric,
        "what": CURVES.get(metric, metric),
        "modalities": list(dict.fromkeys(line["modality"] for line in lines)),
        "embedders": list(dict.fromkeys(line["embedder"] for line in lines if line["embedder"])),
    }


def curve_lines(metric: str, measured: Sequence[pd.DataFrame | None]) -> list[dict[str, Any]]:
    """The lines of one metric: a cell of a run each."""
    lines = []
    for run, frame in enumerate(measured):
        if frame is None:
            continue
        mine = frame[(frame["metric"] == metric) & frame["t"].notna()]
        keys = ["label", "group", "modality", "embedder", "item"]
        for (label, group, modality, embedder, item), cell in mine.groupby(keys, sort=False, dropna=False):
            rows = cell.sort_values("t")
            lines.append({
                "run": run, "label": _text(label), "group": _text(group), "modality": _text(modality),
                "embedder": _text(embedder), "item": _text(item), "t": rows["t"].astype(int).tolist(),
                "value": rounded(rows["value"]), "low": rounded(rows["ci_low"]), "high": rounded(rows["ci_high"]),
            })  # fmt: skip
    return lines


def _text(value: Any) -> str | None:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


# ---- maps ------------------------------------------------------------------------------------------------------------


def map_chunk(member: Member, layer: Layer) -> dict[str, Any]:
    """Where each state lies on the two main axes, and the share of variance that each axis has."""
    found = states(member.run, layer.embedder, layer.modality)
    placed = make_map(found)
    points = placed.points
    low, high = np.nanmin(points, axis=(0, 1)), np.nanmax(points, axis=(0, 1))
    wide = float((high - low).max()) or 1.0
    middle = (low + high) / 2  # one scale for both axes: distances must not be stretched
    scaled = (points - middle) / wide + 0.5
    whole = np.where(np.isnan(scaled), -1, np.round(scaled * GRID)).astype(np.int64)
    return {
        "row": member.first, "t": int(found.ts[0]), "points": whole.reshape(len(whole), -1),
        "explained": rounded(placed.explained, 3), "fitted": placed.fitted,
    }  # fmt: skip


# ---- motifs ----------------------------------------------------------------------------------------------------------


def motifs_of(member: Member, layer: Layer) -> Assigned | None:
    """The motifs of a layer as they were measured; None where they were not."""
    try:
        return assigned_motifs(member.run, layer.embedder, layer.modality)
    except LoopsimError:  # not measured, or in part only: there is nothing to show
        return None


def motif_chunk(member: Member, assigned: Assigned) -> dict[str, Any]:
    """Labels of every state, a medoid and telling words of each motif."""
    row_of = {name: member.first + i for i, name in enumerate(assigned.ids)}
    found: list[list[int] | None] = [None] * assigned.k
    for one in medoids(assigned):
        found[one.motif] = [row_of[one.trajectory_id], one.t]
    return {
        "row": member.first,
        "t": int(assigned.ts[0]),
        "labels": assigned.labels,
        "medoids": found,
        "words": list(_telling(member, assigned)),
    }


def _telling(member: Member, assigned: Assigned) -> Iterator[list[str]]:
    """For each motif, the words that its captions have and others lack: largest p·log(p/q) of shares of captions."""
    steps = member.steps[["row", "t", "text"]]
    said = steps[steps["text"].notna()]
    rows, ks = said["row"].to_numpy() - member.first, said["t"].to_numpy() - assigned.ts[0]
    inside = (ks >= assigned.first) & (ks < len(assigned.ts))
    labels = np.full(len(said), -1)
    labels[inside] = assigned.labels[rows[inside], ks[inside]]
    counts, totals = [Counter[str]() for _ in range(assigned.k)], np.zeros(assigned.k)
    for motif, text in zip(labels, said["text"], strict=True):
        if motif >= 0:
            counts[motif].update(set(words(text)) - _FUNCTION_WORDS)
            totals[motif] += 1
    everywhere: Counter[str] = sum(counts, Counter())
    for mine, total in zip(counts, totals, strict=True):
        scores = {
            word: count / total * math.log((count / total) / (everywhere[word] / totals.sum()))
            for word, count in mine.items()
        }
        best = sorted(scores, key=lambda word: (-scores[word], word))[:_WORDS]
        yield [word for word in best if scores[word] > 0.02]
