"""What the factors of a crossed design account for: shares of variance with their intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from loopsim.errors import NothingToDraw
from loopsim.report.figures.drawing import MODALITIES, Drawing, Source
from loopsim.report.figures.style import GREY, WIDTHS, add_legend, add_note, title, wrap
from loopsim.report.lines import PALETTE

_RESPONSES = {
    "drift": "drift: last distance to the start",
    "step": "step: mean distance of a step",
    "endpoint": "endpoint: the last embedding",
}


def attribution(source: Source) -> Drawing:
    """Share of the variance (ω²) that prompts, models and settings account for."""
    named = source.measured[source.measured["metric"] == "attribution"]
    if named.empty:
        raise NothingToDraw(
            f"{source.path}: there is one condition only, so nothing to attribute variance to: make a setting a list "
            "in the experiment file, such as `captioner: {model: …, temperature: [0, 1]}`"
        )
    rows = source.rows(("attribution",))
    parts = rows["item"].str.partition(": ")
    rows = rows.assign(response=parts[0], factor=parts[2])
    rows = rows[rows["value"].notna()]
    groups = list(dict.fromkeys(rows["group"]))
    responses = [r for r in _RESPONSES if (rows["response"] == r).any()]
    modalities = [m for m in MODALITIES if (rows["modality"] == m).any()]
    width = WIDTHS[source.request.width]
    across = 1 if source.request.width == "column" else len(responses)
    cells = [(g, r) for g in groups for r in responses]
    down = -(-len(cells) // across)
    factors = list(dict.fromkeys(rows["factor"]))
    tall = max(1.1, 0.17 * len(factors) * len(modalities) + 0.55)
    figure = Figure(figsize=(width, tall * down + 0.65), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True, sharex=True).ravel()
    for axes, (group, response) in zip(grid, cells, strict=False):
        mine = rows[(rows["response"] == response) & (rows["group"].map(repr) == repr(group))]
        _bars(axes, mine, factors, modalities)
        where = f"{group}: " if len(groups) > 1 else ""
        title(axes, where + _RESPONSES[response], width / across - (0.6 if across > 1 else 0.9))
    grid[0].invert_yaxis()
    handles = [Patch(facecolor=PALETTE[i]) for i in range(len(modalities))]
    add_legend(figure, handles, [f"{m}s" for m in modalities])
    add_note(
        figure,
        f"embedder {source.embedder}; ω², share of the variance, for these models and settings only; black: 95 % "
        "intervals over starts",
    )
    columns = ["group", "modality", "embedder", "metric", "response", "factor", "value", "ci_low", "ci_high", "n",
               "signature", "undefined", "verdict"]  # fmt: skip
    return Drawing(figure, rows[columns].reset_index(drop=True), (), _alt(rows))


def _bars(axes: Axes, rows: pd.DataFrame, factors: list[str], modalities: list[str]) -> None:
    high = 0.8 / len(modalities)
    for j, modality in enumerate(modalities):
        mine = rows[rows["modality"] == modality].drop_duplicates("factor").set_index("factor")
        for i, factor in enumerate(factors):
            if factor not in mine.index:
                continue
            one, y = mine.loc[factor], i + (j - (len(modalities) - 1) / 2) * high
            axes.barh(y, one["value"], height=high * 0.9, color=PALETTE[j])
            if pd.notna(one["ci_low"]):
                axes.hlines(y, one["ci_low"], one["ci_high"], color="black", linewidth=0.9)
    axes.set_yticks(range(len(factors)), [wrap(f, 26, 2) for f in factors])
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel("ω²")
    axes.grid(visible=False, axis="y")


def _alt(rows: pd.DataFrame) -> str:
    said = []
    for (response, modality), block in rows.groupby(["response", "modality"], sort=False):
        top = block.loc[block["value"].idxmax()]
        said.append(f"{response} of {modality}s: most by {top['factor']}, {top['value']:.2f}")
    return f"Share of variance by factor. {'; '.join(said)}."
