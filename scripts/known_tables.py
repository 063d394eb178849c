"""The tables of docs/known-answer.md, from what is stored in experiments/known_answer/results/ and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
from reproduce_tables import put

from loopsim.models.postcards import world

SETTINGS = {
    "theory": "As theory asks: guidance 1, captions sampled at temperature 1",
    "usual": "The usual settings: guidance 2, the likeliest caption",
}
PAIR = ["generator", "captioner"]
FEWEST = 10
"""Captions (or chains) that name an attribute, for something to be told of it."""
GROUPS = ("even", "prior", "narrow")
HALF = 16
"""Of the iterations."""
TOLD = 100
"""Relaxation beyond which a confusion of 16 iterations rests on so few slips that its rest is not told."""
SHOWN = (
    ("vendi", "text"), ("vendi", "image"), ("nearest_neighbour_distance", "text"), ("mean_pairwise_distance", "text"),
    ("mean_pairwise_distance", "image"), ("motif_entropy", "text"), ("word_entropy", "text"),
)  # fmt: skip
"""Measures whose correlations are shown."""


def store(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Keep a table of results, small and readable."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")


def rewrite(page: Path, results: Path) -> bool:
    """Write the tables into a page; whether it changed."""
    before = page.read_text(encoding="utf-8")
    after = before
    for name, body in bodies(results).items():
        after = put(after, name, body)
    page.write_text(after, encoding="utf-8")
    return before != after


def bodies(results: Path) -> dict[str, str]:
    """Each marked part of the page, by its name."""
    settling, correlations, memory, survival, curves, measures = (
        pd.read_csv(results / f"{name}.csv")
        for name in ("settling", "correlations", "memory", "survival", "curves", "measures")
    )
    return {
        "curves": entropy_curves(curves),
        "measures": measured(measures),
        "priors": both(settling, priors),
        "starts": starts(settling),
        "stationary": both(settling, lambda rows: by_attribute(rows, stationary_cell)),
        "foretold": both(settling, lambda rows: by_attribute(rows, foretold_cell)),
        "entropies": both(settling, entropies),
        "correlations": both(correlations, correlated),
        "memory": both(memory, remembered),
        "survival": both(survival, survived),
    }


def entropy_curves(rows: pd.DataFrame) -> str:
    """The entropy of the attributes for each kind of start."""
    heads = ["starts", f"entropy at t = {rows['first'].iloc[0]}", f"at t = {rows['last'].iloc[0]}", "lowest", "highest"]
    shown = ("at_first", "at_last", "lowest", "highest")
    return markdown(heads, [[row["starts"], *(f"{row[name]:.2f}" for name in shown)] for _, row in rows.iterrows()])


def measured(rows: pd.DataFrame) -> str:
    """Correlations of measures with the entropy of the attributes, all cells and within kinds of start."""
    within = [name for name in rows.columns if name.startswith("within ")]
    lines = [
        [f"`{row['metric']}`", row["modality"], *(arrow([row[name]]) for name in ("r", "rank", *within))]
        for _, row in rows.iterrows()
    ]
    return markdown(["measure", "of", "all cells (r)", "all cells (rank)", *within], lines)


def starts(settling: pd.DataFrame) -> str:
    """Pairs of one world as theory asks, attributes that had time, by kind of start."""
    mine = settling[settling["settings"] == "theory"]
    one_world = mine["limit_generator"] == mine["limit_captioner"]
    return by_attribute(mine[one_world], starts_cell)


def both(frame: pd.DataFrame, table: Callable[[pd.DataFrame], str]) -> str:
    """A table for each of the settings."""
    parts = [f"**{words}.**\n\n{table(frame[frame['settings'] == name])}" for name, words in SETTINGS.items()]
    return "\n\n".join(parts)


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def pair_name(pair: object) -> str:
    """Generator × captioner, without what all names begin with."""
    assert isinstance(pair, tuple)
    return " × ".join(name.removeprefix("postcards-") if name != "postcards" else "first" for name in pair)


def by_attribute(rows: pd.DataFrame, cell: Callable[[pd.Series], str]) -> str:
    """A line for each pair, a column for each attribute."""
    lines = []
    for pair, mine in rows.groupby(PAIR, sort=False):
        known = mine.set_index("attribute")
        lines.append([pair_name(pair), *(cell(known.loc[attribute]) for attribute in world.ATTRIBUTES)])
    return markdown(["generator × captioner", *world.ATTRIBUTES], lines)


def had_time(row: pd.Series) -> bool:
    """Whether the attribute could forget where it began: its relaxation is at most half of the iterations."""
    return bool(row["relaxation"] <= HALF)


def priors(rows: pd.DataFrame) -> str:
    """Distances to the priors, and below how far the two worlds' priors are apart."""
    table = by_attribute(rows, prior_cell)
    apart = rows.groupby("attribute")["worlds"].first()
    last = ["the two priors, from each other", *(f"{apart[attribute]:.2f}" for attribute in world.ATTRIBUTES)]
    return f"{table}\n| {' | '.join(last)} |"


def prior_cell(row: pd.Series) -> str:
    """Distances to the generator's prior and to the captioner's, if another, with the limit; bold: not told apart."""
    if row["n"] < FEWEST:
        return "–"
    parts = []
    for role in ("generator", "captioner"):
        text = f"{row[f'to_{role}']:.2f} [{row[f'limit_{role}']:.2f}]"
        rests = had_time(row) and row[f"to_{role}"] <= row[f"limit_{role}"]
        parts.append(f"**{text}**" if rests else text if had_time(row) else f"({row[f'to_{role}']:.2f})")
    one_world = row["to_generator"] == row["to_captioner"] and row["limit_generator"] == row["limit_captioner"]
    return parts[0] if one_world else " / ".join(parts)


def starts_cell(row: pd.Series) -> str:
    """Distances to the generator's prior for each kind of start."""
    cells = [f"{row[f'to_generator_{group}']:.2f} [{row[f'limit_{group}']:.2f}]" for group in GROUPS]
    return "–" if row["n"] < FEWEST or not had_time(row) else ", ".join(cells)


def foretold_cell(row: pd.Series) -> str:
    """Distance to where the confusion leads in the time there was."""
    return "–" if row["n"] < FEWEST else f"{row['to_foretold']:.2f}"


def stationary_cell(row: pd.Series) -> str:
    """Distance to the stationary distribution, and the iterations it takes to get there."""
    if row["n"] < FEWEST:
        return "–"
    if row["relaxation"] == float("inf"):
        return "– (never)"
    if row["relaxation"] > TOLD:
        return f"– ({row['relaxation']:,.0f})"
    return f"{row['to_stationary']:.2f} ({row['relaxation']:.0f})"


def entropies(rows: pd.DataFrame) -> str:
    """Mean of five corrected entropies at t = 1 and in the end, for each kind of start."""
    lines = []
    for pair, mine in rows.groupby(PAIR, sort=False):
        cells = []
        for group in GROUPS:
            ends = [mine[f"bits_{group}_{end}"] for end in ("first", "last")]
            subject = [e[mine["attribute"] == "subject"].iloc[0] for e in ends]
            wide = mine[f"spread_{group}"][mine["attribute"] == "subject"].iloc[0]
            cells += [arrow(e.mean(skipna=False) for e in ends), f"{arrow(subject)} ± {wide:.2f}"]
        priors = [
            f"{mine[f'bits_of_{role}'].mean():.2f}, {mine[f'bits_of_{role}'].iloc[0]:.2f}"
            for role in ("generator", "captioner")
        ]
        lines.append([pair_name(pair), *cells, " / ".join(dict.fromkeys(priors))])
    heads = [f"{group}: {what}" for group in GROUPS for what in ("mean of five", "subject")]
    return markdown(["generator × captioner", *heads, "the priors': mean, subject"], lines)


def correlated(rows: pd.DataFrame) -> str:
    """Correlations of measures with the entropy of the attributes."""
    lines = []
    for pair, mine in rows.groupby(PAIR, sort=False):
        r = mine.set_index(["metric", "modality"])["r"]
        lines.append([pair_name(pair), *(f"{r[key]:.2f}" if pd.notna(r[key]) else "–" for key in SHOWN)])
    return markdown(["generator × captioner", *(f"`{metric}`, {modality}" for metric, modality in SHOWN)], lines)


def remembered(rows: pd.DataFrame) -> str:
    """Memory of even starts, and how all cells agree."""
    lines = []
    for pair, mine in rows[rows["group"] == "even"].groupby(PAIR, sort=False):
        at = mine.set_index("window")
        lines.append(
            [pair_name(pair), *(arrow(at[column].loc[["early", "late"]]) for column in ("truth", "text", "image"))]
        )
    table = markdown(["generator × captioner", "in attributes, early → late", "in texts", "in pictures"], lines)
    return f"{table}\n\n{_agreement(rows, ('text', 'image'))}"


def arrow(values: Iterable[float]) -> str:
    """Values one after the other, a dash where there is none."""
    return " → ".join("–" if pd.isna(value) else f"{value:.2f}" for value in values)


def _agreement(rows: pd.DataFrame, columns: Sequence[str]) -> str:
    names, parts = {"text": "captions", "image": "pictures"}, []
    for column in columns:
        kept = rows[["truth", column]].dropna()
        away = (kept[column] - kept["truth"]).abs().mean()
        parts.append(
            f"{names[column]} r = {kept.corr().iloc[0, 1]:.2f}, {away:.2f} away on average ({len(kept)} cells)"
        )
    return f"All kinds of start: {'; '.join(parts)}."


def survived(rows: pd.DataFrame) -> str:
    """Survival of what even starts named at three iterations: exact, in captions, in pictures; and the agreement."""
    last = int(rows["t"].max())
    lines = []
    for pair, mine in rows[rows["group"] == "even"].groupby(PAIR, sort=False):
        at = mine.set_index("t")
        shown = [
            ", ".join(f"{at.loc[t, name]:.2f}" for name in ("truth", "text", "image")) for t in (1, last // 4, last)
        ]
        lines.append([pair_name(pair), *shown])
    table = markdown(["generator × captioner", *(f"t = {t}" for t in (1, last // 4, last))], lines)
    return f"{table}\n\n{_agreement(rows, ('text', 'image'))}"
