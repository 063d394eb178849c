"""Which trajectories to show: named ones, a spread over conditions and groups, the most or least drifted, medoids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from loopsim.errors import UsageError
from loopsim.report.motifs import Assigned, medoids
from loopsim.states import States

CHOICES: dict[str, str] = {
    "spread": "first replicates, conditions and groups of starts in turn",
    "most-drifted": "those whose last state is farthest from their first",
    "least-drifted": "those whose last state is nearest to their first",
    "motifs": "those through the medoids of the largest motifs",
}
"""Ways to choose, and what each does."""


def by_ids(trajectories: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Ids of the trajectories named, in full or by their first characters, in the order asked for.

    Raises:
        UsageError: there is none that begins so, or more than one.
    """
    known = trajectories["trajectory_id"].tolist()
    found: list[str] = []
    for name in wanted:
        fits = [one for one in known if one.startswith(name)] if name else []
        if len(fits) != 1:
            some = ", ".join((fits or known)[:5]) + (", …" if len(fits or known) > 5 else "")
            why = f"{len(fits)} trajectories begin so" if fits else "there is no such trajectory here"
            raise UsageError(f"--trajectory {name!r}: {why}; {'they are' if fits else 'there are'} {some}")
        found.append(fits[0])
    return list(dict.fromkeys(found))


def spread(trajectories: pd.DataFrame, rows: int) -> list[str]:
    """First replicates, conditions and groups of starts in turn, listed condition by condition."""
    first = trajectories[trajectories["replicate"] == trajectories["replicate"].min()].copy()
    if len(first) < rows:
        first = trajectories.sort_values("replicate", kind="stable").copy()
    first["turn"] = first.groupby(["condition", "group"], sort=False).cumcount()
    chosen = first.sort_values("turn", kind="stable").head(rows)
    return [str(one) for one in chosen.sort_values(["label", "group"], kind="stable")["trajectory_id"]]


def drift(states: States) -> pd.Series:
    """Cosine distance from the first to the last state of each trajectory that has two, by trajectory id."""
    values, ids = [], []
    for name, vectors, present in zip(
        states.trajectories["trajectory_id"], states.vectors, states.present, strict=True
    ):
        there = np.flatnonzero(present)
        if there.size > 1:
            first, last = vectors[there[0]].astype(np.float64), vectors[there[-1]].astype(np.float64)
            lengths = float(np.linalg.norm(first) * np.linalg.norm(last))
            values.append(1.0 - float(first @ last) / lengths if lengths else np.nan)
            ids.append(str(name))
    return pd.Series(values, index=pd.Index(ids, name="trajectory_id"), name="drift", dtype=np.float64)


def drifted(states: States, rows: int, least: bool = False) -> list[str]:
    """The most, or least, drifted trajectories, in that order."""
    ordered = drift(states).dropna().sort_values(ascending=least, kind="stable")
    return [str(one) for one in ordered.index[:rows]]


def through_medoids(assigned: Assigned, rows: int, among: Sequence[str] | None = None) -> list[str]:
    """Trajectories that the medoids of the largest motifs are states of, the largest motif first, each once."""
    inside = None if among is None else np.isin(assigned.ids, list(among))
    return list(dict.fromkeys(one.trajectory_id for one in medoids(assigned, inside)))[:rows]
