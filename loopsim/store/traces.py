"""What tells that steps were made in a run of which none is there: they may have been moved, and are not lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from loopsim.errors import StoreError
from loopsim.store import checksums
from loopsim.store.journal import since_gave_way
from loopsim.store.run import Run
from loopsim.store.shards import reading, shard_at

_MADE_OF_STEPS = ("measurements*.parquet", "motifs", "figures", "report")
"""What passes over the steps leave in a run directory, beside vectors."""
NO_FOLDER = "there is no folder steps/"
"""A clause: every run has one when it is made."""


def results(run: Run) -> list[Path]:
    """Everything in a run directory that was measured or drawn, whatever it is of."""
    return sorted(found for pattern in _MADE_OF_STEPS for found in run.path.glob(pattern))


def perhaps_of_steps(run: Run) -> str:
    """A clause that names those of the results that may be of more than starts; empty where there are none.

    Measurements say what they are of. Of motifs, figures and reports nobody can tell, unless there is no file of them.

    Raises:
        StoreError: the table of trajectories is damaged.
    """
    first = int(run.trajectories()["t0"].min())
    names = [path.name for path in results(run) if (_holds_any(path) if path.is_dir() else _goes_on(path, first))]
    return f"there is {', '.join(names)}" if names else ""


def traces(run: Run) -> list[str]:
    """What tells that more than starts was stored, or may have been, a clause each; empty where nothing does.

    Raises:
        StoreError: the table of trajectories is damaged.
    """
    path = run.path
    t0s: dict[str, int] = dict(run.trajectories()[["cohort", "t0"]].itertuples(index=False))
    left = perhaps_of_steps(run)
    clauses = {
        left: bool(left),
        "there are vectors": any(_beyond_starts(folder, t0s) for folder in path.glob("embeddings/*")),
        "steps/ tells of files of steps": _beyond_starts(path / "steps", t0s),
        "damaged/ holds files of steps": any(_beyond_starts(folder, t0s) for folder in path.glob("damaged/*/steps")),
        "its log says that it ended": any(event.get("event") == "end" for event in since_gave_way(run.events())),
        NO_FOLDER: not (path / "steps").is_dir(),
    }
    return [clause for clause, holds in clauses.items() if holds]


def _holds_any(folder: Path) -> bool:
    """Whether a folder holds a file beside the note of what was measured last, which needs nothing to be drawn."""
    return any(path.is_file() and path.name != ".stamp" for path in folder.rglob("*"))


def _goes_on(measurements: Path, first: int) -> bool:
    """Whether measurements have a value beyond the first iteration, or of a whole course; a damaged file may have."""
    try:
        with reading(measurements):
            rows = pq.read_table(measurements, columns=["t", "value"]).to_pandas()
            return bool((rows["t"] > first).any() or (rows["t"].isna() & rows["value"].notna()).any())
    except StoreError:
        return True


def _beyond_starts(folder: Path, t0s: Mapping[str, int]) -> bool:
    """Whether a folder holds, or held when they were noted, shards of more than the starts of the run."""
    names = {*(file.name for file in folder.glob("*.parquet")), *checksums.noted(folder)}
    found = (shard_at(folder / name) for name in names)
    return any(shard.last > t0s.get(shard.cohort, -1) for shard in found if shard is not None)
