"""Where all randomness comes from: one pure function from identity to a 64-bit seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from loopsim.records import Role, Trajectory

Json = Mapping[str, object] | Sequence[object]


def digest(content: Json, length: int = 12) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of canonical JSON (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def seed(
    experiment_seed: int,
    start_id: str,
    replicate: int,
    t: int | None,
    role: Role,
    condition_id: str | None = None,
) -> int:
    """The seed of one model call for one row: an integer in [0, 2⁶⁴).

    The condition is not in the key unless `condition_id` is given, so two conditions share the noise of their common
    starts (common random numbers). `t` is None under fixed noise.
    """
    return int(digest([experiment_seed, start_id, replicate, t, role, condition_id], 16), 16)


def step_seed(trajectory: Trajectory, t: int, role: Role, experiment_seed: int, independent: bool) -> int:
    """The seed of `role` at iteration `t` of a trajectory; a branch keeps its parent's noise on replicate 0."""
    start, replicate = trajectory.start, trajectory.replicate
    start_id = start.id
    if start.lineage is not None and replicate == 0:
        experiment_seed, start_id, replicate = start.lineage
    condition = trajectory.condition
    return seed(
        experiment_seed,
        start_id,
        replicate,
        None if condition.noise == "fixed" else t,
        role,
        condition.id if independent else None,
    )
