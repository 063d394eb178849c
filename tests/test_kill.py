"""`kill -9` at any moment, then the same command again: the same bytes, none missing, none twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loopsim.store import open_run
from tests.test_runner import contents

# Stored at every iteration, so that there are many commits. In the one that is named it kills itself: before or after a
# call that has to do with files, or when the commit ends if there are fewer. The other threads are anywhere meanwhile.
COMMAND = """
import os, signal, sys
from pathlib import Path
from loopsim import runner
from loopsim.executors import writer
from loopsim.experiment import load_experiment
from loopsim.plan import make_plan
from loopsim.store import Run
writer.FLUSH_SECONDS = 0.0
files = {"open", "write", "flush", "fsync", "replace", "mkdir", "close", "__exit__"}
commit, left, calls = Run.commit, int(sys.argv[3]), int(sys.argv[4])
def count(frame, event, argument):
    global calls
    calls -= event.startswith("c_") and argument.__name__ in files
    if calls < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def killed(self, *given, **more):
    global left
    left -= 1
    if left != 0:
        return commit(self, *given, **more)
    sys.setprofile(count)
    commit(self, *given, **more)
    os.kill(os.getpid(), signal.SIGKILL)
Run.commit = killed
runner.run_plan(make_plan(load_experiment(Path(sys.argv[1]))), Path(sys.argv[2]), threads=1)
"""
COMMITS, CALLS = 60, 32
"""Of a process, from which the place is drawn where it dies; a commit begins and ends nearly as many calls."""


def carry_out(experiment: Path, out: Path, commit: int = 0, call: int = 0) -> tuple[int, str]:
    """Carry it out in a process that dies in its n-th commit, never where that is 0; how it ended, and its errors."""
    arguments = [sys.executable, "-c", COMMAND, str(experiment), str(out), str(commit), str(call)]
    done = subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)  # nine processes, beside busy neighbours
def test_killed_runs_resume_to_the_bytes_of_an_uninterrupted_one(tmp_path):
    experiment = tmp_path / "experiment.yaml"
    raw = {
        "name": "kill", "iterations": 150, "replicates": 2, "cohort": 4, "embedders": "mock",
        "starts": ["a red house", "the blue sea", "a fish", "fail", "black"],
        "generator": "mock", "captioner": {"model": "mock", "temperature": 1.0},
    }  # fmt: skip
    experiment.write_text(yaml.safe_dump(raw))
    assert carry_out(experiment, tmp_path / "whole") == (0, "")

    places = random.Random(5)
    for _ in range(7):
        place = places.randint(1, COMMITS), places.randrange(CALLS)
        assert carry_out(experiment, tmp_path / "broken", *place) == (-signal.SIGKILL, ""), place
    reached = len(open_run(tmp_path / "broken").steps(["t"]))
    assert 0 < reached < len(open_run(tmp_path / "whole").steps(["t"]))

    assert carry_out(experiment, tmp_path / "broken") == (0, "")
    broken, uninterrupted = open_run(tmp_path / "broken"), open_run(tmp_path / "whole")
    assert contents(broken) == contents(uninterrupted)
    keys = broken.steps(["trajectory_id", "t"])
    assert not keys.duplicated().any()
    assert len(broken.failures()) == len(uninterrupted.failures()) == 2
