"""The benches run, on sizes that measure nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loopsim.errors import RunFailed
from loopsim.runner import Progress, run_plan
from loopsim.store import open_run

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def bench(kind: str, out: Path, *options: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"bench_{kind}.py"), "--out", str(out), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text()) | {"printed": done.stdout}


@pytest.fixture
def script(monkeypatch):
    """The module of a bench by its kind."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return lambda kind: importlib.import_module(f"bench_{kind}")


@pytest.fixture
def gpu(script, monkeypatch):
    """The bench for a GPU, without collecting garbage between measurements, which takes seconds here."""
    module = script("gpu")
    monkeypatch.setattr(importlib.import_module("gpu_report"), "free_memory", lambda: None)
    return module


# ---- loops -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bench_of_loops_times_every_way_gives_ratios_and_says_how_far_all_make_the_same(tmp_path):
    found = bench("loop", tmp_path / "loop.json", "--trajectories=4", "--iterations=1", "--rounds=1", "--threads=1")
    assert all(value > 0 for values in found["seconds"].values() for value in values)
    assert set(found["ratios"]) == {"notebook", "lockstep 4", "lockstep 8", "bare"}
    ours, theirs = found["seconds"]["loopsim"][0], found["seconds"]["notebook"][0]
    assert found["ratios"]["notebook"] == [pytest.approx(theirs / ours)]
    assert set(found["same"]) == {"notebook", "lockstep 4", "lockstep 8", "loopsim, generating only", "bare"}
    for name in ("lockstep 4", "lockstep 8", "loopsim, generating only", "bare"):  # batches of four, as loopsim's
        assert found["same"][name]["steps"] == 1
    # A batch of one rounds otherwise, by a grey value or so; other seeds or prompts would draw another scene.
    assert found["same"]["notebook"]["first_pixel_difference"] <= 3
    assert "| notebook | " in found["printed"].split("same to the byte")[1]


def test_agreement_counts_what_is_the_same_and_looks_at_the_first_iteration_alone_for_rounding(script, capsys):
    agreement, tell = script("loop").agreement, script("loop").tell_agreement
    blank = np.zeros((2, 2, 3), np.uint8)
    ours = {(i, t): (blank, f"{i} at {t}") for i in "ab" for t in (1, 2)}
    assert agreement(ours, dict(ours)) == {
        "steps": 1, "pictures": 1, "captions": 1, "first_captions": 1, "first_pixel_difference": 0
    }  # fmt: skip
    tell({"them": agreement(ours, dict(ours))})
    assert "Not everything" not in capsys.readouterr().out
    theirs = ours | {("a", 1): (blank + np.uint8(2), "a at 1"), ("a", 2): (blank + np.uint8(90), "else")}
    assert agreement(ours, theirs) == {
        "steps": 0.5, "pictures": 0.5, "captions": 0.75, "first_captions": 1, "first_pixel_difference": 2
    }  # fmt: skip
    tell({"them": agreement(ours, theirs)})
    printed = capsys.readouterr().out
    assert "| them | 50.0% | 50.0% | 75.0% | 100.0% | 2 of 255 |" in printed
    assert "Not everything is the same to the byte" in printed
    with pytest.raises(ValueError, match="4 steps against 3"):
        agreement(ours, {key: one for key, one in ours.items() if key != ("a", 1)})


# ---- on a GPU ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bench_for_a_gpu_runs_at_tiny_size_on_a_cpu_and_says_what_it_left_out(tmp_path):
    found = bench("gpu", tmp_path / "gpu.json", "--tiny", "--rounds=1", f"--work={tmp_path}")
    assert "no measurement" in found["device"]
    assert {name: one["chunk"] for name, one in found["drawing"].items()} == {"1": 1, "2": 2}
    assert all(one["images_per_s"] > 0 and one["operations_per_row"] > 0 for one in found["drawing"].values())
    assert {one["tokens_a_caption"] for one in found["describing"].values()} == {5}
    assert all(one["operations_per_row"] > 0 for one in found["describing"].values())
    (compiled,) = found["describing_compiled"].values()
    assert compiled["captions_per_s"] > 0
    loop = found["loop"]
    assert loop["steps_per_s"] > 0
    assert loop["times_as_fast_as_notebook"] == pytest.approx(loop["steps_per_s"] / loop["notebook_steps_per_s"])
    assert loop["same_as_notebook"]["first_pixel_difference"] <= 3
    assert set(found["skipped"]) == {"drawing_compiled"}
    assert "skipped: drawing_compiled: not on a CPU" in found["printed"]
    assert "overhead of the engine" in found["printed"]


class Model:
    """A model whose device has memory for a number of rows, and that fails at another."""

    def __init__(self, room: int, fails_at: int = 0, error: BaseException | None = None) -> None:
        from loopsim.models.base import Chunks

        self.chunks, self.room, self.fails_at, self.error = Chunks(1), room, fails_at, error

    def rows(self, n: int) -> list[Any]:
        def call(rows: list[int]) -> list[int]:
            if len(rows) > self.room:
                raise RuntimeError("CUDA out of memory")
            if len(rows) == self.fails_at and self.error is not None:
                raise self.error
            return rows

        return [SimpleNamespace(chunk=chunk) for _, chunk, _ in self.chunks.map(call, range(n))]


def swept(gpu: Any, out: Path, model: Model) -> dict:
    report = gpu.Report(out)
    gpu.sweep(
        lambda found: report.keep("drawing", found), model, model.rows, (1, 2, 4, 8), 1, "images_per_s", "drawing"
    )
    return json.loads(out.read_text())


def test_the_bench_for_a_gpu_says_how_many_rows_a_call_really_had(tmp_path, gpu):
    found = swept(gpu, tmp_path / "gpu.json", Model(room=3))
    assert {size: one.get("chunk") for size, one in found["drawing"].items()} == {"1": 1, "2": 2, "4": 2, "8": None}
    assert found["drawing"]["4"]["out_of_memory_at"] == 4
    assert "memory was too short for 4" in found["skipped"]["drawing, batch 8"]
    assert gpu.best(found["drawing"], "images_per_s") in (1, 2)


def test_what_there_is_no_time_for_is_left_out_of_the_bench_for_a_gpu(tmp_path, gpu, monkeypatch):
    module: Any = importlib.import_module("gpu_report")
    report, model, at = gpu.Report(tmp_path / "gpu.json"), Model(room=8), module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: at)
    monkeypatch.setattr(gpu, "seconds", lambda call, rounds: call() or 2.0)
    gpu.sweep(
        lambda found: report.keep("drawing", found), model, model.rows, (1, 2, 4, 8), 3, "images_per_s", "drawing",
        until=gpu.Until(at + 20),
    )  # fmt: skip
    found = report.found["drawing"]
    # A call takes two seconds whatever it has: two rows are expected to take four, and four as long.
    assert {size: one.get("chunk") for size, one in found.items()} == {"1": 1, "2": 2, "4": 4, "8": 8}
    gpu.sweep(
        lambda found: report.keep("drawing", found), model, model.rows, (1, 2, 4, 8), 3, "images_per_s", "drawing",
        until=gpu.Until(at + 15),
    )  # fmt: skip
    assert report.skipped()["drawing, batch 2"] == "no time: it takes about 16 s, and 15 s were left"
    assert gpu.best(report.found["drawing"], "images_per_s") == 1


def test_calls_that_are_long_are_fewer(script, monkeypatch):
    script("gpu")
    timing: Any = importlib.import_module("gpu_timing")
    for each, calls in ((1.0, 4), (6.0, 3), (20.0, 2)):
        clock, made = [0.0], []

        def call(each=each, clock=clock, made=made):
            clock[0] += each
            made.append(each)

        monkeypatch.setattr(timing.time, "perf_counter", lambda clock=clock: clock[0])
        assert timing.seconds(call, 3) == each
        assert len(made) == calls
        assert timing.expected(each, 3) == each * calls


def test_whole_loops_on_a_gpu_are_as_large_as_there_is_time_for(gpu):
    found = {
        "drawing": {"1": {"images_per_s": 0.5, "chunk": 1}, "8": {"images_per_s": 1.0, "chunk": 8}},
        "describing": {"1": {"captions_per_s": 0.5, "chunk": 1}, "64": {"captions_per_s": 20.0, "chunk": 64}},
    }
    assert gpu.members(found, gpu.Sizes(), (8, 64), float("inf")) == 64
    assert gpu.members(found, gpu.Sizes(), (8, 64), 3600.0) == 64
    left = 60 + 7 * 4 + 4 * 1.05 * 26  # loading, seven steps of the notebook, 26 rows for four iterations
    assert gpu.members(found, gpu.Sizes(), (8, 64), left) == 24
    assert gpu.lasting(found, gpu.Sizes(), (8, 64), 26) == pytest.approx(left)
    assert gpu.members(found, gpu.TINY, (2, 2), 0.0) == 3
    nothing = {"drawing": {"skipped": "x"}, "describing": {"skipped": "x"}}
    assert gpu.members(nothing, gpu.Sizes(), (1, 1), 9.0) == 1


@pytest.mark.parametrize(
    ("left", "trajectories", "made"),
    [(5, None, 0), (60 + 7 * 20 + 4 * 20 * 3 - 1, None, 0), (60 + 7 * 20 + 4 * 20 * 3 + 1, None, 3), (60, 3, 0)],
)
def test_whole_loops_that_there_is_no_time_for_are_not_begun(tmp_path, gpu, monkeypatch, left, trajectories, made):
    """A picture takes twenty seconds, three a call at best: loading, seven steps alone, and three rows four times."""
    module: Any = importlib.import_module("gpu_report")
    at, begun = module.time.monotonic(), []
    monkeypatch.setattr(module.time, "monotonic", lambda: at)
    monkeypatch.setattr(gpu, "looping", lambda folders, sizes, batches, n, threads: begun.append(n) or {"n": n})
    rates = {"1": {"images_per_s": 0.05, "chunk": 1}, "3": {"images_per_s": 0.05001, "chunk": 3}}
    report = gpu.Report(tmp_path / "gpu.json", {"drawing": rates, "describing": {"skipped": "x"}})
    gpu.loops_in_time(report, [], gpu.Sizes(trajectories=trajectories), gpu.Until(at + left), 1)
    assert begun == [made] * (made > 0)
    assert made or f"no time: it takes about 440 s, and {left} s were left" in report.skipped()["loop"]


@pytest.mark.parametrize(
    "error", [RunFailed("all 64 failed"), KeyError("no such part")], ids=lambda e: type(e).__name__
)
def test_what_fails_on_a_gpu_is_noted_and_the_rest_goes_on(tmp_path, gpu, error):
    found = swept(gpu, tmp_path / "gpu.json", Model(8, 2, error))
    assert found["drawing"]["4"]["images_per_s"] > 0
    assert type(error).__name__ in found["skipped"]["drawing, batch 2"]
    assert found["skipped"]["loop"] == "not reached"


def test_a_bench_that_is_stopped_leaves_what_it_had(tmp_path, gpu):
    with pytest.raises(KeyboardInterrupt):
        swept(gpu, tmp_path / "gpu.json", Model(8, 2, KeyboardInterrupt()))
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["drawing"]["1"]["images_per_s"] > 0
    assert found["skipped"]["drawing, batch 2"] == found["skipped"]["describing"] == "not reached"
    assert [p.name for p in tmp_path.iterdir()] == ["gpu.json"]


def test_what_was_left_out_is_told_with_its_reason(tmp_path, gpu, capsys):
    report = gpu.Report(tmp_path / "gpu.json", {"device": "a GPU"})
    report.keep("built", {"sdxl": "built", "clip": "OSError: no space left"})
    report.keep("drawing", {"4": {"images_per_s": 1.5, "chunk": 4}, "8": {"skipped": "full"}})
    report.keep("describing", {"skipped": "no such model"})
    report.keep("loop", {"steps_per_s": 1.0, "overhead": 0.031, "notebook": {"skipped": "ValueError: odd"}})
    assert report.found["skipped"] == {
        "building clip": "OSError: no space left", "drawing, batch 8": "full", "describing": "no such model",
        "drawing_compiled": "not reached", "describing_compiled": "not reached", "loop, notebook": "ValueError: odd",
    }  # fmt: skip
    gpu.tell(report.found)
    printed = capsys.readouterr().out
    assert "pictures/s | 1.2 | 1.50 |" in printed
    assert "overhead of the engine | 5 % | 3.1% |" in printed
    assert "times as fast as `notebook` | 3 | not measured |" in printed
    assert "skipped: loop, notebook: ValueError: odd" in printed


def test_a_model_whose_building_was_stopped_is_not_taken_for_one(tmp_path, gpu):
    shapes: Any = importlib.import_module("gpu_shapes")

    def build(folder: Path, tiny: bool, device: str) -> Path:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        shapes.saved(tmp_path / "sdxl", build, True, "cpu")
    assert not list(tmp_path.iterdir())


# ---- the store ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bench_of_the_store_runs_at_tiny_size(tmp_path):
    found = bench("store", tmp_path / "store.json", "--tiny", "--rounds=1")
    assert all(value > 0 for value in found["throughput"].values())
    assert found["resume"]["resume_s"] == max(found["resume"]["ended_s"], found["resume"]["killed_s"]) > 0
    assert set(found["scaling"]) == {"trajectories", "iterations", "cohort"}
    assert found["large"]["steps"] == 20 * 3
    assert list(found["memory_mb"]) == ["2"]


def test_the_killed_run_that_is_timed_has_a_file_an_iteration_and_lacks_the_last(tmp_path, script):
    store = script("store")
    assert store.killed(tmp_path / "run", 70, 3) == 2 * 4 - 1  # two cohorts, starts and three iterations
    run = open_run(tmp_path / "run")
    assert run.progress() == {"c0000": 3, "c0001": 2}
    copy = store.twin(run.path, tmp_path / "copy")
    assert store.first_new(copy, 70, 3) > 0
    assert open_run(copy).progress() == {"c0000": 3, "c0001": 3}
    assert run.progress() == {"c0000": 3, "c0001": 2}
    with pytest.raises(ValueError, match="nothing left to do"):
        store.first_new(copy, 70, 3)


@pytest.mark.slow
def test_the_memory_of_a_run_does_not_grow_with_its_iterations(script):
    """More iterations would hold 130 MB of pictures alone; what a process takes varies by some 20 MB."""
    few, many = (script("store").memory(64, n, buffer=1 << 19) for n in (40, 300))
    assert many - few < 60


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("loop", ["--rounds", "0"], "'0' is no whole number from 1 on"),
        ("store", ["--steps", "10"], "ten conditions need 1000 at least"),
        ("ray", ["--cohorts", "3"], "must be even"),
        *(("gpu", ["--tiny", f"--minutes={m}"], f"'{m}' is no number above 0") for m in ("0", "-9", "nan", "inf", "x")),
    ],
)
def test_odd_arguments_are_refused_before_anything_is_timed(script, monkeypatch, capsys, kind, words, said):
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit):
        script(kind).main()
    assert said in capsys.readouterr().err


# ---- a cluster ---------------------------------------------------------------------------------------------------


def test_the_clock_of_a_cluster_starts_when_all_workers_are_up(script, monkeypatch):
    ray = script("ray")
    clock, now = ray.Clock(2), iter([10.0, 14.0])
    monkeypatch.setattr(ray.time, "perf_counter", lambda: next(now))
    clock.say("worker 1 is up")
    clock.watch(Progress(5, 100, 5, 0.0))  # one works while the other is loading
    clock.say("worker 2 is up")
    clock.watch(Progress(8, 100, 8, 0.0))
    clock.watch(Progress(48, 100, 48, 0.0))
    assert clock.rate() == pytest.approx(40 / 4)


def test_the_plan_for_a_cluster_has_whole_cohorts_and_its_pictures_are_compared_to_the_byte(tmp_path, script):
    ray = script("ray")
    plan = ray.plan_of(1, 2, 2)
    assert [len(cohort.trajectories) for cohort in plan.cohorts] == [2, 2]
    made = [ray.pictures(run_plan(plan, tmp_path / name, threads=1).path) for name in "ab"]
    assert made[0] == made[1]
    assert len(made[0]) == 4 * 2
    assert all((picture is None) == (t == 0) for _, t, picture, _ in made[0])
