"""The Slurm scripts of the docs, with stand-ins for Slurm, Ray and loopsim: what is requeued, and what is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm is of Linux")

DOCS = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
SLEEP = shutil.which("sleep")
STANDS_IN = {
    "loopsim": f"""
        [ "$ENDS_WITH" = "" ] || exit $ENDS_WITH
        trap '{SLEEP} 0.2; touch stored; exit 75' TERM
        echo $$ > driver.new && mv driver.new driver
        while :; do {SLEEP} 0.02; done
    """,
    "srun": 'case "$*" in *"ray start"*) exit 0 ;; esac\nexec "$@"',
    "scontrol": 'echo "$@" >> requeued',
    "ray": "exit 0",
    "sleep": "exit 0",
    "hostname": "echo 127.0.0.1",
}


def scripts() -> dict[str, str]:
    """The text of each."""
    first, ray = (part.split("```")[0] for part in DOCS.read_text(encoding="utf-8").split("```bash\n#!/bin/bash\n")[1:])
    return {"shards": first, "ray": ray}


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begin a script in a process group of its own, as a job; it is waiting for loopsim when this returns."""
    for name, text in STANDS_IN.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    begun: list[subprocess.Popen[bytes]] = []

    def begin(name: str, ends_with: int | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "ENDS_WITH": "" if ends_with is None else str(ends_with),
            "SLURM_CPUS_PER_TASK": "8", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "7", "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2", "SLURM_NNODES": "2", "SLURMD_NODENAME": "node1",
        }  # fmt: skip
        (tmp_path / "script").write_text(scripts()[name])
        job = subprocess.Popen(["bash", "script"], cwd=tmp_path, env=environment, start_new_session=True)
        begun.append(job)
        while ends_with is None and not (tmp_path / "driver").exists():
            assert job.poll() is None
            time.sleep(0.02)
        return job

    yield begin
    for job in begun:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()


def requeued(folder: Path) -> list[str]:
    said = folder / "requeued"
    return said.read_text().splitlines() if said.exists() else []


JOB = {"shards": "requeue 7_2", "ray": "requeue 7"}


@pytest.mark.parametrize("name", JOB)
@pytest.mark.parametrize(("status", "again"), [(0, 0), (1, 0), (2, 0), (3, 0), (75, 1), (130, 0), (137, 0), (143, 1)])
def test_what_asks_to_be_run_again_is_requeued(tmp_path, start, name, status, again):
    assert start(name, status).wait() == status
    assert requeued(tmp_path) == [JOB[name]] * again


@pytest.mark.parametrize("name", JOB)
def test_what_is_stopped_by_itself_is_requeued(tmp_path, start, name):
    job = start(name)
    os.kill(int((tmp_path / "driver").read_text()), signal.SIGTERM)
    assert job.wait() == 75
    assert requeued(tmp_path) == [JOB[name]]


def test_a_script_with_a_cluster_hands_on_that_its_time_ends_and_waits_for_the_driver(tmp_path, start):
    job = start("ray")
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait() == 75
    assert requeued(tmp_path) == [JOB["ray"]]


@pytest.mark.parametrize("name", JOB)
def test_what_is_cancelled_is_not_requeued(tmp_path, start, name):
    """`scancel` sends SIGTERM to all of a job; the script is gone before loopsim has stored what it has."""
    job = start(name)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait() == -signal.SIGTERM
    while not (tmp_path / "stored").exists():
        time.sleep(0.02)
    assert requeued(tmp_path) == []
