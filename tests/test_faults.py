"""What machines do to a run: memory that runs out, devices that are lost, disks that are full or may not be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.errors import DeviceLost, RunFailed, StoreError
from loopsim.models import mock
from loopsim.models.base import Chunks, out_of_memory
from loopsim.runner import ModelPool, run_plan
from loopsim.store import Share, open_run
from loopsim.verify import repair_run, verify_run
from tests.test_runner import contents

# ---- memory ----------------------------------------------------------------------------------------------------------


class Small:
    """A device with room for a few rows a call; counts the calls that asked for too many."""

    def __init__(self, room: int, message: str = "CUDA out of memory. Tried to allocate 2.00 GiB") -> None:
        self.room, self.message, self.refused = room, message, 0

    def map(self, chunks: Chunks, call, rows, width=None):
        def limited(chunk):
            if len(chunk) > self.room:
                self.refused += 1
                raise RuntimeError(self.message)
            return call(chunk)

        return Chunks.whole_map(chunks, limited, rows, width)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Small:
    small = Small(2)
    monkeypatch.setattr(Chunks, "whole_map", Chunks.map, raising=False)
    monkeypatch.setattr(Chunks, "map", lambda self, call, rows, width=None: small.map(self, call, rows, width))
    return small


def test_a_call_that_does_not_fit_is_halved_once_and_the_run_says_so(planned, tmp_path, device):
    device.room = 100
    whole = run_plan(planned(), tmp_path / "whole")
    device.room, said = 2, []
    run = run_plan(planned(), tmp_path / "run", pool=ModelPool(on_load=said.append))
    # 6 rows, then 3, then 1 for each model, and never again in the iterations that follow.
    assert device.refused == 4
    rows, expected = run.steps(images=True).query("t > 0"), whole.steps(images=True).query("t > 0")
    assert set(rows["generator_chunk"]) == set(rows["captioner_chunk"]) == {1}
    assert set(expected["generator_chunk"]) == {6}
    for column in ("generator_seed", "captioner_seed", "text"):
        assert rows[column].tolist() == expected[column].tolist()
    assert [i["bytes"] for i in rows["image"]] == [i["bytes"] for i in expected["image"]]
    models = next(event for event in run.events() if event["event"] == "end")["models"]
    assert [(m["batch_size"], m["out_of_memory_at"]) for m in models] == [(1, 3), (1, 3)]
    assert [line.split(":")[0] for line in said if "out of memory" in line] == ["generator mock", "captioner mock"]
    assert "out of memory at 3 rows a call, so it goes on with 1" in said[2]


def test_one_row_that_does_not_fit_is_no_endless_loop(planned, out, device):
    device.room = 0
    with pytest.raises(RunFailed, match="out of memory"):
        run_plan(planned(), out)
    assert open_run(out).failures() == []


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, memory):
    assert out_of_memory(error) is memory


# ---- a device that is lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be",
        "CUDA error: an illegal memory access was",
    ],
)
def test_a_lost_device_ends_the_process_blames_nobody_and_asks_to_be_run_again(planned, tmp_path, monkeypatch, text):
    whole = run_plan(planned(), tmp_path / "whole")
    draw, calls = mock.MockGenerator._draw, []

    def poisoned(self, prompt, seed):
        calls.append(prompt)
        if len(calls) > 15:
            raise RuntimeError(text)
        return draw(self, prompt, seed)

    with monkeypatch.context() as patch:
        patch.setattr(mock.MockGenerator, "_draw", poisoned)
        with pytest.raises(
            DeviceLost, match=r"cohort c0000, iteration 3: CUDA error: .*\n.*run the same command again"
        ):
            run_plan(planned(), tmp_path / "run")
    assert len(calls) == 16, "no other row is tried on a lost device"
    run = open_run(tmp_path / "run")
    assert run.failures() == []
    assert "Traceback" in run.events()[-1]["details"]
    assert DeviceLost.exit_status == 75
    assert contents(run_plan(planned(), tmp_path / "run")) == contents(whole)


def test_a_device_that_every_process_loses_is_not_asked_for_without_end(planned, out, monkeypatch):
    """Twice in a row with nothing made between is the end; each iteration that is made earns another try."""
    draw, left = mock.MockGenerator._draw, [15]

    def poisoned(self, prompt, seed):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return draw(self, prompt, seed)

    monkeypatch.setattr(mock.MockGenerator, "_draw", poisoned)
    with pytest.raises(DeviceLost):
        run_plan(planned(), out)
    left[0] = 8
    with pytest.raises(DeviceLost):  # something was made since
        run_plan(planned(), out)
    left[0] = 0
    with pytest.raises(RunFailed, match=r"(?s)device-side assert.*The process before this one lost it too") as caught:
        run_plan(planned(), out)
    assert caught.value.exit_status == 1
    assert "Traceback" in open_run(out).events()[-1]["details"]
    with pytest.raises(DeviceLost):  # whoever tries again all the same begins anew
        run_plan(planned(), out)
    left[0] = 10**6
    assert run_plan(planned(), out).failures() == []


def test_a_process_that_was_killed_between_two_that_lose_their_device_breaks_the_row(planned, out, monkeypatch):
    """It leaves a start and no end in the log; what it made is not forgotten, and neither is it if it made nothing."""
    draw, left = mock.MockGenerator._draw, [0]

    def poisoned(self, prompt, seed):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return draw(self, prompt, seed)

    def ended():
        with pytest.raises((DeviceLost, RunFailed)) as caught:
            run_plan(planned(), out)
        return caught.value.exit_status, open_run(out).count_steps()[0]

    monkeypatch.setattr(mock.MockGenerator, "_draw", poisoned)
    first = ended()
    assert first[0] == 75
    for made in (15, 0):
        stored = open_run(out).count_steps()[0]
        left[0] = made
        _, before = ended()
        assert (before > stored) == (made > 0)
        log = (out / "log.jsonl").read_bytes().splitlines(keepends=True)
        (out / "log.jsonl").write_bytes(b"".join(log[:-1]))  # the last process was killed, and had no time to say so
        left[0] = 0
        assert ended() == (75, before), made
    with pytest.raises(RunFailed, match="The process before this one lost it too"):
        run_plan(planned(), out)


@pytest.mark.parametrize("share", [None, Share(1, 2)])
def test_what_another_plan_lost_in_this_place_is_not_held_against_a_new_one(planned, out, monkeypatch, share):
    def poisoned(self, prompt, seed):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(mock.MockGenerator, "_draw", poisoned)
    for seed in (1, 2):
        with pytest.raises(DeviceLost):
            run_plan(planned(seed=seed, cohort=2), out, share=share)
    with pytest.raises(RunFailed, match="The process before this one lost it too"):
        run_plan(planned(seed=2, cohort=2), out, share=share)


def test_a_shard_that_loses_its_device_is_not_blamed_for_what_another_lost(planned, out, monkeypatch):
    def poisoned(self, prompt, seed):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(mock.MockGenerator, "_draw", poisoned)
    plan = planned(cohort=2)
    for share in (Share(1, 2), Share(2, 2)):
        with pytest.raises(DeviceLost):
            run_plan(plan, out, share=share)
    with pytest.raises(RunFailed, match="The process before this one lost it too"):
        run_plan(plan, out, share=Share(1, 2))


# ---- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here; tests/test_cli_bad_input.py fills disks in another way")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True, capture_output=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True, capture_output=True)


def test_a_disk_that_is_really_full_harms_nothing_and_the_run_goes_on_when_there_is_room(planned, tmp_path, tiny_disk):
    keys = {"generator": {"model": "mock", "size": 128}, "iterations": 120, "replicates": 3}
    whole = run_plan(planned(**keys), tmp_path / "whole")
    with pytest.raises(StoreError, match=r"no space left on the disk. Everything stored so far is whole"):
        run_plan(planned(**keys), tiny_disk / "run")
    verdict = verify_run(tiny_disk / "run")
    assert verdict.findings == ()
    remount(tiny_disk, "size=20m")
    assert contents(run_plan(planned(**keys), tiny_disk / "run")) == contents(whole)
    assert verify_run(tiny_disk / "run").findings == ()


def test_a_read_only_directory_can_be_verified_but_not_written(planned, tmp_path, tiny_disk):
    run_plan(planned(iterations=2), tiny_disk / "run")
    shard = next((tiny_disk / "run" / "steps").glob("*.parquet"))
    remount(tiny_disk, "ro")
    assert verify_run(tiny_disk / "run").findings == ()
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        run_plan(planned(iterations=3), tiny_disk / "run")
    done = CliRunner().invoke(app, ["status", str(tiny_disk / "run")])
    assert done.exit_code == 0, done.output
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        run_plan(planned(), tiny_disk / "new")
    remount(tiny_disk, "rw")
    shard.write_bytes(shard.read_bytes()[:-4])
    remount(tiny_disk, "ro")
    verdict = verify_run(tiny_disk / "run")
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        repair_run(tiny_disk / "run", verdict)
    assert shard.exists()


def test_a_place_that_is_no_directory_is_told(planned, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Not a directory"):
        run_plan(planned(), tmp_path / "file" / "run")


def test_the_checksum_of_a_shard_that_could_not_be_written_is_no_trouble(planned, out, monkeypatch):
    replace, calls = os.replace, []

    def full(source, target):
        if str(target).endswith(".parquet") and "steps" in str(target):
            calls.append(target)
            if len(calls) == 1:
                raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="no space left"):
        run_plan(planned(), out)
    run_plan(planned(), out)
    assert verify_run(out).findings == ()
