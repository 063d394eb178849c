"""How loopsim's measures follow what is known on postcards: diversity, memory and survival, for each pair of models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from known_answer import MEASURES, TRUTH, curve
from numpy.typing import NDArray
from scipy import stats

from loopsim.models.postcards import truth, world
from loopsim.store import open_run
from metrics import panel

PAIR = ["generator", "captioner"]
CELL = [*PAIR, "group"]


def tracking(settings: str, path: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Correlations with the truth, memory beside the true one, survival beside the true one; each with its settings."""
    frame = open_run(path).measurements()
    frames = correlations(frame), memory(frame, path), survival(frame, path)
    for one in frames:
        one.insert(0, "settings", settings)
    return frames


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each measure with the entropy of the attributes, over groups of starts and iterations, by pair of models."""
    rows = []
    for pair, mine in frame.dropna(subset=["group"]).groupby(PAIR, sort=False):
        exact = curve(mine, TRUTH, "text")
        for metric, modality in MEASURES:
            both = pd.concat({"truth": exact, "measure": curve(mine, metric, modality)}, axis=1).dropna()
            varies = len(both) > 2 and (both.nunique() > 1).all()
            r, rank = (
                (float(f(both["truth"], both["measure"])[0]) if varies else float("nan"))
                for f in (stats.pearsonr, stats.spearmanr)
            )
            known = dict(zip(PAIR, pair, strict=True)) | {"metric": metric, "modality": modality}
            rows.append(known | {"r": r, "rank": rank, "cells": len(both)})
    return pd.DataFrame(rows)


def indicators(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Attributes as vectors whose cosine distance is the share of attributes that differ; not named is a value.

    Args:
        codes: (…, 5), −1 where not named.

    Returns:
        Shape (…, 41): 36 values, and for each attribute not named.
    """
    parts = [
        np.eye(len(values) + 1)[codes[..., k]] for k, values in enumerate(world.VALUES[a] for a in world.ATTRIBUTES)
    ]  # −1 is the last column
    return np.concatenate(parts, axis=-1)


def memory(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Memory early and late as it is in attributes, and as measured in texts and pictures."""
    run = open_run(path)
    steps = run.steps(["trajectory_id", "t", "text"]).sort_values(["trajectory_id", "t"])
    count = steps["t"].nunique()
    codes = truth.caption_codes(steps["text"].tolist()).reshape(-1, count, len(world.ATTRIBUTES))
    members = run.trajectories()
    row_of = {name: k for k, name in enumerate(steps["trajectory_id"].unique())}
    length = max((count - 1) // 4, 3)
    windows = {"early": (1, 1 + length), "late": (count - length, count)}
    measured = frame[frame["metric"] == "memory"].set_index([*CELL, "item", "modality"])["value"]
    rows = []
    for cell, mine in members.groupby(CELL, sort=False):
        x = indicators(codes[[row_of[name] for name in mine["trajectory_id"]]])
        for window, (start, stop) in windows.items():
            found = panel.panel(x, mine["start_id"], start, stop).memory.value
            texts, pictures = (measured.get((*cell, window, modality), float("nan")) for modality in ("text", "image"))
            known = dict(zip(CELL, cell, strict=True)) | {"window": window}
            rows.append(known | {"truth": found, "text": float(texts), "image": float(pictures)})
    return pd.DataFrame(rows)


def survival(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The share of what prompts named that captions have said ever since, counted from the attributes themselves; and
    `concept_survival` of loopsim in captions and in pictures.
    """
    run = open_run(path)
    steps = run.steps(["trajectory_id", "t", "text"]).sort_values(["trajectory_id", "t"])
    count = steps["t"].nunique()
    codes = truth.caption_codes(steps["text"].tolist()).reshape(-1, count, len(world.ATTRIBUTES))
    named = codes[:, 0] >= 0
    kept = np.logical_and.accumulate(codes == codes[:, :1], axis=1)
    members = run.trajectories()
    row_of = {name: k for k, name in enumerate(steps["trajectory_id"].unique())}
    mine = frame[(frame["metric"] == "concept_survival") & (frame["item"] == "all")]
    measured = mine.set_index([*CELL, "t", "modality"])["value"]
    rows = []
    for cell, of in members.groupby(CELL, sort=False):
        at = [row_of[name] for name in of["trajectory_id"]]
        exact = (kept[at] & named[at][:, None]).sum(axis=(0, 2)) / named[at].sum()
        for t in range(1, count):
            seen = {name: float(measured.get((*cell, t, name), float("nan"))) for name in ("text", "image")}
            rows.append(dict(zip(CELL, cell, strict=True)) | {"t": t, "truth": float(exact[t]), **seen})
    return pd.DataFrame(rows)
