"""The small parts of the live view: what a run is doing, and what is kept."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from loopsim.store.lock import Holder
from loopsim.view.activity import QUIET, WINDOW, Watch, activity
from loopsim.view.cache import Cache

HERE, ELSEWHERE = Holder(True, socket.gethostname(), 1), Holder(False, "node7.example", 1)
NOBODY, KILLED = Holder(False), Holder(False, socket.gethostname(), 1)


@pytest.mark.parametrize(
    ("done", "measured", "writer", "age", "state"),
    [
        (3, False, HERE, 0.0, "running"),
        (0, False, HERE, 9e9, "running"),  # loading its models, for hours
        (3, False, NOBODY, 0.0, "stopped"),
        (3, False, KILLED, 0.0, "stopped"),
        (3, False, ELSEWHERE, 1.0, "running"),
        (3, False, ELSEWHERE, QUIET + 1, "stopped"),
        (10, False, HERE, 0.0, "measuring"),
        (10, True, HERE, 0.0, "finished"),
        (10, True, NOBODY, 0.0, "finished"),
        (10, False, KILLED, 0.0, "finished"),
    ],
)
def test_what_a_run_is_doing(done: int, measured: bool, writer: Holder, age: float, state: str):
    assert activity(done, 10, measured, writer, age, Watch(), 0.0).state == state


def test_a_run_elsewhere_that_was_seen_to_grow_is_running_whatever_its_clock_says():
    watch = Watch()
    watch.note(0.0, 3)
    watch.note(10.0, 4)
    assert activity(4, 10, False, ELSEWHERE, 9e9, watch, 20.0).state == "running"
    assert activity(4, 10, False, ELSEWHERE, 9e9, watch, 11.0 + QUIET).state == "stopped"
    assert activity(4, 10, False, KILLED, 9e9, watch, 20.0).state == "stopped"


def test_the_rate_is_of_what_was_seen_lately():
    watch = Watch()
    assert watch.rate(0.0) is None
    watch.note(0.0, 100)  # when the first batch was begun nobody knows
    assert watch.rate(1.0) is None
    for second in range(1, 41):
        watch.note(float(second), 100 + 64 * (second // 4))
    assert watch.rate(40.0) == pytest.approx(16.0)
    assert watch.rate(42.0) == pytest.approx(16.0)  # in the middle of a batch
    assert watch.rate(84.0) == pytest.approx(64 * 9 / (36 + 40))  # a batch that is late by 40 seconds
    for second in range(41, 41 + int(2 * WINDOW)):
        watch.note(float(second), 740 + 8 * ((second - 40) // 8))
    assert watch.rate(40 + 2 * WINDOW) == pytest.approx(1.0, rel=0.1)


def test_the_wait_before_the_first_batch_does_not_make_a_run_look_slower():
    watch = Watch()
    watch.note(0.0, 0)
    watch.note(60.0, 64)  # its models were being loaded
    assert watch.rate(60.0) is None
    watch.note(64.0, 128)
    assert watch.rate(64.0) == pytest.approx(16.0)
    watch.note(68.0, 192)
    assert watch.rate(68.0) == pytest.approx(16.0)


def test_a_run_that_does_not_run_has_no_rate():
    watch = Watch()
    for second in range(5):
        watch.note(float(second), second)
    assert activity(4, 10, False, HERE, 0.0, watch, 4.0).rate == pytest.approx(1.0)
    assert activity(4, 10, False, KILLED, 0.0, watch, 4.0).rate is None
    assert activity(4, 4, True, HERE, 0.0, watch, 4.0).rate is None


def test_a_run_that_was_made_anew_is_counted_from_there():
    watch = Watch()
    watch.note(0.0, 500)
    for second in range(1, 5):
        watch.note(float(second), second)
    assert watch.rate(4.0) == pytest.approx(1.0)


def test_what_was_made_is_kept_while_there_is_room():
    made: list[str] = []

    def make(name: str) -> bytes:
        made.append(name)
        return name.encode() * 10

    cache = Cache(room=25)
    for name in ("a", "a", "b", "a", "c", "a", "b"):
        assert cache.get((name, "1"), lambda name=name: make(name)) == name.encode() * 10
    assert made == ["a", "b", "c", "b"]
    cache.get(("a", "2"), lambda: make("a"))
    assert made[-1] == "a"


def test_one_thing_is_made_once_however_many_ask():
    cache, made = Cache(), []

    def slow() -> bytes:
        made.append(1)
        time.sleep(0.1)
        return b"x"

    threads = [threading.Thread(target=cache.get, args=(("a", "1"), slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept():
    cache = Cache()

    def fail() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get(("a", "1"), fail)
    assert cache.get(("a", "1"), lambda: b"x") == b"x"
