"""Survival of the concepts that starts name, compared by log-rank tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.compare.cells import Cell, pairs_of
from loopsim.compare.lines import missing
from loopsim.compare.records import Comparison, Settings
from loopsim.measure import concepts
from loopsim.measure.vocabulary import named_in, vocabulary_of
from loopsim.presets.entry import of_postcards
from loopsim.states import Captions, captions
from loopsim.store import Run
from metrics.concepts import first_loss
from metrics.survival import log_rank


def survival_lines(runs: Sequence[Run], names: Sequence[str], settings: Settings) -> list[Comparison]:
    """Log-rank tests of the concepts that the starts name, found in captions."""
    parts = [captions(run) for run in runs]
    low, high = max(int(p.ts[0]) for p in parts), min(int(p.ts[-1]) for p in parts)
    if low != 0 or high < 2:
        return []
    framed = [part.trajectories.assign(run=name) for part, name in zip(parts, names, strict=True)]
    table = pd.concat(framed).reset_index(drop=True)
    texts = np.concatenate([p.texts[:, : high + 1] for p in parts])
    pooled = Captions(table, np.arange(high + 1), texts)
    world = "generator" in table and bool(table["generator"].astype(str).map(of_postcards).all())
    if world:
        detected, _ = concepts.postcard_concepts(pooled)
    else:
        vocabulary = vocabulary_of([t for t in table["start_text"].dropna().unique() if t])
        if not vocabulary.concepts:
            return []
        detected = named_in(texts, vocabulary)
    lasted = (texts != None).all(axis=1)  # noqa: E711 - element by element
    lines = []
    for first, second in pairs_of(table, settings, len(runs) > 1):
        lines.append(_log_ranked(table, detected, lasted, first, second))
    return lines


def _log_ranked(
    table: pd.DataFrame, detected: NDArray[np.bool_], lasted: NDArray[np.bool_], first: Cell, second: Cell
) -> Comparison:
    paired = bool(first.starts & second.starts)
    starts = table["start_id"].to_numpy(dtype=object)
    named = lasted & detected[:, 0].any(axis=1)
    one, other = (frozenset(starts[cell.rows & named]) for cell in (first, second))
    if paired:  # what one start alone shows of one cell says nothing of the other
        one = other = one & other
    if not one or not other:
        why = f"no start {'of both ' * paired}names a concept that is looked for"
        return missing(first, second, "text", "survival", why, paired)
    times, ended, kinds, whose, shares = [], [], [], [], []
    for kind, cell, kept in ((False, first, one), (True, second, other)):
        rows = np.flatnonzero(cell.rows & named & np.isin(starts, list(kept)))
        i, c = np.nonzero(detected[rows, 0])
        t, observed = first_loss(detected[rows[i], 1:, c])
        times.append(t)
        ended.append(observed)
        kinds.append(np.full(len(t), kind))
        whose.append(starts[rows[i]])
        shares.append(1 - float(observed.mean()))
    found = log_rank(
        np.concatenate(times), np.concatenate(ended), np.concatenate(kinds), np.concatenate(whose), stratify=paired
    )
    return replace(
        missing(first, second, "text", "survival", found.undefined, paired),
        first_value=shares[0], second_value=shares[1], difference=shares[1] - shares[0], p=found.p,
        starts=found.n, first_starts=len(one), second_starts=len(other), signature=found.signature,
        undefined=found.undefined or "a log-rank test has no interval and no margin",
    )  # fmt: skip
