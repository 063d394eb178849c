"""How far do measures that look at vectors and words follow the entropy of what captions name, parsed exactly?

    python scripts/known_answer.py runs/known_answer

stores the first two tables of docs/known-answer.md in experiments/known_answer/results/, and its figure in
docs/images/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))  # the module beside this one
import known_tables
import reproduce

from loopsim.store import open_run

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "known_answer" / "results"
FIGURE = ROOT / "docs" / "images" / "known-answer.png"

TRUTH = "attribute_entropy"
MEASURES = (
    ("motif_entropy", "text"), ("motif_entropy", "image"), ("fine_motif_entropy", "text"),
    ("fine_motif_entropy", "image"), ("soft_effective_motifs", "text"), ("vendi", "text"),
    ("vendi", "image"), ("mean_pairwise_distance", "text"), ("mean_pairwise_distance", "image"),
    ("nearest_neighbour_distance", "text"), ("nearest_neighbour_distance", "image"), ("effective_rank", "text"),
    ("participation_ratio", "text"), ("word_entropy", "text"), ("bigram_entropy", "text"),
    ("compression_ratio", "text"), ("caption_entropy", "text"),
)  # fmt: skip


def curve(frame: pd.DataFrame, metric: str, modality: str) -> pd.Series:
    """Values by group and iteration, from t = 1 on."""
    mine = frame[(frame["metric"] == metric) & (frame["modality"] == modality) & (frame["t"] >= 1)]
    return mine.set_index(["group", "t"])["value"]


def correlation(both: pd.DataFrame, rank: bool = False) -> float:
    """Pearson's, or Spearman's; nan where one of the two never changes."""
    if (both.nunique() < 2).any():
        return float("nan")
    return float((stats.spearmanr if rank else stats.pearsonr)(both["truth"], both["measure"])[0])


def curves(truth: pd.Series) -> pd.DataFrame:
    """The entropy of the attributes at the ends, and its extremes, for each kind of start."""
    t = truth.index.get_level_values("t")
    rows = []
    for group, one in truth.groupby("group", sort=False):
        one = one.droplevel("group")
        rows.append({"starts": group, "first": t.min(), "last": t.max(), "at_first": one[t.min()],
                     "at_last": one[t.max()], "lowest": one.min(), "highest": one.max()})  # fmt: skip
    return pd.DataFrame(rows)


def measures(frame: pd.DataFrame, truth: pd.Series) -> pd.DataFrame:
    """Correlation of each measure with the truth, over all cells and within each kind of start."""
    rows = []
    for metric, modality in MEASURES:
        both = pd.concat({"truth": truth, "measure": curve(frame, metric, modality)}, axis=1).dropna()
        within = {f"within {group}": correlation(block) for group, block in both.groupby("group", sort=False)}
        known = {"metric": metric, "modality": modality, "r": correlation(both), "rank": correlation(both, rank=True)}
        rows.append({**known, **within})
    return pd.DataFrame(rows)


def main() -> None:
    """Measure the run that is named, and store."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "measurements.parquet").exists():
        sys.exit("usage: known_answer.py DIR, a measured run of experiments/known_answer")
    frame = open_run(Path(sys.argv[1])).measurements()
    truth = curve(frame, TRUTH, "text")
    known_tables.store(RESULTS, "curves", curves(truth))
    known_tables.store(RESULTS, "measures", measures(frame, truth))
    reproduce.shrink(Path(sys.argv[1]) / "figures" / "truth.png", FIGURE)
    print(f"stored in {RESULTS}")


if __name__ == "__main__":
    main()
