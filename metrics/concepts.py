"""What becomes of the concepts named at the start: losses, reappearances, births and replacements, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics._checks import FloatArray, IntArray, as_codes
from metrics.resampling import bootstrap_mean, bootstrap_means, prompt_means, share
from metrics.result import Estimate, NanBecause, signature, undefined

__all__ = ["ConceptEvents", "Replacements", "concept_events", "concept_replacements", "first_loss"]

BoolArray = NDArray[np.bool_]


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
    seen, asked, kinds = _checked(detected, named, categories)
    count, points, _ = seen.shape
    lost, back, born, _ = _changes(seen, asked)
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


@dataclass(frozen=True, slots=True, eq=False)
class Replacements:
    """Which concept gave way to which, and whether to the one that most other trajectories show."""

    pairs: IntArray
    """Indices of the concept lost and of the one born, shape (P, 2): the pairs that occur."""
    counts: list[Estimate]
    """Replacements a trajectory, of each pair; they sum to `ConceptEvents.replacements`."""
    expected: FloatArray
    """The same if what is born were drawn from what the others show at that iteration, shape (P,)."""
    to_majority: Mapping[object, Estimate]
    """By category: share of the replacements that are by the concept most shown by the others at that iteration."""
    to_majority_expected: Mapping[object, float]
    """The same if what is born were drawn from what the others show."""


def concept_replacements(
    detected: ArrayLike,
    named: ArrayLike,
    categories: ArrayLike | Sequence[object] | None = None,
    prompts: ArrayLike | Sequence[object] | None = None,
    *,
    others: ArrayLike | None = None,
    seed: int = 0,
) -> Replacements:
    """Tell the replacements that `concept_events` counts apart by what is lost and what is born.

    Where l named concepts of a category are lost and b are born at once, min(l, b) replacements are dealt evenly to the
    l·b pairs. The expectation deals them, at that iteration, in proportion to how many of the others show each concept
    of the category that this trajectory has neither named nor shown before; only such can be born. `to_majority` takes
    the iterations with a replacement at which one concept is shown by more of the others than any other is, and could
    be born: in a category of two concepts it is 1 by necessity, and the counts of the two directions tell more.
    Its expectation is too high where chains are few, since being the most shown is chance in part: 0.33 for a share of
    0.26 with five concepts drawn evenly in 60 chains. Pairs that did not occur are left out, so rare ones lie above
    their expectation by selection; where nobody else shows anything that could come, nothing is added to it.

    Args:
        detected: (n, T, C) booleans, as for `concept_events`.
        named: (n, C) booleans.
        categories: (C,); None: all in one.
        prompts: (n,), the unit of the intervals.
        others: (n, T, C), how many other trajectories show each concept at each iteration. None: those of `detected`
            that have another prompt.
        seed: of the intervals.

    Returns:
        `Replacements`; where a category has none to judge, its share is nan, with the reason.

    Raises:
        ValueError: as `concept_events`; `others` of another shape.
    """
    seen, asked, kinds = _checked(detected, named, categories)
    count, points, _ = seen.shape
    shown = _others(seen, prompts) if others is None else np.asarray(others)
    if shown.shape != seen.shape:
        raise ValueError(f"others has shape {shown.shape}; it must be that of detected, {seen.shape}")
    lost, _, born, before = _changes(seen, asked)
    labels = np.arange(count) if prompts is None else np.asarray(prompts)
    pairs: list[IntArray] = []
    each: list[FloatArray] = []
    chance: list[FloatArray] = []
    shares: dict[object, Estimate] = {}
    expected: dict[object, float] = {}
    for kind in dict.fromkeys(kinds.tolist()):
        inside = np.flatnonzero(kinds == kind)
        gone, come, past = (x[:, :, inside] for x in (lost, born, before))
        made, drawn = _dealt(gone, come, past, shown[:, :, inside])
        found = np.argwhere(made.sum(axis=0) > 0)
        pairs.append(inside[found])
        each.append(made[:, found[:, 0], found[:, 1]])
        chance.append(drawn[:, found[:, 0], found[:, 1]])
        shares[kind], expected[kind] = _to_majority(gone, come, past, shown[:, :, inside], labels)
    total, drawn = np.concatenate(each, axis=1), np.concatenate(chance, axis=1)
    index = np.concatenate(pairs).astype(np.intp)
    counts = [] if not len(index) else bootstrap_means(
        total, prompts, name="concept_replacements", parameters={"t": f"1-{points}"}, seed=seed,
        columns=("pair", [f"{a}>{b}" for a, b in index]),
    )  # fmt: skip
    return Replacements(index, counts, prompt_means(drawn, prompts).mean(axis=0), shares, expected)


def _changes(seen: BoolArray, asked: BoolArray) -> tuple[BoolArray, BoolArray, BoolArray, BoolArray]:
    """Losses and returns of named concepts, births of others, and what was named or seen before: (n, T, C) each."""
    before = np.concatenate([asked[:, None], seen[:, :-1]], axis=1)
    lost = before & ~seen & asked[:, None]
    back = ~before & seen & asked[:, None]
    ever_before = np.logical_or.accumulate(before, axis=1)
    return lost, back, seen & ~ever_before & ~asked[:, None], ever_before


def _others(seen: BoolArray, prompts: ArrayLike | Sequence[object] | None) -> IntArray:
    """How many trajectories of other prompts show each concept, (n, T, C)."""
    codes = as_codes(prompts, len(seen), "prompts")
    own = np.zeros((int(codes.max()) + 1, *seen.shape[1:]), dtype=np.intp)
    np.add.at(own, codes, seen)
    return np.asarray(own.sum(axis=0) - own[codes])


def _dealt(lost: BoolArray, born: BoolArray, before: BoolArray, shown: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Replacements of one category by what is lost and what is born, (n, k, k), and as drawn from what others show."""
    losses, births = lost.sum(axis=2, keepdims=True), born.sum(axis=2, keepdims=True)
    replaced = np.minimum(losses, births)
    gone = lost * (replaced / np.maximum(losses, 1))
    come = born / np.maximum(births, 1)
    free = shown * ~before
    drawn = free / np.maximum(free.sum(axis=2, keepdims=True), 1)
    return gone.transpose(0, 2, 1) @ come, gone.transpose(0, 2, 1) @ drawn


def _to_majority(
    lost: BoolArray, born: BoolArray, before: BoolArray, shown: NDArray[Any], labels: NDArray[Any]
) -> tuple[Estimate, float]:
    """Share of replacements by the concept that most others show, where it could be, and what drawing gives."""
    most = shown.argmax(axis=2)[:, :, None]
    height = np.take_along_axis(shown, most, axis=2)
    could = ~np.take_along_axis(before, most, axis=2)[:, :, 0] & ((shown == height).sum(axis=2) == 1)
    i, t = np.nonzero(lost.any(axis=2) & born.any(axis=2) & could)
    parameters = {"t": f"1-{lost.shape[1]}"}
    if not len(i):
        why = "no replacement at which a concept that most others show could be born"
        none = undefined(why, 0, signature("concept_to_majority", parameters))
        return none, NanBecause(why)
    flags = np.take_along_axis(born, most, axis=2)[i, t, 0]
    drawn = height[i, t, 0] / (shown * ~before)[i, t].sum(axis=1)
    share_of = share(flags, labels[i], name="concept_to_majority", parameters=parameters)
    return share_of, float(prompt_means(drawn, labels[i]).mean())


def _checked(
    detected: ArrayLike, named: ArrayLike, categories: ArrayLike | Sequence[object] | None
) -> tuple[BoolArray, BoolArray, NDArray[Any]]:
    seen = _booleans(detected, "detected", 3)
    asked = _booleans(named, "named", 2)
    count, _, concepts = seen.shape
    if asked.shape != (count, concepts):
        raise ValueError(f"named has shape {asked.shape}; for detected {seen.shape} it must be {(count, concepts)}")
    kinds = np.zeros(concepts, dtype=int) if categories is None else np.asarray(categories)
    if kinds.shape != (concepts,):
        raise ValueError(f"categories must name one for each of {concepts} concepts; its shape is {kinds.shape}")
    return seen, asked, kinds


def _booleans(x: ArrayLike, name: str, ndim: int) -> NDArray[np.bool_]:
    array = np.asarray(x)
    if array.dtype != bool or array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"{name} must be booleans of {ndim} axes and not empty; it is {array.dtype} of shape {array.shape}"
        )
    return array
