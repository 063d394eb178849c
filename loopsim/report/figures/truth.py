"""On postcards the answer is known: entropy of what captions name against what draws from the prior would show."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from loopsim.errors import NothingToDraw
from loopsim.report.figures import panels
from loopsim.report.figures.drawing import Drawing, Source
from loopsim.report.figures.style import WIDTHS, add_note, iterations, legend_rows, title
from loopsim.report.lines import Lines, lines_of


def truth(source: Source) -> Drawing:
    """Entropy of the attributes named in captions against the world's prior."""
    from loopsim.models.postcards import truth as answers
    from loopsim.models.postcards import world

    if "attribute_entropy" not in set(source.measured["metric"]):
        raise NothingToDraw(f"{source.path}: the answer is known on postcards only, and these captions are of others")
    names = {None: "attribute_entropy"} | {one: f"{one}_entropy" for one in world.ATTRIBUTES}
    rows = source.rows(tuple(names.values()))
    rows = rows[rows["t"].notna()]
    lines = lines_of(rows, source.by)
    width = WIDTHS[source.request.width]
    across = 1 if source.request.width == "column" else 3
    down = -(-len(names) // across)
    n = int(rows["n"].max())
    known = (f"{n} draws from the prior", f"{n} evenly drawn scenes")
    head = 0.15 * (legend_rows([*panels.legend_labels(lines), *known], width) + 1)
    figure = Figure(figsize=(width, 2.0 * down + head + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    expected: list[dict[str, Any]] = []
    for axes, (attribute, metric) in zip(grid, names.items(), strict=True):
        mine = rows[rows["metric"] == metric]
        n = int(mine["n"].max())
        mean, low, high = answers.entropy_of_draws(n, "prior", attribute)
        even = answers.entropy_of_draws(n, "even", attribute)[0]
        axes.axhspan(low, high, color="#999999", alpha=0.25, linewidth=0)
        axes.axhline(mean, color="#666666", linewidth=1)
        axes.axhline(even, color="#666666", linewidth=1, linestyle=":")
        expected.append({"line": f"{n} draws from the prior", "metric": metric, "value": mean, "ci_low": low,
                         "ci_high": high, "n": n})  # fmt: skip
        expected.append({"line": f"{n} evenly drawn scenes", "metric": metric, "value": even, "n": n})
        for line in lines.lines:
            panels.curve(axes, mine.loc[mine.index.intersection(line.rows.index)], line, band=not lines.crowded)
        iterations(axes)
        title(axes, attribute or "mean of the five", width / across)
    for axes in grid[::across]:
        axes.set_ylabel("entropy in captions, bits")
    panels.line_legend(figure, lines, [
        ((Patch(facecolor="#cccccc"), Line2D([], [], color="#666666", linewidth=1)), known[0]),
        (Line2D([], [], color="#666666", linestyle=":", linewidth=1), known[1]),
    ])  # fmt: skip
    add_note(figure, _small_print(lines, rows, n))
    data = pd.concat([panels.drawn(lines, rows), pd.DataFrame(expected)], ignore_index=True)
    alt = "Entropy of the attributes named in captions over iterations, beside what draws from the prior would show."
    return Drawing(figure, data, panels.crowd_note(lines), alt)


def _small_print(lines: Lines, rows: pd.DataFrame, n: int) -> str:
    """What the grey and the bands are, and that few captions show less of an entropy than many."""
    parts = [
        "grey: mean, and 95 %, of independent draws from the prior of postcards",
        "dotted: mean of evenly drawn scenes, the prior of postcards-flat",
    ]
    fewest = min(int(rows.loc[rows.index.intersection(line.rows.index), "n"].max()) for line in lines.lines)
    if fewest < n:
        parts.append(f"lines of fewer than {n} captions (here from {fewest} on) lie lower for that alone")
    if not lines.crowded:
        parts.append("bands of curves: 95 % intervals, leaving out one start at a time")
    return "; ".join(parts)
