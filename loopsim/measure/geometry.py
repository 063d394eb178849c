"""Curves of embeddings: diversity, drift, and distances between and within starts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from loopsim.measure.cells import end_points, first_fitted
from loopsim.measure.decays import decay_rows
from loopsim.measure.redraws import Redraws, first_told
from loopsim.measure.rows import COSTLY, Row, bare, depending, guarded, missing, row
from loopsim.states import States
from metrics import between, diversity, drift, jackknife, panel, rarefaction

PANEL = {
    "stranger": "stranger_distance", "twin": "twin_distance", "step": "step_distance", "noise": "seed_noise",
    "noise_share": "noise_share", "kept": "kept_per_step", "offset": "offset", "prompt_fixes": "prompt_fixes",
    "memory": "memory",
}  # fmt: skip
"""Field of `metrics.panel.Panel` to metric."""

Vectors = NDArray[np.float32]
FloatArray = NDArray[np.float64]


def diversity_rows(states: States) -> Iterator[Row]:
    """Every measure of a set, iteration by iteration, and the decay of the main ones."""
    ends = end_points(states.ts)
    for k, t in enumerate(states.ts):
        live = states.present[:, k]
        if live.any():
            x, starts = states.vectors[live, k], states.starts[live]
            yield row("mean_pairwise_distance", diversity.mean_pairwise_distance_estimate(x, starts), int(t))
            cloud = diversity.Cloud(x, starts)
            yield row("vendi", cloud.vendi_estimate(), int(t))
            yield row("nearest_neighbour_distance", diversity.nearest_neighbour_distance_estimate(x, starts), int(t))
            yield row("stranger_distance", between.stranger_distance_estimate(x, starts), int(t))
            yield from _more_orders(cloud, x, starts, int(t), k in ends)
    yield from _diversity_decays(states)


def _more_orders(
    cloud: diversity.Cloud, x: Vectors, starts: NDArray[np.object_], t: int, costly: bool
) -> Iterator[Row]:
    for q, name in ((0.0, "vendi_q0"), (0.5, "vendi_q0.5"), (2.0, "vendi_q2"), (math.inf, "vendi_qinf")):
        if costly:
            yield row(name, cloud.vendi_estimate(q), t)
        else:
            yield bare(name, cloud.vendi(q), len(x), {"q": q, "kernel": "cos"}, COSTLY, t)
    others: tuple[tuple[str, Callable[..., float], float], ...] = (
        ("rke", diversity.rke, 0.0),
        ("effective_rank", diversity.effective_rank, 1.0),
        ("participation_ratio", diversity.participation_ratio, 1.0),
    )
    for name, statistic, low in others:
        if costly:
            yield row(name, jackknife.estimate(statistic, x, starts, name=name.replace("_", "-"), low=low), t)
        else:
            value = cloud.effective_rank() if name == "effective_rank" else statistic(x)
            yield bare(name, value, len(x), {}, COSTLY, t)
    growth = diversity.growth_rate(x, starts) if len(np.unique(starts)) < 2 else cloud.growth_rate()
    yield bare(
        "growth_rate", growth, len(x), {"groups": len(np.unique(starts))}, "it is a mean over the starts left out", t
    )


def _diversity_decays(states: States) -> Iterator[Row]:
    first = first_fitted(states.ts)
    whole = np.asarray(states.present[:, first:].all(axis=1), dtype=np.bool_)
    kept, starts = states.vectors[whole], states.starts[whole]
    if len(np.unique(starts)) < 2:
        yield missing("mean_pairwise_distance:half_life", int(whole.sum()), "fewer than 2 starts last throughout")
        return
    ts = range(first, len(states.ts))
    mean = np.array([diversity.mean_pairwise_distance(kept[:, k]) for k in ts])
    mean_without = np.stack([diversity.mean_pairwise_distance_without_each(kept[:, k], starts) for k in ts], axis=1)
    clouds = [diversity.Cloud(kept[:, k], starts) for k in ts]
    vendi = np.array([cloud.vendi() for cloud in clouds])
    vendi_without = np.stack([cloud.vendi_without_each() for cloud in clouds], axis=1)
    yield from decay_rows("mean_pairwise_distance", mean, mean_without, int(whole.sum()))
    yield from decay_rows("vendi", vendi, vendi_without, int(whole.sum()))


def rarefied_rows(states: States, size: int) -> Iterator[Row]:
    """Vendi at `size` starts, first and last iteration, so that cells with unequal numbers of starts compare."""
    for k in sorted({first_fitted(states.ts), len(states.ts) - 1}):
        live = states.present[:, k]
        x, starts = states.vectors[live, k], states.starts[live]
        if len(np.unique(starts)) < size:
            yield missing("vendi_rarefied", int(live.sum()), f"fewer than {size} starts are left", int(states.ts[k]))
        elif len(np.unique(starts)) == size:
            estimate = diversity.vendi_estimate(x, starts)
            yield row("vendi_rarefied", estimate, int(states.ts[k]))
        else:
            estimate = rarefaction.rarefied_estimate(diversity.vendi, x, size, starts, name="vendi-rarefied", draws=200)
            yield row("vendi_rarefied", estimate, int(states.ts[k]))


# ---- drift -----------------------------------------------------------------------------------------------------------


def drift_rows(states: States, centred: Vectors | None) -> Iterator[Row]:
    """How far trajectories are from where they began, from step to step, and in all.

    Args:
        states: of one cell.
        centred: the same states, each model's mean taken out, shape (n, T, d); None where that leaves nothing.
    """
    x, mask, starts = states.vectors, states.present, states.starts
    first = first_fitted(states.ts)
    yield from _distances("distance_to_start", states, drift.distance_to(x, 0, mask), 0)
    if states.ts[first] == 1:  # for pictures of text-first chains this is the start too: they begin at t = 1
        yield from _distances("distance_to_first", states, drift.distance_to(x, first, mask), first)
    for lag, name in ((1, "step_distance"), (2, "distance_lag_2")):
        if lag < len(states.ts):
            yield from _distances(name, states, drift.distance_at_lag(x, lag, mask), lag - 1)
    if centred is not None:
        for origin, name in ((0, "distance_to_start_centred"), (first, "distance_to_first_centred")):
            if states.ts[origin] == 1 or name.startswith("distance_to_start"):
                yield from _distances(name, states, drift.distance_to(centred, origin, mask), origin)
    for name, function in (("path_length", drift.path_length), ("tortuosity", drift.tortuosity)):
        yield from guarded(name, len(x), functools.partial(_travelled, name, function, states, starts, first))


def _travelled(
    name: str, function: Callable[..., FloatArray], states: States, starts: NDArray[np.object_], first: int
) -> list[Row]:
    values = function(states.vectors, states.present, first)
    return [row(name, jackknife.mean_estimate(values, starts, name=name, parameters={"start": first}, low=0.0))]


def _distances(name: str, states: States, values: FloatArray, after: int) -> Iterator[Row]:
    """The mean over trajectories at every iteration after the origin's index."""
    known = np.asarray(np.isfinite(values).any(axis=0), dtype=np.bool_)
    for k in range(after + 1, len(states.ts)):
        if known[k]:
            estimate = jackknife.mean_estimate(
                values[:, k], states.starts, name=name, parameters={"dist": "cos"}, low=0.0, high=2.0
            )
            yield row(name, estimate, int(states.ts[k]))


def pair_rows(pictures: States, texts: States) -> Iterator[Row]:
    """CLIPScore of pictures and the captions that describe them, by iteration."""
    for t in np.intersect1d(pictures.ts, texts.ts):
        i, j = int(t - pictures.ts[0]), int(t - texts.ts[0])
        both = pictures.present[:, i] & texts.present[:, j]
        if both.any():
            scores = drift.clip_score(pictures.vectors[both, i], texts.vectors[both, j])
            estimate = jackknife.mean_estimate(
                scores, pictures.starts[both], name="clip-score", parameters={"weight": 2.5}, low=0.0, high=2.5
            )
            yield row("clip_score", estimate, int(t))


# ---- between and within ----------------------------------------------------------------------------------------------


def between_rows(states: States, conditions: int, redraws: Redraws | None) -> Iterator[Row]:
    """Twins and strangers at every iteration, shared movement, seed noise, and the panel early and late.

    Args:
        states: of one cell.
        conditions: that the cell pools: twins are replicates under one condition.
        redraws: draws of the same steps, of this cell.
    """
    n = len(states.vectors)
    if conditions > 1:
        why = f"the cell pools {conditions} conditions, and twins are replicates under one: measure without --by"
        yield from (missing(name, n, why) for name in ("twin_distance", "memory"))
        return
    for k, t in enumerate(states.ts):
        live = states.present[:, k]
        if live.any():
            x, starts = states.vectors[live, k], states.starts[live]
            yield row("twin_distance", between.twin_distance_estimate(x, starts), int(t))
            both = live & states.present[:, k - 1] if k else np.zeros(n, dtype=bool)
            if both.any():
                moved = between.shared_movement_estimate(
                    states.vectors[both, k - 1], states.vectors[both, k], states.starts[both]
                )
                yield row("shared_movement", moved, int(t))
    if redraws is not None:
        yield from _drawn_again(redraws)
    for window, (start, stop) in windows(states, max(1, first_told(states))).items():
        make = functools.partial(_panel, states, start, stop, redraws, window)
        yield from guarded("memory", n, make, item=window)


def _drawn_again(redraws: Redraws) -> Iterator[Row]:
    """Seed noise of each iteration whose step was drawn again."""
    for t in redraws.ts:
        block = redraws.within(t, t)
        assert block is not None
        distances = [between.seed_noise_from_redraws(draws[None]) for draws in block.vectors]
        parameters = {"draws": block.vectors.shape[1], "redraws_of": block.source}
        name = "seed_noise"
        yield row(name, jackknife.mean_estimate(distances, block.starts, name=name, parameters=parameters, low=0.0), t)


def windows(states: States, first: int = 1) -> dict[str, tuple[int, int]]:
    """Indices [start, stop) of the first and the last quarter of the iterations after the register shift.

    Pictures have none, but the panel leaves out the first state of all the same. Where they count from index `first`
    on only, that is where the early one begins.
    """
    last = len(states.ts)
    length = max((last - 1) // 4, 3)
    return {"early": (first, min(first + length, last)), "late": (max(first, last - length), last)}


def _panel(states: States, start: int, stop: int, redraws: Redraws | None, window: str) -> list[Row]:
    block = None
    if redraws is not None and start < stop:
        block = redraws.within(int(states.ts[start]), int(states.ts[stop - 1]))
    draws, whose = (None, None) if block is None else (block.vectors, block.starts)
    found = panel.panel(states.vectors, states.starts, start, stop, draws, whose, states.present)
    rows = [row(metric, getattr(found, field), item=window) for field, metric in PANEL.items()]
    depends = {} if block is None else {"redraws_of": block.source}
    return list(depending(rows, depends))
