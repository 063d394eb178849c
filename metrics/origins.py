"""When does a trajectory lose its origin: when is it no longer among the nearest to it, of all that began elsewhere?

Distance to the origin by itself cannot say. It jumps with the change of register at t = 1, and grows in a chain that
only wanders. Its yardstick is what the same distance is for *strangers*, trajectories of other prompts at the same t:
they are in the same register and never saw this origin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics._checks import FloatArray, IntArray, as_codes, unit_states

__all__ = ["first_loss", "origin_rank"]

_TIE = 1e-9
"""Cosines closer than this are equal: states that are the same give products some ulp apart."""


def origin_rank(
    x: ArrayLike,
    prompts: ArrayLike | Sequence[object],
    conditions: ArrayLike | Sequence[object] | None = None,
    mask: ArrayLike | None = None,
) -> tuple[FloatArray, IntArray]:
    """Where each trajectory stands among strangers, in order of nearness to its own origin.

    The origin o_i is the first state that trajectory i has. With m strangers at t, trajectories of other prompts
    under the same condition, of which b are at least as near to o_i as i itself is, the rank is (1 + b)/(1 + m):
    the p-value of a test that i remembers its origin. Once all is forgotten i is one of them, and its rank uniform.

    Strangers at the same t share i's register, so a change of register cancels, and so does an origin that is near to
    everything. Where all trajectories have come to one place, nobody is nearer than others: ties count as near, so the
    rank is 1 even for a prompt that began there.

    Args:
        x: shape (n, T, d), n trajectories of embedded states; scaled to unit length here.
        prompts: shape (n,), the prompt of each.
        conditions: shape (n,), compared only within; None: all under one.
        mask: shape (n, T), False where a state is missing.

    Returns:
        Ranks in (0, 1] and the numbers m, both of shape (n, T). Ranks are nan at the origin, before it, where the
        state is missing, and where there is no stranger.

    Raises:
        ValueError: empty, non-finite or misshapen input, or a zero vector.

    References:
        Phipson & Smyth (2010) for the 1 in the p-value.
    """
    rows, present = unit_states(x, mask)
    n, steps, _ = rows.shape
    codes = as_codes(prompts, n, "prompts")
    kinds = np.zeros(n, dtype=np.intp) if conditions is None else as_codes(conditions, n, "conditions")
    strange = (codes[:, None] != codes) & (kinds[:, None] == kinds)
    begin = np.where(present.any(axis=1), present.argmax(axis=1), steps)
    origins = rows[np.arange(n), np.minimum(begin, steps - 1)]
    ranks, strangers = np.full((n, steps), math.nan), np.zeros((n, steps), dtype=np.intp)
    for t in range(steps):
        live = np.flatnonzero(present[:, t])
        mine = live[begin[live] < t]
        cosines = rows[live, t] @ origins[mine].T
        own = np.einsum("nd,nd->n", rows[mine, t], origins[mine])
        counted = strange[np.ix_(live, mine)]
        strangers[mine, t] = m = counted.sum(axis=0)
        near = ((cosines >= own - _TIE) & counted).sum(axis=0)
        ranks[mine, t] = np.where(m > 0, (1 + near) / (1 + m), math.nan)
    return ranks, strangers


def first_loss(
    ranks: ArrayLike, strangers: ArrayLike, *, level: float = 0.1, confirm: int = 3
) -> tuple[IntArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """When each trajectory first loses its origin and does not find it again at once.

    It has it at t while its rank is at most `level`, among the nearest tenth, say. It has lost it at t if it has not
    got it at t, …, t + confirm − 1: a first passage that is confirmed. One iteration would not do, because a noisy
    step looks like a loss; "lost for good" would not either, because a trajectory that has forgotten everything is
    among the nearest tenth in one iteration of ten, so that its last return says how long the run was.

    Args:
        ranks: shape (n, T), of `origin_rank`.
        strangers: shape (n, T), of `origin_rank`.
        level: the largest rank that still counts as near, between 0 and 1.
        confirm: iterations in a row that make a loss.

    Returns:
        times (n,), for `metrics.survival.kaplan_meier`: the index of the loss, or the last at which one could have been
        confirmed; observed (n,), False where censored; and followed (n,), False where not even one window of `confirm`
        iterations can be judged: leave those out. An iteration with fewer than 1/level − 1 strangers cannot be judged,
        for no rank could be small enough. A trajectory is followed up to the first that cannot.

    Raises:
        ValueError: unequal shapes, a level or a `confirm` out of range, or nobody can be followed; the message says
            how many strangers there are.
    """
    rank, m = np.asarray(ranks, dtype=np.float64), np.asarray(strangers)
    if rank.ndim != 2 or rank.shape != m.shape:
        raise ValueError(f"ranks and strangers must have one shape (n, T); they have {rank.shape} and {m.shape}")
    if not 0 < level < 1 or confirm < 1:
        raise ValueError(f"level must lie between 0 and 1, and confirm be 1 or more; they are {level:g} and {confirm}")
    needed = math.ceil(1 / level - 1e-9) - 1
    judged = np.isfinite(rank) & (m >= needed)
    begin = np.where(judged.any(axis=1), judged.argmax(axis=1), rank.shape[1])
    ts = np.arange(rank.shape[1])
    broken = ~judged & (ts > begin[:, None])
    end = np.where(broken.any(axis=1), broken.argmax(axis=1), rank.shape[1])  # the first that cannot be judged
    followed = end - begin >= confirm
    if not followed.any():
        most = int(m.max(initial=0))
        if most < needed:
            raise ValueError(
                f"there are at most {most} trajectories of other starts to compare with: a rank of {level:g} "
                f"needs {needed}"
            )
        raise ValueError(f"no trajectory has {confirm} iterations in a row after its origin that can be judged")
    without = judged & (rank > level) & (ts < end[:, None])
    run = np.cumsum(np.pad(without, ((0, 0), (1, 0))), axis=1)
    lost = (run[:, confirm:] - run[:, :-confirm] == confirm) if rank.shape[1] >= confirm else without[:, :0]
    observed = lost.any(axis=1)
    times = np.where(observed, lost.argmax(axis=1) if lost.shape[1] else 0, end - confirm)
    return np.asarray(times, dtype=np.intp), observed, followed
