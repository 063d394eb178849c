"""What a driver hands out, without any cluster: attempts, waits, slices and what becomes of them."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from loopsim.engine import Settings, light
from loopsim.errors import ModelError, UsageError
from loopsim.executors import RayOptions, Span
from loopsim.executors.ray_blame import Blame
from loopsim.executors.ray_cluster import cause, needs, room_for, short_of_room, workers_for
from loopsim.executors.slices import Broken, Done, Task, do_slice, encoders, start_pictures
from loopsim.executors.work import Work
from loopsim.models.mock import MockGenerator
from loopsim.models.pool import ModelPool
from loopsim.runner import check_executor, run_plan
from loopsim.store import create_run
from tests.test_runner import contents


def spans(plan) -> list[Span]:
    return [Span(cohort, (), plan.experiment.iterations, {}) for cohort in plan.cohorts]


@pytest.fixture
def work(planned) -> Work:
    return Work(spans(planned(cohort=2)), attempts=4, backoff=1.0)


def test_spans_are_handed_out_in_order_and_once(work):
    assert [work.take(0.0) for _ in range(4)] == [("c0000", 4), ("c0001", 4), ("c0002", 4), None]


def test_a_worker_gets_what_it_has_models_for(planned):
    two = Work(spans(planned(cohort=6, captioner={"model": "mock", "temperature": [0.1, 0.2]})), 4, 1.0)
    first = two.take(0.0)
    second = two.take(0.0, two.chain(first))
    assert two.chain(first) != two.chain(second)  # nothing else was left
    two.broke(first, "lost", 0.0)
    two.broke(second, "lost", 0.0)
    assert two.take(9.0, two.chain(second)) == second


def test_a_worker_is_not_given_what_it_may_not_have_and_last_what_is_suspect(planned):
    two = Work(spans(planned(cohort=6, captioner={"model": "mock", "temperature": [0.1, 0.2]})), 4, 1.0)
    one, other = two.ready(0.0)
    assert two.take(0.0, two.chain(one), avoid={two.chain(one)}) == other
    two.put_back(other, 1.0)
    assert two.take(0.0, may=lambda key: key != one) is None
    assert two.take(0.0, avoid={two.chain(one)}) == one  # rather than nothing
    assert (two.waiting(one), two.waiting(other)) == (False, True)
    two.give_up(other, "why")
    assert (two.left, two.given_up) == ([one], {other: "why"})


def test_waits_double_and_end(work):
    key = work.take(0.0)
    assert not work.broke(key, "lost", 10.0)
    assert work.take(10.5, None) == ("c0001", 4)
    assert work.take(11.0) == key
    assert not work.broke(key, "lost", 20.0)
    work.take(20.0)
    assert work.waits(20.0) == 2.0
    assert work.take(22.0) == key
    assert not work.broke(key, "lost", 30.0)
    assert work.take(34.0) == key
    assert work.broke(key, "for the fourth time", 40.0)
    assert work.given_up == {key: "for the fourth time"}


def test_getting_further_forgives(work, planned):
    plan = planned(cohort=2)
    key = work.take(0.0)
    task = Task(plan.cohorts[0], settings(plan), (), {}, 1, {})
    with encoders() as encoder:
        done = do_slice(task, ModelPool("cpu"), encoder, None, 60)
    for _ in range(9):
        assert not work.broke(key, "lost", 0.0)
        work.take(1e9)
        work.advanced(key, done.last, {})
        work.take(1e9)
    assert work.state(key)[1] == done.last


def test_the_waits_together_are_longer_than_a_cluster_takes_to_see_a_dead_node():
    options = RayOptions()
    assert sum(options.backoff * 2**k for k in range(options.attempts - 1)) > 30


A_NODE = {"GPU": 4.0, "CPU": 64.0}


@pytest.mark.parametrize(
    ("options", "nodes", "workers"),
    [
        ({}, [A_NODE], 4),
        ({"gpus": 0.5}, [A_NODE], 8),
        ({"gpus": 0.4}, [A_NODE], 8),  # a GPU has room for two, and 0.2 of each is left
        ({"gpus": 1 / 3}, [A_NODE], 12),
        ({"gpus": 2.0}, [A_NODE, {"GPU": 3.0, "CPU": 64.0}], 3),
        ({"captioners": 1}, [A_NODE], 3),
        ({"gpus": 0.5, "captioners": 1, "captioner_gpus": 1.0}, [A_NODE], 6),
        ({"gpus": 0.75, "captioners": 3, "captioner_gpus": 0.25}, [A_NODE], 3),  # all three captioners on one
        ({"captioners": 1, "captioner_gpus": 0.0}, [A_NODE], 4),
        ({"captioners": 5}, [A_NODE], 1),  # which waits
        ({"cpus": 8.0}, [{"GPU": 4.0, "CPU": 16.0}], 2),
        ({"cpus": 2.0}, [{"CPU": 3.0}, {"CPU": 3.0}], 2),  # of six cores in all
        ({"cpus": 2.0}, [{}, {"CPU": 4.0}], 2),
        ({}, [{"CPU": 2.0}], 2),
        ({"cpus": 0.0}, [{}], 20),
        ({"cpus": 4.0}, [{"CPU": 2.0}], 1),
        ({}, [{"CPU": 500.0}], 20),
        ({"workers": 7}, [{"CPU": 2.0}], 7),
        ({"workers": 70}, [{"CPU": 500.0}], 20),  # never more than cohorts
    ],
)
def test_as_many_workers_as_there_is_room_and_work_for(options, nodes, workers):
    assert workers_for(RayOptions(**options), nodes, spans=20) == workers


def test_room_is_what_the_cluster_has_whatever_is_asked_for():
    assert room_for(RayOptions(workers=7), [{"CPU": 2.0}, {"CPU": 1.0}], most=7) == 3
    assert room_for(RayOptions(captioners=4), [A_NODE], most=7) == 0
    line = short_of_room(RayOptions(gpus=1.0), [{"CPU": 2.0}], 3)
    assert line is not None
    assert line.startswith("the cluster has no room for a worker (1 CPU core and 1 GPU): the first begins when")
    assert [str(each) for each in needs(RayOptions(cpus=8, captioners=1, captioner_gpus=0.5), [A_NODE])] == [
        "8 CPU cores and 1 GPU", "8 CPU cores and 0.5 GPUs",
    ]  # fmt: skip


CREATION = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::C.__init__()\x1b[39m (pid=8084, "
    "repr=<Temporary>)\n           ^^^^^^\nRuntimeError: The actor with name C failed to import on the worker. This "
    "may be because needed library dependencies are not installed in the worker environment:\n\nray::C.__init__()\n"
    "           ^^^^^^\nModuleNotFoundError: No module named 'loopsim'"
)
DEATH = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: B\n\tpid: 8023\n\tip: 10.0.0.1\nThe actor "
    "is dead because its worker process has died. Worker exit detail: End of file. Some common causes include: (1) the"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CREATION, "ModuleNotFoundError: No module named 'loopsim'"),
        (DEATH, "The actor is dead because its worker process has died. Worker exit detail: End of file."),
        ("the node is gone\n  at 10.0.0.1", "the node is gone"),
        ("", "ValueError"),
    ],
)
def test_the_cause_of_what_ray_says_is_found(text, said):
    assert cause(ValueError(text)) == said


# ---- whose fault it is -----------------------------------------------------------------------------------------------

C = [(f"c{i}", 4) for i in range(9)]


def failed(blame: Blame, slot: int, number: int, *keys: tuple[str, int], **more: str) -> list[str]:
    return [blame.failed(actor(slot, number), key, "why", "Traceback", **more) for key in keys]


def actor(slot: int, number: int) -> SimpleNamespace:
    return SimpleNamespace(slot=slot, number=number)


def test_who_fails_twice_running_is_replaced_once_and_then_left_out():
    blame = Blame(2)
    assert failed(blame, 0, 1, C[0], C[1]) == ["keep", "renew"]
    blame.renewed(0)
    assert failed(blame, 0, 3, C[2], C[3]) == ["keep", "close"]
    assert blame.open == {1}
    assert failed(blame, 1, 2, C[0], C[1]) == ["keep", "renew"]
    blame.renewed(1)
    assert [*blame.hopeless({1})] == []  # one slot, which has not tried twice
    assert not blame.may(actor(1, 2), C[0], {1})
    assert blame.may(actor(1, 4), C[0], {1})


def test_a_success_between_forgives_and_makes_the_fault_the_cohorts():
    blame, active = Blame(8), set(range(8))
    for slot in (0, 1):
        assert failed(blame, slot, slot, C[0]) == ["keep"]
        assert [*blame.hopeless(active)] == []
        blame.succeeded(slot, C[1])
    assert [*blame.hopeless(active)] == [(C[0], "why", "Traceback")]
    assert failed(blame, 0, 0, C[2]) == ["keep"]
    blame.forget(C[0])
    assert [key for key, _, _ in blame.faulty()] == [C[2]]


def test_actors_that_never_got_anything_done_do_not_make_a_cohort_hopeless():
    blame = Blame(3)
    for slot in (0, 1):
        failed(blame, slot, slot, C[0])
        assert [*blame.hopeless({0, 1, 2})] == []
        assert not blame.may(actor(slot, 9), C[0], {0, 1, 2})  # nor a successor, while there is another to try
    failed(blame, 2, 2, C[0])
    assert [key for key, _, _ in blame.hopeless({0, 1, 2})] == [C[0]]


def test_what_all_say_is_unanimous_until_somebody_refutes_it():
    blame, active = Blame(2), {0, 1}
    assert failed(blame, 0, 1, C[0], complaint="model x") == ["renew"]
    assert not blame.unanimous("model x", active)
    assert not blame.unanimous("model x", {0}), "the only one is replaced once"
    blame.renewed(0)
    assert failed(blame, 0, 2, C[0], complaint="model x") == ["close"]
    assert blame.unanimous("model x", {0})
    assert not blame.unanimous("model x", {1})
    blame.succeeded(1, C[0], "model x")
    assert not blame.unanimous("model x", {0})


# ---- slices ----------------------------------------------------------------------------------------------------------


def settings(plan) -> Settings:
    return Settings(plan.experiment.seed, False, plan.experiment.image_format, plan.experiment.iterations)


def test_slices_one_after_the_other_are_the_run(planned, tmp_path):
    plan = planned(starts=["a red house", "fail", "the blue sea"], cohort=4)
    run = create_run(tmp_path / "run", plan, {}, 1)
    for cohort in plan.cohorts:
        last, failed, slices = (), {}, 0
        while not last or last[0].t < 4:
            with encoders() as encoder:
                done = do_slice(Task(cohort, settings(plan), last, failed, 4, {}), ModelPool("cpu"), encoder, run, 0.0)
            assert isinstance(done, Done)
            assert done.made == ()
            last, failed, slices = done.last, failed | done.failed, slices + 1
        assert slices == 5  # one for each iteration and the starts: no time is given
    assert contents(run) == contents(run_plan(plan, tmp_path / "whole"))


def test_a_slice_whose_time_ends_between_drawing_and_describing_describes_what_it_drew(planned, monkeypatch):
    plan, drawn, clock = planned(cohort=6), [], iter(range(1000))
    real = MockGenerator.generate

    def generate(self, prompts, seeds, width=None):
        drawn.append(len(prompts))
        next(clock)  # drawing takes a second, as does each look at the clock
        return real(self, prompts, seeds, width)

    monkeypatch.setattr(MockGenerator, "generate", generate)
    monkeypatch.setattr("loopsim.executors.slices.time.monotonic", lambda: float(next(clock)))
    with encoders() as encoder:
        task = Task(plan.cohorts[0], settings(plan), (), {}, 4, {})
        done = do_slice(task, ModelPool("cpu"), encoder, None, 4.5)
    assert isinstance(done, Done)
    assert 1 < len(done.made) < 5
    assert len(drawn) == len(done.made) - 1  # the starts are not drawn


def test_a_slice_done_twice_is_stored_once(planned, tmp_path):
    plan = planned(cohort=6)
    run = create_run(tmp_path / "run", plan, {}, 1)
    for until in (2, 4, 3):  # as of a worker that was taken for dead, and was not
        with encoders() as encoder:
            do_slice(Task(plan.cohorts[0], settings(plan), (), {}, until, {}), ModelPool("cpu"), encoder, run, 60.0)
    assert contents(run) == contents(run_plan(plan, tmp_path / "whole"))


def test_two_workers_that_stored_the_same_iterations_at_the_same_moment_are_stored_once_in_the_end(planned, tmp_path):
    plan = planned()
    whole = run_plan(plan, tmp_path / "whole")
    run = create_run(tmp_path / "run", plan, {}, 1)
    (cohort,) = run.cohorts
    for first, last in ((0, 2), (1, 4)):
        run.commit(cohort, [step for t in range(first, last + 1) for step in whole.steps_at(cohort, t)])
    run.compact()
    assert contents(run) == contents(whole)


def test_start_pictures_travel_with_the_first_slice(planned, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "start.png")
    plan = planned(starts={"images": [str(tmp_path / "start.png")]}, iterations=1)
    whole = run_plan(plan, tmp_path / "whole")
    run = create_run(tmp_path / "run", plan, {}, 1)
    pictures = start_pictures(plan.cohorts[0])
    (tmp_path / "start.png").unlink()  # another machine has no such file
    with encoders() as encoder:
        done = do_slice(Task(plan.cohorts[0], settings(plan), (), {}, 1, pictures), ModelPool("cpu"), encoder, run, 60)
    assert isinstance(done, Done)
    assert contents(run) == contents(whole)


def test_pictures_stay_behind_unless_they_are_gone_on_from(planned, tmp_path):
    plain = planned(iterations=1)
    run = run_plan(plain, tmp_path / "run")
    steps = run.steps_at("c0000", 1)
    assert all(step.image is None for step in light(plain.cohorts[0], steps))
    varied = planned(controls=[{"image_to_image": {"strength": 0.5}}], generator="postcards").cohorts[-1]
    assert light(varied, steps) == tuple(steps)


LOST = (
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: unknown error",
    "CUDA error: invalid program counter",
    "CUDA error: hardware stack error",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (RuntimeError("the weights are broken"), "all"),
        *((RuntimeError(text), "device") for text in LOST),
    ],
)
def test_what_breaks_a_slice_is_a_value(planned, monkeypatch, error, what):
    plan = planned(cohort=6)

    def fail(self, prompt, seed):
        raise error

    monkeypatch.setattr(MockGenerator, "_draw", fail)
    with encoders() as encoder:
        broken = do_slice(Task(plan.cohorts[0], settings(plan), (), {}, 4, {}), ModelPool("cpu"), encoder, None, 60)
    assert isinstance(broken, Broken)
    assert (broken.what, str(error) in broken.message, "Traceback" in broken.details) == (what, True, True)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), "bug"),
        (RuntimeError("CUDA error: unknown error"), "device"),
        (ModelError("generator mock: no such file"), "model"),
    ],
)
def test_what_breaks_while_a_model_is_loaded_is_a_value(planned, monkeypatch, error, what):
    def fail(self, spec):
        raise error

    monkeypatch.setattr(ModelPool, "_load", fail)
    plan = planned(cohort=6)
    with encoders() as encoder:
        broken = do_slice(Task(plan.cohorts[0], settings(plan), (), {}, 4, {}), ModelPool("cpu"), encoder, None, 60)
    assert isinstance(broken, Broken)
    assert (broken.what, str(error) in broken.message) == (what, True)


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("slurm", RayOptions(), None, None), "unknown executor 'slurm': it is local or ray"),
        (("local", RayOptions(workers=2), None, None), "are for a cluster: add --executor ray"),
        (("ray", RayOptions(), "1/2", None), "two ways to share out one run"),
        (("ray", RayOptions(gpus=1.5), None, None), "--num-gpus 1.5: above 1 it must be a whole number"),
        (("ray", RayOptions(captioners=1, captioner_gpus=2.5), None, None), "--captioner-gpus 2.5: above 1"),
        (("ray", RayOptions(captioner_gpus=0.5), None, None), "add --captioners K"),
        (("ray", RayOptions(cpus=float("inf")), None, None), "--num-cpus inf: must be a number"),
        (("ray", RayOptions(gpus=1e-9), None, None), "--num-gpus 1e-09: must be 0 or at least 0.0001"),
        (("ray", RayOptions(address="10.0.0.1"), None, None), "--address 10.0.0.1: must be HOST:PORT"),
        (("ray", RayOptions(), None, 1.0), "--max-cost cannot be kept by several processes"),
    ],
)
def test_options_that_do_not_go_together(words, said, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # also where Ray is not installed
    with pytest.raises(UsageError, match=said):
        check_executor(*words)
    check_executor("ray", RayOptions(workers=2, gpus=0.5), None, None)
    check_executor("local", RayOptions(), "1/2", 1.0)


def test_a_cluster_without_ray_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'loopsim\[ray\]'"):
        check_executor("ray", RayOptions(), None, None)
