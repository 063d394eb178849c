"""Survival of the concepts that a start names: found in captions by word, in pictures by a calibrated zero-shot score.

On postcards the captions are parsed exactly. Elsewhere the vocabulary is what a file lists, or the content words of
the starts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.measure.rows import Row, bare, guarded, missing, row
from loopsim.measure.vocabulary import Vocabulary
from loopsim.states import Captions, States
from metrics.concepts import concept_events, concept_replacements, first_loss
from metrics.detection import hidden_survival
from metrics.resampling import share
from metrics.result import Estimate, signature
from metrics.survival import kaplan_meier

_FEWEST_POSITIVES = 20

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int32]


# ---- detection -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Detector:
    """A zero-shot detector of concepts in pictures, calibrated on the first pictures of the run."""

    directions: NDArray[np.float32]
    """Embedded phrases, shape (C, d)."""
    means: NDArray[np.float64]
    """Mean cosine to pictures whose start does not name the concept, shape (C,)."""
    deviations: NDArray[np.float64]
    """Their standard deviation, shape (C,)."""
    threshold: float
    """Standard deviations above the mean from which on a concept counts as there."""
    miss: float
    """Share of the first pictures of starts that name a concept in which it is not found."""
    false_alarm: float
    """Share of first pictures of starts that do not name it in which it is found."""

    def detect(self, vectors: NDArray[np.float32]) -> BoolArray:
        """Whether each concept is in each picture: shape (…, C) from (…, d)."""
        scores = (vectors @ self.directions.T - self.means) / self.deviations
        return np.asarray(scores > self.threshold)


def calibrate(phrases: NDArray[np.float32], pictures: NDArray[np.float32], named: BoolArray) -> Detector | str:
    """A detector from the first pictures (n, d) and what their starts name (n, C); the reason where there can be none.

    Scores are put on one scale by the mean and deviation, concept by concept, over pictures whose start does not name
    it; the threshold maximises detections minus false alarms over all concepts together (Youden 1950). Misses so
    counted include concepts that the generator did not draw at all.
    """
    cosines = (pictures @ phrases.T).astype(np.float64)
    usable = (~named).sum(axis=0) >= 5
    if not usable.all():
        return "some concept is named by nearly every start, so nothing shows how a picture without it scores"
    means = np.array([cosines[~named[:, c], c].mean() for c in range(len(phrases))])
    deviations = np.array([cosines[~named[:, c], c].std(ddof=1) for c in range(len(phrases))])
    if not (deviations > 1e-9).all():
        return "the pictures are all alike, so no detector can be calibrated"
    scores = (cosines - means) / deviations
    inside, outside = np.sort(scores[named]), np.sort(scores[~named])
    if len(inside) < _FEWEST_POSITIVES:
        return f"{len(inside)} concepts are named in all; a calibration needs {_FEWEST_POSITIVES}"
    hit = 1 - np.searchsorted(inside, inside, side="right") / len(inside)
    alarm = 1 - np.searchsorted(outside, inside, side="right") / len(outside)
    best = int(np.argmax(hit - alarm))
    return Detector(phrases, means, deviations, float(inside[best]), float(1 - hit[best]), float(alarm[best]))


# ---- rows ------------------------------------------------------------------------------------------------------------


def shown_by_others(
    detected: BoolArray, vocabulary: Vocabulary, trajectories: pd.DataFrame, lasted: BoolArray
) -> IntArray:
    """How many trajectories of the same condition, but of other starts, show each concept at each iteration.

    Args:
        detected: shape (N, T, C).
        vocabulary: the C concepts.
        trajectories: N rows.
        lasted: shape (N,), the trajectories to count.

    Returns:
        Shape (N, T, S), of the S concepts that have a category.
    """
    said = vocabulary.categorised
    out = np.zeros((*detected.shape[:2], len(said)), dtype=np.int32)
    for _, of_condition in trajectories.assign(row=range(len(trajectories)))[lasted].groupby("condition"):
        total = detected[of_condition["row"]][:, :, said].sum(axis=0, dtype=np.int32)
        for _, of_start in of_condition.groupby("start_id"):
            rows = of_start["row"].to_numpy()
            out[rows] = total - detected[rows][:, :, said].sum(axis=0, dtype=np.int32)
    return out


def survival_rows(
    detected: BoolArray,
    named: BoolArray,
    vocabulary: Vocabulary,
    starts: NDArray[np.object_],
    others: IntArray,
    errors: tuple[float, float],
    confirm: int,
) -> Iterator[Row]:
    """Survival, its model behind the detector's errors, and events, of one cell.

    Args:
        detected: shape (n, T, C) at iterations 1 … T.
        named: shape (n, C), what the starts name.
        vocabulary: the C concepts.
        starts: shape (n,).
        others: shape (n, T, S), how many trajectories show each concept, as `shown_by_others` counts them.
        errors: shares of misses and of false alarms; (0, 0) for an exact parse.
        confirm: iterations of absence in a row that count as a loss.
    """
    n = len(named)
    if not named.any():
        yield missing("concept_survival", n, "no start names a concept that is looked for")
        return
    categories = np.array(vocabulary.categories, dtype=object)
    several = [None, *dict.fromkeys(vocabulary.categories)] if len(set(vocabulary.categories)) > 1 else [None]
    for category in several:
        mine = named & (categories == category if category else np.ones(len(categories), dtype=bool))
        if mine.any():
            item = category or "all"
            lasting = functools.partial(_survival, detected, mine, starts, confirm, item)
            yield from guarded("concept_survival", n, lasting, item)
    if errors != (0.0, 0.0):
        i, c = np.nonzero(named)
        yield from guarded("concept_survival_modelled", n, lambda: _modelled(detected[i, :, c], starts[i], errors))
    yield from guarded("concept_losses", n, lambda: _events(detected, named, vocabulary, starts))
    yield from guarded("concept_replacements", n, lambda: _replacements(detected, named, vocabulary, starts, others))
    if vocabulary.listed:
        yield from guarded("concept_share", n, lambda: _shares(detected, named, vocabulary, starts, errors))


def _survival(
    detected: BoolArray, named: BoolArray, starts: NDArray[np.object_], confirm: int, item: str
) -> Iterator[Row]:
    i, c = np.nonzero(named)
    times, observed = first_loss(detected[i, :, c], confirm=confirm)
    found = kaplan_meier(times, observed, starts[i])
    parameters = {"confirm": confirm, "concepts": len(i), "ci": "loglog", "unit": "prompt", "level": 0.95}
    sign = signature("concept-survival", parameters)
    units = len(set(starts[i]))
    for t in range(detected.shape[1] + 1):
        k = int(np.searchsorted(found.times, t, side="right")) - 1
        value, low, high = (float(v[k]) for v in (found.survival, found.ci_low, found.ci_high))
        why = "" if np.isfinite([value, low, high]).all() else "no interval: all or none are lost by then"
        yield row("concept_survival", Estimate(value, low, high, units, sign, why), t, item)
    yield row("concept_survival:median", found.median, item=item)


def _modelled(detected: BoolArray, starts: NDArray[np.object_], errors: tuple[float, float]) -> Iterator[Row]:
    miss, alarm = errors
    found = hidden_survival(detected, starts, miss=miss, false_alarm=alarm)
    parameters = {"model": "hidden-markov", "miss": miss, "alarm": alarm, "level": 0.95}
    sign = signature("concept-survival-modelled", parameters)
    units = len(set(starts))
    for t in range(len(found.survival)):
        # The detector was calibrated on this very run, and misses may stay with a concept: an interval that knows of
        # neither would be too narrow by far.
        why = "no interval: the error of the detector's calibration is not known"
        made = Estimate(float(found.survival[t]), math.nan, math.nan, units, sign, why)
        yield row("concept_survival_modelled", made, t, "all")
    for (first, last), hazard in zip(found.blocks, found.losses, strict=True):
        yield row("concept_loss_rate", hazard, item=f"t {first} to {last}")
    yield row("concept_return_rate", found.reappearance)
    for name, estimate in (("detector_miss", found.miss), ("detector_false_alarm", found.false_alarm)):
        yield bare(name, estimate.value, units, {"from": "first-pictures"}, "it was calibrated on the whole run")


def _events(
    detected: BoolArray, named: BoolArray, vocabulary: Vocabulary, starts: NDArray[np.object_]
) -> Iterator[Row]:
    found = concept_events(detected, named, vocabulary.categories, starts)
    for name in ("losses", "reappearances", "births", "replacements"):
        yield row(f"concept_{name}", getattr(found, name))
    n = len(named)
    for t, (lost, born) in enumerate(zip(found.losses_by_iteration, found.births_by_iteration, strict=True), start=1):
        why = "the interval is of the whole run's count"
        yield bare("concept_losses", float(lost), n, {"by": "iteration"}, why, t)
        yield bare("concept_births", float(born), n, {"by": "iteration"}, why, t)


def _replacements(
    detected: BoolArray, named: BoolArray, vocabulary: Vocabulary, starts: NDArray[np.object_], others: IntArray
) -> Iterator[Row]:
    """What gave way to what, within the categories that are said; a pair that never occurs has no row."""
    said = vocabulary.categorised
    if not said:
        return
    categories = [vocabulary.categories[c] for c in said]
    found = concept_replacements(detected[:, :, said], named[:, said], categories, starts, others=others)
    units = len(set(starts))
    drawn = {"by": "other-starts"}
    for (lost, born), count, expected in zip(found.pairs, found.counts, found.expected, strict=True):
        a, b = (vocabulary.concepts[said[c]] for c in (lost, born))
        item = f"{categories[lost]}: {a} > {b}"
        yield row("concept_replacements", count, item=item)
        why = "it is what the other chains would give, to hold the count against"
        yield bare("concept_replacements:expected", float(expected), units, drawn, why, item=item)
    for category in dict.fromkeys(categories):
        estimate, chance = found.to_majority[category], found.to_majority_expected[category]
        yield row("concept_to_majority", estimate, item=category)
        why = "it is what the other chains would give, to hold the share against"
        yield bare("concept_to_majority:expected", chance, estimate.n, drawn, why, item=category)


def _shares(
    detected: BoolArray, named: BoolArray, vocabulary: Vocabulary, starts: NDArray[np.object_],
    errors: tuple[float, float],
) -> Iterator[Row]:  # fmt: skip
    """Share of trajectories that show a concept, of those that any shows; of captions from the start on."""
    whole = np.concatenate([named[:, None], detected], axis=1)
    for c in np.flatnonzero(whole.any(axis=(0, 1))):
        item = f"{vocabulary.categories[c]}: {vocabulary.concepts[c]}"
        for t in range(0 if errors == (0.0, 0.0) else 1, whole.shape[1]):
            yield row("concept_share", share(whole[:, t, c], starts, name="concept_share"), t, item)


def postcard_concepts(captions: Captions) -> tuple[BoolArray, Vocabulary]:
    """Every value of the five attributes, parsed exactly from the captions: shape (n, T, C)."""
    from loopsim.models.postcards import truth, world

    names = [(value, attribute) for attribute in world.ATTRIBUTES for value in world.VALUES[attribute]]
    vocabulary = Vocabulary(tuple(str(v) for v, _ in names), tuple(a for _, a in names))
    flat = ["" if one is None else str(one) for one in captions.texts.ravel()]
    unique = list(dict.fromkeys(flat))
    codes = dict(zip(unique, truth.caption_codes(unique), strict=True))
    table = np.array([codes[one] for one in flat]).reshape(*captions.texts.shape, len(world.ATTRIBUTES))
    parts = [
        table[..., a, None] == np.arange(len(world.VALUES[attribute])) for a, attribute in enumerate(world.ATTRIBUTES)
    ]
    return np.concatenate(parts, axis=-1), vocabulary


def after_start(states: States | Captions) -> int:
    """Index of iteration 1, counted from where the trajectories begin."""
    return int(states.trajectories["t0"].min()) + 1 - int(states.ts[0])
