"""What the headline says of measurements, and what it does not."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from loopsim.report.headline import headline

NAN = math.nan
REASON = "change 0.01 [-0.1, 0.1] from start to last quarter; neither a change (p = 0.5) nor its absence is shown"


def cell(
    verdict: str, label: str = "all", group: str = "all", modality: str = "image", embedder: str = "judge",
    half_life: tuple[float, float, float] = (NAN, NAN, NAN), plateau: float = NAN,
    memory: tuple[float, float, float] = (NAN, NAN, NAN), clusters: str = "no clusters shown",
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows that one cell of the measurements has."""
    keys = {"label": label, "group": group, "modality": modality, "embedder": embedder, "item": None, "undefined": ""}
    curve = "mean_pairwise_distance"

    def row(metric: str, values: tuple[float, float, float], **more: Any) -> dict[str, Any]:
        low_high = {"value": values[0], "ci_low": values[1], "ci_high": values[2]}
        return {**keys, "metric": metric, "t": None, "verdict": None, "signature": "", **low_high, **more}

    said = f"{verdict}: {REASON}"
    return [
        *([row(curve, (0.9, 0.8, 1.0), t=0)] if modality == "text" else []),
        row(curve, (0.81, 0.78, 0.84), t=1),
        row(curve, (0.62, 0.58, 0.66), t=50),
        row(f"{curve}:half_life", half_life, verdict=said, signature="decay_half_life|start:1|share:0.1|v:1"),
        row(f"{curve}:plateau", (plateau, NAN, NAN), verdict=said),
        row("memory", (0.9, 0.8, 1.0), item="early"),
        row("memory", memory, item="late"),
        row("endpoint_silhouette", (0.4, NAN, NAN), item="k=3", verdict=clusters),
    ]


def said(*cells: list[dict[str, Any]]) -> list[str]:
    return list(headline(frame(*cells)).sentences)


def frame(*cells: list[dict[str, Any]]) -> pd.DataFrame:
    rows = pd.DataFrame([row for one in cells for row in one])
    return rows.astype({"t": "Int64"})


def test_a_decay_says_from_where_to_where_and_how_fast():
    assert said(cell("decay", half_life=(6.1, 4.0, 9.2), plateau=0.6))[0] == (
        "Between-trajectory diversity of pictures fell from 0.81 [0.78, 0.84] at t = 1 to 0.62 [0.58, 0.66] at t = 50, "
        "half-life 6.1 [4.0, 9.2] iterations, levelling off at 0.60."
    )


def test_a_decay_without_a_half_life_has_none():
    assert "half-life" not in said(cell("decay"))[0]


def test_a_rise_is_no_fall():
    (first, *_) = said(cell("rise", modality="text"))
    assert first.startswith("Between-trajectory diversity of captions rose from 0.81")
    assert "convergence" not in first


def test_no_decay_is_no_convergence_within_the_margin_that_was_tested():
    assert said(cell("no decay"))[0] == (
        "No convergence of pictures: between-trajectory diversity stayed within 10 % of its start, "
        "from 0.81 [0.78, 0.84] at t = 1 to 0.62 [0.58, 0.66] at t = 50."
    )


def test_undecided_claims_neither():
    first = said(cell("undecided"))[0]
    assert first.startswith("Whether pictures converge is undecided (between-trajectory diversity went from 0.81")
    assert first.endswith(": neither a change nor its absence is shown.")


def test_why_nothing_was_tested_is_said_as_it_was_measured():
    short = frame(cell("undecided"))
    why = "5 iterations from start on; a decay needs at least 8"
    short["verdict"] = short["verdict"].where(short["verdict"].isna(), f"undecided: {why}")
    assert headline(short).sentences[0].endswith(f"at t = 50): {why}.")
    short.loc[short["metric"] == "mean_pairwise_distance", ["value", "ci_low", "ci_high"]] = NAN
    assert headline(short).sentences[0] == f"Nothing can be said about a convergence of pictures: {why}."


def test_what_could_not_be_tested_is_undecided_for_the_reason_it_could_not():
    lone = frame(cell("undecided"))
    lone.loc[lone["metric"] == "mean_pairwise_distance", ["value", "ci_low", "ci_high"]] = NAN
    decays = lone["metric"] == "mean_pairwise_distance:half_life"
    lone.loc[decays, ["verdict", "undefined"]] = [None, "fewer than 2 starts last throughout"]
    found = headline(lone)
    assert found.lines[0].verdict == "undecided"
    assert found.sentences[0] == (
        "Nothing can be said about a convergence of pictures: fewer than 2 starts last throughout."
    )


@pytest.mark.parametrize("verdict", ["no decay", "undecided", "rise"])
def test_only_a_decay_fell(verdict: str):
    assert not any("fell" in one for one in said(cell(verdict), cell(verdict, modality="text")))


def test_few_cells_are_named_one_by_one():
    first = said(cell("no decay", group="even"), cell("undecided", group="prior"))[0]
    assert first == (
        "Pictures: no convergence from even starts, where diversity stayed within 10 % of its start (from 0.81 [0.78, "
        "0.84] at t = 1 to 0.62 [0.58, 0.66] at t = 50); undecided from prior starts (from 0.81 [0.78, 0.84] at t = 1 "
        "to 0.62 [0.58, 0.66] at t = 50)."
    )


SPAN = "from 0.81 [0.78, 0.84] at t = 1 to 0.62 [0.58, 0.66] at t = 50"


def test_many_cells_are_counted():
    verdicts = ["decay", "decay", "no decay", "undecided", "rise"]
    cells = [cell(v, label=f"c{i}", half_life=(4.0 + i, 1, 9)) for i, v in enumerate(verdicts)]
    assert said(*cells)[0] == (
        f"Between-trajectory diversity of pictures, in 5 conditions and groups of starts: it fell in 2, {SPAN}, "
        f"half-life 4.0 to 5.0 iterations; it stayed within 10 % of its start in 1, {SPAN}; it rose in 1, {SPAN}; it "
        f"is undecided in 1, {SPAN}."
    )


def test_many_cells_of_one_verdict_are_said_at_once_with_the_outermost_limits():
    cells = [frame(cell("no decay", label=f"c{i}")) for i in range(4)]
    for i, one in enumerate(cells):
        one.loc[one["t"] == 50, ["value", "ci_low", "ci_high"]] = [0.6 + i / 10, 0.5 + i / 10, 0.7 + i / 10]
    found = headline(pd.concat(cells))
    assert found.sentences[0] == (
        "No convergence of pictures in any of 4 conditions and groups of starts: between-trajectory diversity stayed "
        "within 10 % of its start, from 0.81 [0.78, 0.84] at t = 1 to 0.60–0.90 [0.50, 1.00] at t = 50."
    )
    assert "outermost limits" in found.notes[0]
    assert "outermost limits" not in headline(frame(cell("decay"))).notes[0]


def test_limits_that_some_cells_lack_are_not_given_for_all_of_them():
    cells = [frame(cell("undecided", label=f"c{i}")) for i in range(4)]
    cells[3].loc[cells[3]["t"] == 50, ["value", "ci_low", "ci_high"]] = [0.98, NAN, NAN]
    assert "to 0.62–0.98 [0.58, 0.66 in 3 of 4] at t = 50" in headline(pd.concat(cells)).sentences[0]


def with_control(rows: list[dict[str, Any]], control: str) -> list[dict[str, Any]]:
    return [{**row, "label": f"control={control}", "control": control} for row in rows]


def test_the_finding_is_of_the_loop_and_its_controls_stand_beside_it():
    loop, broken = with_control(cell("decay"), "none"), with_control(cell("no decay"), "shuffled")
    found = headline(frame(loop, broken, with_control(cell("undecided"), "redraw@3")))
    assert found.sentences[0] == headline(frame(cell("decay"))).sentences[0]
    assert not any("convergence" in one for one in found.sentences)
    assert found.sentences[-1] == (
        "Beside the loop, in its controls, which are broken on purpose, of 2 cases diversity stayed within the margin "
        "in 1 and is undecided in 1. What the loop shows beyond them is the loop's doing."
    )
    assert [line.label for line in found.lines] == ["control=none", "control=shuffled", "control=redraw@3"]


@pytest.mark.parametrize(
    ("verdict", "start"),
    [
        ("decay", "Between-trajectory diversity of pictures fell in all 4"),
        ("rise", "Between-trajectory diversity of pictures rose in all 4"),
        ("undecided", "Whether pictures converge is undecided in all 4"),
    ],
)
def test_each_verdict_of_many_cells_has_its_words(verdict: str, start: str):
    assert said(*(cell(verdict, label=f"c{i}") for i in range(4)))[0].startswith(start)


def test_no_convergence_opens_only_where_every_cell_says_so():
    same = [cell("no decay", label=f"c{i}") for i in range(4)]
    assert said(*same)[0].startswith("No convergence of pictures")
    assert said(*same, cell("rise", label="c4"))[0].startswith("Between-trajectory diversity of pictures, in 5")


def test_memory_is_what_the_start_still_explains():
    assert "Late on, the start still explains 65 % [47, 82] of what sets pictures apart." in said(
        cell("no decay", memory=(0.65, 0.47, 0.82))
    )
    assert "Late on, the start explains 5 % [-3, 12] of what sets pictures apart." in said(
        cell("no decay", memory=(0.05, -0.03, 0.12))
    )
    assert not any("explains" in one for one in said(cell("no decay")))


def test_clusters_are_claimed_only_where_they_beat_the_nulls():
    assert "No clusters of endpoints are shown beyond what chance and the starts give." in said(cell("decay"))
    assert "Endpoints are more clustered than chance and than the starts." in said(cell("decay", clusters="clustered"))
    assert not any("cluster" in one for one in said(cell("decay", clusters="too few trajectories")))


def test_a_fall_is_not_sold_as_homogenisation_and_other_embedders_are_heard():
    notes = headline(frame(cell("decay"), cell("undecided", embedder="other"))).notes
    assert any("not yet homogenisation" in note for note in notes)
    assert any("other gives another verdict in 1 of 1 cases" in note for note in notes)
    assert not any("homogenisation" in note for note in headline(frame(cell("no decay"))).notes)


def test_what_was_not_measured_is_said_to_be_unmeasured():
    assert headline(None).sentences == ("This run has not been measured yet.",)
    only_words = frame(cell("decay")).assign(embedder=None)
    (only,) = headline(only_words).sentences
    assert only.startswith("Nothing can be said about convergence")
