"""The benches run, on sizes that measure nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def bench(kind: str, out: Path, *options: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"bench_{kind}.py"), "--out", str(out), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())


@pytest.mark.slow
def test_the_bench_of_loops_times_every_way_and_gives_ratios(tmp_path):
    found = bench("loop", tmp_path / "loop.json", "--trajectories=4", "--iterations=1", "--rounds=1", "--threads=1")
    assert all(value > 0 for values in found["seconds"].values() for value in values)
    assert set(found["ratios"]) == {"notebook", "lockstep 4", "lockstep 8", "bare"}
    ours, theirs = found["seconds"]["loopsim"][0], found["seconds"]["notebook"][0]
    assert found["ratios"]["notebook"] == [pytest.approx(theirs / ours)]


@pytest.mark.slow
def test_the_bench_for_a_gpu_runs_at_tiny_size_on_a_cpu_and_says_what_it_left_out(tmp_path):
    found = bench("gpu", tmp_path / "gpu.json", "--tiny", "--rounds=1", f"--work={tmp_path}")
    assert "no measurement" in found["device"]
    assert all("images_per_s" in one for one in found["drawing"].values())
    assert {one["tokens_a_caption"] for one in found["describing"].values()} == {5}
    assert found["loop"]["steps_per_s"] > 0
    assert "skipped" in found["drawing_compiled"]
