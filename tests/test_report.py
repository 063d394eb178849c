"""The files of a report: what each holds, and the folder of all of them."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from loopsim import images
from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import StoreError, UsageError
from loopsim.experiment import parse_experiment
from loopsim.measure import measure_run
from loopsim.plan import make_plan
from loopsim.records import FLAGS
from loopsim.report import sprites, steps
from loopsim.report.chunks import as_json, as_script, rounded
from loopsim.report.folder import build
from loopsim.report.maps import make_map
from loopsim.report.members import states_in
from loopsim.report.motifs import assigned_motifs
from loopsim.report.site import POLICY, Options, Site
from loopsim.runner import read_branch, run_plan
from loopsim.states import states
from loopsim.store import Run, create_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two conditions, black pictures and a failure, measured."""
    raw: dict[str, Any] = {
        "name": "mocked", "seed": 7, "iterations": 10, "replicates": 2, "generator": "mock",
        "starts": [{"prompts": ["a red house", "the blue sea", "black", "fail"], "group": "far"},
                   {"prompts": ["a road", "a tree"], "group": "near"}],
        "captioner": {"model": "mock", "temperature": [0.0, 0.7]}, "embedders": "mock",
    }  # fmt: skip
    run = run_plan(make_plan(parse_experiment(raw), read_branch), tmp_path_factory.mktemp("runs") / "run")
    embed_run(run, "mock")
    measure_run(run)
    return run


@pytest.fixture(scope="module")
def site(run: Run) -> Site:
    return Site([run])


@pytest.fixture(scope="module")
def head(site: Site) -> dict[str, Any]:
    return json.loads(as_json(site.head()))


def chunk(site: Site, name: str) -> Any:
    """What a data file hands to the page."""
    script = site.make(f"data/{name}.js")
    assert script is not None
    body = script.decode("ascii")
    start = f'Loopsim.chunk("{name}",'
    assert body.startswith(start)
    assert body.endswith(");\n")
    return json.loads(body[len(start) : -3])


# ---- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["</script><script>", "<!--", "\u2028\u2029", "\ud83d", "\udc00 half", "\x00\x1f", "é😀", '"\\']
)
def test_any_text_survives_as_ascii_that_cannot_end_a_script(text: str):
    script = as_script("name", {"text": [text]})
    assert script.isascii()
    assert b"<" not in script
    assert b"\n" not in script[:-1]
    assert json.loads(script[len(b'Loopsim.chunk("name",') : -3]) == {"text": [text]}


def test_missing_numbers_are_null():
    value = {
        "a": math.nan,
        "b": [math.inf, np.float32(0.5)],
        "c": np.array([1.0, math.nan]),
        "d": np.int64(3),
        "e": None,
    }
    assert json.loads(as_json(value)) == {"a": None, "b": [None, 0.5], "c": [1.0, None], "d": 3, "e": None}


def test_numbers_are_rounded_to_what_a_screen_shows():
    assert rounded([1.23456789, 123456.7, 0.000123456789, math.nan]) == [1.2346, 123460.0, 0.00012346, None]


def test_the_version_of_a_block_is_its_number_of_states():
    t0, last = np.array([0, 0, 3, 5]), np.array([9, 4, 2, 6])  # the third has none yet
    assert states_in(t0, last, 2, 5) == {(0, 0): 10, (0, 1): 5, (1, 1): 2}
    assert states_in(np.array([0]), np.array([-1]), 8, 8) == {}


# ---- what files hold -------------------------------------------------------------------------------------------------


def test_every_announced_file_can_be_made_and_no_other(site: Site):
    names = list(site.names())
    assert names[-1] == "data/head.js"
    assert len(names) == len(set(names))
    for name in names:
        assert site.make(name), name
    for name in ("", "x", "../x", "page/../site.py", "page/index.html", "page/core.py", "downloads/../manifest.json",
                 "data/steps-0099-0000.js", "data/steps-0000-0000.webp", "data/curves-999.js", "sprites/0099-0000.webp",
                 "sprites/0000-0000.js", "data/head.txt", "downloads//etc/passwd"):  # fmt: skip
        assert site.make(name) is None, name


def test_steps_are_those_of_the_store(site: Site, run: Run, head: dict[str, Any]):
    stored = run.steps().set_index(["trajectory_id", "t"])
    names = chunk(site, "marks")["names"]
    seen = 0
    for row_block, t_block in site.step_blocks:
        found = chunk(site, f"steps-{row_block:04d}-{t_block:04d}")
        assert (found["row"], found["t"]) == (row_block * steps.ROWS, t_block * steps.ITERATIONS)
        for i, line in enumerate(found["text"]):
            for k, text in enumerate(line or ()):
                row, t = found["row"] + i, found["t"] + k
                key = (head["trajectories"]["id"][row], t)
                if key not in stored.index:
                    assert text is None
                    continue
                seen += 1
                step = stored.loc[key]
                assert text == step["text"]
                flags = dict(enumerate(dict(enumerate(found["flags"])).get(i) or ())).get(k) or []
                assert [names[f] for f in flags] == list(step["flags"])
                if t:
                    assert found["seeds"][i][k] == [str(step["generator_seed"]), str(step["captioner_seed"])]
        assert not any(line for line in found["drawn"])  # every text drawn is the one before
    assert seen == len(stored) == sum(site.step_blocks.values())


def test_marks_name_the_flags_of_every_state(site: Site, run: Run, head: dict[str, Any]):
    found = chunk(site, "marks")
    assert set(found["names"]) == {"black_image", "empty_caption", "repeat"} & set(run.flag_counts())
    assert found["names"] == [name for name in FLAGS if name in run.flag_counts()]
    stored = run.steps(["trajectory_id", "t", "flags"])
    wanted = {(r.trajectory_id, r.t, flag) for r in stored.itertuples() for flag in r.flags}
    got = {
        (head["trajectories"]["id"][row], flat[k], found["names"][flat[k + 1]])
        for row, flat in enumerate(found["flags"])
        for k in range(0, len(flat), 2)
    }
    assert got == wanted


def test_a_picture_stands_at_its_place_in_its_sheet(site: Site, run: Run, head: dict[str, Any]):
    form = head["sprites"]
    pictures = run.pictures(head["trajectories"]["id"], [1, 9])
    decoded = {key: images.decode(data).astype(int) for key, data in pictures.items()}
    for trajectory, t in list(pictures)[:6]:
        row = head["trajectories"]["id"].index(trajectory)
        name = f"sprites/{row // form['rows']:04d}-{t // form['iterations']:04d}.webp"
        with Image.open(io.BytesIO(site.make(name) or b"")) as image:
            sheet = np.asarray(image.convert("RGBA")).astype(int)
        y, x = row % form["rows"] * form["height"], t % form["iterations"] * form["width"]
        place = sheet[y : y + form["height"], x : x + form["width"]]
        assert (place[..., 3] == 255).all()
        far = {key: abs(place[..., :3] - one).mean() for key, one in decoded.items()}  # sheets are lossy
        assert far[trajectory, t] == min(far.values()) < 25


def test_sheets_made_together_are_those_made_one_by_one(site: Site):
    assert site.sheets is not None
    together = dict(site.sheets.all(sorted(site.sheet_blocks)))
    assert set(together) == set(site.sheet_blocks)
    for block in list(together)[:3]:
        assert together[block] == site.sheets.sheet(block)


def test_maps_and_motifs_are_those_that_were_measured(site: Site, run: Run, head: dict[str, Any]):
    for entry in head["maps"]:
        found = chunk(site, entry["file"])
        placed = make_map(states(run, entry["embedder"], entry["modality"])).points
        points = np.array(found["points"]).reshape(placed.shape)
        there = ~np.isnan(placed[..., 0])
        assert ((points >= 0).all(axis=2) == there).all()
        # One scale for both axes, so distances keep their proportions.
        a, b = placed[there][0] - placed[there][5], points[there][0] - points[there][5]
        assert np.linalg.norm(b) / np.linalg.norm(a) == pytest.approx(
            4095 / np.ptp(placed[there], axis=0).max(), rel=0.02
        )
    for entry in head["motifs"]:
        found, kept = chunk(site, entry["file"]), assigned_motifs(run, entry["embedder"], entry["modality"])
        assert found["labels"] == kept.labels.tolist()
        assert len(found["words"]) == entry["k"] == len(found["medoids"])
        for motif, medoid in enumerate(found["medoids"]):
            assert medoid is None or kept.labels[medoid[0], medoid[1] - kept.ts[0]] == motif


def test_curves_are_the_measurements(site: Site, run: Run, head: dict[str, Any]):
    frame = run.measurements()
    entry = next(one for one in head["curves"] if one["metric"] == "mean_pairwise_distance")
    assert head["curves"][0] == entry
    for line in chunk(site, entry["file"])["lines"]:
        mine = frame[(frame["metric"] == "mean_pairwise_distance") & frame["t"].notna()]
        for key in ("label", "group", "modality"):
            mine = mine[mine[key] == line[key]]
        assert line["t"] == mine["t"].tolist()
        assert line["value"] == rounded(mine["value"])
        assert line["low"] == rounded(mine["ci_low"])


def test_what_a_template_was_filled_with_is_of_the_start_not_of_the_condition(tmp_path: Path):
    raw: dict[str, Any] = {
        "name": "filled", "seed": 7, "iterations": 1, "generator": "mock",
        "starts": [{"template": "a {colour} {thing}", "factors": {"colour": ["red", "blue"], "thing": ["boat"]}}],
        "captioner": {"model": "mock", "temperature": [0.0, 0.7]}, "embedders": "mock",
    }  # fmt: skip
    head = Site([run_plan(make_plan(parse_experiment(raw), read_branch), tmp_path / "run")]).head()
    assert [one["factors"] for one in head["conditions"]] == [
        [["captioner.temperature", "0"]],
        [["captioner.temperature", "0.7"]],
    ]
    assert [one["factors"] for one in head["starts"]] == [[["colour", "red"]], [["colour", "blue"]]]


def test_links_among_the_figures_are_not_followed_wherever_they_lead(run: Run, tmp_path: Path):
    copy = Run(tmp_path, run.manifest, run.experiment)
    shutil.copytree(run.path, tmp_path, dirs_exist_ok=True)
    figures = tmp_path / "figures"
    figures.mkdir(exist_ok=True)
    (tmp_path / "secret.png").write_bytes(b"elsewhere")
    (figures / "out.png").symlink_to(tmp_path / "secret.png")
    (figures / "nowhere.png").symlink_to(tmp_path / "not-there.png")
    (figures / "drawn.png").write_bytes(b"drawn")
    names = [name for name in Site([copy]).downloads if name.startswith("figures/")]
    assert names == ["figures/drawn.png"]


def test_failures_beyond_those_listed_are_counted(monkeypatch: pytest.MonkeyPatch, run: Run):
    monkeypatch.setattr("loopsim.report.facts._MOST_FAILURES", 3)
    (facts,) = Site([run]).head()["runs"]
    assert (facts["failed"], len(facts["failures"])) == (4, 3)


def test_the_head_says_what_was_run(head: dict[str, Any], run: Run):
    (facts,) = head["runs"]
    assert (facts["name"], facts["iterations"], facts["starts"], facts["replicates"]) == ("mocked", 10, 6, 2)
    assert facts["state"] == "finished"
    assert {(one["role"], one["model"]) for one in facts["models"]} == {("generator", "mock"), ("captioner", "mock")}
    assert ["temperature", "0, 0.7"] in facts["models"][1]["settings"]
    assert len(facts["failures"]) == 4
    assert "asked to fail" in facts["failures"][0]["message"]
    shares = {one["name"]: one["share"] for one in facts["flags"]}
    drawn = int((run.steps(["t"])["t"] > 0).sum())
    assert shares == {name: pytest.approx(count / drawn) for name, count in run.flag_counts().items()}
    rows = head["trajectories"]
    assert [t for t in rows["failed"] if t is not None] == [1, 1, 1, 1]
    # A black picture has no words, and what is drawn from none is the same ever after.
    assert [c["factors"] for c in head["conditions"]] == [
        [["captioner.temperature", "0"]],
        [["captioner.temperature", "0.7"]],
    ]
    assert head["groups"] == ["far", "near"]


def test_captions_that_repeat_to_the_end_are_marked_with_their_period(planned, out):
    run = run_plan(planned(iterations=14, starts=["a red house"], replicates=1, noise="fixed", captioner="mock"), out)
    texts = run.steps(["t", "text"]).query("t > 0")["text"].tolist()
    rows = Site([run]).head()["trajectories"]
    period = int(rows["period"][0])
    if period:
        entry = rows["entry"][0]
        assert texts[entry - 1 :][:-period] == texts[entry - 1 + period :]
    else:
        assert texts[-1] not in texts[-7:-1]


def test_the_page_has_the_policy_and_no_script_or_style_of_its_own(site: Site):
    html = (site.make("index.html") or b"").decode()
    assert f'content="{POLICY}"' in html
    assert "unsafe" not in POLICY
    assert "<style" not in html
    assert " style=" not in html
    assert " onclick" not in html
    assert html.count("<script") == html.count("<script src=")
    assert "http://" not in html
    assert "https://" not in html


def test_a_title_is_text(run: Run):
    html = (Site([run], Options(title="<b>&\"'")).make("index.html") or b"").decode()
    assert "<title>&lt;b&gt;&amp;&quot;&#x27; · loopsim report</title>" in html


def test_several_runs_are_one_report_with_rows_numbered_through(run: Run, planned, tmp_path):
    other = run_plan(planned(name="other", iterations=3), tmp_path / "other")
    both = Site([run, other])
    head = json.loads(as_json(both.head()))
    assert [one["name"] for one in head["runs"]] == ["mocked", "other"]
    assert head["trajectories"]["id"] == [*run.trajectories()["trajectory_id"], *other.trajectories()["trajectory_id"]]
    assert head["trajectories"]["run"] == [0] * 24 + [1] * 6
    last = chunk(both, "steps-0000-0000")
    stored = other.steps().set_index(["trajectory_id", "t"])
    assert last["text"][24][1] == stored.loc[(head["trajectories"]["id"][24], 1), "text"]
    assert all(name.startswith(("1-mocked/", "2-other/", "references")) for name in both.downloads)


# ---- odd runs --------------------------------------------------------------------------------------------------------


def test_an_image_first_run_has_its_start_among_the_pictures(planned, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "start.png")
    site = Site([run_plan(planned(starts={"images": [str(tmp_path / "start.png")]}), tmp_path / "run")])
    assert chunk(site, "steps-0000-0000")["picture"][0][0] == 1
    with Image.open(io.BytesIO(site.make("sprites/0000-0000.webp") or b"")) as image:
        assert np.asarray(image.convert("RGBA"))[..., 3].max() == 255
    assert json.loads(as_json(site.head()))["starts"][0]["text"] is None


def test_a_branch_begins_where_it_branched(planned, tmp_path):
    parent = run_plan(planned(iterations=5), tmp_path / "parent")
    one = parent.trajectories()["trajectory_id"].iloc[0]
    branch = run_plan(planned(starts={"from": f"{parent.path}/{one}/2"}, iterations=3, replicates=1), tmp_path / "b")
    site = Site([branch])
    head = json.loads(as_json(site.head()))
    assert (head["trajectories"]["t0"], head["trajectories"]["last"]) == ([2], [5])
    assert head["trajectories"]["parent"] == [f"{one}@2"]
    assert chunk(site, "steps-0000-0000")["text"][0][:2] == [None, None]
    assert site.step_blocks == {(0, 0): 4}


def test_a_run_that_has_not_begun_is_a_report_without_states(planned, out):
    site = Site([create_run(out, planned(), {})])
    assert site.step_blocks == {}
    assert site.sheet_blocks == {}
    head = json.loads(as_json(site.head()))
    assert head["sprites"] is None
    assert head["runs"][0]["headline"] == ["This run has not been measured yet."]
    assert all(site.make(name) is not None for name in site.names())


@pytest.mark.parametrize(("pictures", "side"), [(1, 256), (2_000, 256), (2_001, 192), (100_000, 96), (10**6, 64)])
def test_larger_reports_have_smaller_pictures(pictures: int, side: int):
    assert sprites.side(pictures) == side


def test_pictures_are_never_made_larger_than_they_are(site: Site, head: dict[str, Any], run: Run):
    assert (head["sprites"]["width"], head["sprites"]["height"]) == (16, 16)
    form = sprites.choose_format(site.parts, 10, wanted=256)
    assert form == sprites.Format(16, 16)


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_a_report_is_built_and_built_again(run: Run, tmp_path: Path):
    folder = tmp_path / "deep" / "report"
    first = build([run], folder)
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert len(there) == first.files
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) == first.bytes
    (folder / "data" / "old.js").write_text("old")
    build([run], folder)
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == there
    assert [p.name for p in folder.parent.iterdir()] == ["report"]


def test_what_is_no_report_is_not_replaced(run: Run, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="something else than a report"):
        build([run], tmp_path / "mine")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="a file or link of that name"):
            build([run], tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all my work"
    (tmp_path / "empty").mkdir()
    assert build([run], tmp_path / "empty").page.is_file()


def test_a_report_that_cannot_be_made_leaves_the_old_one_and_nothing_else(run: Run, tmp_path: Path, monkeypatch):
    folder = tmp_path / "report"
    build([run], folder)
    before = (folder / "data" / "head.json").read_bytes()

    def fail(self: Site, name: str) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Site, "make", fail)
    with pytest.raises(StoreError, match="no space left"):
        build([run], folder)
    assert (folder / "data" / "head.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_downloads_hold_the_measurements_and_what_to_cite(run: Run, tmp_path: Path):
    folder = build([run], tmp_path / "report").page.parent / "downloads"
    table = pd.read_csv(folder / "measurements.csv", low_memory=False)
    assert len(table) == len(run.measurements())
    assert "@" in (folder / "references.bib").read_text()
    assert (folder / "experiment.yaml").read_bytes() == (run.path / "experiment.yaml").read_bytes()
    assert len(pd.read_csv(folder / "captions.csv")) == len(run.steps(["t"]))


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_into_the_run_and_says_what_to_open(run: Run):
    done = CliRunner().invoke(app, ["report", str(run.path)])
    assert done.exit_code == 0, done.output
    assert f"{run.path}/report/index.html" in done.stdout
    assert "open it in a browser" in done.stdout


def test_the_command_says_where_measurements_are_missing(planned, out):
    run_plan(planned(iterations=2), out)
    done = CliRunner().invoke(app, ["report", str(out), "--title", "mine"])
    assert done.exit_code == 0
    assert f"loopsim measure {out}" in done.stderr
    assert json.loads((out / "report" / "data" / "head.json").read_text())["title"] == "mine"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--thumbnails", "5"], 2, "a number of pixels, 32 to 512; it is 5"),
        (["--out", "."], 2, "something else than a report"),
    ],
)
def test_bad_input_is_answered_with_one_message(run: Run, tmp_path, monkeypatch, options, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("")
    done = CliRunner().invoke(app, ["report", str(run.path), *options])
    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_the_command_refuses_what_is_no_run(tmp_path):
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "there is no run here" in done.stderr
