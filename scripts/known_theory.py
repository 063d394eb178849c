"""Where do chains of postcards models settle, and do loopsim's measures see it?

    python scripts/known_theory.py theory=runs/known_answer_theory usual=runs/known_answer_usual

writes what was found into experiments/known_answer/results/ and, from these files and those of
known_answer.py alone, the tables of docs/known-answer.md; `--tables` only writes the tables.

For each pair of models and each attribute: total variation (0 the same, 1 disjoint) between what captions name over the
last quarter of the iterations and (a) the priors of the generator's and of the captioner's world, with how far chains
that are at rest there would be by chance, (b) the stationary
distribution of the confusion of one step, counted over the first half of the iterations so that what is foretold is not
what it was counted on, (c) where that confusion leads from t = 1 on in as many iterations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one
import known_tables
import known_tracking

from loopsim.models.postcards import chains, truth, world
from loopsim.store import open_run
from metrics import entropy, jackknife

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "known_answer" / "results"
WORLDS = {"postcards": "prior", "postcards-flat": "even", "postcards-terse": "prior"}
"""Model to the world that it was trained on."""
GROUPS = ("even", "prior", "narrow")
PAIR = ["generator", "captioner"]
Codes = NDArray[np.int64]
Distribution = NDArray[np.float64]


def states(path: Path) -> pd.DataFrame:
    """A row a caption: pair, group, start, trajectory, t and the codes of the five attributes; pairs in plan order."""
    run = open_run(path)
    members = run.trajectories()[["trajectory_id", "group", "start_id", "replicate", *PAIR]]
    table = members.merge(run.steps(["trajectory_id", "t", "text"]), on="trajectory_id")
    codes = truth.caption_codes(table["text"].tolist())
    return pd.concat([table, pd.DataFrame(codes, columns=world.ATTRIBUTES)], axis=1)


def codes_of(rows: pd.DataFrame) -> Codes:
    """Codes of the five attributes, (m, 5)."""
    return rows[list(world.ATTRIBUTES)].to_numpy(dtype=np.int64)


def transitions(rows: pd.DataFrame, until: int) -> tuple[Codes, Codes]:
    """Codes before and after each step from t = 1 on, up to one that ends at `until`."""
    rows = rows.sort_values(["trajectory_id", "t"])
    codes, ids, t = codes_of(rows), rows["trajectory_id"].to_numpy(), rows["t"].to_numpy()
    follows = (ids[1:] == ids[:-1]) & (t[:-1] >= 1) & (t[1:] <= until)
    return codes[:-1][follows], codes[1:][follows]


def shares(values: NDArray[np.int64], size: int) -> Distribution:
    """Shares of the values and of not named, (size + 1,)."""
    counts = np.bincount(np.where(values < 0, size, values), minlength=size + 1)
    return np.asarray(counts / max(counts.sum(), 1), dtype=np.float64)


def named_only(p: Distribution) -> Distribution:
    """The distribution over the values, given that one is named."""
    return np.asarray(p[:-1] / p[:-1].sum() if p[:-1].sum() > 0 else p[:-1], dtype=np.float64)


def settled(rows: pd.DataFrame, generator: str, captioner: str, attribute: str) -> dict[str, float]:
    """Distances of where an attribute is in the end from where it might be, and how far chances go."""
    size, k, last = len(world.VALUES[attribute]), world.ATTRIBUTES.index(attribute), int(rows["t"].max())
    late = rows[rows["t"] > last - last // 4]
    there = shares(codes_of(late)[:, k], size)
    counts = chains.confusion(*transitions(rows, last // 2), attribute)
    rest = chains.settling(counts)
    found: dict[str, float] = {"not_named": float(there[-1]), "relaxation": rest.relaxation}
    # Chains are independent where their starts are; of these only that name the attribute count.
    found["n"] = round(rows["trajectory_id"].nunique() * (1 - there[-1]))
    replicates = rows.groupby("start_id")["trajectory_id"].nunique().max()

    def chance(prior: Distribution, starts: int) -> float:
        simulated = chains.variation_of_chains(
            prior, starts, int(replicates), last - last // 4 + 1, last, rest.relaxation, float(1 - there[-1])
        )
        return float(np.nanquantile(simulated, 0.975))

    for role, model in (("generator", generator), ("captioner", captioner)):
        prior = chains.prior_of(WORLDS[model], attribute)
        found[f"to_{role}"] = chains.total_variation(named_only(there), prior)
        found[f"limit_{role}"] = chance(prior, rows["start_id"].nunique())
    prior = chains.prior_of(WORLDS[generator], attribute)
    for group in GROUPS:
        mine = late[late["group"] == group]
        found[f"to_generator_{group}"] = chains.total_variation(named_only(shares(codes_of(mine)[:, k], size)), prior)
        found[f"limit_{group}"] = chance(prior, max(1, mine["start_id"].nunique()))
    stationary = None if rest.distribution is None else named_only(rest.distribution)
    found["rest_to_generator"] = float("nan") if stationary is None else chains.total_variation(stationary, prior)
    found["to_stationary"] = (
        float("nan") if stationary is None else chains.total_variation(named_only(there), stationary)
    )
    first = shares(codes_of(rows[rows["t"] == 1])[:, k], size)
    foretold = np.mean([chains.carried_on(counts, first, t - 1) for t in sorted(set(late["t"]))], axis=0)
    found["to_foretold"] = chains.total_variation(named_only(there), named_only(foretold))
    found["worlds"] = chains.total_variation(*(chains.prior_of(name, attribute) for name in ("prior", "even")))
    return found


def corrected_of(rows: pd.DataFrame, attribute: str) -> float:
    """Corrected entropy of an attribute: that of each replicate's captions, and their mean, since twins are alike."""
    size, k = len(world.VALUES[attribute]), world.ATTRIBUTES.index(attribute)
    each = [corrected(codes_of(twins)[:, k], size) for _, twins in rows.groupby("replicate")]
    return float(np.mean(each)) if each else float("nan")


def corrected(values: NDArray[np.int64], size: int) -> float:
    """Entropy of the values that are named (codes ≥ 0), corrected for its bias, at most that of even ones; bits."""
    counts = np.bincount(values[values >= 0], minlength=size)
    if counts.sum() < known_tables.FEWEST:
        return float("nan")
    return float(min(entropy.shannon(counts, "chao-wang-jost"), np.log2(size)))


def entropies(rows: pd.DataFrame, generator: str, captioner: str, attribute: str) -> dict[str, float]:
    """Corrected entropies of an attribute at t = 1 and at the end, by group of starts; those of the priors; bits."""
    last = int(rows["t"].max())
    found: dict[str, float] = {}
    for role, model in (("generator", generator), ("captioner", captioner)):
        p = chains.prior_of(WORLDS[model], attribute)
        found[f"bits_of_{role}"] = float(-(p * np.log2(p)).sum())
    for group in GROUPS:
        for name, t in (("first", 1), ("last", last)):
            mine = rows[(rows["group"] == group) & (rows["t"] == t)]
            found[f"bits_{group}_{name}"] = corrected_of(mine, attribute)
        found[f"spread_{group}"] = spread(mine, lambda part: corrected_of(part, attribute))
    return found


def spread(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> float:
    """Half the width of a 95 % interval, leaving out one start at a time; nan where there are too few."""
    starts = rows["start_id"].unique()
    deleted = np.array([statistic(rows[rows["start_id"] != start]) for start in starts])
    if len(starts) < 3 or np.isnan(deleted).any():
        return float("nan")
    return float(stats.t.ppf(0.975, len(starts) - 1)) * jackknife.jackknife_deviation(deleted)


def settling(settings: str, path: Path) -> Iterator[dict[str, object]]:
    """A row for each pair and attribute of a run."""
    for (generator, captioner), rows in states(path).groupby(PAIR, sort=False):
        for attribute in world.ATTRIBUTES:
            of = (rows, str(generator), str(captioner), attribute)
            row: dict[str, object] = {"settings": settings, "generator": generator, "captioner": captioner}
            yield row | {"attribute": attribute} | settled(*of) | entropies(*of)


def main() -> None:
    """Measure the runs that are named, store, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="SETTINGS=DIR", help="theory=DIR and usual=DIR")
    parser.add_argument("--tables", action="store_true", help="only write the tables from what is stored")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where what was found is stored")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "known-answer.md", help="whose tables are written")
    given = parser.parse_args()
    runs = dict(one.split("=", 1) if "=" in one else (one, "") for one in given.runs)
    if not given.tables:
        missing = [f"{name}=DIR" for name in known_tables.SETTINGS if not runs.get(name)]
        if missing or len(runs) != len(known_tables.SETTINGS):
            parser.error(f"give {' and '.join(f'{name}=DIR' for name in known_tables.SETTINGS)}")
        absent = [path for path in runs.values() if not (Path(path) / "measurements.parquet").exists()]
        if absent:
            parser.error(f"{absent[0]}: no measured run is here")
        rows = [row for name, path in runs.items() for row in settling(name, Path(path))]
        known_tables.store(given.results, "settling", pd.DataFrame(rows))
        found = [known_tracking.tracking(name, Path(path)) for name, path in runs.items()]
        for name, frames in zip(("correlations", "memory", "survival"), zip(*found, strict=True), strict=True):
            known_tables.store(given.results, name, pd.concat(frames, ignore_index=True))
    print(f"{given.page} {'rewritten' if known_tables.rewrite(given.page, given.results) else 'as it was'}")


if __name__ == "__main__":
    main()
