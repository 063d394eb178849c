"""Controls: the loop broken in one known way, from the experiment file to the stored steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from loopsim import images
from loopsim.compare import Settings, compare_runs
from loopsim.errors import ExperimentError, ModelError
from loopsim.experiment import parse_experiment
from loopsim.measure import Options, measure_run
from loopsim.models import check_varying
from loopsim.models.generator_varying import fitted, variation_class
from loopsim.plan import make_plan
from loopsim.records import Control, ModelSpec, Step
from loopsim.runner import run_plan
from loopsim.seams import control_seam
from loopsim.store import open_run

ALL = ["fixed_caption", {"redraw": {"at": 2}}, "shuffled", "random_captions", {"image_to_image": {"strength": 0.3}}]
STARTS = ["a red boat by the sea", "two birds at night", "one house in the snow"]


def plan_of(**more: object):
    raw = {
        "name": "c", "iterations": 4, "replicates": 2, "starts": STARTS, "generator": "mock",
        "captioner": {"model": "mock", "temperature": 1.0}, "embedders": "mock", "controls": ALL,
    }  # fmt: skip
    return make_plan(parse_experiment(raw | more))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    run = run_plan(plan_of(), tmp_path_factory.mktemp("controls") / "run")
    columns = ["trajectory_id", "control", "start_text", "start_id", "replicate"]
    return run.steps(images=True).merge(run.trajectories()[columns], on="trajectory_id")


def arm(steps: pd.DataFrame, control: str) -> dict[tuple[str, int], pd.DataFrame]:
    mine = steps[steps["control"] == control]
    return {key: chain.set_index("t") for key, chain in mine.groupby(["start_text", "replicate"])}


def test_the_loop_itself_is_what_it_is_without_controls(steps, tmp_path):
    alone = run_plan(plan_of(controls=[]), tmp_path / "alone")
    assert "control" not in alone.trajectories()
    whole = steps[steps["control"] == "none"]
    assert set(alone.steps()["trajectory_id"]) == set(whole["trajectory_id"])
    assert alone.steps()["text"].tolist() == whole.sort_values(["trajectory_id", "t"])["text"].tolist()


def test_a_loop_in_half_precision_is_the_same_beside_pictures_from_pictures(tmp_path):
    def drawn(name: str, controls: list[str]) -> dict[tuple[str, int], bytes]:
        plan = plan_of(
            generator={"model": "postcards", "dtype": "bfloat16", "steps": 2}, controls=controls, iterations=2,
            captioner={"model": "mock", "temperature": [0.5, 1.0]}, starts=STARTS[:2], replicates=1,
        )  # fmt: skip
        steps = run_plan(plan, tmp_path / name).steps(images=True)
        return {(row.trajectory_id, row.t): row.image["bytes"] for row in steps.itertuples() if row.t}

    alone, beside = drawn("alone", []), drawn("beside", ["image_to_image"])
    assert alone == {key: beside[key] for key in alone}


def test_a_fixed_caption_draws_the_start_each_time_with_other_noise(steps):
    for (start, _), chain in arm(steps, "fixed_caption").items():
        assert set(chain.loc[1:, "text_in"]) == {start}
        assert len({i["bytes"] for i in chain.loc[1:, "image"]}) == 4


def test_a_redraw_is_the_loop_up_to_its_iteration_and_then_draws_that_description(steps):
    loop = arm(steps, "none")
    for key, chain in arm(steps, "redraw@2").items():
        assert chain.loc[:2, "text"].tolist() == loop[key].loc[:2, "text"].tolist()
        assert set(chain.loc[3:, "text_in"]) == {chain.loc[2, "text"]}
        assert chain.loc[4, "text_in"] != loop[key].loc[4, "text_in"]


def test_shuffled_descriptions_are_all_drawn_once_and_never_by_who_said_them(steps):
    mine = steps[steps["control"] == "shuffled"]
    said = {(row.trajectory_id, row.t): row.text for row in mine.itertuples()}
    for t, block in mine[mine["t"] > 0].groupby("t"):
        assert (block["parent"] != block["trajectory_id"]).all()
        assert sorted(block["parent"]) == sorted(block["trajectory_id"])
        assert [said[parent, t - 1] for parent in block["parent"]] == block["text_in"].tolist()


def test_random_captions_come_from_the_pool_whatever_was_said(steps):
    mine = steps[(steps["control"] == "random_captions") & (steps["t"] > 0)]
    assert set(mine["text_in"]) == set(STARTS)


def test_pictures_from_pictures_use_no_description(steps):
    loop = arm(steps, "none")
    for key, chain in arm(steps, "image_to_image@0.3").items():
        assert chain.loc[1, "image"]["bytes"] == loop[key].loc[1, "image"]["bytes"]
        assert set(chain.loc[2:, "text_in"]) == {""}
        one, two = (images.decode(chain.loc[t, "image"]["bytes"]).astype(float) for t in (1, 2))
        assert (
            0 < np.abs(one - two).mean() < 0.5 * np.abs(one - images.decode(loop[key].loc[2, "image"]["bytes"])).mean()
        )


def test_an_extended_run_with_controls_is_the_run_that_was_longer_from_the_outset(tmp_path, steps):
    run_plan(plan_of(iterations=1), tmp_path / "run")
    run_plan(plan_of(iterations=3), tmp_path / "run")
    run = run_plan(plan_of(), tmp_path / "run")
    again = run.steps(images=True)
    straight = steps.sort_values(["trajectory_id", "t"], ignore_index=True)
    assert again["text"].tolist() == straight["text"].tolist()
    assert [i and i["bytes"] for i in again["image"]] == [i and i["bytes"] for i in straight["image"]]


def test_an_image_start_is_varied_from_the_first_iteration_on(tmp_path):
    (tmp_path / "a.png").write_bytes(images.encode(np.full((16, 16, 3), 90, np.uint8), "png"))
    plan = plan_of(starts={"images": [str(tmp_path / "a.png")]}, controls=["image_to_image", "fixed_caption"])
    run = run_plan(plan, tmp_path / "run")
    frame = run.steps().merge(run.trajectories()[["trajectory_id", "control"]])
    assert set(frame.loc[(frame["control"] == "image_to_image@0.5") & (frame["t"] > 0), "text_in"]) == {""}
    fixed = frame[frame["control"] == "fixed_caption"].groupby("trajectory_id")
    assert all(chain["text_in"].iloc[1:].nunique() == 1 for _, chain in fixed)


def test_pictures_from_pictures_are_the_same_beside_starts_that_are_texts(tmp_path):
    (tmp_path / "a.png").write_bytes(images.encode(np.full((16, 16, 3), 90, np.uint8), "png"))
    picture, texts = {"images": [str(tmp_path / "a.png")]}, {"prompts": STARTS}

    def made(name: str, starts: list[object]) -> dict[tuple[str, int], tuple[object, ...]]:
        run = run_plan(plan_of(starts=starts, controls=["image_to_image"]), tmp_path / name)
        steps = run.steps(images=True)
        return {(r.trajectory_id, r.t): (r.text_in, r.text, r.image and r.image["bytes"]) for r in steps.itertuples()}

    mixed = made("mixed", [picture, texts])
    assert made("pictures", [picture]) | made("texts", [texts]) == mixed


def test_nobody_is_given_what_a_replicate_of_its_own_start_said():
    cohort = plan_of(controls=["shuffled"], replicates=5).cohorts[1]
    starts = {t.id: t.start.id for t in cohort.trajectories}
    for t in range(1, 40):
        said = [Step(i, t, None, None, f"said by {i}", i) for i in starts]
        dealt = control_seam(Control("shuffled"), cohort.trajectories, 0)(said)
        assert sorted(prompt.parent for prompt in dealt.values()) == sorted(starts)
        assert all(starts[taker] != starts[prompt.parent] for taker, prompt in dealt.items())
        # Five of seven have one start: two are given what the others said, and no one what they said themselves.
        few = [said[k] for k in (0, 1, 2, 3, 4, 5, 10)]
        dealt = control_seam(Control("shuffled"), cohort.trajectories, 0)(few)
        assert sorted(prompt.parent for prompt in dealt.values()) == sorted(step.trajectory_id for step in few)
        assert all(taker != prompt.parent for taker, prompt in dealt.items())
        assert sum(starts[taker] == starts[prompt.parent] for taker, prompt in dealt.items()) == 3


def test_groups_of_starts_do_not_mix_when_descriptions_are_shuffled():
    starts = [{"group": name, "prompts": [f"{name} {k}" for k in range(3)]} for name in ("far", "near")]
    plan = plan_of(starts=starts, controls=["shuffled"], replicates=1)
    cohort = plan.cohorts[1]
    assert cohort.trajectories[0].condition.control == Control("shuffled")
    groups = {t.id: t.start.group for t in cohort.trajectories}
    said = [Step(t.id, 3, None, None, t.start.text, t.id) for t in cohort.trajectories]
    dealt = control_seam(Control("shuffled"), cohort.trajectories, 0)(said)
    assert all(groups[taker] == groups[prompt.parent] != "" for taker, prompt in dealt.items())
    assert set(dealt) == set(groups)


def test_what_changes_a_control_changes_its_trajectories_and_no_others():
    def ids(plan, control):
        return {t.id for t in plan.trajectories if t.condition.factors["control"] == control}

    a, b = plan_of(), plan_of(starts=[*STARTS, "one more"])
    assert ids(a, "none") < ids(b, "none")
    assert ids(a, "fixed_caption") < ids(b, "fixed_caption")
    assert not ids(a, "shuffled") & ids(b, "shuffled")  # the company is another
    assert not ids(a, "random_captions") & ids(b, "random_captions")  # so is the pool


def test_a_pool_in_a_file_is_written_into_the_run(tmp_path: Path):
    (tmp_path / "pool.txt").write_text("one lamp\ntwo lamps\n")
    plan = plan_of(controls=[{"random_captions": {"file": str(tmp_path / "pool.txt")}}])
    run_plan(plan, tmp_path / "run")
    kept = open_run(tmp_path / "run").experiment["controls"]
    assert kept == [{"kind": "random_captions", "prompts": ["one lamp", "two lamps"]}]


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ("shuffeld", "there is no control 'shuffeld'; the kinds are fixed_caption, redraw, shuffled"),
        ([{"redraw": 3}], "redraw: options are a mapping"),
        ([{"redraw": {"at": -1}}], "greater than or equal to 0"),
        ([{"redraw": {"strength": 0.5}}], "redraw takes at; it is given strength"),
        ([{"shuffled": {"at": 3}}], "shuffled takes no options; it is given at"),
        ([{"image_to_image": {"strength": 0}}], "greater than 0"),
        ([{"a": 1, "b": 2}], "write each as"),
        ([{"redraw": {"att": 3}}], "did you mean 'at'"),
        ([{"random_captions": {"prompts": ["a", " "]}}], "one of the prompts is empty"),
        ([{"random_captions": {"prompts": ["one"]}}], "there are 1 texts to draw from"),
        (["shuffled", "shuffled"], "a control is there twice"),
        ([{"random_captions": {"file": "/nowhere/pool.txt"}}], "there is no such file"),
    ],
)
def test_mistakes_are_answered(controls, message):
    with pytest.raises(ExperimentError, match=message):
        plan_of(controls=controls)


def test_shuffling_one_trajectory_alone_is_refused():
    with pytest.raises(ExperimentError, match="alone in a cohort of 1"):
        plan_of(cohort=5, controls=["shuffled"])


def test_what_draws_from_words_only_is_refused_before_anything_is_made(tmp_path):
    spec = ModelSpec("generator", "openai:gpt-image-1", {"steps": None})
    with pytest.raises(ModelError, match="draws from words only"):
        check_varying(spec, 0.5)
    with pytest.raises(ModelError, match="makes no picture from a picture"):
        variation_class("PixArtSigmaPipeline")
    plan = plan_of(generator={"model": "postcards", "steps": 2}, controls=[{"image_to_image": {"strength": 0.3}}])
    with pytest.raises(ModelError, match=r"write strength: 0\.5 or more"):
        run_plan(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pictures_of_another_size_are_scaled_and_cut_in_the_middle():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    assert np.array(fitted(wide, (10, 10))).mean() > 150
    assert fitted(wide, None).size == (60, 20)


def test_a_grouping_that_does_not_name_the_control_keeps_the_loop_apart_from_it(tmp_path):
    run = run_plan(plan_of(captioner={"model": "mock", "temperature": [0.5, 1.0]}, controls=["shuffled"]), tmp_path)
    frame = measure_run(run, Options(by=("captioner.temperature",), families=("text",)))
    assert set(zip(frame["captioner.temperature"], frame["control"], strict=True)) == {
        (0.5, "none"), (1.0, "none"), (0.5, "shuffled"), (1.0, "shuffled"),
    }  # fmt: skip
    lines, _ = compare_runs([run], Settings(by="captioner.temperature", measures=("survival",), n_permutations=19))
    names = {(line.first, line.second) for line in lines}
    assert names == {
        ("0.5, control=none", "1, control=none"),
        ("0.5, control=shuffled", "1, control=shuffled"),
    }


def test_controls_are_compared_with_the_loop_and_not_with_each_other(tmp_path):
    from loopsim.compare import Settings

    run = run_plan(plan_of(iterations=2, controls=["fixed_caption", "shuffled"]), tmp_path / "run")
    table = run.trajectories().assign(run="run")
    from loopsim.compare.cells import pairs_of

    names = [(a.value, b.value) for a, b in pairs_of(table, Settings(), several=False)]
    assert names == [("control=none", "control=fixed_caption"), ("control=none", "control=shuffled")]
    chosen = [(a.value, b.value) for a, b in pairs_of(table, Settings(reference="control=shuffled"), several=False)]
    assert ("control=shuffled", "control=fixed_caption") in chosen


def test_an_embedder_is_named_once():
    with pytest.raises(ExperimentError, match="embedders: names 'mock' twice"):
        plan_of(embedders=["mock", "mock"])
