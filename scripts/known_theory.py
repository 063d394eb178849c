"""Where do chains of postcards models settle: in the prior, and where the confusion of one step says?

    python scripts/known_theory.py runs/known_answer_theory runs/known_answer_usual

For each pair of models and each attribute: total variation (0 the same, 1 disjoint) between what captions name over the
last quarter of the iterations and (a) the prior of the generator's world, (b) the stationary distribution of the
confusion of one step, counted over all steps from t = 1 on; with what as many independent draws would show.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.models.postcards import chains, truth, world
from loopsim.store import open_run
from metrics import entropy

WORLDS = {"postcards": "prior", "postcards-flat": "even"}
PAIR = ["generator", "captioner"]
Codes = NDArray[np.int64]


def states(path: Path) -> pd.DataFrame:
    """A row a caption: pair, group, trajectory, t and the codes of the five attributes."""
    run = open_run(path)
    steps = run.steps(["trajectory_id", "t", "text"])
    table = steps.merge(run.trajectories()[["trajectory_id", "group", *PAIR]], on="trajectory_id")
    codes = truth.caption_codes(table["text"].tolist())
    return pd.concat([table, pd.DataFrame(codes, columns=world.ATTRIBUTES)], axis=1)


def codes_of(rows: pd.DataFrame) -> Codes:
    return rows[list(world.ATTRIBUTES)].to_numpy(dtype=np.int64)


def transitions(rows: pd.DataFrame) -> tuple[Codes, Codes]:
    """Codes before and after each step from t = 1 on."""
    rows = rows.sort_values(["trajectory_id", "t"])
    codes, ids, t = codes_of(rows), rows["trajectory_id"].to_numpy(), rows["t"].to_numpy()
    follows = (ids[1:] == ids[:-1]) & (t[:-1] >= 1)
    return codes[:-1][follows], codes[1:][follows]


def shares(values: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Shares of the values and of not named, (size + 1,)."""
    counts = np.bincount(np.where(values < 0, size, values), minlength=size + 1)
    return np.asarray(counts / max(counts.sum(), 1), dtype=np.float64)


def named_only(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution over the values, given that one is named."""
    return np.asarray(p[:-1] / p[:-1].sum() if p[:-1].sum() > 0 else p[:-1], dtype=np.float64)


def line(rows: pd.DataFrame, generator: str, attribute: str, confusion: chains.Settling, last: int) -> str:
    """One line of the table: a pair's groups of starts pooled and apart, against prior and stationary distribution."""
    size, k = len(world.VALUES[attribute]), world.ATTRIBUTES.index(attribute)
    prior = chains.prior_of(WORLDS[generator], attribute)
    late = rows[rows["t"] > last - last // 4]
    n = rows["trajectory_id"].nunique()  # iterations of one chain are no independent draws; chains are
    cells, unnamed = [], shares(codes_of(late)[:, k], size)[-1]
    for group in ("even", "prior", "narrow"):
        mine = named_only(shares(codes_of(late[late["group"] == group])[:, k], size))
        cells.append(f"{chains.total_variation(mine, prior):.2f}")
    pooled = named_only(shares(codes_of(late)[:, k], size))
    mean, low, high = chains.variation_of_draws(prior, n)
    if confusion.distribution is None:
        settled, speed = "–", "never"
    else:
        there = chains.total_variation(pooled, named_only(confusion.distribution))
        to_prior = chains.total_variation(named_only(confusion.distribution), prior)
        settled, speed = f"{there:.2f} ({to_prior:.2f})", f"{confusion.relaxation:.0f}"
    pooled_text = f"{chains.total_variation(pooled, prior):.2f}"
    return (
        f"| {attribute} | {' | '.join(cells)} | {pooled_text} | {mean:.2f} [{low:.2f}, {high:.2f}] | {settled} | "
        f"{speed} | {unnamed:.0%} |"
    )


def entropies(rows: pd.DataFrame, attribute: str, last: int) -> str:
    """Corrected entropy of an attribute at t = 1 and at the end, by group of starts, bits."""
    size, k, parts = len(world.VALUES[attribute]), world.ATTRIBUTES.index(attribute), []
    for group in ("even", "prior", "narrow"):
        ends = []
        for t in (1, last):
            values = codes_of(rows[(rows["group"] == group) & (rows["t"] == t)])[:, k]
            counts = np.bincount(values[values >= 0], minlength=size)
            ends.append(entropy.shannon(counts, "chao-wang-jost") if counts.sum() else float("nan"))
        parts.append(f"{ends[0]:.2f} → {ends[1]:.2f}")
    return " | ".join(parts)


def tables(path: Path) -> None:
    """Print both tables of each pair of models of a run."""
    found = states(path)
    last = int(found["t"].max())
    print(f"\n### `{path.name}`")
    for (generator, captioner), rows in found.groupby(PAIR, sort=False):
        before, after = transitions(rows)
        print(f"\n**{generator} × {captioner}**\n")
        print(
            "| attribute | even | prior | narrow | all | as many draws | all to stationary (it to the prior) | "
            "relaxation | not named |"
        )
        print("| --- " * 9 + "|")
        for attribute in world.ATTRIBUTES:
            where = chains.settling(chains.confusion(before, after, attribute))
            print(line(rows, str(generator), attribute, where, last))
        print("\n| entropy, bits | even | prior | narrow | the prior's |\n| --- | --- | --- | --- | --- |")
        for attribute in world.ATTRIBUTES:
            p = chains.prior_of(WORLDS[str(generator)], attribute)
            bits = float(-(p * np.log2(p)).sum())
            print(f"| {attribute} | {entropies(rows, attribute, last)} | {bits:.2f} |")


def main() -> None:
    """Print the tables of every run that is named."""
    for name in sys.argv[1:]:
        tables(Path(name))


if __name__ == "__main__":
    main()
