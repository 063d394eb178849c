"""Comparing conditions, groups of starts and runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.compare import MEASURES, Settings, _adjusted, compare_runs
from loopsim.compare.cells import said
from loopsim.embed import embed_run
from loopsim.errors import UsageError
from loopsim.exchange import import_run
from loopsim.measure import measure_run
from loopsim.runner import run_plan
from loopsim.states import states
from metrics.panel import panel

LENGTH = 13


def table(conditions, prompts=14, replicates=2, group="all", seed=0):
    """Rows of an import: condition to (share of the start's offset kept, noise, a trajectory's own wandering)."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(prompts, 16)) * 2
    rows = []
    for condition, (kept, noise, *wander) in conditions.items():
        for g in range(prompts):
            for r in range(replicates):
                away = rng.normal(size=16) * sum(wander)
                for t in range(LENGTH):
                    gone = min(t / 6, 1)
                    vector = 2 + own[g] * (1 - (1 - kept) * gone) + away * gone + noise * rng.normal(size=16)
                    rows.append({
                        "trajectory": f"{condition}-{group}-{g}-{r}", "t": t, "start": f"{group}{g}", "replicate": r,
                        "condition": condition, "group": group, "text": f"word{g} and more",
                        "embedding": vector.tolist(),
                    })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def imported(tmp_path):
    def make(frame, name="run"):
        path = tmp_path / f"{name}.parquet"
        frame.to_parquet(path)
        return import_run(path, tmp_path / name, modality="text", name=name)

    return make


def by_measure(lines, **where):
    return {line.measure: line for line in lines if all(getattr(line, k) == v for k, v in where.items())}


def test_a_narrowing_condition_differs_and_two_alike_are_shown_to_be_equal(imported):
    run = imported(table({"kept": (1.0, 0.3), "alike": (1.0, 0.3), "narrow": (0.1, 0.3)}))
    lines, tests = compare_runs([run], Settings(measures=("late distance", "change", "vendi"), n_permutations=399))
    narrow = by_measure(lines, first="kept", second="narrow")
    for measure in ("late distance", "change", "vendi"):
        assert narrow[measure].verdict == "differs", measure
        assert narrow[measure].ci_high < 0
        assert narrow[measure].paired
        assert narrow[measure].starts == 14
    alike = by_measure(lines, first="kept", second="alike")
    assert alike["late distance"].verdict == "equivalent"
    assert {test.measure: test.p <= 0.01 for test in tests} == dict.fromkeys(("late distance", "change", "vendi"), True)
    assert tests[0].cells == ("kept", "alike", "narrow")
    assert tests[0].p_adjusted == pytest.approx(min(1, 3 * tests[0].p))


def test_memory_is_that_of_the_panel_and_falls_with_the_start(imported):
    run = imported(table({"kept": (1.0, 0.3), "lost": (0.5, 0.3, 1.5)}))
    lines, _ = compare_runs([run], Settings(measures=("memory",), modalities=("text",)))
    memory = by_measure(lines)["memory"]
    assert memory.difference < 0
    assert memory.verdict == "differs"
    found = states(run, "given", "text")
    for condition, value in (("kept", memory.first_value), ("lost", memory.second_value)):
        mine = found.of((found.trajectories["label"] == condition).to_numpy())
        assert value == pytest.approx(panel(mine.vectors, mine.starts, LENGTH - 3).memory.value, rel=1e-6)


def test_groups_that_share_no_starts_are_compared_unpaired(imported):
    frame = pd.concat([table({"a": (1.0, 0.3)}, group="wide"), table({"a": (0.1, 0.3)}, group="narrow", seed=1)])
    run = imported(frame)
    lines, _ = compare_runs([run], Settings(by="group", measures=("late distance",), n_permutations=199))
    (line,) = lines
    assert (line.paired, line.starts, line.verdict) == (False, 28, "differs")
    with pytest.raises(UsageError, match="one cell only"):
        compare_runs([run])


@pytest.mark.parametrize("reference", ["not set", "2", "2.0", None])
def test_a_setting_that_is_not_set_is_called_so_and_a_whole_number_has_no_point(planned, tmp_path, reference):
    plan = planned(starts=["a sea", "a house"], captioner=[{"model": "mock"}, {"model": "mock", "max_words": [2, 4]}])
    run = run_plan(plan, tmp_path / "run")
    embed_run(run, "mock")
    measures = ("late distance", "survival")
    lines, _ = compare_runs(
        [run], Settings(by="captioner.max_words", reference=reference, measures=measures, n_permutations=19)
    )
    expected = {
        "not set": {("not set", "2"), ("not set", "4")},
        None: {("not set", "2"), ("not set", "4"), ("2", "4")},
    }.get(reference, {("2", "not set"), ("2", "4")})
    assert {(line.first, line.second) for line in lines} == expected
    with pytest.raises(UsageError, match="'3' is none of the cells: not set; 2; 4"):
        compare_runs([run], Settings(by="captioner.max_words", reference="3", measures=measures))


def test_numbers_with_a_fraction_and_words_are_called_as_they_are():
    assert [said(v) for v in (0.7, 2.0, 1e300, "2.0", True, None, math.nan, pd.NA, math.inf)] == [
        "0.7", "2", "1e+300", "2.0", "True", "not set", "not set", "not set", "inf",
    ]  # fmt: skip


def test_runs_are_compared_by_their_shared_starts(imported):
    first = imported(table({"a": (1.0, 0.3)}), "first")
    second = imported(table({"a": (0.1, 0.3)}, prompts=10), "second")
    lines, _ = compare_runs([first, second], Settings(measures=("late distance", "survival")))
    line = by_measure(lines)["late distance"]
    assert (line.first, line.second, line.starts, line.verdict) == ("first", "second", 10, "differs")
    assert by_measure(lines)["survival"].second_value == 1.0
    with pytest.raises(UsageError, match="has no embeddings by 'mock'"):
        compare_runs([first, second], Settings(embedder="mock"))


def test_the_same_run_twice_does_not_differ_in_anything(planned, tmp_path):
    starts = [f"a house by the {w}" for w in ("sea", "road", "lake", "wood", "hill")]
    runs = [run_plan(planned(starts=starts, iterations=9, name=name), tmp_path / name) for name in ("one", "two")]
    for run in runs:
        embed_run(run, "mock")
    lines, _ = compare_runs(runs)
    assert {line.measure for line in lines} == set(MEASURES)
    for line in lines:
        if not math.isnan(line.difference):
            assert line.difference == 0, line
            assert math.isnan(line.p) or line.p == 1.0
        assert line.verdict == "undecided"
        assert line.undefined


def test_more_replicates_of_the_same_kind_are_no_difference(imported):
    # Vendi and motifs rise with n: 1 against 4 replicates of one law were "different" before both were thinned.
    rejected = 0
    for seed in range(8):
        few = table({"few": (1.0, 0.8, 1.0)}, prompts=10, replicates=1, seed=seed)
        many = table({"many": (1.0, 0.8, 1.0)}, prompts=10, replicates=4, seed=seed)
        run = imported(pd.concat([few, many]), f"run{seed}")
        measures = ("late distance", "vendi", "motifs")
        lines, _ = compare_runs([run], Settings(measures=measures, n_permutations=99))
        assert {line.measure for line in lines} == set(measures)
        assert "|trajectories:10+10|" in by_measure(lines)["vendi"].signature
        assert "|trajectories:10+40|" in by_measure(lines)["late distance"].signature
        rejected += sum(line.verdict == "differs" for line in lines)
    assert rejected <= 2


def test_runs_of_one_name_are_kept_apart_and_one_run_is_not_taken_twice(imported, tmp_path):
    first = imported(table({"a": (1.0, 0.3)}), "first")
    path = tmp_path / "again.parquet"
    table({"a": (1.0, 0.3)}).to_parquet(path)
    second = import_run(path, tmp_path / "elsewhere" / "second", modality="text", name="first")
    lines, _ = compare_runs([first, second], Settings(measures=("drift",)))
    assert [(line.first, line.second, line.difference) for line in lines] == [("first", "second", 0.0)]
    with pytest.raises(UsageError, match="given twice"):
        compare_runs([first, first])


def test_a_reference_is_a_whole_name(imported):
    run = imported(table({"sd-1": (1.0, 0.3), "sd-1.5": (1.0, 0.3), "sd-2": (0.5, 0.3)}))
    lines, tests = compare_runs([run], Settings(measures=("drift",), reference="sd-1"))
    assert [(line.first, line.second) for line in lines] == [("sd-1", "sd-1.5"), ("sd-1", "sd-2")]
    assert len(tests) == 1


def test_adjusted_p_values_are_holm_over_all_lines(imported):
    run = imported(table({"a": (1.0, 0.3), "b": (0.6, 0.3)}))
    lines, _ = compare_runs([run], Settings(measures=("late distance", "drift", "step"), n_permutations=199))
    ps = sorted(line.p for line in lines)
    smallest = min(lines, key=lambda line: line.p)
    assert smallest.p_adjusted == pytest.approx(min(1, 3 * ps[0]))
    assert _adjusted([], 0.05) == []


def test_the_command_prints_decays_and_lines_writes_a_file_and_refuses_nonsense(imported, tmp_path):
    run = imported(table({"a": (1.0, 0.3), "b": (0.1, 0.3)}))
    measure_run(run)
    runner = CliRunner()
    csv = tmp_path / "lines.csv"
    done = runner.invoke(app, ["compare", str(run.path), "--measure", "late distance,step", "--out", str(csv)])
    assert done.exit_code == 0, done.output
    assert "does it decay?" in done.stdout
    assert "14 shared starts" in done.stdout
    assert "differs" in done.stdout
    assert list(pd.read_csv(csv)["measure"]) == ["late distance", "step"]
    as_json = runner.invoke(app, ["compare", str(run.path), "--measure", "drift", "--json"])
    assert json.loads(as_json.stdout)["comparisons"][0]["measure"] == "drift"
    for words, message in (
        (["--measure", "magic"], "--measure 'magic' is not known; known: late distance"),
        (["--modality", "sound"], "--modality 'sound' is not known"),
        (["--by", "colour"], "there is no such column"),
        (["--margin", "0"], "--margin is a share"),
        (["--reference", "c"], "--reference 'c' is none of the cells: a; b"),
        (["--embedder", "klip"], "has no embeddings by 'klip'"),
        (["--out", str(tmp_path / "lines.txt")], "must end in .csv or .parquet"),
    ):
        failed = runner.invoke(app, ["compare", str(run.path), *words])
        assert failed.exit_code in (1, 2), (words, failed.output)
        assert message in " ".join(failed.stderr.split()), (words, failed.stderr)
