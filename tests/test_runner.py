"""Runs from beginning to end on mock models: what is stored, resumed, extended, branched, refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loopsim import images
from loopsim.errors import OtherExperimentError, RunFailed, StoreError, UsageError
from loopsim.experiment import load_experiment
from loopsim.plan import Plan, make_plan
from loopsim.provenance import hash_files
from loopsim.records import EMPTY_CAPTION
from loopsim.runner import ModelPool, run_plan
from loopsim.seams import Prompt
from loopsim.seeds import step_seed
from loopsim.store import Run, create_run, open_run


def contents(run: Run) -> list[tuple]:
    """Everything that must be the same in two runs: ids, texts, seeds, shapes, flags and picture bytes."""
    frame = run.steps(images=True).drop(columns=["seconds"])
    frame["image"] = [None if i is None else i["bytes"] for i in frame["image"]]
    frame["flags"] = [tuple(f) for f in frame["flags"]]
    blank = frame.astype(object).where(frame.notna(), "")
    return [tuple(row) for row in blank.itertuples(index=False)]


def test_a_run_stores_every_step_and_its_start(planned, out):
    plan = planned()
    run = run_plan(plan, out)
    steps = run.steps()
    assert len(steps) == 6 * (4 + 1)
    assert set(steps["t"]) == {0, 1, 2, 3, 4}
    starts = steps[steps["t"] == 0]
    assert sorted(starts["text"].unique()) == sorted(s.text for s in plan.starts)
    assert starts["text_in"].isna().all()
    for _, chain in steps.groupby("trajectory_id"):
        assert chain["text_in"].tolist()[1:] == chain["text"].tolist()[:-1]


def test_the_same_experiment_twice_gives_the_same_bytes(planned, tmp_path):
    first, second = (run_plan(planned(), tmp_path / name) for name in "ab")
    assert contents(first) == contents(second)


def test_another_seed_gives_other_pictures(planned, tmp_path):
    a, b = (run_plan(planned(seed=seed), tmp_path / str(seed)) for seed in (7, 8))
    pictures = [run.steps(images=True)["image"].dropna().map(lambda i: i["bytes"]).tolist() for run in (a, b)]
    assert not set(pictures[0]) & set(pictures[1])


def test_a_finished_run_returns_without_loading_a_model(planned, out):
    run_plan(planned(), out)
    loaded = []
    run_plan(planned(), out, pool=ModelPool(on_load=loaded.append))
    assert loaded == []


def test_raised_iterations_extend_the_run_to_the_same_bytes(planned, tmp_path):
    run_plan(planned(iterations=2), tmp_path / "long")
    extended = run_plan(planned(iterations=5), tmp_path / "long")
    straight = run_plan(planned(iterations=5), tmp_path / "straight")
    assert contents(extended) == contents(straight)
    assert open_run(tmp_path / "long").iterations == 5


def test_lowered_iterations_are_refused(planned, out):
    run_plan(planned(iterations=3), out)
    with pytest.raises(OtherExperimentError, match="iterations: there 3, here 2"):
        run_plan(planned(iterations=2), out)


def test_a_changed_experiment_is_refused_showing_the_difference_and_harms_nothing(planned, out):
    run_plan(planned(), out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(OtherExperimentError, match=r"temperature: there 0\.7, here 0\.2"):
        run_plan(planned(captioner={"model": "mock", "temperature": 0.2}), out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_name_and_batch_size_may_change_in_a_run(planned, out):
    run_plan(planned(iterations=2), out)
    run = run_plan(planned(iterations=3, name="other", generator={"model": "mock", "batch_size": 2}), out)
    assert run.steps(["t"])["t"].max() == 3


def test_an_interrupted_run_resumes_to_the_same_bytes(planned, tmp_path):
    whole = run_plan(planned(cohort=4), tmp_path / "whole")
    made = []

    def stop(progress):
        made.append(progress.made)
        if progress.made >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(planned(cohort=4), tmp_path / "broken", watch=stop)
    assert 0 < len(open_run(tmp_path / "broken").steps(["t"])) < len(whole.steps(["t"]))
    assert contents(run_plan(planned(cohort=4), tmp_path / "broken")) == contents(whole)


def test_one_model_at_a_time_gives_the_same_bytes_with_few_loads(planned, tmp_path):
    loads = []
    plan = planned(cohort=2, iterations=3)
    swapped = run_plan(plan, tmp_path / "swap", pool=ModelPool(room=1, on_load=loads.append))
    assert contents(swapped) == contents(run_plan(plan, tmp_path / "resident"))
    assert len(loads) == 2 * 3  # every cohort goes through a model before the other is loaded


def test_conditions_share_the_noise_of_their_common_starts(planned, out):
    run = run_plan(planned(captioner={"model": "mock", "temperature": [0.3, 0.7]}), out)
    steps = run.steps().merge(run.trajectories()[["trajectory_id", "start_id", "condition", "replicate"]])
    seeds = steps[steps["t"] > 0].groupby(["start_id", "replicate", "t"])["generator_seed"].nunique()
    assert (seeds == 1).all()
    assert steps.loc[steps["t"] > 0, "generator_seed"].nunique() == 3 * 2 * 4


def test_fixed_noise_is_a_deterministic_map_with_one_seed_a_trajectory(planned, out):
    run = run_plan(planned(noise="fixed", iterations=6), out)
    drawn = run.steps().query("t > 0")
    assert (drawn.groupby("trajectory_id")["generator_seed"].nunique() == 1).all()
    for _, chain in drawn.groupby("trajectory_id"):
        said = dict(zip(chain["text_in"], chain["text"], strict=True))
        assert all(said[a] == b for a, b in zip(chain["text_in"], chain["text"], strict=True))


def test_a_failing_trajectory_is_a_record_and_the_others_go_on_unchanged(planned, tmp_path):
    starts = ["a red house", "fail", "the blue sea"]
    run = run_plan(planned(starts=starts), tmp_path / "a")
    failures = run.failures()
    assert [f.t for f in failures] == [1, 1]
    assert "asked to fail" in failures[0].message
    assert "Traceback" in failures[0].traceback
    alive = run.steps().query("t > 0")["trajectory_id"].nunique()
    assert alive == 4
    # The shape of the calls is the planned one, so the others' bytes do not depend on the failure.
    assert set(run.steps().query("t > 0")["generator_chunk"]) == {6}


def test_a_failed_trajectory_stays_out_when_the_run_is_extended(planned, out):
    run_plan(planned(starts=["fail", "the blue sea"], iterations=2), out)
    run = run_plan(planned(starts=["fail", "the blue sea"], iterations=4), out)
    assert len(run.failures()) == 2
    assert run.count_steps() == (8, 8)


def test_a_model_that_fails_for_everyone_stops_the_run_and_shuts_no_one_out(planned, out, monkeypatch):
    def broken(self, prompt, seed):
        raise RuntimeError("the weights are not finite")

    with monkeypatch.context() as patch:
        patch.setattr("loopsim.models.mock.MockGenerator._draw", broken)
        with pytest.raises(
            RunFailed, match=r"failed for all 6 trajectories of cohort c0000 at iteration 1.*not finite"
        ):
            run_plan(planned(), out)
    assert open_run(out).failures() == []
    assert "Traceback" in open_run(out).events()[-1]["details"]
    assert run_plan(planned(), out).count_steps() == (24, 24)


def test_a_disk_that_fails_at_the_last_flush_is_an_error_and_no_hang(planned, out, monkeypatch):
    def full(self, cohort, steps, once=False):
        raise StoreError("no space left on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit", full)
        with pytest.raises(StoreError, match="no space left"):
            run_plan(planned(), out)
    assert run_plan(planned(), out).count_steps() == (24, 24)


def in_pieces(monkeypatch: pytest.MonkeyPatch, plan: Plan, out: Path) -> list[Path]:
    """Run with a shard for every iteration; the shards in order."""
    with monkeypatch.context() as patch:
        patch.setattr("loopsim.executors.writer.FLUSH_SECONDS", 0.0)
        patch.setattr(Run, "compact", lambda *_: None)
        run_plan(plan, out)
    names = sorted((out / "steps").glob("*.parquet"))
    assert len(names) > 2
    return names


def test_a_missing_shard_in_the_middle_is_made_again_and_nothing_else(planned, tmp_path, monkeypatch):
    plan = planned(starts=["a red house", "fail", "the blue sea"])
    out = tmp_path / "run"
    names = in_pieces(monkeypatch, plan, out)
    names[1].unlink()
    assert open_run(out).count_steps() == (12, 16)
    made = []
    run_plan(plan, out, watch=lambda now: made.append(now.made))
    assert made == [4]
    assert contents(open_run(out)) == contents(run_plan(plan, tmp_path / "whole"))
    assert open_run(out).count_steps() == (16, 16)


def test_a_lost_iteration_that_comes_out_otherwise_is_told(planned, out, monkeypatch):
    names = in_pieces(monkeypatch, planned(), out)
    names[2].unlink()
    monkeypatch.setattr("loopsim.models.mock.MockCaptioner._say", lambda self, image, seed: ["something", "else"])
    with pytest.raises(StoreError, match=r"up to 2 of cohort c0000 .* what iteration 3 was drawn from, for 6 of 6"):
        run_plan(planned(), out)


def test_a_model_card_is_no_part_of_a_model(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"1")
    before = hash_files(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / ".DS_Store").write_text("a trace")
    assert hash_files(tmp_path) == before
    (tmp_path / "weights.safetensors").write_bytes(b"2")
    assert hash_files(tmp_path) != before


def test_strict_stops_at_the_first_failure(planned, out):
    with pytest.raises(RunFailed, match="asked to fail"):
        run_plan(planned(starts=["fail", "the blue sea"]), out, strict=True)


def test_flags_tell_of_empty_captions_black_pictures_and_long_prompts(planned, out):
    run = run_plan(planned(starts=["black", "a b c d e f g h i j k"], iterations=1, replicates=1), out)
    steps = run.steps().query("t == 1").set_index("text_in")
    assert set(steps.loc["black", "flags"]) == {"black_image", "empty_caption"}
    assert steps.loc["black", "text"] == EMPTY_CAPTION
    assert "prompt_over_limit" in steps.loc["a b c d e f g h i j k", "flags"]
    assert steps.loc["a b c d e f g h i j k", "prompt_tokens"] == 11


def test_truncated_and_cut_captions_are_flagged(planned, tmp_path):
    short = run_plan(planned(captioner={"model": "mock", "max_new_tokens": 3}), tmp_path / "tokens").steps()
    assert short.query("t > 0")["flags"].map(lambda f: "caption_truncated" in f).all()
    cut = run_plan(planned(captioner={"model": "mock", "max_words": 2}), tmp_path / "words").steps().query("t > 0")
    assert cut["flags"].map(lambda f: "words_cut" in f).all()
    assert (cut["text"].str.split().str.len() == 2).all()


def test_a_repeated_caption_is_flagged(planned, out):
    run = run_plan(planned(starts=["black"], noise="fixed", replicates=1, iterations=3), out)
    again = run.steps().query("t > 1")
    repeated = again["text"] == again["text_in"]
    assert (again["flags"].map(lambda f: "repeat" in f) == (repeated & (again["text"] != EMPTY_CAPTION))).all()


def test_image_first_starts_are_described_before_they_are_drawn(planned, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "start.png")
    run = run_plan(planned(starts={"images": [str(tmp_path / "start.png")]}), tmp_path / "run")
    steps = run.steps(images=True)
    first = steps[steps["t"] == 0].iloc[0]
    assert first["text"]
    np.testing.assert_array_equal(images.decode(first["image"]["bytes"]), picture)
    assert steps[steps["t"] == 1].iloc[0]["text_in"] == first["text"]
    (tmp_path / "start.png").unlink()
    assert len(open_run(tmp_path / "run").steps()) == 2 * 5  # the directory holds all it needs to be read


def test_longer_chains_take_their_models_in_turn(planned, out):
    chain = [
        {"generator": {"model": "mock", "size": 16}}, {"captioner": "mock"},
        {"generator": {"model": "mock", "size": 32}}, {"captioner": {"model": "mock", "max_words": 2}},
    ]  # fmt: skip
    plan = planned(chain=chain, iterations=4)
    plan.experiment.resolved()
    run = run_plan(plan, out)
    steps = run.steps(images=True).query("t > 0")
    sides = steps.groupby("t")["image"].first().map(lambda i: images.decode(i["bytes"]).shape[0])
    assert sides.to_dict() == {1: 16, 2: 32, 3: 16, 4: 32}
    words = steps.groupby("t")["text"].agg(lambda texts: texts.str.split().str.len().max())
    assert words.to_dict() == {1: 5, 2: 2, 3: 5, 4: 2}


def test_a_branch_goes_on_from_a_step_with_the_same_noise(planned, tmp_path):
    parent = run_plan(planned(iterations=5), tmp_path / "parent")
    steps = parent.steps(images=True)
    one = steps["trajectory_id"].iloc[0]
    branch = planned(starts={"from": f"{tmp_path / 'parent'}/{one}/2"}, iterations=3, replicates=1)
    mine = run_plan(branch, tmp_path / "branch").steps(images=True)
    assert mine["t"].tolist() == [2, 3, 4, 5]
    then = steps[(steps["trajectory_id"] == one) & (steps["t"] > 2)]
    assert mine.query("t > 2")["text"].tolist() == then["text"].tolist()
    assert [i["bytes"] for i in mine.query("t > 2")["image"]] == [i["bytes"] for i in then["image"]]


def test_a_branch_with_one_setting_changed_keeps_the_noise_only(planned, tmp_path):
    parent = run_plan(planned(iterations=3), tmp_path / "parent").steps()
    one = parent["trajectory_id"].iloc[0]
    start = {"from": f"{tmp_path / 'parent'}/{one}/1"}
    plan = planned(starts=start, iterations=2, replicates=1, generator={"model": "mock", "size": 24})
    mine = run_plan(plan, tmp_path / "branch").steps()
    then = parent[(parent["trajectory_id"] == one) & (parent["t"] > 1)]
    assert mine.query("t > 1")["generator_seed"].tolist() == then["generator_seed"].tolist()


def test_the_seam_can_exchange_captions_and_parents_are_kept(planned, out):
    def rotate(steps):
        ids = [step.trajectory_id for step in steps]
        return {ids[i]: Prompt(steps[i - 1].text, ids[i - 1]) for i in range(len(ids))}

    run = run_plan(planned(replicates=1), out, seam=rotate)
    steps = run.steps().query("t > 0")
    assert (steps["parent"] != steps["trajectory_id"]).all()


def test_jpeg_captions_describe_the_stored_pixels(planned, out):
    run = run_plan(planned(image_format="jpeg", captioner="mock", iterations=1), out)
    from loopsim.models import load_captioner

    steps = run.steps(images=True).query("t == 1")
    captioner = load_captioner(planned(captioner="mock").conditions[0].chain[1])
    again = captioner.describe([images.decode(i["bytes"]) for i in steps["image"]], [0] * len(steps))
    assert [c.text for c in again] == steps["text"].tolist()


def test_two_writers_cannot_hold_one_run(planned, out):
    run = run_plan(planned(iterations=1), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with run.writing():
        before[out / ".lock"] = (out / ".lock").read_bytes()
        with pytest.raises(UsageError, match="another process is writing"):
            run_plan(planned(iterations=2), out)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    run_plan(planned(iterations=1), out)


def test_the_number_of_threads_is_kept_when_a_run_goes_on(planned, out):
    run_plan(planned(iterations=1), out, threads=1)
    run = run_plan(planned(iterations=2), out)
    assert [e["pinned"]["threads"] for e in run.events() if e["event"] == "start"] == [1, 1]


def test_a_newer_step_is_never_lost_to_a_leftover_of_compaction(planned, out: Path):
    run = run_plan(planned(), out)
    (shard,) = (out / "steps").glob("*.parquet")
    before = contents(run)
    # As after a crash between writing the merged shard and deleting the ones it was made from.
    (out / "steps" / "c0000-0000001-0000002.parquet").write_bytes(shard.read_bytes())
    (out / "steps" / ".tmp-1-c0000-0000009-0000009.parquet").write_bytes(b"half")
    assert contents(open_run(out)) == before
    assert contents(run_plan(planned(iterations=5), out))[: len(before)] != []
    assert [p.name for p in (out / "steps").iterdir() if p.is_file()] == ["c0000-0000000-0000005.parquet"]


def test_groups_of_starts_are_kept_apart_in_the_stored_experiment(planned, out):
    starts = [{"prompts": ["a"]}, {"prompts": ["b"]}, {"prompts": ["c"], "group": "other"}]
    plan = planned(starts=starts)
    run_plan(plan, out)
    again = make_plan(load_experiment(out))
    assert again.starts == plan.starts
    assert [t.id for t in again.trajectories] == [t.id for t in plan.trajectories]


def test_a_renamed_group_is_renamed_in_the_results(planned, out):
    run_plan(planned(starts=[{"prompts": ["a"], "group": "old"}]), out)
    run = run_plan(planned(starts=[{"prompts": ["a"], "group": "new"}]), out)
    assert set(run.trajectories()["group"]) == {"new"}


def test_steps_before_a_failure_are_stored_before_the_failure(planned, out, monkeypatch):
    def kill(self, cohort, failure):
        raise KeyboardInterrupt  # as if killed in the middle of recording it

    starts = ["a boat", "fail", "a house"]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "record_failure", kill)
        with pytest.raises(KeyboardInterrupt):
            run_plan(planned(starts=starts), out)
    assert set(open_run(out).steps(["t"])["t"]) == {0}
    assert len(run_plan(planned(starts=starts), out).steps(["t"]).query("t == 0")) == 6


def test_a_branch_of_a_branch_keeps_the_first_ones_noise(planned, tmp_path):
    parent = run_plan(planned(iterations=6), tmp_path / "a").steps()
    one = parent["trajectory_id"].iloc[0]
    first = planned(starts={"from": f"{tmp_path / 'a'}/{one}/2"}, iterations=3, replicates=1)
    second_id = run_plan(first, tmp_path / "b").steps()["trajectory_id"].iloc[0]
    second = planned(starts={"from": f"{tmp_path / 'b'}/{second_id}/4"}, iterations=2, replicates=1)
    mine = run_plan(second, tmp_path / "c").steps().query("t > 4")
    then = parent[(parent["trajectory_id"] == one) & (parent["t"] > 4)]
    assert mine["text"].tolist() == then["text"].tolist()


def test_seeds_are_read_back_to_the_last_digit(planned, out):
    plan = planned()
    steps = run_plan(plan, out).steps().query("t == 1").set_index("trajectory_id")
    for trajectory in plan.trajectories:
        assert int(steps.loc[trajectory.id, "generator_seed"]) == step_seed(trajectory, 1, "generator", 7, False)


def test_other_weights_under_the_same_name_are_refused(planned, out):
    run = run_plan(planned(iterations=1), out)
    manifest = json.loads((out / "manifest.json").read_text())
    models = [{"role": "generator", "model": "mine", "files": {"weights.safetensors": "aa"}}]
    manifest["provenance"]["models"] = models
    (out / "manifest.json").write_text(json.dumps(manifest))
    now = [{"role": "generator", "model": "mine", "files": {"weights.safetensors": "bb"}}]
    with pytest.raises(OtherExperimentError, match=r"other files of the generator mine: weights\.safetensors"):
        create_run(run.path, planned(iterations=1), {"models": now})


def test_records_are_frozen(planned):
    trajectory = planned().trajectories[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        trajectory.replicate = 3
