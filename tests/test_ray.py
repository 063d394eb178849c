"""A real Ray cluster of several nodes on this machine: whatever is killed, the bytes are those of one process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopsim.errors import RunFailed, UsageError
from loopsim.executors import RayExecutor, RayOptions, ray_cluster
from loopsim.executors.ray_cluster import check_address, connected
from loopsim.experiment import parse_experiment
from loopsim.plan import Plan, make_plan
from loopsim.runner import Progress, run_plan
from loopsim.store import Run, open_run
from loopsim.verify import verify_run
from tests import ray_models
from tests.conftest import Planner
from tests.test_runner import contents

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
KEYS: dict[str, Any] = {
    "starts": ["a red house", "the blue sea", "fail", "two birds", "a boat"], "replicates": 3, "cohort": 4,
    "iterations": 25,
}  # fmt: skip
FAST = {"attempts": 6, "backoff": 0.3, "slice_seconds": 0.1, "cpus": 1.0, "gpus": 0.0, "workers": 2}
"""Waits of 0.3 to 4.8 s: the cluster of these tests sees in about 2 s that a node is dead, others in 30."""


class Nodes:
    """A head without room for work, and nodes with room for one worker each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # A node that was killed refuses at once; one that a busy machine gives no time to answers within seconds.
        health = {
            "health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_timeout_ms": 5000,
            "health_check_failure_threshold": 3,
        }  # fmt: skip
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20, "_system_config": health},
        )
        self.nodes = [self.add(), self.add()]

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=2, object_store_memory=80 << 20)

    def kill_one(self, at_random: random.Random) -> None:
        """Kill a node as a power cut does, and bring up another."""
        node = self.nodes.pop(at_random.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self.add())


def environment(faults: Path) -> dict[str, Any]:
    return {
        "worker_process_setup_hook": ray_models.prepare,
        "env_vars": {"PYTHONPATH": str(ROOT), ray_models.FOLDER: str(faults), "OMP_NUM_THREADS": "1"},
    }


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def nodes(faults: Path) -> Iterator[Nodes]:
    nodes = Nodes()
    ray.init(nodes.cluster.address, runtime_env=environment(faults), log_to_driver=False, logging_level="error")
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


@pytest.fixture(scope="module")
def plan(planner: Planner) -> Plan:
    return planner(**KEYS)


@pytest.fixture(scope="module")
def whole(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    """What one process makes of it."""
    return contents(run_plan(plan, tmp_path_factory.mktemp("whole") / "run", threads=1))


@pytest.fixture(autouse=True)
def no_faults(faults: Path) -> Iterator[None]:
    yield
    for file in faults.iterdir():
        file.unlink()


class Said(list):
    """Lines for the user; tells the processes of actors.

    Args:
        faults: where who would draw is held, so that the run does not end before.
        until: so many workers have been up, by then.
    """

    def __init__(self, faults: Path | None = None, until: int = 0) -> None:
        super().__init__()
        self.faults, self.until = faults, until
        self.hold()

    def __call__(self, line: str) -> None:
        self.append(line)
        self.hold()

    def hold(self) -> None:
        """Hold who would draw, or let go of them."""
        if self.faults is not None and len(self.pids()) < self.until:
            (self.faults / "hold").write_text("")
        elif self.faults is not None:
            (self.faults / "hold").unlink(missing_ok=True)

    def pids(self, what: str = "worker") -> list[int]:
        return [int(line.split()[1]) for line in self if line.startswith(f"{what} ") and " is up" in line]


def carried_out(
    plan: Plan, out: Path, said: Said | None = None, watch: Callable[[Progress], None] | None = None, **options: Any
) -> Run:
    executor = RayExecutor(RayOptions(**(FAST | options)), "cpu", said if said is not None else Said())
    return run_plan(plan, out, threads=1, executor=executor, watch=watch)


def planned_again(plan: Plan, **changes: Any) -> Plan:
    return make_plan(parse_experiment({**plan.experiment.resolved(), **changes}))


def at_moments(moments: list[float], act: Callable[[], object]) -> Callable[[Progress], None]:
    """Act when such shares of the run are done; what gives back False is tried again."""
    left = sorted(moments)

    def watch(now: Progress) -> None:
        if left and now.done >= left[0] * now.total:
            moment = left.pop(0)
            if act() is False:
                left.insert(0, moment)

    return watch


def check(run: Run, whole: list[tuple]) -> None:
    assert contents(run) == whole
    assert not run.steps(["trajectory_id", "t"]).duplicated().any()
    assert len(run.failures()) == 3
    assert verify_run(run.path).findings == ()
    assert not list(run.path.glob(".cluster-*"))


# ---- nothing goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"driver_writes": True}],
    ids=["workers store", "the driver stores"],
)
def test_the_bytes_are_those_of_one_process(nodes, plan, whole, faults, tmp_path, options):
    said, seen = Said(faults, 2), []
    run = carried_out(plan, tmp_path / "run", said, seen.append, **options)
    check(run, whole)
    assert len(said.pids()) == 2
    assert any("the driver stores" in line for line in said) == options.get("driver_writes", False)
    made = [now.made for now in seen]
    assert made == sorted(made)
    assert (seen[-1].done, seen[-1].total) == (12 * 25, 12 * 25)
    (end,) = [event for event in run.events() if event["event"] == "end"]
    assert [next(iter(entry)) for entry in end["models"]].count("worker") == 2
    # Again: nothing is left to be done, and no cluster is asked.
    run_plan(plan, tmp_path / "run", executor=RayExecutor(RayOptions(address="nowhere:1")))


def test_a_worker_that_does_not_see_the_directory_hands_back_what_it_makes(nodes, plan, whole, faults, tmp_path):
    (faults / "blind").write_text("")
    said = Said(faults, 2)
    check(carried_out(plan, tmp_path / "run", said), whole)
    assert sum("the driver stores" in line for line in said) == 1
    assert len(said.pids()) == 2
    (end,) = [event for event in open_run(tmp_path / "run").events() if event["event"] == "end"]
    assert sorted(entry["worker"]["stores"] for entry in end["models"] if "worker" in entry) == [False, True]


@pytest.mark.parametrize(
    ("options", "captioners"),
    [({"gpus": 0.5}, 0), ({"gpus": 0.25, "captioners": 1, "captioner_gpus": 0.5}, 1)],
    ids=["two workers on a GPU", "two workers and a captioner on a GPU"],
)
def test_actors_share_a_gpu(nodes, plan, whole, faults, tmp_path, options, captioners):
    node, said = nodes.cluster.add_node(num_cpus=3, num_gpus=1, object_store_memory=80 << 20), Said(faults, 2)
    try:  # no GPU, but one by name: what is shared out is what Ray counts
        check(carried_out(plan, tmp_path / "run", said, workers=None, **options), whole)
    finally:
        nodes.cluster.remove_node(node)
    assert (len(said.pids()), len(said.pids("captioner"))) == (2, captioners)


# ---- kills -----------------------------------------------------------------------------------------------------------


def test_workers_killed_at_random_moments(nodes, plan, whole, faults, tmp_path):
    said, moments, killed = Said(faults), random.Random(11), []

    def kill() -> bool:
        living = [pid for pid in said.pids() if pid not in killed]
        if not living:  # and what they had done before comes in
            return False
        killed.append(moments.choice(living))
        with contextlib.suppress(ProcessLookupError):
            os.kill(killed[-1], signal.SIGKILL)
        if len(killed) == 3:  # successors come up before the run ends
            said.until = 4
            said.hold()
        return True

    watch = at_moments([moments.uniform(0.05, 0.7) for _ in range(3)], kill)
    check(carried_out(plan, tmp_path / "run", said, watch), whole)
    assert sum("a worker was lost" in line for line in said) >= 3
    assert len(said.pids()) >= 4


def test_two_generators_feed_one_captioner_which_is_killed(nodes, plan, whole, tmp_path):
    said = Said()
    watch = at_moments([0.3], lambda: os.kill(said.pids("captioner")[-1], signal.SIGKILL))
    check(carried_out(plan, tmp_path / "run", said, watch, captioners=1, cpus=0.5), whole)
    assert len(said.pids("captioner")) == 2


def test_nodes_killed_at_random_moments(nodes, plan, whole, tmp_path):
    moments = random.Random(12)
    watch = at_moments([moments.uniform(0.1, 0.6) for _ in range(2)], lambda: nodes.kill_one(moments))
    said = Said()
    check(carried_out(plan, tmp_path / "run", said, watch, cpus=2.0), whole)
    assert any("a worker was lost" in line for line in said)


DRIVER = """
import sys
from pathlib import Path
import ray
from loopsim.executors import RayExecutor, RayOptions
from loopsim.executors.ray_cluster import check_address
from loopsim.experiment import load_experiment
from loopsim.plan import make_plan
from loopsim.runner import run_plan
from tests.test_ray import FAST, environment
ray.init(sys.argv[1], runtime_env=environment(Path(sys.argv[2])), log_to_driver=False, logging_level="error")
plan = make_plan(load_experiment(Path(sys.argv[3])))
run_plan(plan, Path(sys.argv[4]), threads=1, executor=RayExecutor(RayOptions(**FAST), "cpu"))
"""


def test_the_driver_killed_at_random_moments(nodes, plan, whole, faults, tmp_path):
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(plan.experiment.resolved()))
    moments, out = random.Random(13), tmp_path / "run"
    words = [sys.executable, "-c", DRIVER, nodes.cluster.address, str(faults), str(tmp_path / "e.yaml"), str(out)]
    (faults / "slow").write_text("")  # 15 s at least for the whole, so that it is not done when the driver is killed
    for _ in range(2):
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        known, end = len(list((out / "steps").glob("*.parquet"))), time.monotonic() + 200
        while len(list((out / "steps").glob("*.parquet"))) <= known and time.monotonic() < end:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done, total = open_run(out).count_steps()
    assert 0 < done < total
    (faults / "slow").unlink()
    # At once: workers of the killed driver may still be at it, and what they store is stored once.
    check(carried_out(plan, out), whole)


def test_sigterm_ends_a_driver_with_75_and_the_run_goes_on(nodes, plan, tmp_path):
    long = planned_again(plan, iterations=4000)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(long.experiment.resolved()))
    out = tmp_path / "run"
    words = [
        sys.executable, "-m", "loopsim", "run", str(tmp_path / "e.yaml"), "--out", str(out), "--executor", "ray",
        "--address", nodes.cluster.address, "--workers", "2", "--device", "cpu",
    ]  # fmt: skip
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 200
    while not list((out / "steps").glob("*.parquet")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "stopped by SIGTERM" in said
    pids = [int(line.split()[1]) for line in said.splitlines() if line.startswith("worker ") and "is up" in line]
    assert pids
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not list(out.glob(".cluster-*"))
    run = open_run(out)
    done, total = run.count_steps()
    assert 0 < done < total

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(long, out, threads=1, watch=at_moments([(done + 200) / total], interrupt))
    assert done < open_run(out).count_steps()[0]


def test_an_interrupted_run_ends_its_workers_and_resumes(nodes, plan, whole, tmp_path):
    said = Said()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(plan, tmp_path / "run", said, at_moments([0.3], interrupt))
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in said.pids()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in said.pids())
    assert not list((tmp_path / "run").glob(".cluster-*"))
    assert open_run(tmp_path / "run").count_steps()[0] > 0
    check(run_plan(plan, tmp_path / "run", threads=1), whole)  # and without a cluster, too


# ---- faults of models ------------------------------------------------------------------------------------------------


def test_a_worker_that_has_lost_its_device_is_replaced(nodes, plan, whole, faults, tmp_path):
    said = Said()
    watch = at_moments([0.2], lambda: (faults / "poison").write_text(""))
    check(carried_out(plan, tmp_path / "run", said, watch, workers=1), whole)
    assert any("device-side assert" in line for line in said)
    assert len(said.pids()) == 2


def test_a_shared_captioner_that_always_fails_is_replaced_and_no_worker_is(nodes, plan, whole, faults, tmp_path):
    (faults / "mute").write_text("")
    said = Said(faults, 2)
    check(carried_out(plan, tmp_path / "run", said, captioners=2, cpus=0.5), whole)
    assert len(said.pids()) == 2
    assert not any(line.startswith("worker ") and "replaced" in line for line in said)
    assert any(line.startswith("captioner ") and "and is replaced: captioner mock failed" in line for line in said)


def test_a_model_that_always_fails_ends_with_everything_on_record_and_can_be_resumed(
    nodes, plan, whole, faults, tmp_path
):
    (faults / "always").write_text("")
    said = Said()
    with pytest.raises(RunFailed, match=r"4 cohorts were given up:\n  cohort c0000: generator mock failed for all 4"):
        carried_out(plan, tmp_path / "run", said)
    assert len(said.pids()) <= 4  # each is replaced once
    run = open_run(tmp_path / "run")
    given_up = [event for event in run.events() if event["event"] == "given up"]
    assert sorted(event["cohort"] for event in given_up) == ["c0000", "c0001", "c0002", "c0003"]
    assert all("Traceback" in event["details"] for event in given_up)
    assert run.failures() == [], "nobody is shut out for good"
    from typer.testing import CliRunner

    from loopsim.cli import app

    assert (
        "cohort c0002 was given up: generator mock failed for all 4"
        in CliRunner().invoke(app, ["status", str(run.path)]).stdout
    )
    check(run_plan(plan, tmp_path / "run", threads=1), whole)  # in this process, whose models are sound


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "127.0.0.1:1",
            r"no Ray cluster at 127.0.0.1:1 \(--address\): .*refused.*Leave out --address to use this machine",
        ),
        ("ray://head:10001", "must be HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto"),
        ("head", "must be HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_message(address, said):
    with pytest.raises(UsageError, match=said):
        check_address(address)


@pytest.mark.parametrize("address", [None, "auto"])
def test_an_address_of_the_environment_is_looked_at_too(monkeypatch, address):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with (
        pytest.raises(UsageError, match=r"no Ray cluster at 127.0.0.1:1 \(RAY_ADDRESS\): .*Unset RAY_ADDRESS to use"),
        connected(RayOptions(address=address)),
    ):
        pass


@pytest.mark.parametrize("error", [ConnectionError, ray.exceptions.RayError])
def test_a_cluster_that_lets_nobody_in_without_a_token_is_one_message(monkeypatch, error):
    def refuse(*_, **__):
        raise error("Failed to connect: InvalidAuthToken\nand more")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with (
        pytest.raises(UsageError, match=r"InvalidAuthToken\n  Is it up .*RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or"),
        connected(RayOptions(address="auto")),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "environment", "said", "unsaid"),
    [
        (None, None, "Ray found no cluster on this machine that it can use, and began none: Timed out", "at RAY_ADDR"),
        (None, None, "Then one that `ray start` began here counts, even if it has died (`ray stop` forgets it)", ""),
        (None, None, "`--address local` begins a cluster on this machine", "Is it up"),
        ("local", None, "no Ray cluster could be begun on this machine: Timed out\n  Ray's own logs", "--address"),
        ("local", "10.0.0.1:6379", "no Ray cluster could be begun on this machine", "RAY_ADDRESS"),
        (None, "local", "no Ray cluster could be begun on this machine", "--address"),
        ("auto", None, "no Ray cluster on this machine (--address auto): Timed out\n  Is it up", "RAY_ADDRESS"),
        (None, "auto", "no Ray cluster on this machine (RAY_ADDRESS auto): Timed out\n  Is it up", "--address auto"),
        ("auto", "10.0.0.1:6379", "no Ray cluster at 10.0.0.1:6379 (RAY_ADDRESS): Timed out", "(--address"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "no Ray cluster at 10.0.0.2:6379 (--address): Timed out", "RAY_ADDRESS"),
    ],
)  # fmt: skip
def test_who_was_asked_for_a_cluster_is_said_as_it_is(monkeypatch, address, environment, said, unsaid):
    def refuse(*_, **__):
        raise ConnectionError("Timed out\nand more")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray_cluster, "check_address", lambda *_: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    with pytest.raises(UsageError) as caught, connected(RayOptions(address=address)):
        pass
    assert said in str(caught.value)
    assert not unsaid or unsaid not in str(caught.value)


def test_hosted_models_need_no_cluster(planned, tmp_path):
    with pytest.raises(UsageError, match="is hosted: it waits for its service"):
        run_plan(planned(captioner="openai:gpt-5-mini"), tmp_path / "run", executor=RayExecutor())
