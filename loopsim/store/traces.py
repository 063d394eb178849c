"""What tells that steps were made in a run of which none is there: they may have been moved, and are not lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loopsim.store import checksums
from loopsim.store.journal import since_gave_way
from loopsim.store.run import Run
from loopsim.store.shards import shard_at

_MADE_OF_STEPS = ("measurements*.parquet", "motifs", "figures", "report")
"""What passes over the steps leave in a run directory, beside vectors."""


def traces(run: Run) -> list[str]:
    """What tells that more than starts was ever stored, a clause each; empty where nothing does.

    Raises:
        StoreError: the table of trajectories is damaged.
    """
    path = run.path
    t0s: dict[str, int] = dict(run.trajectories()[["cohort", "t0"]].itertuples(index=False))
    made = sorted(found.name for pattern in _MADE_OF_STEPS for found in path.glob(pattern))
    clauses = {
        f"there is {', '.join(made)}": bool(made),
        "there are vectors": any(_beyond_starts(folder, t0s) for folder in path.glob("embeddings/*")),
        "steps/ tells of files of steps": _beyond_starts(path / "steps", t0s),
        "damaged/ holds files of steps": any(_beyond_starts(folder, t0s) for folder in path.glob("damaged/*/steps")),
        "its log says that it ended": any(event.get("event") == "end" for event in since_gave_way(run.events())),
        "there is no folder steps/": not (path / "steps").is_dir(),
    }
    return [clause for clause, holds in clauses.items() if holds]


def _beyond_starts(folder: Path, t0s: Mapping[str, int]) -> bool:
    """Whether a folder holds, or held when they were noted, shards of more than the starts of the run."""
    names = {*(file.name for file in folder.glob("*.parquet")), *checksums.noted(folder)}
    found = (shard_at(folder / name) for name in names)
    return any(shard.last > t0s.get(shard.cohort, -1) for shard in found if shard is not None)
