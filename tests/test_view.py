"""Following a run: what is seen of it while it begins, grows, stops, ends, is extended, or goes away."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import StoreError, UsageError
from loopsim.experiment import parse_experiment
from loopsim.measure import measure_run
from loopsim.plan import make_plan
from loopsim.records import Step
from loopsim.report.members import members
from loopsim.runner import read_branch, run_plan
from loopsim.store import create_run, open_run, shards
from loopsim.view import Answers, Follower
from loopsim.view.reading import GrowingSteps
from tests.browser import PHONE, Visitor
from tests.conftest import Planner

ROOT = Path(__file__).resolve().parent.parent
STARTS = ["a red house", "the blue sea", "two birds at night", "fail", "black"]


def head_of(follower: Follower) -> dict[str, Any]:
    found = Answers(follower)("data/head.json", {})
    assert found is not None
    return json.loads(found.make())


def run_in(follower: Follower) -> dict[str, Any]:
    return head_of(follower)["runs"][0]


def everything(path: Path) -> dict[str, tuple[int, int, int]]:
    """Every file of a directory with its size, time and inode."""
    return {
        str(p.relative_to(path)): (p.lstat().st_size, p.lstat().st_mtime_ns, p.lstat().st_ino)
        for p in sorted(path.rglob("*"))
    }


@pytest.fixture
def look_until() -> Callable[[Follower, Callable[[Follower], object]], None]:
    def wait(follower: Follower, true: Callable[[Follower], object]) -> None:
        for _ in range(200):
            follower.look()
            if true(follower):
                return
            time.sleep(0.05)
        raise AssertionError("it did not come")

    return wait


# ---- growing ---------------------------------------------------------------------------------------------------------


def test_a_run_is_seen_from_before_it_begins_until_it_is_measured_and_extended(planned: Planner, out: Path, look_until):
    out.mkdir()
    follower = Follower(out)
    follower.look()
    assert follower.seen is None
    answers = Answers(follower)
    assert b"Waiting for a run" in answers("index.html", {}).make()
    assert json.loads(answers("state.json", {}).make()) == {"state": "waiting"}
    assert answers("data/head.json", {}) is None

    run_plan(planned(starts=STARTS, iterations=3), out)
    look_until(follower, lambda f: f.seen and f.seen.early)
    seen = run_in(follower)
    assert (seen["state"], seen["done"], seen["total"], seen["measured"]) == ("finished", 24, 24, False)
    assert len(seen["failures"]) == 2
    assert {flag["name"] for flag in seen["flags"]} >= {"black_image", "empty_caption"}
    assert seen["headline"] == [f"All steps are made, and not measured yet: `loopsim measure {out}` does it."]
    assert {c["metric"] for c in head_of(follower)["curves"]} >= {"word_entropy", "caption_words"}
    assert seen["notes"] == ["Curves are of words only: those of distances, motifs and memory need vectors."]
    assert {d["name"] for d in head_of(follower)["downloads"]} & {"measurements.csv", "captions.csv"} == {
        "captions.csv"
    }

    run = open_run(out)
    with run.writing():
        follower.look()
        assert run_in(follower)["state"] == "measuring"
        embed_run(run, "mock")
        measure_run(run)
        run.mark_measured()
    follower.look()
    seen = run_in(follower)
    assert (seen["state"], seen["measured"]) == ("finished", True)
    assert "mean_pairwise_distance" in {c["metric"] for c in head_of(follower)["curves"]}
    assert seen["verdicts"]
    assert "not measured" not in str(seen["headline"])
    assert seen["notes"] == [n for n in seen["notes"] if "words only" not in n]
    assert {d["name"] for d in head_of(follower)["downloads"]} >= {"measurements.csv", "captions.csv"}

    run_plan(planned(starts=STARTS, iterations=5), out)
    follower.look()
    seen = run_in(follower)
    assert (seen["done"], seen["total"], seen["iterations"], seen["measured"]) == (40, 40, 5, False)
    assert any("has gone on since it was measured" in note for note in seen["notes"])
    assert follower.seen.epoch.endswith("-1")  # the same run: what the browser has stays good
    follower.stop()


def test_what_was_read_bit_by_bit_is_what_is_read_at_once(planned: Planner, out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopsim.executors.writer.FLUSH_SECONDS", 0.0)
    run_plan(planned(starts=STARTS, iterations=2, cohort=4), out)
    steps = GrowingSteps(open_run(out))
    assert steps.update()
    assert not steps.update()
    for iterations in (3, 6):
        run_plan(planned(starts=STARTS, iterations=iterations, cohort=4), out)
        steps.renew(open_run(out))
        assert steps.update()
    (whole,) = members([open_run(out)])
    grown = steps.member()
    assert grown.steps.equals(whole.steps)
    assert grown.last.tolist() == whole.last.tolist()


def test_iterations_that_are_made_again_in_the_middle_are_read(planned: Planner, out: Path):
    run = run_plan(planned(iterations=6), out)
    (shard,) = shards.list_shards(out / "steps")
    table = run.steps(images=True)
    kept = shard.path.read_bytes()
    shard.path.unlink()
    for first, last in ((0, 1), (4, 6)):
        part = pq.read_table(io.BytesIO(kept))
        t = part["t"]
        pq.write_table(
            part.filter(pc.and_(pc.greater_equal(t, first), pc.less_equal(t, last))),
            out / "steps" / shards.shard_name(shard.cohort, first, last),
        )
    steps = GrowingSteps(run)
    assert steps.update()
    assert set(steps.member().steps["t"]) == {0, 1, 4, 5, 6}
    shard.path.write_bytes(kept)
    assert steps.update()
    assert len(steps.member().steps) == len(table)


def test_shards_that_are_merged_while_they_are_read_do_no_harm(
    planned: Planner, out: Path, monkeypatch: pytest.MonkeyPatch
):
    run = run_plan(planned(iterations=4), out)
    (shard,) = shards.list_shards(out / "steps")
    listed, calls = shards.list_shards, []

    def stale_first(folder: Path) -> list[shards.Shard]:
        calls.append(1)
        gone = shards.Shard(folder / "c0000-0000000-0000002.parquet", shard.cohort, 0, 2)
        return [gone] if len(calls) < 4 else listed(folder)

    monkeypatch.setattr(shards, "list_shards", stale_first)
    steps = GrowingSteps(run)
    assert steps.update()
    assert len(calls) == 4
    assert set(steps.member().steps["t"]) == {0, 1, 2, 3, 4}


def test_chunks_and_sheets_are_those_of_the_report_and_change_with_their_versions(planned: Planner, out: Path):
    run_plan(planned(iterations=3), out)
    follower = Follower(out)
    follower.look()
    answers = Answers(follower)
    for name in ("data/steps-0000-0000.js", "sprites/0000-0000.webp", "data/marks.js", "data/head.js"):
        found = answers(name, {})
        assert found is not None
        assert found.make() == (found.make() if "head" in name else follower.seen.site.make(name))
    before = {n: answers(n, {}).tag for n in ("data/steps-0000-0000.js", "sprites/0000-0000.webp", "page/page.css")}
    follower.look()
    assert {name: answers(name, {}).tag for name in before} == before
    run_plan(planned(iterations=4), out)
    follower.look()
    after = {name: answers(name, {}).tag for name in before}
    assert [name for name in before if after[name] != before[name]] == list(before)[:2]
    follower.stop()


def test_a_flag_that_appears_late_gives_the_others_no_new_numbers(planned: Planner, out: Path):
    run_plan(planned(iterations=2), out)
    follower = Follower(out)
    follower.look()
    names = follower.seen.site.flags
    run_plan(planned(iterations=30), out)
    follower.look()
    assert follower.seen.site.flags == names
    follower.stop()


@pytest.mark.parametrize(
    "name",
    ["nothing.html", "manifest.json", "experiment.yaml", "steps/c0000-0000000-0000003.parquet", ".lock", "log.jsonl",
     "data/steps-0009-0000.js", "data/steps-0000-0009.js", "sprites/0009-0000.webp", "data/curves-999.js",
     "downloads/nothing.csv", "page/nothing.js", "page/site.py", "page/../site.py", "waiting.html", "data/head.txt"],
)  # fmt: skip
def test_only_files_of_the_report_are_there(planned: Planner, out: Path, name: str):
    run_plan(planned(iterations=3), out)
    follower = Follower(out)
    follower.look()
    assert Answers(follower)(name, {}) is None
    follower.stop()


def test_a_figure_that_is_a_link_is_not_given_away(planned: Planner, out: Path, tmp_path: Path):
    run_plan(planned(iterations=2), out)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (out / "figures").mkdir()
    (out / "figures" / "mine.png").write_bytes(b"mine")
    (out / "figures" / "link.png").symlink_to(tmp_path / "secret.png")
    follower = Follower(out)
    follower.look()
    answers = Answers(follower)
    assert answers("downloads/figures/mine.png", {}).make() == b"mine"
    assert answers("downloads/figures/link.png", {}) is None
    follower.stop()


def test_looking_changes_nothing_in_the_run(planned: Planner, out: Path):
    run = run_plan(planned(iterations=3), out)
    embed_run(run, "mock")
    measure_run(run)
    before = everything(out)
    follower = Follower(out)
    follower.look()
    answers = Answers(follower)
    for name in [*follower.seen.site.names(), "sprites/0000-0000.webp"]:
        assert answers(name, {}) is not None
        answers(name, {}).make()
    follower.look()
    follower.stop()
    assert everything(out) == before


def test_curves_of_a_run_that_goes_say_whose_they_are(planned: Planner, out: Path, look_until):
    run = run_plan(planned(starts=STARTS, iterations=2), out)
    with run.writing():
        run.experiment = {**run.experiment, "iterations": 3}  # type: ignore[dict-item]
        (out / "experiment.yaml").write_text(
            (out / "experiment.yaml").read_text().replace("iterations: 2", "iterations: 3")
        )
        follower = Follower(out)
        look_until(follower, lambda f: f.seen and f.seen.early)
        seen = run_in(follower)
        assert seen["state"] == "running"
        assert "of words only, and of the 8 trajectories of each condition" in seen["notes"][0]
        assert head_of(follower)["downloads"] == []
    follower.stop()


# ---- going wrong -----------------------------------------------------------------------------------------------------


def test_a_run_that_goes_away_stays_on_the_page_with_a_word(planned: Planner, out: Path, tmp_path: Path):
    run_plan(planned(iterations=2), out)
    follower = Follower(out)
    follower.look()
    out.rename(tmp_path / "elsewhere")
    follower.look()
    seen = run_in(follower)
    assert seen["state"] == "gone"
    assert "no longer there" in seen["headline"][0]
    (tmp_path / "elsewhere").rename(out)
    follower.look()
    assert run_in(follower)["state"] == "finished"
    follower.stop()


def test_another_run_in_the_same_place_is_shown_as_another(planned: Planner, out: Path, tmp_path: Path):
    run_plan(planned(iterations=2), out)
    follower = Follower(out)
    follower.look()
    first = follower.seen.epoch
    out.rename(tmp_path / "elsewhere")
    run_plan(planned(starts=["one start only"], iterations=3), out)
    follower.look()
    assert follower.seen.epoch != first
    assert run_in(follower)["trajectories"] == 2
    follower.stop()


def test_a_damaged_shard_leaves_what_was_seen_with_a_note(planned: Planner, out: Path):
    run_plan(planned(iterations=2), out)
    follower = Follower(out)
    follower.look()
    (out / "steps" / shards.shard_name("c0000", 3, 4)).write_bytes(b"no parquet")
    follower.look()
    seen = run_in(follower)
    assert seen["done"] == 12
    assert seen["notes"][0].startswith("The newest cannot be read, so this is what was seen before: ")
    (out / "steps" / shards.shard_name("c0000", 3, 4)).unlink()
    follower.look()
    assert not any("cannot be read" in note for note in run_in(follower)["notes"])
    follower.stop()


def test_what_cannot_be_read_at_the_beginning_is_an_error(planned: Planner, out: Path):
    run_plan(planned(iterations=2), out)
    (out / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=re.escape("manifest.json")):
        Follower(out).look()


def test_places_that_are_no_run_are_told_apart(tmp_path: Path, planned: Planner):
    with pytest.raises(UsageError, match=r"there is nothing here\. `loopsim run EXPERIMENT --out"):
        Follower(tmp_path / "none").look()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="this is a file; give the directory of a run"):
        Follower(tmp_path / "file").look()
    run_plan(planned(iterations=1), tmp_path / "runs" / "one")
    with pytest.raises(UsageError, match=re.escape(f"did you mean {tmp_path / 'runs' / 'one'}?")):
        Follower(tmp_path / "runs").look()
    (tmp_path / "report" / "data").mkdir(parents=True)
    (tmp_path / "report" / "data" / "head.json").write_text("{}")
    with pytest.raises(UsageError, match=r"this is a report, not a run: open .*index\.html"):
        Follower(tmp_path / "report").look()


@pytest.mark.slow
def test_a_large_run_is_opened_and_followed_in_seconds(out: Path):
    """2,000 trajectories of 50 iterations. Seconds of the processor, which do not grow where others are at work too."""
    starts = [f"a red house by the sea, number {i}" for i in range(250)]
    raw = {
        "name": "large", "seed": 1, "iterations": 50, "replicates": 2, "starts": starts, "generator": "mock",
        "captioner": {"model": "mock", "temperature": [0.3, 0.5, 0.7, 0.9]}, "embedders": "mock",
    }  # fmt: skip
    plan = make_plan(parse_experiment(raw), read_branch)
    run = create_run(out, plan, {})
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "WEBP")

    def commit(first: int, last: int) -> None:
        for cohort, ids in run.cohorts.items():
            run.commit(cohort, [
                Step(one, t, None, picture.getvalue() if t else None, f"a blue boat {t % 7} at night, {one[:4]}", one)
                for t in range(first, last + 1) for one in ids
            ])  # fmt: skip

    commit(0, 49)
    follower = Follower(out)
    began = time.process_time()
    follower.look()
    opened = time.process_time() - began
    began = time.process_time()
    for name in ("index.html", "data/head.json", "data/marks.js", "data/steps-0007-0000.js", "sprites/0030-0003.webp"):
        assert Answers(follower)(name, {}).make()
    answered = time.process_time() - began
    began = time.process_time()
    follower.look()
    idle = time.process_time() - began
    commit(50, 50)
    began = time.process_time()
    follower.look()
    grown = time.process_time() - began
    told = f"opened in {opened:.1f} s, answered in {answered:.1f} s, a look {idle:.2f} s, a look at news {grown:.1f} s"
    sys.stderr.write(told + "\n")
    assert run_in(follower)["done"] == 100_000
    follower.stop()
    assert opened < 15
    assert answered < 5
    assert idle < 1
    assert grown < 10


# ---- through the command line ----------------------------------------------------------------------------------------

SLOW = """
import sys, time
from pathlib import Path
from loopsim.experiment import parse_experiment
from loopsim.executors import writer
from loopsim.plan import make_plan
from loopsim.runner import read_branch, run_plan
writer.FLUSH_SECONDS = 0.2
raw = {"name": "slow", "seed": 7, "iterations": 400, "starts": ["a red house", "<img src=x onerror=alert(1)>"],
       "generator": "mock", "captioner": "mock", "embedders": "mock"}
run_plan(make_plan(parse_experiment(raw), read_branch), Path(sys.argv[1]), watch=lambda _: time.sleep(0.2))
"""


@pytest.fixture
def slow_run(out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of 400 iterations that makes five a second, in a process of its own."""
    run = subprocess.Popen([sys.executable, "-c", SLOW, str(out)], cwd=ROOT)
    yield run
    run.kill()
    run.wait()


@pytest.fixture
def viewer(out: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """`loopsim view` of the run directory in a process of its own; gives it and the address of its page."""
    begun = []

    def begin(*more: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "loopsim", "view", str(out), "--no-open", *more]
        view = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(view)
        assert view.stdout is not None
        return view, view.stdout.readline().strip()

    yield begin
    for view in begun:
        view.kill()
        view.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def wait_for(true: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_a_run_that_goes_is_followed_and_shown_as_stopped_when_it_is_killed(out: Path, slow_run, viewer):
    wait_for(lambda: (out / "manifest.json").is_file())
    view, url = viewer()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    wait_for(lambda: (get(url + "data/head.json")["runs"][0]["rate"] or 0) > 0)
    one = get(url + "data/head.json")["runs"][0]
    assert one["state"] == "running"
    assert one["total"] == 800
    assert 1 < one["rate"] < 11
    wait_for(lambda: get(url + "data/head.json")["runs"][0]["done"] > one["done"])
    slow_run.send_signal(signal.SIGKILL)
    slow_run.wait()
    wait_for(lambda: get(url + "data/head.json")["runs"][0]["state"] == "stopped")
    stopped = get(url + "data/head.json")["runs"][0]
    assert stopped["rate"] is None
    assert "resumes it" in stopped["headline"][0]
    view.send_signal(signal.SIGINT)
    said = view.communicate(timeout=60)[1]
    assert view.returncode == 0
    assert said.endswith("ended; nothing was changed in the run\n")
    assert "Traceback" not in said


def test_a_run_that_has_not_begun_is_waited_for(planned: Planner, out: Path, viewer):
    out.mkdir()
    _, url = viewer()
    assert get(url + "state.json") == {"state": "waiting"}
    run_plan(planned(iterations=2), out)
    wait_for(lambda: get(url + "state.json") == {"state": "finished"})


def told(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["view", *arguments])
    assert done.stdout == ""
    return done.exit_code, " ".join(done.stderr.split())


def test_wrong_input_is_told_in_one_message(planned: Planner, out: Path, tmp_path: Path):
    status, said = told(str(tmp_path / "none"))
    assert (status, said.count("loopsim:")) == (2, 1)
    assert "there is nothing here" in said
    assert told(str(tmp_path), "--port", "70000")[0] == 2
    assert told(str(tmp_path), "--port", "http")[0] == 2
    assert told()[0] == 2
    run_plan(planned(iterations=1), out)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = told(str(out), "--port", port, "--no-open")
    assert status == 2
    assert f"--port {port}: is in use by another program; choose another" in said


def test_a_browser_is_opened_only_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch):
    from loopsim.cli import view

    assert not view.has_screen()  # a test has no terminal
    monkeypatch.setattr(type(view.stderr), "is_terminal", True)
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert view.has_screen() == (sys.platform == "darwin")
    monkeypatch.setenv("DISPLAY", ":0")
    assert view.has_screen()
    monkeypatch.setenv("SSH_CONNECTION", "1 2 3 4")
    assert not view.has_screen()
    assert os.environ["DISPLAY"] == ":0"


# ---- in the browser --------------------------------------------------------------------------------------------------


def ready(visit: Visitor, url: str, **more: Any) -> tuple[Any, Any]:
    found = visit(url, **more)
    found.page.wait_for_selector("body[data-ready]")
    return found, found.page


def last_of(page: Any) -> int:
    return int(page.evaluate("Loopsim.data.last"))


def until(page: Any, true: str, seconds: float = 15.0) -> None:
    """Wait for an expression; Playwright's own way of it is what the page's policy forbids."""
    wait_for(lambda: page.evaluate(true), seconds)


@pytest.mark.browser
def test_new_iterations_appear_within_seconds_and_what_was_chosen_stays(visit: Visitor, out: Path, slow_run, viewer):
    wait_for(lambda: list((out / "steps").glob("*-0000003.parquet")) or len(list((out / "steps").glob("c*"))) > 3)
    _, url = viewer()
    found, page = ready(visit, url)
    assert page.text_content("#made").endswith("live")
    assert page.text_content("#progress").startswith("Running: ")
    first = last_of(page)
    until(page, f"Loopsim.data.last > {first}", 10)
    assert int(page.get_attribute("#slider", "max")) > first
    assert page.evaluate("Loopsim.state.t === Loopsim.data.last")  # it went along
    until(page, "document.querySelector('#progress').textContent.includes('steps a second')", 20)

    page.locator(".grid-row .cell").nth(1).click()
    page.wait_for_selector("#detail:not([hidden])")
    page.fill("#search", "e")
    until(page, "Loopsim.state.query === 'e'")
    chosen = page.evaluate("[Loopsim.state.row, Loopsim.state.t]")
    address, title = page.evaluate("location.hash"), page.text_content("#detail-title")
    now = last_of(page)
    until(page, f"Loopsim.data.last > {now + 3}", 15)
    assert page.evaluate("[Loopsim.state.row, Loopsim.state.t]") == chosen
    assert page.evaluate("location.hash") == address
    assert page.text_content("#detail-title") == title
    assert page.is_visible("#detail")
    assert page.input_value("#search") == "e"
    assert page.locator("#grid img").count() == 0  # the start that would be a picture is text

    slow_run.kill()
    until(page, "document.querySelector('#progress').textContent.startsWith('Stopped')", 15)
    assert "resumes it" in page.text_content("#finding")
    found.assert_quiet(url)


@pytest.mark.browser
def test_curves_of_words_are_there_while_it_goes(visit: Visitor, out: Path, slow_run, viewer):
    wait_for(lambda: len(list((out / "steps").glob("c*"))) > 3)
    _, url = viewer()
    found, page = ready(visit, url, size=PHONE, dark=True)
    page.wait_for_selector("#curves-plot .scatterlayer .trace", timeout=30_000)
    assert "Curves are of words only" in page.text_content("#finding")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found.assert_quiet(url)


@pytest.mark.browser
def test_the_page_of_a_run_that_has_not_begun_becomes_its_page(visit: Visitor, planned: Planner, out: Path, viewer):
    out.mkdir()
    _, url = viewer()
    found = visit(url)
    assert found.page.text_content("h1") == "Waiting for a run"
    run_plan(planned(iterations=2), out)
    found.page.wait_for_selector("body[data-ready]", timeout=15_000)
    assert found.page.text_content("#title") == "try"
    found.assert_quiet(url)


@pytest.mark.browser
def test_the_policy_holds_whatever_gets_into_the_page(visit: Visitor, planned: Planner, out: Path, viewer):
    run_plan(planned(iterations=2), out)
    _, url = viewer()
    found, page = ready(visit, url)
    page.evaluate(
        """() => {
          const inline = document.createElement("script");
          inline.textContent = "window.hacked = 1";
          const handler = document.createElement("div");
          handler.innerHTML = "<img src=x onerror='window.hacked = 2'><img src='http://127.0.0.1:9/out.png'>";
          document.body.append(inline, handler);
          return fetch("http://127.0.0.1:9/out").catch(() => 0);
        }"""
    )
    page.wait_for_timeout(300)
    refused = "Content Security Policy"
    wait_for(lambda: page.wait_for_timeout(50) or sum(refused in error for error in found.errors) >= 3)
    assert page.evaluate("window.hacked") is None


@pytest.mark.browser
def test_a_page_of_another_site_gets_nothing(visit: Visitor, planned: Planner, out: Path, viewer, tmp_path: Path):
    run_plan(planned(iterations=2), out)
    _, url = viewer()
    evil = tmp_path / "evil.html"
    evil.write_text(
        f"""<script>var got = []; var Loopsim = {{ chunk(name) {{ got.push(name); }} }};</script>
        <script src="{url}data/head.js"></script><script src="{url}data/steps-0000-0000.js"></script>
        <img id=i src="{url}sprites/0000-0000.webp"><iframe src="{url}"></iframe>
        <script>fetch("{url}data/head.json").then(() => got.push("fetched"), () => 0)</script>"""
    )
    found = visit(evil)
    found.page.wait_for_timeout(500)
    assert found.page.evaluate("got") == []
    assert found.page.evaluate("document.querySelector('#i').naturalWidth") == 0
