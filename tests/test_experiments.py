"""The studies of experiments/: every file plans, READMEs show what `loopsim plan` and the stored measurements say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from loopsim import catalog
from loopsim.cli import app
from loopsim.errors import ModelError
from loopsim.experiment import load_experiment
from loopsim.measure import METRICS, interval
from loopsim.measure.vocabulary import named_in, read_vocabulary
from loopsim.models.postcards import world
from loopsim.models.postcards.truth import entropy_of_draws
from loopsim.plan import Plan, make_plan
from loopsim.presets.entry import of_postcards

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "experiments").glob("*/*.yaml"))
TWINS = [path for path in FILES if path.name.startswith("postcards")]
NAMES = [str(path.relative_to(ROOT / "experiments")) for path in FILES]


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module(f"scripts.{name}")


TABLES, REPRODUCE, QUICKSTART = (script(n) for n in ("reproduce_tables", "reproduce", "reproduce_quickstart"))


def not_shipped(path: Path) -> str | None:
    """An embedded model of a file that this version has not got yet, which is no fault of the file."""
    for link in load_experiment(path).chain:
        for given in (*(link.generator or ()), *(link.captioner or ())):
            try:
                catalog.find("generator" if link.generator else "captioner", given.model)
            except ModelError:
                if of_postcards(given.model):
                    return given.model
    return None


def planned(path: Path) -> Plan:
    missing = not_shipped(path)
    if missing is not None:
        pytest.skip(f"{missing} is not shipped yet")
    return make_plan(load_experiment(path))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_study_loads_and_plans(path: Path):
    plan = planned(path)
    assert plan.steps > 0
    assert plan.experiment.description
    assert all(len(start.text.split()) <= 30 for start in plan.starts if start.text)


def test_no_two_studies_share_a_name():
    names = [yaml.safe_load(path.read_text())["name"] for path in FILES]
    assert len(set(names)) == len(names)


def test_the_prompts_are_as_many_as_the_readmes_say():
    def starts(name: str) -> dict[str, int]:
        groups = [start.group for start in planned(ROOT / "experiments" / name).starts]
        return {group: groups.count(group) for group in groups}

    assert starts("elevator_music/experiment.yaml") == {"far": 100, "typical": 25, "narrow": 25}
    assert starts("people/experiment.yaml") == {"persons": 72, "rallies": 12}
    panel = planned(ROOT / "experiments" / "crossed_panel" / "experiment.yaml")
    assert pd.Series([start.facts["tier"] for start in panel.starts]).value_counts().tolist() == [4] * 5
    assert len(panel.conditions) == 16


def test_the_twins_together_are_small_enough_for_an_hour():
    there = [path for path in TWINS if not_shipped(path) is None]
    assert all(yaml.safe_load(path.read_text())["embedders"] == "postcards" for path in TWINS)
    # A step takes 17 to 27 ms on two free cores, so 27,000 are 8 to 12 minutes; measuring and drawing come on top.
    assert sum(planned(path).steps for path in there) <= 27_000


PEOPLE = {
    "middle": "middle-aged", "old": "elderly", "abroad": "foreign country", "small": "small group", "mass": "crowd",
}  # fmt: skip
"""Levels of the factors of the study `people` that are called otherwise in its file of concepts."""


def test_every_start_of_people_names_each_level_of_its_factors_and_no_other():
    folder = ROOT / "experiments" / "people"
    vocabulary = read_vocabulary(folder / "concepts.txt")
    starts = planned(folder / "experiment.yaml").starts
    found = named_in(np.array([start.text for start in starts], dtype=object), vocabulary)
    assert len(starts) == 84
    for start, there in zip(starts, found, strict=True):
        seen = [(vocabulary.categories[c], vocabulary.concepts[c]) for c in np.flatnonzero(there)]
        levels = {name: PEOPLE.get(str(level), str(level)) for name, level in start.facts.items()}
        expected = levels | {"person": "person"} | ({"event": "rally"} if start.group == "rallies" else {})
        assert sorted(seen) == sorted(expected.items()), start.text


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("two women and three men at work", {"woman", "man", "person"}),
        ("an old farmer, a lady", {"elderly", "farmer", "woman", "person"}),
        ("an old house in the capital city", {"capital"}),
        ("a large group of people holding signs", {"crowd", "person"}),
        ("a small crowd of five people", {"small group", "person"}),
        ("two businessmen", {"businessman", "man", "person"}),
    ],
)
def test_what_captions_call_people_is_found(caption: str, concepts: set[str]):
    vocabulary = read_vocabulary(ROOT / "experiments" / "people" / "concepts.txt")
    found = named_in(np.array([caption], dtype=object), vocabulary)[0]
    assert {vocabulary.concepts[c] for c in np.flatnonzero(found)} == concepts


def test_the_words_of_the_twin_of_people_are_those_of_its_world():
    """Every caption the models can give is found to name the subject that is parsed from it, and no other."""
    vocabulary = read_vocabulary(ROOT / "experiments" / "people" / "postcards_concepts.txt")
    assert vocabulary.concepts == world.SUBJECTS
    rng = np.random.default_rng(0)
    scenes = [world.Scene.from_codes(codes) for codes in world.draw_even(600, rng)]
    captions = [world.caption(scene, rng) for scene in scenes]
    found = named_in(np.array(captions, dtype=object), vocabulary)
    for there, text in zip(found, captions, strict=True):
        assert [vocabulary.concepts[c] for c in np.flatnonzero(there)] == [world.parse(text)["subject"]], text


# ---- what the READMEs show -------------------------------------------------------------------------------------------


def section(readme: str, name: str) -> str:
    begin, end = (mark.format(name) for mark in (TABLES.BEGIN, TABLES.END))
    return readme.split(begin)[1].split(end)[0].strip("\n")


@pytest.mark.parametrize("study", TABLES.STUDIES)
def test_the_tables_of_a_readme_are_those_of_the_stored_measurements(study: str):
    folder = ROOT / "experiments" / study
    shown = section((folder / "README.md").read_text(encoding="utf-8"), "results")
    assert shown == TABLES.tables_of(study, folder), f"run scripts/reproduce --tables --only {study}"
    for path in [*folder.glob("results/*"), *folder.glob("figures/*")]:
        assert path.stat().st_size <= REPRODUCE.MOST_BYTES


NOT_IN_TABLES = {
    # Of what the generator draws for the gaps of a terse prompt: not of the twin, but of the model (its card).
    "bottleneck": ("loopsim/models/postcards/generator-flat/README.md", {"1.30", "2.39", "0.61", "1.27"}),
}
"""Study to where numbers of its reading come from that its tables do not have."""


def numbers(text: str) -> set[str]:
    """Numbers with a decimal point, and percentages as shares: 64 % is 0.64."""
    text = text.replace("−", "-")
    shares = {f"{float(n) / 100:.{2 + len(n.partition('.')[2])}f}" for n in re.findall(r"(\d+(?:\.\d+)?) ?%", text)}
    return shares | set(re.findall(r"(?<![\w.])-?\d+\.\d+(?![\w.]*\d)(?! ?%)", text))


@pytest.mark.parametrize("study", TABLES.STUDIES)
def test_every_number_of_a_reading_is_one_of_its_tables(study: str):
    readme = (ROOT / "experiments" / study / "README.md").read_text(encoding="utf-8")
    reading = readme.split("**Reading.**")[1]
    source, elsewhere = NOT_IN_TABLES.get(study, ("", set()))
    if source:
        assert elsewhere <= numbers((ROOT / source).read_text(encoding="utf-8"))
    stale = numbers(reading) - numbers(section(readme, "results")) - elsewhere
    assert not stale, f"{study}: the tables have no {', '.join(sorted(stale))} any more: read them again"


def test_numbers_are_found_as_tables_write_them():
    assert numbers("from 0.64 [-0.17, 1.00] to 64 %, 12.0 in 20 steps, 2.5 % of v0.1.0, t = 16; −0.05.") == {
        "0.64", "-0.17", "1.00", "12.0", "0.025", "-0.05",
    }  # fmt: skip


def test_the_table_of_the_quickstart_is_that_of_the_stored_entropies():
    folder = ROOT / "experiments" / "quickstart"
    shown = section((folder / "README.md").read_text(encoding="utf-8"), "results")
    assert shown == QUICKSTART.table(folder), "run scripts/reproduce --only quickstart"
    stored = pd.read_parquet(folder / "results" / "quickstart.parquet")
    assert set(stored["n"]) == {QUICKSTART.DRAWS}
    even = stored[(stored["group"] == "even") & (stored["metric"] == "mood_entropy")].set_index("t")["value"]
    cells = next(line for line in shown.splitlines() if line.startswith("| mood")).split(" | ")
    late = sum(even[t] for t in range(16, 21)) / 5
    assert cells[1:4] == [f"{even[0]:.2f}", f"{even[1]:.2f}", f"{late:.2f}"]
    assert cells[-1] == f"{interval(entropy_of_draws(24, attribute='mood'), 2)} |"


@pytest.mark.parametrize("study", TABLES.STUDIES)
def test_the_cost_in_a_readme_is_what_plan_says(study: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(REPRODUCE, "planned", lambda name: CliRunner().invoke(app, ["plan", name]).stdout)
    shown = section((ROOT / "experiments" / study / "README.md").read_text(encoding="utf-8"), "cost")
    assert shown == REPRODUCE.cost_of(study), f"run scripts/reproduce --costs --only {study}"


def test_every_study_has_a_twin_and_every_table_a_run_that_makes_it():
    for study, tables in TABLES.STUDIES.items():
        twins = {path.stem for path in TWINS if path.parent.name == study}
        assert "postcards" in twins
        made = twins | {
            f"{twin}-{name}" for (s, twin), further in REPRODUCE.AGAIN.items() if s == study for name in further
        }
        for table in tables:
            assert table.results in made or (study in REPRODUCE.COMPARED and table.results == "postcards-compared")


# ---- the table writer ------------------------------------------------------------------------------------------------


def rows(**changes: object) -> dict[str, object]:
    row = {
        "label": "all", "group": "far", "t": None, "modality": "text", "embedder": "postcards", "metric": "memory",
        "item": None, "value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "n": 8, "undefined": None, "verdict": None,
    }  # fmt: skip
    return row | changes


def frame() -> pd.DataFrame:
    distance, curve = "mean_pairwise_distance", ((0, 1.0), (1, 0.9), (20, 0.4))
    return pd.DataFrame([
        *(rows(metric=distance, t=t, value=v, group=g) for g in ("far", "typical") for t, v in curve),
        rows(metric=distance, t=20, value=0.1, modality="image"),
        rows(metric=f"{distance}:half_life", verdict="decay: by half", value=float("nan")),
        rows(item="early", value=0.9), rows(item="late", value=0.3, ci_low=float("nan")),
        rows(metric="absorbed", value=0.7), rows(metric="absorbed", value=0.2, embedder=None),
    ])  # fmt: skip


def test_a_table_of_what_was_not_yet_stored_waits_for_it():
    columns = (TABLES.Column("memory", "memory", "whole", item="late"), TABLES.Column("new", "new", "whole"))
    table = TABLES.Cells("", "postcards", columns)
    assert TABLES._of_cells(frame(), table) == ""
    stored = pd.concat([frame(), pd.DataFrame([rows(metric="new", value=0.5)])])
    assert TABLES._of_cells(stored, table).splitlines()[0] == "| starts | memory | new |"


def test_the_whole_analysis_of_the_elevator_music_is_shown_on_its_twin():
    asked = {
        "mean_pairwise_distance:half_life", "memory", "endpoint_silhouette", "endpoint_clusters:p_gaussian",
        "endpoint_clusters:p_start", "density_clusters", "time_to_lose_origin", "time_to_lose_origin:never",
    }  # fmt: skip
    assert asked <= TABLES.metrics_of("elevator_music") <= set(METRICS)


def test_the_tables_of_people_show_what_gave_way_to_what_once_it_is_stored():
    total = rows(metric="concept_replacements", embedder=None, value=2.5)
    made = [
        rows(metric="concept_replacements", item="subject: robot > person", embedder=None, value=0.75),
        rows(metric="concept_to_majority", item="subject", embedder=None, value=0.5),
        rows(metric="concept_to_majority:expected", item="subject", embedder=None, value=0.4, ci_low=float("nan")),
    ]
    directions, majority = TABLES.STUDIES["people"][3:5]
    assert TABLES._of_cells(pd.DataFrame([total]), directions) == ""  # as stored before
    assert TABLES._of_cells(pd.DataFrame([total]).assign(who="robot"), majority) == ""
    shown = TABLES._of_cells(pd.DataFrame([total, *made]), directions).splitlines()
    assert shown[0].startswith("| condition | robot > person | person > robot | purple > blue |")
    assert shown[2].startswith("| all | 0.75 [0.25, 0.75] | – |")
    shown = TABLES._of_cells(pd.DataFrame([total, *made]).assign(who="robot"), majority).splitlines()
    assert shown[2].startswith("| all | 0.50 [0.25, 0.75] | 0.40 | –")
    items = {column.item for column in directions.columns}
    known = {f"{kind}: {a} > {b}" for kind in world.ATTRIBUTES for a in world.VALUES[kind] for b in world.VALUES[kind]}
    assert items <= known


def test_what_each_factor_accounts_for_is_shown_of_texts_and_of_pictures():
    share = {"metric": "attribution", "item": "drift: prompt"}
    stored = pd.DataFrame([rows(**share), rows(**share, modality="image", value=0.4), rows(**share | {"item": "b"})])
    shown = TABLES._of_items(stored, TABLES.Items("", "postcards", "attribution")).splitlines()
    assert shown[0] == "| of what: factor | texts: share [95 % interval] | pictures: share [95 % interval] |"
    assert shown[2:] == [
        "| drift: prompt | 0.500 [0.250, 0.750] | 0.400 [0.250, 0.750] |", "| b | 0.500 [0.250, 0.750] | – |",
    ]  # fmt: skip


def test_lines_of_a_crowd_keep_their_colours_in_a_stored_figure(tmp_path: Path):
    wanted = np.array([[0, 114, 178], [0, 158, 115], [86, 180, 233], [213, 94, 0]])
    figure = np.full((1400, 2800, 3), 255, dtype=np.uint8)
    for k, colour in enumerate(wanted):  # each thin, over bands that have many shades
        figure[100 + 300 * k : 300 + 300 * k] = np.linspace(120, 250, 2800).astype(np.uint8)[None, :, None]
        figure[200 + 300 * k : 204 + 300 * k] = colour
    Image.fromarray(figure).save(tmp_path / "drawn.png")
    REPRODUCE.shrink(tmp_path / "drawn.png", tmp_path / "stored.png")
    with Image.open(tmp_path / "stored.png") as stored:
        shown = np.unique(np.asarray(stored.convert("RGB")).reshape(-1, 3), axis=0).astype(int)
    away = np.abs(shown[None] - wanted[:, None]).max(axis=2).min(axis=1)
    assert away.max() <= 8


def test_a_table_shows_each_cell_with_what_was_measured():
    column = TABLES.Column
    columns = (
        column("t0", "mean_pairwise_distance", "start"), column("t1", "mean_pairwise_distance", "first"),
        column("end", "mean_pairwise_distance", digits=3),
        column("verdict", "mean_pairwise_distance:half_life", "verdict"),
        column("late", "memory", "whole", item="late"), column("in words", "absorbed", "whole"),
        column("pictures", "mean_pairwise_distance", modality="image"),
    )  # fmt: skip
    assert TABLES._of_cells(frame(), TABLES.Cells("", "postcards", columns)).splitlines() == [
        "| starts | t0 | t1 | end | verdict | late | in words | pictures |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        (
            "| far | 1.00 [0.25, 0.75] | 0.90 [0.25, 0.75] | 0.400 [0.250, 0.750] | decay | 0.30 | 0.20 [0.25, 0.75] "
            "| 0.10 [0.25, 0.75] |"
        ),
        "| typical | 1.00 [0.25, 0.75] | 0.90 [0.25, 0.75] | 0.400 [0.250, 0.750] | – | – | – | – |",
    ]


def test_stored_measurements_give_the_table_of_the_run(tmp_path: Path):
    (tmp_path / "run").mkdir()
    frame().assign(signature="s", noise="fresh").to_parquet(tmp_path / "run" / "measurements.parquet")
    path = tmp_path / "results" / "postcards.parquet"
    REPRODUCE._keep(frame().assign(signature="s"), {"memory", "mean_pairwise_distance"}, path)
    kept = pd.read_parquet(path)
    assert set(kept["metric"]) == {"memory", "mean_pairwise_distance"}
    table = TABLES.Cells("", "postcards", (TABLES.Column("end", "mean_pairwise_distance"),))
    assert TABLES._of_cells(kept, table) == TABLES._of_cells(frame(), table)


def test_only_what_is_between_the_markers_is_exchanged():
    text = "a\n<!-- results: begin -->\nold\n<!-- results: end -->\nb\n"
    assert TABLES.put(text, "results", "new") == "a\n<!-- results: begin -->\nnew\n<!-- results: end -->\nb\n"
    with pytest.raises(ValueError, match="there must be one"):
        TABLES.put("nothing", "results", "new")


def test_an_entropy_stands_beside_what_as_many_draws_from_the_prior_show():
    known = pd.DataFrame([rows(metric="subject_entropy", t=t, n=n, embedder=None) for t, n in ((0, 8), (20, 16))])
    shown = TABLES._cell(known, TABLES.Column("", "subject_entropy", "prior"))
    assert shown == interval(entropy_of_draws(16, attribute="subject"), 2)


def test_texts_and_pictures_stand_side_by_side_wherever_distances_are_shown():
    for study, tables in TABLES.STUDIES.items():
        for table in tables:
            if isinstance(table, TABLES.Cells):
                of = [(c.metric, c.when) for c in table.columns if c.metric.startswith("mean_pairwise_distance")]
                assert all(of.count(one) == 2 for one in of), f"{study}: {table.title}"


def test_a_trial_runs_where_its_results_go_and_the_end_says_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    ran: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(REPRODUCE, "run_twin", lambda path, title, runs, given, into: ran.append((runs, list(given))))
    for arguments in (["iterations=2", "--into", str(tmp_path)], ["--into", str(tmp_path)],
                      ["iterations=2", "--into", str(tmp_path), "--runs", str(tmp_path / "there")]):  # fmt: skip
        monkeypatch.setattr("sys.argv", ["reproduce", "--only", "recursion", *arguments])
        REPRODUCE.main()
    trial = ["iterations=2"]
    assert ran == [(tmp_path / "runs", trial), (ROOT / "runs" / "reproduce", []), (tmp_path / "there", trial)]
    assert capsys.readouterr().err.splitlines().count("1 twins done in 0.0 min") == 3


def test_an_unknown_study_is_named():
    with pytest.raises(SystemExit, match=r"no study 'elevator'; the studies are elevator_music, .*, quickstart$"):
        REPRODUCE.twins(["elevator"])


def test_numbers_of_something_else_do_not_get_into_the_readmes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr("sys.argv", ["reproduce", "iterations=2"])
    with pytest.raises(SystemExit):
        REPRODUCE.main()
    assert (
        "with KEY=VALUE the numbers are of something else than the READMEs say: give --into DIR"
        in capsys.readouterr().err
    )
    before = (ROOT / "experiments" / "controls" / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["reproduce", "--only", "controls", "--tables", "--into", str(tmp_path)])
    REPRODUCE.main()
    assert section((tmp_path / "controls" / "README.md").read_text(encoding="utf-8"), "results") == TABLES.NOT_YET
    assert (ROOT / "experiments" / "controls" / "README.md").read_text(encoding="utf-8") == before


def test_a_command_that_fails_is_shown_with_what_it_said(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"loopsim status .* failed:\nloopsim: .*nothing"):
        list(REPRODUCE.loopsim("status", str(tmp_path / "nothing")))


def test_a_metric_that_has_parts_is_shown_as_a_whole_and_never_by_its_last_part():
    rows = pd.DataFrame({
        "metric": "absorbed", "modality": "text", "embedder": None, "t": None, "item": [None, "period 1", "period 6"],
        "value": [0.75, 0.5, 0.0], "ci_low": [0.5, 0.2, 0.0], "ci_high": [0.9, 0.7, 0.4], "verdict": None,
    })  # fmt: skip
    assert TABLES._cell(rows, TABLES.Column("absorbed", "absorbed", "whole")) == "0.75 [0.50, 0.90]"
    assert TABLES._cell(rows, TABLES.Column("absorbed", "absorbed", "whole", item="period 1")) == "0.50 [0.20, 0.70]"
    with pytest.raises(ValueError, match="say which in item"):
        TABLES._cell(rows.iloc[1:], TABLES.Column("absorbed", "absorbed", "whole"))
