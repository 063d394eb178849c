"""`kill -9` at any moment, then the same command again: the same bytes, none missing, none twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from loopsim.store import open_run
from tests.test_runner import contents

# Stored at every iteration, so that there are many moments between and inside commits.
COMMAND = """
import sys, time
from pathlib import Path
from loopsim import runner
from loopsim.executors import writer
from loopsim.experiment import load_experiment
from loopsim.plan import make_plan
from loopsim.store import Run
writer.FLUSH_SECONDS = 0.0
commit, most = Run.commit, float(sys.argv[3])
def limited(self, *given, **more):
    global most
    most -= 1
    time.sleep(0 if most >= 0 else 600)
    commit(self, *given, **more)
Run.commit = limited
runner.run_plan(make_plan(load_experiment(Path(sys.argv[1]))), Path(sys.argv[2]), threads=1)
"""


def start(experiment: Path, out: Path, most: float = float("inf")) -> subprocess.Popen[bytes]:
    """Carry it out; who has stored so many iterations waits to be killed, however late that is."""
    arguments = [sys.executable, "-c", COMMAND, str(experiment), str(out), str(most)]
    with (out.parent / "stderr.txt").open("wb") as errors:
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors)


def kill_when_it_is_at_work(process: subprocess.Popen[bytes], out: Path, after: float) -> None:
    """Wait until a new shard appears, a random while more, and kill."""
    known = {p.name for p in (out / "steps").glob("*.parquet")}
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if {p.name for p in (out / "steps").glob("*.parquet")} - known:
            time.sleep(after)
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seven processes, beside busy neighbours
def test_killed_runs_resume_to_the_bytes_of_an_uninterrupted_one(tmp_path):
    experiment = tmp_path / "experiment.yaml"
    raw = {
        "name": "kill", "iterations": 150, "replicates": 2, "cohort": 4, "embedders": "mock",
        "starts": ["a red house", "the blue sea", "a fish", "fail", "black"],
        "generator": "mock", "captioner": {"model": "mock", "temperature": 1.0},
    }  # fmt: skip
    experiment.write_text(yaml.safe_dump(raw))
    whole = start(experiment, tmp_path / "whole")
    assert whole.wait(300) == 0, (tmp_path / "stderr.txt").read_text()

    moments, killed = random.Random(5), 0
    for _ in range(5):
        process = start(experiment, tmp_path / "broken", 60)
        kill_when_it_is_at_work(process, tmp_path / "broken", moments.uniform(0, 0.25))
        killed += process.returncode == -signal.SIGKILL
    assert killed == 5
    reached = len(open_run(tmp_path / "broken").steps(["t"]))
    assert 0 < reached < len(open_run(tmp_path / "whole").steps(["t"]))

    last = start(experiment, tmp_path / "broken")
    assert last.wait(300) == 0, (tmp_path / "stderr.txt").read_text()
    broken, uninterrupted = open_run(tmp_path / "broken"), open_run(tmp_path / "whole")
    assert contents(broken) == contents(uninterrupted)
    keys = broken.steps(["trajectory_id", "t"])
    assert not keys.duplicated().any()
    assert len(broken.failures()) == len(uninterrupted.failures()) == 2
