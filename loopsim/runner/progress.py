"""How far a run is, and what failed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loopsim.records import Failure


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    done: int
    """Steps that exist, stored earlier or made now."""
    total: int
    """Steps in all, those of failed trajectories left out."""
    made: int
    """Steps made by this call."""
    seconds: float
    """Since the first of them was begun, loading of models included."""


Watcher = Callable[[Progress], None]


def describe_failures(failures: Iterable[Failure]) -> str:
    """One line a failure, at most five."""
    known = list(failures)
    lines = [
        f"  trajectory {f.trajectory_id}, iteration {f.t}, {f.role} {f.model}: {f.message.splitlines()[0][:200]}"
        for f in known[:5]
    ]
    more = [f"  … and {len(known) - 5} more"] if len(known) > 5 else []
    return "\n".join([f"{len(known)} trajectories failed", *lines, *more])
