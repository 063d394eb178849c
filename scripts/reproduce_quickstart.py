"""The table of experiments/quickstart, from the entropies stored beside its README.

`scripts/reproduce` runs the quickstart, stores what the table rests on (`results/quickstart.parquet`), and writes the
table between `<!-- results: begin -->` and `<!-- results: end -->`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from loopsim.measure import interval
from loopsim.models.postcards.truth import entropy_of_draws

NAME = "quickstart"
GROUPS = ("even", "prior")
"""Groups of starts."""
ATTRIBUTES = ("attribute", "subject", "colour", "number", "place", "mood")
"""What entropies are of; `attribute` is the mean of the five others."""
DRAWS = 24
"""Trajectories of a group: 12 prompts, 2 replicates."""
LATE = range(16, 21)
"""Iterations whose mean is shown, as one iteration's entropy is noisy."""


def keep(run: Path, folder: Path) -> None:
    """Store the entropies of a run that the table rests on, in the folder of the README."""
    rows = pd.read_parquet(run / "measurements.parquet")
    metrics = [f"{name}_entropy" for name in ATTRIBUTES]
    kept = rows[rows["metric"].isin(metrics) & rows["t"].isin([0, 1, *LATE])]
    path = folder / "results" / f"{NAME}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["group", "t", "metric", "value", "n", "signature"]
    kept[columns].reset_index(drop=True).to_parquet(path, index=False, compression="zstd")


def table(folder: Path) -> str:
    """The table as Markdown, from what is stored in the folder."""
    rows = pd.read_parquet(folder / "results" / f"{NAME}.parquet")
    when = ("t = 0", "t = 1", f"mean of t = {LATE[0]}–{LATE[-1]}")
    heads = ["", *(f"{group}: {one}" if one == when[0] else one for group in GROUPS for one in when)]
    lines = [[*heads, f"{DRAWS} draws from the prior"], ["---"] * (len(heads) + 1)]
    for name in ATTRIBUTES:
        shown = []
        for group in GROUPS:
            mine = rows[(rows["group"] == group) & (rows["metric"] == f"{name}_entropy")].set_index("t")["value"]
            shown += [f"{v:.2f}" for v in (mine[0], mine[1], mine[list(LATE)].mean())]
        whole = name == "attribute"
        draws = interval(entropy_of_draws(DRAWS, attribute=None if whole else name), 2)
        lines.append(["mean of the five" if whole else name, *shown, draws])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
