"""What becomes of the concepts named at the start: losses, reappearances, births and replacements, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics._checks import FloatArray, IntArray
from metrics.resampling import bootstrap_mean
from metrics.result import Estimate

__all__ = ["ConceptEvents", "concept_events", "first_loss"]


def first_loss(detected: ArrayLike, *, confirm: int = 1) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the iteration of the first loss of a concept, and whether one was seen.

    A concept counts as lost at t when it is not detected at t, …, t + confirm − 1. With a share m of misses, one
    absence is spurious with probability m, and `confirm` of them with m^confirm: 5 % of misses "kill" a
    concept that is always there at a median of 14 iterations with confirm = 1, of about 280 with 2. To
    model the error instead see `metrics.detection`.

    Args:
        detected: (n, T) booleans, one row a concept of a trajectory, at iterations 1 … T.
        confirm: iterations of absence in a row that count as a loss.

    Returns:
        times (n,), for `metrics.survival.kaplan_meier`: the iteration of the loss, or the last at which one
        could have been confirmed, T − confirm + 1; and observed (n,), False where censored.

    Raises:
        ValueError: not booleans, empty, or `confirm` not between 1 and T.
    """
    seen = _booleans(detected, "detected", 2)
    points = seen.shape[1]
    if not 1 <= confirm <= points:
        raise ValueError(f"confirm is {confirm}; of {points} iterations it can be 1 to {points}")
    # Detections in each window of `confirm` iterations, from running totals.
    total = np.cumsum(np.pad(seen, ((0, 0), (1, 0))), axis=1)
    absent = total[:, confirm:] == total[:, :-confirm]
    observed = absent.any(axis=1)
    times = np.where(observed, absent.argmax(axis=1) + 1, points - confirm + 1)
    return times.astype(np.intp), observed


@dataclass(frozen=True, slots=True, eq=False)
class ConceptEvents:
    """Events per trajectory over the whole run, as detected, and their course."""

    losses: Estimate
    """Times a named concept goes from detected to not."""
    reappearances: Estimate
    """Times a named concept comes back."""
    births: Estimate
    """First appearances of concepts that were not named."""
    replacements: Estimate
    """Losses of a named concept together with a birth in its category at the same iteration."""
    losses_by_iteration: FloatArray
    """Mean losses per trajectory at iterations 1 … T, shape (T,)."""
    births_by_iteration: FloatArray
    """Mean births per trajectory at iterations 1 … T, shape (T,)."""


def concept_events(
    detected: ArrayLike,
    named: ArrayLike,
    categories: ArrayLike | Sequence[object] | None = None,
    prompts: ArrayLike | Sequence[object] | None = None,
    *,
    seed: int = 0,
) -> ConceptEvents:
    """Count what happens to the concepts of a vocabulary, named at the start or not.

    A loss is 1 → 0 between iterations, with named concepts present at t = 0; a reappearance 0 → 1 of a named concept;
    a birth the first detection of one that was not named. A count of losses alone cannot tell a
    scene that empties from one whose contents are exchanged.

    Args:
        detected: (n, T, C) booleans at iterations 1 … T; as detected, errors of detection included.
        named: (n, C) booleans, True where the start names the concept.
        categories: (C,), such as subject, colour, place; a replacement is within one. None: all in one.
        prompts: (n,), the prompt of each trajectory, the unit of the intervals.
        seed: of the intervals.

    Returns:
        `ConceptEvents`; the estimates are means per trajectory, n the number of prompts.

    Raises:
        ValueError: not booleans, empty, or shapes that do not match.
    """
    seen = _booleans(detected, "detected", 3)
    asked = _booleans(named, "named", 2)
    count, points, concepts = seen.shape
    if asked.shape != (count, concepts):
        raise ValueError(f"named has shape {asked.shape}; for detected {seen.shape} it must be {(count, concepts)}")
    kinds = np.zeros(concepts, dtype=int) if categories is None else np.asarray(categories)
    if kinds.shape != (concepts,):
        raise ValueError(f"categories must name one for each of {concepts} concepts; its shape is {kinds.shape}")
    before = np.concatenate([asked[:, None], seen[:, :-1]], axis=1)
    lost = before & ~seen & asked[:, None]
    back = ~before & seen & asked[:, None]
    ever_before = np.logical_or.accumulate(before, axis=1)
    born = seen & ~ever_before & ~asked[:, None]
    replaced = np.zeros((count, points))
    for kind in np.unique(kinds):
        inside = kinds == kind
        replaced += np.minimum(lost[:, :, inside].sum(axis=2), born[:, :, inside].sum(axis=2))

    def estimate(name: str, events: NDArray[np.generic]) -> Estimate:
        totals = events.reshape(count, -1).sum(axis=1).astype(float)
        return bootstrap_mean(totals, prompts, name=name, parameters={"t": f"1-{points}"}, seed=seed)

    return ConceptEvents(
        estimate("concept_losses", lost),
        estimate("concept_reappearances", back),
        estimate("concept_births", born),
        estimate("concept_replacements", replaced),
        lost.sum(axis=2).mean(axis=0),
        born.sum(axis=2).mean(axis=0),
    )


def _booleans(x: ArrayLike, name: str, ndim: int) -> NDArray[np.bool_]:
    array = np.asarray(x)
    if array.dtype != bool or array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"{name} must be booleans of {ndim} axes and not empty; it is {array.dtype} of shape {array.shape}"
        )
    return array
