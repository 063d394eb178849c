"""The lock of a run: who writes, who died while writing, and that asking disturbs nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loopsim.errors import UsageError
from loopsim.store.lock import NAME, Holder, holder, holding


def _no(reason: str) -> None:
    raise AssertionError(reason)


def test_nobody_holds_a_run_that_was_never_written_to(tmp_path: Path):
    assert holder(tmp_path) == Holder(False)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_is_named_while_it_writes_and_forgotten_after(tmp_path: Path):
    with holding(tmp_path, _no):
        found = holder(tmp_path)
        assert found == Holder(True, socket.gethostname(), os.getpid())
        assert not found.elsewhere
    assert holder(tmp_path) == Holder(False)
    assert (tmp_path / NAME).read_bytes() == b""


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path):
    with (
        holding(tmp_path, _no),
        pytest.raises(UsageError, match=rf"another process is writing to this run \(process {os.getpid()} on ") as said,
        holding(tmp_path, _no),
    ):
        pass
    assert str(said.value).endswith("; wait for it to end")


def test_a_killed_writer_holds_nothing_and_is_named(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from loopsim.store.lock import holding\n"
        "with holding(Path(sys.argv[1]), print): print('in', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    assert holder(tmp_path).held
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert holder(tmp_path) == Holder(False, socket.gethostname(), child.pid)
    with holding(tmp_path, _no):
        assert holder(tmp_path).pid == os.getpid()


def test_a_writer_on_another_machine_is_known_as_such(tmp_path: Path):
    (tmp_path / NAME).write_text("elsewhere.example 12\n")
    assert holder(tmp_path) == Holder(False, "elsewhere.example", 12)
    assert holder(tmp_path).elsewhere


def test_asking_all_the_time_keeps_no_writer_out(tmp_path: Path):
    (tmp_path / NAME).touch()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            holder(tmp_path)
            over.wait(0.001)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with holding(tmp_path, _no):
                pass
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_file_system_without_locks_is_said_and_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(handle: object, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("loopsim.store.lock.fcntl.flock", refuse)
    said: list[str] = []
    with holding(tmp_path, said.append):
        assert holder(tmp_path) == Holder(False)
    assert said == ["[Errno 95] Operation not supported"]


def test_of_shares_one_that_may_live_elsewhere_is_named_before_one_that_died_here(tmp_path: Path):
    (tmp_path / ".shards").mkdir()
    (tmp_path / ".shards" / "1-of-2.lock").write_text(f"{socket.gethostname()} 12\n")
    (tmp_path / ".shards" / "2-of-2.lock").write_text("elsewhere.example 13\n")
    assert holder(tmp_path) == Holder(False, "elsewhere.example", 13)
