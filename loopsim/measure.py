"""The measuring pass: store × metrics → `measurements.parquet`, long and tidy, one row a value.

Curves are per condition, group of starts and iteration. The independent unit is the start, so intervals leave out one
start at a time; see `metrics.jackknife`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loopsim.store import Run
from loopsim.store.shards import write_table
from metrics import diversity, entropy, jackknife
from metrics.decay import Decay, decay
from metrics.result import Estimate, signature, undefined

_ATTRIBUTES = ("subject", "colour", "number", "place", "mood")  # of the postcards world

CURVES: dict[str, str] = {
    "mean_pairwise_distance": "mean cosine distance between trajectories",
    "vendi": "Vendi score: effective number of different items",
    "word_entropy": "Shannon entropy of caption words, bits",
    "caption_entropy": "Shannon entropy of whole captions, bits",
    "cosine_to_start": "cosine to the start (pictures: to the first picture)",
    "cosine_to_previous": "cosine to the previous iteration",
    "attribute_entropy": "postcards: mean entropy of the five attributes named, bits",
    **{f"{name}_entropy": f"postcards: entropy of the {name} named, bits" for name in _ATTRIBUTES},
}
"""Metrics that have a value at each iteration."""
SUMMARIES = ("start", "end", "change", "half_life", "plateau", "rate")
"""Of a curve from its first iteration after the register shift; rows with no t, metric `CURVE:SUMMARY`."""
SUMMARISED = ("mean_pairwise_distance", "vendi")

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Cell:
    """One condition × group of starts."""

    keys: dict[str, Any]
    starts: pd.Series
    """trajectory_id → start_id."""


def measure_run(run: Run) -> pd.DataFrame:
    """Measure everything stored and embedded so far, and write `measurements.parquet`.

    Returns:
        The measurements: grouping columns, t (null for summaries), modality, embedder, metric, value, ci_low, ci_high,
        n, signature, undefined (the reason where a number is nan), verdict (of summaries).

    Raises:
        StoreError: the disk is full or refuses.
    """
    trajectories, steps, embeddings = run.trajectories(), run.steps(["trajectory_id", "t", "text"]), run.embeddings()
    world = "generator" in trajectories and bool((trajectories["generator"] == "postcards").all())
    rows: list[dict[str, Any]] = []
    for cell in _cells(trajectories):
        members = cell.starts.index
        said = steps[steps["trajectory_id"].isin(members) & steps["text"].notna()]
        rows += [cell.keys | values for values in _text_curves(said, cell, world)]
        mine = embeddings[embeddings["trajectory_id"].isin(members)]
        for (embedder, modality), vectors in mine.groupby(["embedder", "modality"], sort=True):
            keys = cell.keys | {"modality": modality, "embedder": embedder}
            rows += [keys | values for values in _vector_curves(vectors, cell)]
    columns = [*_keys(trajectories), *_COLUMNS]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({"t": "Int64", "n": "Int64", **dict.fromkeys(("value", "ci_low", "ci_high"), "float64")})
    write_table(run.path / "measurements.parquet", pa.Table.from_pandas(frame, preserve_index=False))
    return frame


_COLUMNS = (
    "t", "modality", "embedder", "metric", "value", "ci_low", "ci_high", "n", "signature", "undefined", "verdict",
)  # fmt: skip


def _keys(trajectories: pd.DataFrame) -> list[str]:
    """Grouping columns: condition, label, group, and the condition's factors."""
    own = {"trajectory_id", "cohort", "start_id", "start_kind", "start_text", "replicate", "t0", "parent", "lineage"}
    return [name for name in trajectories.columns if name not in own]


def _cells(trajectories: pd.DataFrame) -> Iterator[_Cell]:
    keys = _keys(trajectories)
    for _, block in trajectories.groupby(["condition", "group"], sort=False):
        yield _Cell(dict(block.iloc[0][keys]), block.set_index("trajectory_id")["start_id"])


def _row(metric: str, t: int | None, estimate: Estimate, **more: object) -> dict[str, Any]:
    return {
        "t": t, "metric": metric, "value": estimate.value, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high,
        "n": estimate.n, "signature": estimate.signature, "undefined": estimate.undefined, **more,
    }  # fmt: skip


# ---- texts -----------------------------------------------------------------------------------------------------------


def _word_entropy(captions: Sequence[str]) -> float:
    words = Counter(word for text in captions for word in text.lower().split())
    return entropy.shannon(np.array(list(words.values())))


def _caption_entropy(captions: Sequence[str]) -> float:
    return entropy.shannon(np.array(list(Counter(captions).values())))


def _text_curves(said: pd.DataFrame, cell: _Cell, world: bool) -> Iterator[dict[str, Any]]:
    for t, block in said.groupby("t", sort=True):
        captions = block["text"].tolist()
        groups = cell.starts.loc[block["trajectory_id"]].tolist()
        measures: list[tuple[str, Callable[[Any], float], Any, dict[str, object]]] = [
            ("word_entropy", _word_entropy, captions, {"unit": "bits", "tokens": "space"}),
            ("caption_entropy", _caption_entropy, captions, {"unit": "bits"}),
        ]
        if world:
            from loopsim.models.postcards import truth

            codes = truth.caption_codes(captions)
            measures.append(("attribute_entropy", truth.attribute_entropy, codes, {"unit": "bits", "attributes": 5}))
            for one in _ATTRIBUTES:
                of_one = functools.partial(truth.attribute_entropy, attribute=one)
                measures.append((f"{one}_entropy", of_one, codes, {"unit": "bits"}))
        for name, statistic, items, parameters in measures:
            estimate = jackknife.estimate(
                statistic, items, groups, name=name, parameters={**parameters, "correction": "none"}, low=0.0
            )
            yield {"modality": "text", "embedder": None} | _row(name, int(t), estimate)


# ---- vectors ---------------------------------------------------------------------------------------------------------


def _vector_curves(frame: pd.DataFrame, cell: _Cell) -> Iterator[dict[str, Any]]:
    """Every curve of one modality and embedder, then the summaries of the diversity curves."""
    frame = frame.sort_values(["t", "trajectory_id"])
    ts = [int(t) for t in sorted(frame["t"].unique())]
    blocks: dict[int, tuple[list[str], Vectors]] = {}
    for t, block in frame.groupby("t", sort=True):
        blocks[int(t)] = (block["trajectory_id"].tolist(), np.stack(block["vector"].tolist()))
    curves: dict[str, dict[int, tuple[float, dict[str, float]]]] = {name: {} for name in SUMMARISED}
    for t in ts:
        ids, x = blocks[t]
        groups = cell.starts.loc[ids].tolist()
        yield _row("mean_pairwise_distance", t, diversity.mean_pairwise_distance_estimate(x, groups))
        yield _row("vendi", t, diversity.vendi_estimate(x, groups))
        for name in SUMMARISED:
            curves[name][t] = _without_each(name, x, groups)
        yield from _cosines(t, ts, blocks, groups)
    for name, curve in curves.items():
        yield from _summaries(name, curve)


def _cosines(
    t: int, ts: list[int], blocks: dict[int, tuple[list[str], Vectors]], groups: list[str]
) -> Iterator[dict[str, Any]]:
    ids, x = blocks[t]
    for name, other in (("cosine_to_start", ts[0]), ("cosine_to_previous", t - 1)):
        if other >= t or other not in blocks:
            continue
        before = dict(zip(*blocks[other], strict=True))
        known = [i for i, name_ in enumerate(ids) if name_ in before]
        if not known:
            continue
        cosines = np.einsum("nd,nd->n", x[known].astype(float), np.stack([before[ids[i]] for i in known]).astype(float))
        own = [groups[i] for i in known]
        estimate = jackknife.estimate(
            lambda v: float(np.mean(v)), cosines, own, name=name, parameters={"to": other}, low=-1.0, high=1.0
        )
        yield _row(name, t, estimate)


def _statistic(name: str, x: Vectors) -> float:
    if len(x) == 0:
        return math.nan
    return diversity.vendi(x) if name == "vendi" else diversity.mean_pairwise_distance(x)


def _without_each(name: str, x: Vectors, groups: list[str]) -> tuple[float, dict[str, float]]:
    """The statistic, and the statistic without each start."""
    labels = np.asarray(groups)
    return _statistic(name, x), {g: _statistic(name, x[labels != g]) for g in dict.fromkeys(groups)}


def _summaries(name: str, curve: dict[int, tuple[float, dict[str, float]]]) -> Iterator[dict[str, Any]]:
    """Start, end, half-life and so on, from t = 1: the register shift sits between 0 and 1."""
    ts = [t for t in sorted(curve) if t >= min(curve) + (min(curve) == 0)]
    if not ts:
        return
    values = np.array([curve[t][0] for t in ts])
    # A start that failed on the way has no value later: the jackknife is over those that are there throughout.
    starts = [s for s in curve[ts[0]][1] if all(s in curve[t][1] for t in ts)]
    deleted = np.array([[curve[t][1][s] for t in ts] for s in starts])
    usable = len(starts) >= 3 and bool(np.isfinite(deleted).all()) and bool(np.isfinite(values).all())
    if not np.isfinite(values).all():
        reason = f"{name} is undefined at some iteration"
        for part in SUMMARIES:
            row = _row(f"{name}:{part}", None, undefined(reason, len(starts), signature(f"decay_{part}")))
            yield row | {"verdict": f"undecided: {reason}"}
        return
    # The fit begins at index 1, as its signature says; what stands before it is not looked at.
    padded = np.concatenate([values[:1], values])
    without = np.concatenate([deleted[:, :1], deleted], axis=1) if usable else None
    found: Decay = decay(padded, leave_one_out=without, start=1)
    for part in SUMMARIES:
        estimate: Estimate = getattr(found, part)
        yield _row(f"{name}:{part}", None, estimate, verdict=f"{found.verdict}: {found.reason}")


@dataclass(frozen=True)
class Summary:
    """One line of the table at the end of a run."""

    label: str
    """The condition."""
    group: str
    """The group of starts."""
    modality: str
    """`image` or `text`."""
    embedder: str
    """Whose vectors."""
    first_t: int
    """The first iteration after the start."""
    last_t: int
    """The last iteration."""
    first: tuple[float, float, float]
    """Value and interval at the first iteration after the start."""
    last: tuple[float, float, float]
    """Value and interval at the last iteration."""
    half_life: float
    """Iterations; nan where no decay is established."""
    verdict: str
    """`decay`, `no decay`, `rise` or `undecided`."""
    reason: str
    """The verdict in words."""


def summaries(measurements: pd.DataFrame, metric: str = "mean_pairwise_distance") -> list[Summary]:
    """The table at the end of a run, from the measurements."""
    by = ["label", "group", "modality", "embedder"]
    curves = dict(list(measurements[measurements["metric"] == metric].groupby(by, sort=False)))
    found = measurements[measurements["metric"] == f"{metric}:half_life"]
    lines = []
    for _, row in found.iterrows():
        curve = curves[tuple(row[by])].sort_values("t")
        after = curve[(curve["t"] > curve["t"].min()) | (curve["modality"] == "image")]
        after = curve if after.empty else after
        ends = (int(after["t"].min()), int(after["t"].max()))
        first, last = (_interval(after.iloc[k]) for k in (0, -1))
        verdict, _, reason = str(row["verdict"]).partition(": ")
        label, group, modality, embedder = (str(row[name]) for name in by)
        lines.append(
            Summary(label, group, modality, embedder, *ends, first, last, float(row["value"]), verdict, reason)
        )
    return lines


def _interval(row: pd.Series) -> tuple[float, float, float]:
    return float(row["value"]), float(row["ci_low"]), float(row["ci_high"])


def number(value: float, digits: int = 3) -> str:
    """A number for a table; a dash for nan."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
