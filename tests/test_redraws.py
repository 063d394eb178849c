"""What a `redraw` beside a loop measures: the seed noise of one step, from its draws and from nothing before them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from loopsim.embed import embed_run
from loopsim.experiment import parse_experiment
from loopsim.measure import Options, measure_run
from loopsim.measure.redraws import first_told, redraws_of_controls
from loopsim.plan import make_plan
from loopsim.records import Control, redraw_at
from loopsim.runner import notices, run_plan
from loopsim.states import States, states

STARTS = ["a red boat by the sea", "two birds at night", "one house in the snow", "an old lamp"]


def plan_of(**more: object):
    raw = {
        "name": "c", "iterations": 12, "replicates": 2, "starts": STARTS, "generator": "mock", "embedders": "mock",
        "captioner": {"model": "mock", "temperature": 1.0}, "controls": [{"redraw": {"at": at}} for at in (1, 5)],
    }  # fmt: skip
    if "chain" in more:
        del raw["generator"], raw["captioner"]
    return make_plan(parse_experiment(raw | more))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, States], list[str]]:
    run = run_plan(plan_of(), tmp_path_factory.mktemp("redraws") / "run")
    embed_run(run, "mock")
    notes: list[str] = []
    frame = measure_run(run, Options(families=("between", "attractors"), on_note=notes.append))
    return frame, {modality: states(run, "mock", modality) for modality in ("image", "text")}, notes


def arm(found: States, control: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of an arm, shape (n, T, d), and its iterations."""
    mine = found.of((found.trajectories["control"] == control).to_numpy())
    return mine.vectors.astype(float), mine.ts


def of(frame: pd.DataFrame, control: str, modality: str, metric: str) -> pd.DataFrame:
    return frame.query("control == @control and modality == @modality and metric == @metric")


def noise_of(x: np.ndarray) -> float:
    """Mean distance of two draws, x of shape (n, r, d)."""
    return float(np.mean([1 - (x[:, i] * x[:, j]).sum(1) for i, j in itertools.combinations(range(x.shape[1]), 2)]))


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("at", [1, 5])
def test_lags_of_a_redraw_are_of_its_draws_only(measured, modality, at):
    frame, found, _ = measured
    x, ts = arm(found[modality], f"redraw@{at}")
    x = x[:, ts > at]
    lags = of(frame, f"redraw@{at}", modality, "lag_distance").set_index("item")
    for lag in (1, 2):
        expected = np.mean(1 - (x[:, lag:] * x[:, :-lag]).sum(2))
        assert lags.at[f"lag {lag}", "value"] == pytest.approx(expected, rel=1e-5)
    assert lags["signature"].str.contains(f"|since:t{at + 1}|", regex=False).all()
    whole = of(frame, "none", modality, "lag_distance")
    assert not whole["signature"].str.contains("since").any()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_redraw_gives_the_loop_its_seed_noise_where_its_step_is(measured, modality):
    frame, found, notes = measured
    noise = of(frame, "none", modality, "seed_noise")
    by_t = noise[noise["t"].notna()].set_index("t")
    for at in (1, 5):
        x, ts = arm(found[modality], f"redraw@{at}")
        assert by_t.at[at + 1, "value"] == pytest.approx(noise_of(x[:, ts > at]), rel=1e-5)
        assert by_t.at[at + 1, "n"] == 8
    quarters = noise[noise["item"].notna()].set_index("item")
    assert quarters.at["early", "value"] == pytest.approx(by_t.at[2, "value"])
    assert "|noise:redraws-8x11|" in quarters.at["early", "signature"]
    assert "|redraws_of:control-t2|" in quarters.at["early", "signature"]
    assert "|noise:random-walk|" in quarters.at["late", "signature"]
    assert "redraws_of" not in quarters.at["late", "signature"]
    assert len(of(frame, "redraw@1", modality, "seed_noise").query("t == t")) == 0
    (note,) = [line for line in notes if f"{modality}s: the step of t =" in line]
    assert "the step of t = 6 was drawn again" in note


def test_the_panel_of_a_redraw_begins_with_its_draws(measured):
    frame, found, _ = measured
    x, ts = arm(found["text"], "redraw@5")
    steps = of(frame, "redraw@5", "text", "step_distance").set_index("item")
    window = x[:, (ts >= 6) & (ts <= 8)]
    assert steps.at["early", "value"] == pytest.approx(np.mean(1 - (window[:, 1:] * window[:, :-1]).sum(2)), rel=1e-5)


def test_only_what_the_same_models_drew_is_a_redraw(tmp_path: Path):
    chain = [{"generator": "mock"}, {"captioner": {"model": "mock", "temperature": 1.0}}]
    other = [{"generator": "mock"}, {"captioner": {"model": "mock", "temperature": 0.2}}]
    run = run_plan(plan_of(chain=[*chain, *other], iterations=6, replicates=1), tmp_path / "run")
    embed_run(run, "mock")
    found = states(run, "mock", "text")
    one, *_ = redraws_of_controls(found).draws
    assert (one.t, len(one.vectors)) == (2, 3)  # t = 2, 4, 6
    table = found.trajectories
    (row,) = np.flatnonzero((table["start_id"] == one.start) & (table["control"] == "redraw@1"))
    assert np.array_equal(one.vectors, found.vectors[row, [2, 4, 6]])
    loop = table.set_index("trajectory_id").loc[one.trajectory]
    assert (loop["start_id"], loop["control"]) == (one.start, "none")
    pooled = found.of(np.ones(len(table), dtype=bool))
    assert first_told(pooled) == 1  # a loop and its controls are not told from one of them on


@pytest.mark.parametrize(("at", "said"), [(10, True), (3, True), (2, True), (1, False)])
def test_a_redraw_that_draws_nothing_twice_is_said_to_be_the_loop(tmp_path: Path, at: int, said: bool):
    plan = plan_of(controls=[{"redraw": {"at": at}}], iterations=3)
    lines = [line for line in notices(plan) if "redraw" in line]
    assert bool(lines) == said
    if not said:
        return
    assert f"{{at: {at}}} is the loop itself up to iteration {at + 1}, and the run ends at 3" in lines[0]
    assert f"set iterations: {at + 2} or more" in lines[0]
    longer = plan_of(controls=[{"redraw": {"at": at}}], iterations=at + 2)
    assert not [line for line in notices(longer) if "redraw" in line]
    run = run_plan(plan, tmp_path / "run")
    embed_run(run, "mock")
    texts = run.steps().merge(run.trajectories()[["trajectory_id", "control", "start_id", "replicate"]])
    both = texts.pivot_table(index=["start_id", "replicate", "t"], columns="control", values="text", aggfunc="first")
    assert (both["none"] == both[f"redraw@{at}"]).all()
    frame = measure_run(run, Options(families=("between", "attractors", "text")))
    lags = of(frame, f"redraw@{at}", "image", "lag_distance")
    assert "a distance between two of them needs 2" in lags["undefined"].iloc[0]
    assert of(frame, "none", "image", "seed_noise")["signature"].str.contains("random-walk").all()


def test_the_label_of_a_control_says_where_its_redraws_begin():
    assert redraw_at(Control("redraw", at=12).label) == 12
    assert [redraw_at(Control(kind).label) for kind in ("shuffled", "image_to_image")] == [None, None]
    assert redraw_at(None) is None
    assert redraw_at("redraw@x") is None
