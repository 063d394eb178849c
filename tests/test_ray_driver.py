"""What a driver does about workers and captioners that fail, on a stand-in for Ray: no cluster, no process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopsim.engine import Settings
from loopsim.errors import ModelError, RunFailed, StoreError
from loopsim.executors import Job, RayExecutor, RayOptions, Span, ray_crew, ray_driver
from loopsim.executors.ray_blame import Blame
from loopsim.executors.ray_workers import Answer, Hello
from loopsim.executors.slices import Broken, Task, do_slice, encoders
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan
from loopsim.runner import run_plan
from loopsim.store import Run, create_run
from tests.test_runner import contents

FAST = {"gpus": 0.0, "backoff": 0.02, "slice_seconds": 0.0, "patience": 0.6}
Fault = Callable[[Task], Broken | None]


class Lost(Exception):
    """An error of Ray's."""


class Actor:
    """One of the cluster.

    Args:
        kind: Worker or Describer.
        number: of its kind, from 1 on.
        cluster: that it is on.
    """

    def __init__(self, kind: str, number: int, cluster: Cluster) -> None:
        self.kind, self.number, self.cluster = kind, number, cluster
        self.dead, self.free = False, 0.0
        self.hello = SimpleNamespace(remote=lambda: Reference(self, self._hello, cluster.begins(self)))
        self.carry = SimpleNamespace(remote=self._queue)

    def _queue(self, task: Task, describer: Actor | None) -> Reference:
        """One slice after the other; one that fails takes no time."""
        bad = self.number in self.cluster.faults
        self.free = max(self.free, self.cluster.now) + (0.0 if bad else self.cluster.slice)
        return Reference(self, lambda: self._carry(task, describer), self.free)

    def _hello(self) -> Hello:
        if (self.kind, self.number) in self.cluster.stillborn:
            raise Lost(
                "The actor died because of an error raised in its creation task, \x1b[36mray::Worker.__init__()\x1b[39m"
                " (pid=1)\n  File \"w.py\", line 5, in __init__\nModuleNotFoundError: No module named 'loopsim'"
            )
        return Hello("node", self.number, True, {})

    def _carry(self, task: Task, describer: Actor | None) -> Answer:
        key = (self.number, None if describer is None else describer.number, task.cohort.id)
        self.cluster.given.append(key)
        for who, faults in ((self, self.cluster.faults), (describer, self.cluster.describer_faults)):
            fault = faults.get(who.number, faults.get(0)) if who is not None else None
            broken = fault(task) if fault is not None else None
            if broken is not None:
                return Answer(broken, ())
        with encoders() as encoder:
            return Answer(do_slice(task, ModelPool("cpu"), encoder, self.cluster.run, 0.0), ())


class Reference:
    """What is to come.

    Args:
        actor: from whom.
        make: the answer.
        ready: when it will be there.
    """

    def __init__(self, actor: Actor, make: Callable[[], Any], ready: float) -> None:
        self.actor, self.make, self.ready = actor, make, ready


class Cluster:
    """A stand-in for the module `ray`: as many nodes as wanted, of two cores each.

    Its time passes only where somebody waits, so that what happens when does not depend on this machine.

    Attributes:
        now: the time, in seconds.
        faults: what workers fail at, by number; 0 is all others.
        describer_faults: likewise of captioners.
        stillborn: kind and number of those that cannot begin.
        never: kind and number of those that the cluster has no room for.
        given: worker, captioner and cohort of each slice.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.run: Run | None = None
        self.faults: dict[int, Fault] = {}
        self.describer_faults: dict[int, Fault] = {}
        self.stillborn: set[tuple[str, int]] = set()
        self.never: set[tuple[str, int]] = set()
        self.given: list[tuple[int, int | None, str]] = []
        self.made: list[Actor] = []
        self.options: list[dict[str, Any]] = []
        self.slice = 0.01
        self.exceptions = SimpleNamespace(RayError=Lost)
        self.node = {"CPU": 64.0}

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": self.node}, {"Alive": False, "Resources": {"CPU": 99.0}}]

    def remote(self, kind: type) -> Any:
        def make(setup: object) -> Actor:
            number = 1 + sum(actor.kind == kind.__name__ for actor in self.made)
            self.made.append(Actor(kind.__name__, number, self))
            return self.made[-1]

        def options(**given: Any) -> Any:
            self.options.append(given)
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def begins(self, actor: Actor) -> float:
        return 1e18 if (actor.kind, actor.number) in self.never else 0.0

    def kill(self, actor: Actor, no_restart: bool) -> None:
        assert no_restart
        actor.dead = True

    def get(self, reference: Reference) -> Any:
        if reference.actor.dead:
            raise Lost("The actor is dead because it was killed.")
        return reference.make()

    def wait(self, references: list[Reference], num_returns: int, timeout: float) -> tuple[list, list]:
        first = min(0.0 if reference.actor.dead else reference.ready for reference in references)
        self.now = max(self.now, min(first, self.now + timeout))
        ready = [reference for reference in references if reference.ready <= self.now or reference.actor.dead]
        return sorted(ready, key=lambda reference: reference.ready)[:num_returns], []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def workers(self) -> int:
        return sum(actor.kind == "Worker" for actor in self.made)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    cluster = Cluster()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    for module in (ray_crew, ray_driver):
        monkeypatch.setattr(module, "time", cluster)
    return cluster


@pytest.fixture
def plan(planned) -> Plan:
    words = ("red", "blue", "green", "white", "big", "small", "old", "new")
    return planned(starts=[f"a {word} boat" for word in words], replicates=1, cohort=1)


def carried(cluster: Cluster, plan: Plan, path: Path, **options: Any) -> tuple[Run, list[str]]:
    run = cluster.run = create_run(path / "run", plan, {}, 1)
    said: list[str] = []
    executor = RayExecutor(RayOptions(**(FAST | options)), "cpu", said.append)
    iterations = plan.experiment.iterations
    settings = Settings(plan.experiment.seed, False, plan.experiment.image_format, iterations)
    spans = [Span(cohort, (), iterations, {}) for cohort in plan.cohorts]
    try:
        list(executor.carry(Job(run, settings, spans, 1)))
    finally:
        cluster.said = said
    return run, said


def always(what: str, message: str = "CUDA out of memory", **more: Any) -> Fault:
    return lambda task: Broken(what, message, "Traceback", **more)


def at(cohorts: set[str], what: str = "all", **more: Any) -> Fault:
    def fault(task: Task) -> Broken | None:
        name = task.cohort.id
        return Broken(what, f"{name} is broken", "Traceback", **more) if name in cohorts else None

    return fault


def whole(plan: Plan, path: Path) -> list[tuple]:
    return contents(run_plan(plan, path / "whole", threads=1))


# ---- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["bug", "all", "model", "store"])
def test_a_worker_that_fails_at_all_it_is_given_is_replaced_and_then_left_out(cluster, plan, tmp_path, what):
    cluster.faults = dict.fromkeys(range(2, 20), always(what))  # the first is sound; whoever comes after it is not
    run, said = carried(cluster, plan, tmp_path, workers=2)
    assert contents(run) == whole(plan, tmp_path)
    assert cluster.workers() == 3
    assert sum("and is replaced: CUDA out of memory" in line for line in said) == 1
    assert sum("as did the one before it, and is left out: CUDA out of memory" in line for line in said) == 1
    bad = [(worker, cohort) for worker, _, cohort in cluster.given if worker > 1]
    assert len(bad) == len(set(bad)) <= 4, "nobody is given again what it has failed at"


def test_one_that_is_replaced_by_a_sound_one_costs_nothing(cluster, plan, tmp_path):
    cluster.faults = {2: always("bug")}
    run, said = carried(cluster, plan, tmp_path, workers=2, attempts=1)  # what waited at it has not failed
    assert contents(run) == whole(plan, tmp_path)
    assert {worker for worker, _, _ in cluster.given} == {1, 2, 3}
    assert not any("left out" in line or "given up" in line for line in said)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_cohorts_that_are_at_fault_are_given_up_after_two_workers_and_no_others(cluster, plan, tmp_path, workers):
    bad = {plan.cohorts[2].id, plan.cohorts[6].id}
    cluster.faults = {0: at(bad)}
    with pytest.raises(RunFailed, match="2 cohorts were given up:\n  cohort c0002: c0002 is broken") as caught:
        carried(cluster, plan, tmp_path, workers=workers)
    assert "not tried any more" not in str(caught.value)
    for cohort in bad:
        tried = [worker for worker, _, key in cluster.given if key == cohort]
        assert len(tried) == len(set(tried)) == 2
    done, total = cluster.run.count_steps()
    assert total - done == 2 * plan.experiment.iterations * len(plan.cohorts[0].trajectories)
    assert {event["cohort"] for event in cluster.run.events() if event["event"] == "given up"} == bad


@pytest.mark.parametrize(("workers", "captioners"), [(1, 0), (2, 1), (2, 0)])
def test_cohorts_at_fault_that_lie_side_by_side_do_not_take_the_others_with_them(
    cluster, plan, tmp_path, workers, captioners
):
    bad = {plan.cohorts[k].id for k in (2, 3, 4)}
    if captioners:
        cluster.describer_faults = {0: at(bad, shared=True)}
    else:
        cluster.faults = {0: at(bad)}
    with pytest.raises(RunFailed, match="3 cohorts were given up") as caught:
        carried(cluster, plan, tmp_path, workers=workers, captioners=captioners)
    assert "not tried any more" not in str(caught.value)
    done, total = cluster.run.count_steps()
    assert total - done == 3 * plan.experiment.iterations * len(plan.cohorts[0].trajectories)


def test_progress_of_an_actor_that_is_gone_clears_the_blame():
    blame = Blame(2)
    key = ("c0000", 4)
    blame.failed(SimpleNamespace(slot=0, number=1), key, "once", "")
    assert blame.tried == {key}
    blame.forget(key)
    assert blame.tried == set()
    assert not [*blame.hopeless({0, 1})]


def test_who_failed_at_a_cohort_that_is_at_fault_has_not_failed_in_a_row():
    blame = Blame(2)
    bad, other, third = ("c0000", 4), ("c0001", 4), ("c0002", 4)
    actors = [SimpleNamespace(slot=slot, number=slot) for slot in (0, 1)]
    for actor in actors:
        blame.succeeded(actor.slot, other)
        assert blame.failed(actor, bad, "bad", "") == "keep"
    assert [key for key, _, _ in blame.hopeless({0, 1})] == [bad]
    blame.acquit(bad)
    assert blame.failed(actors[0], other, "bad", "") == "keep"
    assert blame.failed(actors[0], third, "bad", "") == "renew"


def test_a_lost_worker_and_a_fault_are_not_counted_together(cluster, plan, tmp_path):
    first = plan.cohorts[0].id
    faults = iter([Lost("gone"), "all"])

    def fault(task: Task) -> Broken | None:
        now = next(faults, None) if task.cohort.id == first else None
        if isinstance(now, Lost):
            raise now
        return None if now is None else Broken("all", "once", "Traceback")

    cluster.faults = {0: fault}
    run, _ = carried(cluster, plan, tmp_path, workers=2, attempts=2)
    assert contents(run) == whole(plan, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("what", "error"), [("model", ModelError), ("store", StoreError)])
def test_what_every_worker_says_ends_the_run_with_its_own_message(cluster, plan, tmp_path, workers, what, error):
    cluster.faults = {0: always(what, "generator sdxl: not in the cache")}
    with pytest.raises(error, match=r"^generator sdxl: not in the cache$"):
        carried(cluster, plan, tmp_path, workers=workers)
    assert len(cluster.given) == 2
    assert cluster.now < 2


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_where_everybody_fails_the_run_ends_soon(cluster, plan, tmp_path, workers):
    cluster.faults = {0: always("bug", "KeyError: 'x'")}
    with pytest.raises(RunFailed, match=r"cohorts were given up:\n  cohort c0000: KeyError: 'x'"):
        carried(cluster, plan, tmp_path, workers=workers)
    assert len(cluster.given) <= 4 * workers
    assert cluster.now < 1
    given_up = [event["cohort"] for event in cluster.run.events() if event["event"] == "given up"]
    assert sorted(given_up) == [cohort.id for cohort in plan.cohorts]
    assert cluster.run.count_steps()[0] == 0


def test_a_condition_that_is_broken_does_not_keep_workers_from_the_others(cluster, planned, tmp_path):
    plan = planned(cohort=1, captioner={"model": "mock", "temperature": [0.1, 0.2]})
    bad = {c.id for c in plan.cohorts if c.trajectories[0].condition is plan.cohorts[0].trajectories[0].condition}
    assert 1 < len(bad) < len(plan.cohorts)
    cluster.faults = {0: at(bad)}
    with pytest.raises(RunFailed):
        carried(cluster, plan, tmp_path, workers=2)
    for cohort in plan.cohorts:
        assert bool(cluster.run.stored().get(cohort.id)) == (cohort.id not in bad)


def test_a_node_on_which_nothing_begins_is_left_out_and_the_cause_is_said(cluster, plan, tmp_path):
    cluster.stillborn = {("Worker", number) for number in range(2, 99)}
    cluster.slice = 0.02
    run, said = carried(cluster, plan, tmp_path, workers=2, attempts=2)
    assert contents(run) == whole(plan, tmp_path)
    assert said.count("a worker could not begin: ModuleNotFoundError: No module named 'loopsim'") == 2
    cluster.stillborn.add(("Worker", cluster.workers() + 1))
    with pytest.raises(RunFailed, match="no worker could begin: ModuleNotFoundError: No module named 'loopsim'"):
        carried(cluster, plan, tmp_path / "again", workers=1, attempts=2)


# ---- captioners ------------------------------------------------------------------------------------------------------


def test_a_captioner_that_does_not_come_up_is_not_waited_for_where_there_is_another(cluster, plan, tmp_path):
    cluster.never = {("Describer", 2)}
    run, _ = carried(cluster, plan, tmp_path, workers=2, captioners=2)
    assert contents(run) == whole(plan, tmp_path)
    assert {describer for _, describer, _ in cluster.given} == {1}


def test_what_is_waited_for_is_said_and_not_for_ever(cluster, plan, tmp_path, monkeypatch):
    monkeypatch.setattr("loopsim.executors.ray_driver._WORD", 0.2)
    cluster.never = {("Describer", 1)}
    with pytest.raises(
        RunFailed, match=r"nobody .* for want of a captioner \(1 CPU core and 0 GPUs\): has the cluster"
    ):
        carried(cluster, plan, tmp_path, workers=1, captioners=1)
    (line,) = [line for line in cluster.said if line.startswith("waiting for")]
    assert "a captioner (1 CPU core and 0 GPUs)" in line


def test_captioners_get_equally_much_to_do(cluster, plan, tmp_path):
    carried(cluster, plan, tmp_path, workers=3, captioners=3)
    loads = [sum(describer == number for _, describer, _ in cluster.given) for number in (1, 2, 3)]
    assert min(loads) > 0.5 * max(loads)


@pytest.mark.parametrize("what", ["all", "model"])
def test_a_captioner_that_fails_is_left_out_and_no_worker_is_blamed(cluster, plan, tmp_path, what):
    cluster.describer_faults = dict.fromkeys(range(2, 9), always(what, shared=True))
    run, said = carried(cluster, plan, tmp_path, workers=2, captioners=2)
    assert contents(run) == whole(plan, tmp_path)
    assert cluster.workers() == 2
    assert any(line.startswith("captioner ") and "left out" in line for line in said)


# ---- room ------------------------------------------------------------------------------------------------------------


def test_what_there_is_no_room_for_is_said_and_does_not_hold_up_the_others(cluster, plan, tmp_path):
    cluster.node, cluster.never = {"CPU": 2.0, "GPU": 1.0}, {("Worker", number) for number in range(3, 9)}
    run, said = carried(cluster, plan, tmp_path, workers=6, gpus=0.5)
    assert said[0].startswith("the cluster has room for 2 of 6 workers (1 CPU core and 0.5 GPUs each)")
    assert contents(run) == whole(plan, tmp_path)


def test_who_does_not_come_up_is_not_waited_for_to_try_what_another_failed_at(cluster, plan, tmp_path, monkeypatch):
    monkeypatch.setattr("loopsim.executors.ray_crew._COMING", 0.1)
    cluster.never, cluster.faults = {("Worker", 2)}, {0: at({plan.cohorts[1].id})}
    with pytest.raises(RunFailed, match="1 cohort was given up:\n  cohort c0001: c0001 is broken"):
        carried(cluster, plan, tmp_path, workers=2)
    assert [worker for worker, _, cohort in cluster.given if cohort == "c0001"] == [1, 3]


def test_captioners_take_gpus_of_their_own(cluster, plan, tmp_path):
    cluster.node = {"CPU": 8.0, "GPU": 2.0}
    carried(cluster, plan, tmp_path, gpus=1.0, captioners=2, captioner_gpus=0.5)
    assert [options["num_gpus"] for options in cluster.options] == [1.0, 0.5]
    assert sum(actor.kind == "Describer" for actor in cluster.made) == 2
    assert cluster.workers() == 1
