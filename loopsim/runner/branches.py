"""Going on from a step of an existing run."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

from loopsim.errors import ExperimentError
from loopsim.records import Start
from loopsim.seeds import digest
from loopsim.store import open_run


def read_branch(reference: str, group: str) -> Start:
    """The start that a step of an existing run is: `RUN/TRAJECTORY/t`, a unique prefix of the trajectory is enough.

    Raises:
        ExperimentError: there is no such step, or it has no text.
    """
    folder, _, rest = reference.rpartition("/")
    folder, _, prefix = folder.rpartition("/")
    if not folder or not prefix or not rest.isdigit():
        raise ExperimentError(f"from: {reference!r} must be RUN/TRAJECTORY/t")
    run = open_run(Path(folder))
    table = run.trajectories().set_index("trajectory_id")
    found = [name for name in table.index if name.startswith(prefix)]
    found = [prefix] if prefix in found else found  # an imported "7" is not "70"
    if len(found) != 1:
        what = "no trajectory" if not found else f"{len(found)} trajectories"
        raise ExperimentError(f"from: {reference!r}: {what} of that run begin{'s' * (not found)} with {prefix!r}")
    t = int(rest)
    steps = run.steps(["trajectory_id", "t", "text"])
    text = steps.loc[(steps["trajectory_id"] == found[0]) & (steps["t"] == t), "text"]
    if text.empty or not text.iloc[0]:
        raise ExperimentError(f"from: {reference!r}: that trajectory has no step {t}")
    row, said = table.loc[found[0]], str(text.iloc[0])
    lineage = (int(run.experiment["seed"]), str(row["start_id"]), int(row["replicate"]))
    if isinstance(row["lineage"], str) and lineage[2] == 0:  # a branch of a branch keeps the noise of the first
        seed, start_id, replicate = json.loads(row["lineage"])
        lineage = (int(seed), str(start_id), int(replicate))
    facts = MappingProxyType({name: None if row[name] != row[name] else row[name] for name in run.start_columns})
    return Start(
        digest(["branch", found[0], t, said]), "text", said, None, group, t,
        lineage, f"{found[0]}@{t}", facts,
    )  # fmt: skip
