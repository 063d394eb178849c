"""How stored files grow and merge, how much may wait for a slow disk, and which pictures memory holds."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loopsim import engine
from loopsim.embed import embed_run
from loopsim.executors import writer
from loopsim.models.pool import ModelPool
from loopsim.records import Step
from loopsim.runner import run_plan
from loopsim.seams import Prompt
from loopsim.store import Run, open_run, shards
from tests.test_runner import contents, in_pieces


def names(out: Path) -> list[str]:
    return sorted(p.name for p in (out / "steps").glob("*.parquet"))


def test_small_neighbours_become_one(planned, out, monkeypatch):
    in_pieces(monkeypatch, planned(), out)
    before = contents(open_run(out))
    open_run(out).compact()
    assert names(out) == ["c0000-0000000-0000004.parquet"]
    assert contents(open_run(out)) == before


def test_large_shards_are_not_written_again(planned, out, monkeypatch):
    in_pieces(monkeypatch, planned(), out)
    before, stored = contents(open_run(out)), names(out)
    monkeypatch.setattr(shards, "LARGE_BYTES", 1)
    open_run(out).compact()
    assert names(out) == stored
    assert contents(open_run(out)) == before


def test_a_large_shard_parts_its_small_neighbours(planned, out, monkeypatch):
    in_pieces(monkeypatch, planned(iterations=6), out)
    sizes = {path: path.stat().st_size for path in (out / "steps").glob("*.parquet")}
    stored, real = names(out), Path.stat

    class Large:
        st_size = 100 << 20

    def stat(self, **options):
        return Large() if self.name == stored[3] else real(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    before = contents(open_run(out))
    open_run(out).compact()
    monkeypatch.undo()
    assert len(sizes) == 7
    assert names(out) == ["c0000-0000000-0000002.parquet", stored[3], "c0000-0000004-0000006.parquet"]
    assert contents(open_run(out)) == before


def test_what_is_merged_stays_within_bounds(planned, out, monkeypatch):
    paths = in_pieces(monkeypatch, planned(iterations=6), out)
    before = contents(open_run(out))
    largest = max(path.stat().st_size for path in paths)
    monkeypatch.setattr(shards, "MERGED_BYTES", 2 * largest)
    open_run(out).compact()
    assert len(names(out)) in (3, 4)
    assert contents(open_run(out)) == before


def test_what_overlaps_is_merged_however_large(planned, out, monkeypatch):
    in_pieces(monkeypatch, planned(), out)
    run = open_run(out)
    before = contents(run)
    steps = [step for t in (1, 2) for step in run.steps_at("c0000", t)]
    (out / "steps" / "c0000-0000002-0000002.parquet").rename(out / "steps" / "c0000-0000002-0000002.kept")
    run.commit("c0000", steps)  # 1 to 2 beside 1 alone, which it covers
    (out / "steps" / "c0000-0000003-0000003.parquet").unlink()
    run.commit("c0000", [*run.steps_at("c0000", 2), *made_again(run, planned(), out)])  # 2 to 3 overlaps 1 to 2
    monkeypatch.setattr(shards, "LARGE_BYTES", 1)
    assert names(out)[1:-1] != []
    run.compact()
    assert "c0000-0000001-0000003.parquet" in names(out)
    assert contents(open_run(out)) == before


def made_again(run: Run, plan, out: Path) -> list[Step]:
    """Iteration 3, from another run of the same plan."""
    other = run_plan(plan, out.with_name("other"))
    return other.steps_at("c0000", 3)


class Made:
    """Looks like an iteration with one picture."""

    def __init__(self, size: int) -> None:
        self.steps = (Step("t", 1, "x", b"0" * size, "y", "t"),)


def test_no_more_than_some_bytes_wait_for_a_slow_disk(monkeypatch):
    gate, at_disk, waits = threading.Event(), threading.Event(), threading.Semaphore(0)

    class Slow:
        def __init__(self, run: object) -> None:
            self.since, self.size = time.monotonic(), 0

        def add(self, item: object) -> None:
            at_disk.set()
            gate.wait(60)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(writer, "Batch", Slow)
    monkeypatch.setattr(writer, "BACKLOG_BYTES", 1000)
    mine = writer.Writer(None)  # type: ignore[arg-type]
    wait = mine._room.wait
    monkeypatch.setattr(mine._room, "wait", lambda seconds: (waits.release(), wait(seconds))[1])
    handed: list[int] = []

    def hand() -> None:
        for k in range(6):
            mine.put(Made(400))  # type: ignore[arg-type]
            handed.append(k)
            if k == 0:
                assert at_disk.wait(60)

    thread = threading.Thread(target=hand, daemon=True)
    thread.start()
    for _ in range(2):  # and goes on to wait when it has looked again
        assert waits.acquire(timeout=60)
    assert thread.is_alive()
    assert len(handed) == 3  # one at the disk, two that wait
    gate.set()
    thread.join(60)
    mine.close()
    assert len(handed) == 6


def test_one_iteration_larger_than_all_that_may_wait_goes_through(monkeypatch):
    stored: list[object] = []

    class Quick:
        def __init__(self, run: object) -> None:
            self.since, self.size = time.monotonic(), 0

        def add(self, item: object) -> None:
            stored.append(item)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(writer, "Batch", Quick)
    monkeypatch.setattr(writer, "BACKLOG_BYTES", 10)
    mine = writer.Writer(None)  # type: ignore[arg-type]
    for _ in range(3):
        mine.put(Made(400))  # type: ignore[arg-type]
    mine.close()
    assert len(stored) == 3


def test_who_waits_for_room_learns_of_a_disk_that_fails(monkeypatch):
    class Broken:
        def __init__(self, run: object) -> None:
            self.since, self.size = time.monotonic(), 0

        def add(self, item: object) -> None:
            time.sleep(0.3)
            raise OSError("broken")

        def flush(self) -> None:
            pass

    monkeypatch.setattr(writer, "Batch", Broken)
    monkeypatch.setattr(writer, "BACKLOG_BYTES", 10)
    mine = writer.Writer(None)  # type: ignore[arg-type]

    def hand() -> None:
        for _ in range(4):
            mine.put(Made(400))  # type: ignore[arg-type]

    with pytest.raises(OSError, match="broken"):
        hand()


def test_vectors_of_some_trajectories_are_those_of_all_without_the_rest(planned, out):
    run = run_plan(planned(cohort=2), out)
    embed_run(run, "mock", "cpu")
    ids, ts, vectors = run.vectors("mock", "text")
    wanted = run.trajectories()["trajectory_id"].tolist()[1:3]
    mine = np.isin(ids.astype(str), wanted)
    some, at, these = run.vectors("mock", "text", wanted)
    assert set(some) == set(wanted)
    assert sorted(zip(some, at, map(bytes, these), strict=True)) == sorted(
        zip(ids[mine], ts[mine], map(bytes, vectors[mine]), strict=True)
    )
    assert run.vectors("mock", "text", ["none such"])[2].shape == (0, 0)


def iterations_of(plan, pool: ModelPool, watch=lambda runs: None) -> list[engine.Iteration]:
    settings = engine.Settings(plan.experiment.seed, False, "webp", plan.experiment.iterations)
    with ThreadPoolExecutor(2) as encoder:
        runs = [engine.CohortRun(cohort, settings, (), {}, encoder) for cohort in plan.cohorts]
        made = []
        for iteration in engine.advance(runs, pool):
            made.append(iteration)
            watch(runs)
    return made


def test_a_loop_goes_on_without_the_pictures_of_before(planned):
    held: list[int] = []
    made = iterations_of(planned(cohort=2), ModelPool("cpu"), lambda runs: held.append(
        sum(step.image is not None for run in runs for step in run.last)))  # fmt: skip
    assert all(step.image is not None for iteration in made for step in iteration.steps if iteration.t > 0)
    assert set(held) == {0}


def test_a_seam_of_the_callers_own_sees_the_pictures_also_when_a_run_goes_on(planned, out):
    seen: list[bool] = []

    def look(steps):
        seen.extend(step.image is not None for step in steps if step.t > 0)
        return {step.trajectory_id: Prompt(step.text, step.trajectory_id) for step in steps}

    run_plan(planned(iterations=2), out, seam=look)
    run_plan(planned(iterations=4), out, seam=look)
    assert len(seen) == 6 * 3
    assert all(seen)


def test_drawn_pictures_that_wait_for_a_captioner_are_bounded(planned, monkeypatch):
    plan, loads = planned(cohort=2, starts=[f"prompt {k}" for k in range(8)]), []
    unbounded = iterations_of(plan, ModelPool("cpu", room=1, on_load=loads.append))
    whole, one = len(loads), 2 * 3 * 16 * 16
    runs_held: list[int] = []
    drawn = engine.CohortRun._draw

    def draw(self, generator, spec):
        drawn(self, generator, spec)
        runs_held.append(sum(run.held_bytes for run in every))

    every: list[engine.CohortRun] = []
    begin = engine.CohortRun.__init__

    def remember(self, *arguments, **named):
        begin(self, *arguments, **named)
        every.append(self)

    monkeypatch.setattr(engine.CohortRun, "_draw", draw)
    monkeypatch.setattr(engine.CohortRun, "__init__", remember)
    monkeypatch.setattr(engine, "HELD_BYTES", 2 * one)
    loads.clear()
    bounded = iterations_of(plan, ModelPool("cpu", room=1, on_load=loads.append))
    assert max(runs_held) == 3 * one  # one cohort more than the bound, of eight
    assert len(loads) > whole
    by_id = [
        {(s.trajectory_id, s.t): (s.image, s.text) for iteration in made for s in iteration.steps}
        for made in (unbounded, bounded)
    ]
    assert by_id[0] == by_id[1]
