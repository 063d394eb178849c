"""`loopsim run --dry-run`: what a run would end with is told, the rest is tried in small, and nothing is kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.experiment import parse_experiment
from loopsim.plan import make_plan
from loopsim.rehearsal import rehearsal_of
from loopsim.runner import read_branch, run_plan
from loopsim.store import create_run, open_run, read_share
from tests.conftest import Planner

PROMPTS = [f"a house number {k}" for k in range(9)]
FILE = {
    "name": "tried",
    "seed": 1,
    "iterations": 40,
    "replicates": 3,
    "starts": [{"prompts": PROMPTS, "group": "houses"}, {"prompts": ["the sea", "a road"], "group": "others"}],
    "generator": {"model": "mock", "size": "512x512"},
    "captioner": {"model": "mock", "temperature": [0, 0.7]},
    "embedders": "mock",
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "temporary"


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring and drawing, which take seconds and are tried elsewhere, are left out."""
    monkeypatch.setattr("loopsim.measure.measure_run", lambda run: pd.DataFrame({"metric": ["none"]}))
    monkeypatch.setattr("loopsim.report.figures.draw_figures", lambda run, measurements: None)


def tried(folder: Path, *words: str, **keys: Any) -> tuple[int, str]:
    """Exit status and what was said."""
    (folder / "tried.yaml").write_text(yaml.safe_dump(FILE | keys), encoding="utf-8")
    done = CliRunner().invoke(app, ["run", str(folder / "tried.yaml"), "--dry-run", *words])
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


def test_all_of_a_run_is_tried_in_small_and_nothing_is_kept(temporary, tmp_path):
    code, said = tried(tmp_path, captioner="mock")
    assert code == 0, said
    small = "1 conditions × 6 of 11 starts × 2 of 3 replicates × 5 of 40 iterations"
    assert f"tried, dry run: {small}, with models that take no time" in said
    assert "60 steps drawn and described, 72 of them embedded" in said
    assert "nothing was kept, and nothing written into runs/tried" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary", "tried.yaml"]
    assert list(temporary.iterdir()) == []


def test_what_a_run_would_be_refused_for_is_said_before_anything_is_tried(temporary, unmeasured, tmp_path):
    code, said = tried(tmp_path, generator={"model": "postcards", "size": "65x65"})
    assert code == 2
    assert "65x65" in said
    assert "dry run" not in said
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "keys", "why"),
    [
        (["--shard", "1/2", "--max-cost", "1"], {}, "cannot be kept by several processes"),
        (["--shard", "3/2"], {}, "3/2"),
        (["--device", "cpu"], {"generator": {"model": "mock", "placement": "offload"}}, "placement"),
    ],
)  # fmt: skip
def test_options_are_refused_as_by_a_run(temporary, unmeasured, tmp_path, words, keys, why):
    path = tmp_path / "tried.yaml"
    path.write_text(yaml.safe_dump(FILE | keys), encoding="utf-8")
    real = CliRunner().invoke(app, ["run", str(path), *words])
    code, said = tried(tmp_path, *words, **keys)
    assert code == real.exit_code != 0
    assert why in said
    assert "dry run" not in said


def test_a_cluster_gains_nothing_by_a_hosted_model(temporary, unmeasured, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none-of-yours")
    monkeypatch.setattr("loopsim.runner.check_executor", lambda *_: None)
    code, said = tried(tmp_path, "--executor", "ray", captioner="openai:gpt-5-mini")
    assert code == 2
    assert "is hosted" in said


def test_an_embedder_that_is_new_to_a_run_is_looked_at(temporary, unmeasured, tmp_path):
    few = {"iterations": 2, "starts": ["a", "b"], "replicates": 1, "generator": "mock"}
    run_plan(make_plan(parse_experiment(FILE | few)), tmp_path / "runs" / "tried")
    code, said = tried(tmp_path, **few, embedders=["mock", "clip-vit-b-32"])
    assert code == 1
    assert "a run would end here: embedder 'clip-vit-b-32'" in said
    assert "the dry run went through" in said


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (None, []),
        (None, ["--shard", "1/2"]),
        ("1/2", []),
        ("1/2", ["--shard", "1/2"]),
        ("1/2", ["--shard", "1/3"]),
    ],
)
def test_a_run_that_is_being_written_to_is_busy(temporary, unmeasured, tmp_path, held, words):
    plan = make_plan(parse_experiment(FILE))
    run = create_run(tmp_path / "runs" / "tried", plan, {}, 1)
    with run.writing(None if held is None else read_share(held)):
        code, said = tried(tmp_path, *words)
        assert code == 2
        assert "being written" in said or "is writing to" in said
        if held is not None:
            assert tried(tmp_path, "--shard", "2/2")[0] == 0
    assert tried(tmp_path, *words)[0] == 0


def test_other_weights_than_those_of_the_run_are_refused(temporary, unmeasured, tmp_path):
    plan = make_plan(parse_experiment(FILE | {"generator": "postcards"}))
    known = {"models": [{"role": "generator", "model": "postcards", "revision": None, "files": {"unet": "0"}}]}
    create_run(tmp_path / "runs" / "tried", plan, known, 1)
    code, said = tried(tmp_path, generator="postcards")
    assert code == 2
    assert "was made with other files of the generator postcards" in said


def test_no_prompt_is_special_to_the_models_that_stand_in(temporary, unmeasured, tmp_path):
    code, said = tried(tmp_path, starts=["fail", "black"], captioner="mock", generator="postcards")
    assert code == 0, said
    assert "20 steps drawn and described" in said


def test_starts_that_travel_apart_are_not_left_alone(planner: Planner, tmp_path):
    run = run_plan(planner(starts=["a", "b", "c", "d", "e"], iterations=10), tmp_path / "parent")
    ids = run.trajectories()["trajectory_id"].tolist()
    steps = [f"{run.path}/{ids[k]}/{t}" for k, t in enumerate([5, 5, 5, 10, 10])]
    branched = planner(starts={"from": steps}, controls=["shuffled"], replicates=1)
    assert len(rehearsal_of(branched.experiment, read_branch).starts) == 5


def test_a_model_that_is_not_here_fails_the_trial_which_is_made_all_the_same(temporary, unmeasured, tmp_path):
    code, said = tried(tmp_path, generator="sdxl")
    assert code == 1
    assert "not checked, and a run would end here: generator 'sdxl'" in said
    assert "the dry run went through" in said
    assert said.endswith("a run would end all the same, see the notices above")


def test_a_directory_that_the_run_could_not_go_on_in_is_refused_and_one_that_it_could_is_left(
    temporary, unmeasured, tmp_path, planner: Planner
):
    run_plan(planner(), tmp_path / "runs" / "other")
    before = {p: p.read_bytes() for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    code, said = tried(tmp_path, "--out", "runs/other")
    assert (code, "holds a run of another experiment" in said) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert "exists and is not a run" in tried(tmp_path, "--out", "full")[1]
    same = open_run(tmp_path / "runs" / "other").path / "experiment.yaml"
    done = CliRunner().invoke(app, ["run", str(same), "--out", "runs/other", "--dry-run", "iterations=8"])
    assert done.exit_code == 0, done.output
    assert before == {p: p.read_bytes() for p in (tmp_path / "runs").rglob("*") if p.is_file()}


def test_too_small_a_disk_is_noticed(temporary, unmeasured, tmp_path, monkeypatch):
    assert "there is room for" not in tried(tmp_path)[1]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    code, said = tried(tmp_path)
    assert code == 0
    assert f"there is room for 0.0 GB in {tmp_path}" in said
    create_run(
        tmp_path / "runs" / "tried", make_plan(parse_experiment(FILE)), {}, 1
    )  # how much of it is there already?
    assert "there is room for" not in tried(tmp_path)[1]


def test_conditions_controls_and_columns_are_those_of_the_study(planner: Planner):
    whole = planner(
        starts={"template": "a {what} by {where}", "factors": {"what": ["house", "tree"], "where": ["day", "sea"]}},
        controls=["shuffled", {"redraw": {"at": 7}}, "random_captions"], iterations=30, cohort=5,
        generator={"model": "postcards", "guidance": [1, 3]}, captioner=["postcards", "postcards-terse"],
    )  # fmt: skip
    small = rehearsal_of(whole.experiment)
    assert [c.label for c in small.conditions] == [c.label for c in whole.conditions]
    assert [dict(c.factors) for c in small.conditions] == [dict(c.factors) for c in whole.conditions]
    assert {spec.model for c in small.conditions for spec in c.chain} == {"mock"}
    assert {spec.model for t in small.trajectories for spec in t.condition.chain} == {"mock"}
    assert [start.facts for start in small.starts] == [start.facts for start in whole.starts]
    assert small.experiment.iterations == 8  # one more than the redraw begins at
    assert whole.experiment.iterations == 30


def test_random_captions_are_drawn_from_all_starts(planner: Planner, tmp_path):
    run = run_plan(planner(starts=["a", "b", "c", "d"], replicates=2, iterations=2), tmp_path / "parent")
    ids = run.trajectories()["trajectory_id"].tolist()
    branched = planner(starts={"from": [f"{run.path}/{i}/0" for i in ids]}, controls=["random_captions"])
    (pool,) = {c.control.pool for c in rehearsal_of(branched.experiment, read_branch).conditions if c.control}
    assert set(pool) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("out", ["thesis.txt/run", "kept/run"])
def test_a_directory_that_cannot_be_made_is_refused(temporary, unmeasured, tmp_path, monkeypatch, out):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "kept")  # root may write anywhere
    code, said = tried(tmp_path, "--out", out)
    assert code == 1
    assert "cannot be written" in said
    assert "dry run" not in said


def test_shards_are_busy_as_for_a_run(temporary, unmeasured, tmp_path):
    blank = create_run(tmp_path / "runs" / "tried", make_plan(parse_experiment(FILE | {"seed": 2})), {}, 1)
    with blank.writing(read_share("2/2")):  # which another experiment could not take away
        assert tried(tmp_path, "--shard", "1/2")[0] == 2
    whole = run_plan(make_plan(parse_experiment(FILE | {"iterations": 1})), tmp_path / "done")
    with whole.writing():  # who has nothing left to do does not mind who is measuring
        assert tried(tmp_path, "--out", "done", "--shard", "1/2", iterations=1)[0] == 0
        assert tried(tmp_path, "--out", "done", iterations=1)[0] == 2
