"""How long trajectories keep their origin: Kaplan–Meier over the first loss that lasts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from loopsim.measure.rows import Row, guarded, row, signed
from loopsim.states import States
from metrics.origins import first_loss, origin_rank
from metrics.result import Estimate, signature
from metrics.survival import Survival, kaplan_meier

LEVEL = 0.1
"""A trajectory has its origin while it is among this share of trajectories that are nearest to it."""
CONFIRM = 3
"""Iterations in a row without it that make a loss."""


def origin_rows(states: States) -> Iterator[Row]:
    """The median time to lose the origin, and the share that has it still, by iteration, of one cell.

    The origin is the first state that a trajectory has: the start, or of pictures of text-first chains the first
    picture. Strangers are trajectories of other starts under the same condition.
    """
    yield from guarded("time_to_lose_origin", len(states.vectors), lambda: _lasting(states))


def _lasting(states: States) -> Iterator[Row]:
    conditions = states.trajectories["condition"].astype(str).to_numpy(dtype=object)
    ranks, strangers = origin_rank(states.vectors, states.starts, conditions, states.present)
    times, observed, followed = first_loss(ranks, strangers, level=LEVEL, confirm=CONFIRM)
    starts, ts = states.starts[followed], states.ts[times[followed]]
    found = kaplan_meier(ts, observed[followed], starts)
    of = {"dist": "cos", "rank": LEVEL, "confirm": CONFIRM}
    median = replace(found.median, signature=signed(found.median.signature, {"of": "origin", **of}))
    yield row("time_to_lose_origin", median)
    yield row("time_to_lose_origin:never", _kept(found, -1, of))
    begin = int(states.ts[np.argmax(np.isfinite(ranks).any(axis=0))])
    for t in range(begin, int(ts.max()) + 1):
        yield row("origin_kept", _kept(found, int(np.searchsorted(found.times, t, side="right")) - 1, of), t)


def _kept(found: Survival, k: int, of: Mapping[str, object]) -> Estimate:
    """The share that has its origin still at the k-th time."""
    sign = signature("origin-kept", {**of, "ci": "loglog", "unit": "prompt", "level": 0.95})
    value, low, high = (float(v[k]) for v in (found.survival, found.ci_low, found.ci_high))
    why = "" if math.isfinite(low) and math.isfinite(high) else "no interval: all or none have lost it by then"
    return Estimate(value, low, high, found.median.n, sign, why)
