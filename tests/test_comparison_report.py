"""The comparison in a report: its numbers, what differs between the experiments, and where runs cannot be compared."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.compare import Settings, compare_runs
from loopsim.embed import embed_run
from loopsim.errors import UsageError
from loopsim.experiment import parse_experiment
from loopsim.measure import measure_run
from loopsim.plan import make_plan
from loopsim.report.comparison import comparison, default_by, differing, notes_on
from loopsim.report.folder import build
from loopsim.report.site import Options
from loopsim.runner import read_branch, run_plan
from loopsim.store import Run
from tests.browser import DESKTOP, PHONE, Visitor

STARTS = ["a red house", "the blue sea", "two birds at night", "<img src=x onerror=alert(1)>"]


def made(out: Path, embedder: str | None = "mock", **keys: object) -> Run:
    """A mock run; keywords replace or add keys of the file."""
    raw = {
        "name": out.name, "seed": 7, "iterations": 4, "replicates": 2, "starts": STARTS, "generator": "mock",
        "captioner": {"model": "mock", "temperature": 0.7}, "embedders": "mock",
    }  # fmt: skip
    run = run_plan(make_plan(parse_experiment(raw | keys), read_branch), out)
    if embedder:
        embed_run(run, embedder)
        measure_run(run)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def one(folder: Path) -> Run:
    return made(folder / "one")


@pytest.fixture(scope="module")
def grid(folder: Path) -> Run:
    """Two conditions, shared starts, one of them failing."""
    starts = [*STARTS[:3], "fail", STARTS[3]]
    return made(folder / "grid", starts=starts, captioner={"model": "mock", "temperature": [0.0, 0.7]}, iterations=6)


@pytest.fixture(scope="module")
def other(folder: Path) -> Run:
    return made(folder / "other", starts=["a lamp", "a road"], seed=8)


FAST = Settings(n_permutations=19)


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_every_number_is_of_the_comparison(one: Run, grid: Run):
    found = comparison([one, grid], FAST)
    lines, tests = compare_runs([one, grid], FAST)
    assert found is not None
    assert [line["signature"] for line in found["lines"]] == [line.signature for line in lines]
    assert [line["difference"] for line in found["lines"]] == pytest.approx([x.difference for x in lines], nan_ok=True)
    assert [line["p_adjusted"] for line in found["lines"]] == pytest.approx([x.p_adjusted for x in lines], nan_ok=True)
    assert [test["p"] for test in found["tests"]] == pytest.approx([test.p for test in tests], nan_ok=True)
    assert (found["by"], found["margin"], found["permutations"], found["embedder"]) == ("condition", 0.1, 19, "mock")
    assert set(found["measures"]) >= {line["measure"] for line in found["lines"]}


def test_what_is_compared_unless_asked_otherwise(one: Run, grid: Run, folder: Path):
    assert default_by([one]) is None
    assert comparison([one]) is None
    assert default_by([grid]) == "condition"
    assert default_by([one, grid]) == "condition"
    groups = [{"prompts": ["a", "b"], "group": "x"}, {"prompts": ["c", "d"], "group": "y"}]
    assert default_by([made(folder / "groups", None, starts=groups)]) == "group"


def test_conditions_of_one_run_are_told_by_what_varies(grid: Run):
    told = differing([grid], ["grid"])
    assert told["names"] == ["temperature=0.0", "temperature=0.7"]
    assert told["rows"] == [["captioner.temperature", "0", "0.7"]]


def test_experiments_are_told_by_the_settings_that_differ(one: Run, grid: Run, other: Run):
    told = differing([one, grid], ["one", "grid"])
    assert told["names"] == ["one", "grid"]
    assert ["captioner.temperature", "0.7", "0, 0.7"] in told["rows"]
    assert ["iterations", "4", "6"] in told["rows"]
    assert ["starts", "4", "5"] in told["rows"]
    assert "generator" not in [row[0] for row in told["rows"]]
    assert ["seed", "7", "8"] in differing([one, other], ["one", "other"])["rows"]
    assert differing([one, one], ["a", "b"])["rows"] == []


def test_other_weights_under_the_same_name_are_told(one: Run, folder: Path):
    models = [{"role": "generator", "model": "mock", "files": {"a.safetensors": "0123456789"}}]
    changed = Run(one.path, {**one.manifest, "provenance": {"models": models}}, one.experiment)
    rows = differing([one, changed], ["one", "changed"])["rows"]
    assert ["weights of generator mock", "", "012345"] in rows


# ---- where they cannot be compared -----------------------------------------------------------------------------------


def test_runs_without_a_common_start_are_compared_unpaired_with_a_note(one: Run, other: Run):
    notes = notes_on([one, other], ["one", "other"])
    assert any("have no start in common" in note for note in notes)
    assert any("different seeds" in note for note in notes)
    found = comparison([one, other], FAST)
    assert found is not None
    assert not any(line["paired"] for line in found["lines"])


def test_starts_and_iterations_that_only_some_have_are_told(one: Run, grid: Run):
    notes = notes_on([one, grid], ["one", "grid"])
    assert (
        "one and grid have 4 starts in common (4 and 5 in all): these are compared in pairs, the others are left out."
        in (notes)
    )
    assert any("(one 4, grid 6): 4, which all have, are compared" in note for note in notes)
    assert any("4 trajectories of grid failed" in note for note in notes)
    assert not any("seeds" in note for note in notes)


def test_a_run_that_is_not_at_its_end_is_told(folder: Path, one: Run):
    run = made(folder / "short", None, iterations=2)
    run.experiment = {**run.experiment, "iterations": 4}  # type: ignore[assignment]
    assert any("short is not at its end: 16 of 32 steps" in note for note in notes_on([one, run], ["one", "short"]))


def test_runs_without_a_common_embedder_are_compared_by_what_needs_none(one: Run, folder: Path):
    bare = made(folder / "bare", None)
    found = comparison([one, bare], FAST)
    assert found is not None
    assert {line["measure"] for line in found["lines"]} == {"survival"}
    assert found["embedder"] is None
    note = next(note for note in found["notes"] if "no embedder in common" in note)
    assert "one: mock; bare: none" in note
    assert f"`loopsim measure {bare.path} --embedder NAME`" in note


def test_an_embedder_that_is_not_there_is_an_error(one: Run, grid: Run):
    with pytest.raises(UsageError, match="has no embeddings by 'clip'"):
        comparison([one, grid], Settings(embedder="clip"))


# ---- the report ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(one: Run, grid: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "both"
    arguments = ["report", str(one.path), str(grid.path), "--out", str(out), "--permutations", "19"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out


def test_a_report_of_runs_holds_their_comparison(report: Path, one: Run):
    head = json.loads((report / "data" / "head.json").read_text())
    assert [run["name"] for run in head["runs"]] == ["one", "grid"]
    assert head["comparison"]["lines"]
    assert len(head["trajectories"]["id"]) == 8 + 20
    assert not (one.path / "report").exists()


def test_a_report_of_one_run_compares_its_conditions_unless_told_not_to(grid: Run, one: Run, tmp_path: Path):
    for run, more, there in ((grid, [], True), (grid, ["--no-compare"], False), (one, [], False)):
        out = tmp_path / "".join([run.name, *more])
        done = CliRunner().invoke(app, ["report", str(run.path), "--out", str(out), "--permutations", "19", *more])
        assert done.exit_code == 0, done.output
        assert (json.loads((out / "data" / "head.json").read_text())["comparison"] is not None) == there


def test_wrong_input_is_told_in_one_message(one: Run, grid: Run, tmp_path: Path):
    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["report", *arguments])
        assert done.exit_code == 2
        assert done.stdout == ""
        return " ".join(done.stderr.split())

    assert "belongs to none of them: say where to with --out FOLDER" in told(str(one.path), str(grid.path))
    out = ["--out", str(tmp_path / "r")]
    assert "this run is given twice" in told(str(one.path), str(one.path), *out)
    assert "has one condition and one group of starts; give a second run" in told(str(one.path), "--compare", *out)
    assert "--by colour: there is no such column; known: condition" in told(str(grid.path), "--by", "colour", *out)
    assert "--reference 'x' is none of the cells" in told(str(grid.path), "--reference", "x", *out)
    assert "--margin is a share" in told(str(grid.path), "--margin", "7", *out)
    assert not (tmp_path / "r").exists()


# ---- in the browser --------------------------------------------------------------------------------------------------


def opened(visit: Visitor, report: Path, **more: object) -> tuple[object, object]:
    found = visit(report / "index.html", **more)
    found.page.wait_for_selector("body[data-ready]")
    return found, found.page


@pytest.mark.browser
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (DESKTOP, True), (PHONE, False), (PHONE, True)])
def test_the_comparison_opens_from_disk_in_any_size_and_light(visit: Visitor, report: Path, size, dark: bool):
    found, page = opened(visit, report, size=size, dark=dark)
    assert page.text_content("#comparison-title") == "Comparison"
    assert "comparisons between 3 cells" in page.text_content("#comparison .headline")
    assert page.locator("#comparison .caution").count() >= 3
    assert page.locator("#compare-table tbody tr").count() >= 15
    assert page.locator("#compare-table .forest").count() >= 10
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found.assert_quiet()


@pytest.fixture(scope="module")
def decided(one: Run, grid: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with verdicts of every kind, which so few permutations cannot give."""
    found = comparison([one, grid], FAST)
    assert found is not None
    verdicts = itertools.cycle(["differs", "equivalent", "undecided", "differs by less than the margin"])
    lines = [line | {"verdict": next(verdicts)} for line in found["lines"]]
    out = tmp_path_factory.mktemp("report") / "decided"
    build([one, grid], out, Options(comparison=found | {"lines": lines}))
    return out


@pytest.mark.browser
def test_lines_can_be_chosen_by_cells_and_verdict(visit: Visitor, decided: Path):
    found, page = opened(visit, decided)
    told = "Of 45 comparisons between 3 cells, 12 differ, 11 differ by less than the margin, 11 are shown to be equal"
    assert page.text_content("#comparison .headline").startswith(told)
    pairs = page.locator("select[aria-label='Which cells'] option").all_text_contents()
    assert len(pairs) == 1 + 3
    page.select_option("select[aria-label='Which cells']", label=pairs[2])
    assert set(pairs[2].split(" → ")) < set(page.locator("#compare-table thead th").all_text_contents())
    page.select_option("select[aria-label='Which cells']", value="")
    assert page.locator("#compare-table tbody tr").count() == 40
    page.click("#compare-table .button")
    assert page.locator("#compare-table tbody tr").count() == 45
    page.select_option("select[aria-label='Which verdicts']", label="equivalent")
    assert set(page.locator("#compare-table .verdict").all_text_contents()) == {"equivalent"}
    found.assert_quiet()


@pytest.mark.browser
def test_the_same_start_stands_side_by_side_and_opens(visit: Visitor, report: Path):
    found, page = opened(visit, report)
    heads = page.locator("table.side thead th").all_text_contents()
    assert heads == ["t", "one", "grid, temperature=0.0", "grid, temperature=0.7"]
    assert page.locator("table.side tbody th").all_text_contents() == ["1", "2", "4", "5", "6"]
    assert page.locator("table.side td").filter(has_text="not made").count() == 2  # t = 5, 6 of the shorter run
    options = page.locator("select[aria-label='Start'] option").all_text_contents()
    assert options == [*STARTS, "fail"]
    page.select_option("select[aria-label='Start']", label="fail")
    assert page.locator("table.side thead th").count() == 3  # it is in one run only
    assert set(page.locator("table.side td").all_text_contents()) == {"failed at t = 1"}
    page.click("button[aria-label='Start before']")
    assert page.text_content(".side-text") == STARTS[3]  # shown as text
    assert page.locator("#comparison img").count() == 0
    captions = page.locator(".side-caption")
    captions.first.wait_for()
    page.wait_for_function("[...document.querySelectorAll('.side-caption')].every((one) => one.textContent !== '…')")
    said = captions.nth(3).text_content()
    captions.nth(3).click()
    page.wait_for_selector("#detail:not([hidden])")
    assert page.locator("#detail .thumb.big").get_attribute("aria-label") == said
    found.assert_quiet()


@pytest.mark.browser
def test_replicates_can_be_chosen(visit: Visitor, report: Path):
    found, page = opened(visit, report)
    page.wait_for_function("[...document.querySelectorAll('.side-caption')].every((one) => one.textContent !== '…')")
    before = page.locator(".side-caption").all_text_contents()
    page.select_option("select[aria-label='Replicate']", label="Replicate 2")
    page.wait_for_function("[...document.querySelectorAll('.side-caption')].every((one) => one.textContent !== '…')")
    assert page.locator(".side-caption").all_text_contents() != before
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Replicate"
    found.assert_quiet()
