"""Comparing conditions, groups of starts and runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.compare import MEASURES, Comparison, Omnibus, Settings, _adjusted, compare_runs, out_of_reach
from loopsim.compare.cells import said
from loopsim.compare.lines import Planned, omnibus
from loopsim.compare.reach import omnibus_permutations
from loopsim.embed import embed_run
from loopsim.errors import UsageError
from loopsim.exchange import import_run
from loopsim.measure import measure_run
from loopsim.report.comparison import comparison
from loopsim.runner import run_plan
from loopsim.states import states
from metrics.panel import panel
from metrics.result import NanBecause

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
    assert (line.paired, line.starts, line.first_starts, line.second_starts) == (False, 28, 14, 14)
    assert line.verdict == "differs"
    with pytest.raises(UsageError, match="one cell only"):
        compare_runs([run])


def test_few_starts_that_are_not_shared_are_split_in_every_way(imported):
    groups = [("wide", 1.0, 0), ("narrow", 0.01, 1)]
    run = imported(pd.concat([table({"a": (k, 0.01)}, prompts=3, group=name, seed=seed) for name, k, seed in groups]))
    settings = Settings(by="group", measures=("late distance",))
    (line,), _ = compare_runs([run], settings)
    assert (line.first_starts, line.second_starts, line.verdict) == (3, 3, "undecided")
    assert line.p == 2 / 20  # the two groups, and the two exchanged
    (note,) = out_of_reach([line], [], settings)
    assert "3 and 3 starts give no p below 0.1" in note


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
    assert (line.first_starts, line.second_starts) == (10, 10)
    lasting = by_measure(lines)["survival"]
    assert (lasting.starts, lasting.first_starts, lasting.second_starts) == (10, 10, 10)
    assert lasting.second_value == 1.0
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


def lines_of(count, starts, *, paired=True, p=0.5, measure="drift"):
    numbers = (math.nan,) * 5
    first, second = starts if isinstance(starts, tuple) else (starts, starts)
    counts = (first if paired else first + second, first, second)
    one = ("a", "b", "text", measure, *numbers, p, math.nan, 0.1, 0.5, math.nan, "undecided", *counts, paired, "", "")
    return [Comparison(*one)] * count


@pytest.mark.parametrize(
    ("lines", "permutations", "note"),
    [
        (lines_of(12, 14), 999, ""),
        (lines_of(50, 14), 999, ""),  # 50 × 0.001 is just 0.05
        (lines_of(51, 14), 999, "999 permutations give no p below 0.001, which is 0.051 adjusted over 51 lines"),
        (lines_of(51, 14), 999, "no line can read `differs`, whatever the data: 999 permutations"),
        (lines_of(51, 14), 999, "51 lines; it takes --permutations 1019, or fewer lines (--measure, --modality, --ref"),
        (lines_of(3, 6), 9999, "no line can read `differs`, whatever the data: 6 shared starts give no p below 0.031"),
        (lines_of(3, 6), 9999, "which is 0.094 adjusted over 3 lines; it takes 7 shared starts, or fewer lines"),
        (lines_of(1, 5), 999, "5 shared starts give no p below 0.062, which is 0.062 adjusted over 1 line; it takes 6"),
        (lines_of(3, 3), 19, "it takes 7 shared starts and --permutations 59, or fewer lines"),
        (lines_of(1, 3, paired=False), 999, "3 and 3 starts give no p below 0.1, which is 0.1 adjusted over 1 line"),
        (lines_of(1, 3, paired=False), 999, "it takes 4 starts in each cell, or fewer lines"),  # 2/70
        (lines_of(1, (3, 4), paired=False), 999, ""),  # 1/35: sides of unlike size have no mirror image
        (lines_of(2, (3, 4), paired=False), 999, "3 and 4 starts give no p below 0.029, which is 0.057 adjusted"),
        (lines_of(2, 4, paired=False), 999, "4 and 4 starts give no p below 0.029, which is 0.057 adjusted over 2 li"),
        (lines_of(2, 4, paired=False), 999, "it takes 5 starts in each cell, or fewer lines"),  # 2 × 2/252
        (lines_of(2, 5, paired=False), 999, ""),
        (lines_of(2, 3, paired=False), 19, "it takes 5 starts in each cell and --permutations 39, or fewer lines"),
        (lines_of(9, 4) + lines_of(9, 14), 999, "9 of 18 lines cannot read `differs`, whatever the data: 4 shared sta"),
        (lines_of(9, 4) + lines_of(9, 14), 999, "0.12, which is 1 adjusted over 18 lines; it takes 10 shared starts,"),
        (lines_of(9, 3, measure="survival"), 19, ""),  # log-rank: no permutations
        (lines_of(9, 3, p=math.nan), 19, ""),  # not tested, so they cost the others nothing either
        ([], 19, ""),
    ],
)  # fmt: skip
def test_what_no_data_could_show_is_said_with_what_it_would_take(lines, permutations, note):
    notes = out_of_reach(lines, [], Settings(n_permutations=permutations))
    assert note in (notes or [""])[0]
    assert len(notes) >= bool(note)
    assert bool(note) or not notes


@pytest.mark.parametrize("count", [*range(1, 80), 128, 300])
def test_so_many_permutations_or_starts_are_enough_and_one_less_is_not(count):
    """Of a line that is as significant as it can be, beside others that show nothing, after Holm's adjustment."""
    (note,) = out_of_reach(lines_of(count, 40), [], Settings(n_permutations=19)) or [""]
    needed = int(note.rpartition("--permutations ")[2].partition(",")[0] or 19)
    for n in (needed, needed - 1):
        line = [*lines_of(1, 40, p=1 / (1 + n)), *lines_of(count - 1, 40, p=1.0)]
        assert (_adjusted(line, 0.05)[0].verdict == "differs") is (n == needed)
        assert bool(out_of_reach(line, [], Settings(n_permutations=n))) is (n < needed)


def test_tests_over_all_cells_have_a_level_of_their_own():
    tests = [Omnibus(("a", "b", "c"), "text", "drift", 0.002, math.nan, 14, "")] * 26
    (note,) = out_of_reach([], tests, Settings(n_permutations=499))
    assert "499 permutations give no p below 0.002, which is 0.052 adjusted over 26 tests; it takes --perm" in note
    assert "--permutations 519, or fewer tests (--measure, --modality)" in note
    assert out_of_reach([], tests[:25], Settings(n_permutations=499)) == []
    assert out_of_reach([], tests, Settings()) == []  # 999 are allowed, and 519 are made


def by_place(rows):
    return float(rows.mean())


def nowhere(rows):
    return NanBecause("nobody knows")


@pytest.mark.parametrize(
    ("count", "allowed", "made"), [(25, 9999, 499), (26, 9999, 519), (26, 500, 500), (26, 99, 99), (0, 999, 499)]
)  # fmt: skip
def test_many_tests_over_all_cells_take_as_many_permutations_as_their_level_needs(count, allowed, made):
    blocks = tuple([np.array([100 * k + g]) for g in range(14)] for k in range(3))
    one = Planned(("a", "b", "c"), "text", "drift", by_place, blocks)
    tests = [one] * count + [replace(one, statistic=nowhere)] * 9  # undefined, so they cost the others nothing
    settings = Settings(n_permutations=allowed)
    assert omnibus_permutations(count, settings) == made
    found = omnibus(tests, settings)
    assert [test.p for test in found[:count]] == [1 / (1 + made)] * count
    assert all("nobody knows" in test.undefined for test in found[count:])
    assert (count / (1 + made) <= 0.05) is (not out_of_reach([], found, settings))


def test_the_command_and_the_report_say_what_no_data_could_show(imported):
    run = imported(table({"a": (1.0, 0.3), "b": (0.1, 0.3)}, prompts=5))
    arguments = ["compare", str(run.path), "--measure", "drift,step"]
    done = CliRunner().invoke(app, arguments)
    assert "note: no line can read `differs`, whatever the data: 5 shared starts" in " ".join(done.stderr.split())
    (note,) = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["notes"]
    settings = Settings(measures=("drift", "step"))
    assert note in comparison([run], settings)["notes"]
    lines, _ = compare_runs([run], settings)
    assert min(line.p for line in lines) == 2 / 2**5  # as small as it can be, which shows nothing


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
