"""Logs and failures line by line: what a half or a damaged line costs, and what it does not."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from loopsim.errors import StoreError
from loopsim.records import Failure
from loopsim.store.journal import (
    GAVE_WAY,
    log_event,
    read_all_events,
    read_events,
    read_failures,
    scan_failures,
    starts_in,
    write_failure,
)

FIRST = Failure("aa11", 3, "generator", "mock", 'ValueError: "no" \\ é\n{}', "Traceback\n  \\u \U0001f600 end")
SECOND = Failure("bb22", 14, "captioner", "mock", "RuntimeError: x", "Traceback")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_failure(tmp_path / "failures", "c0000", FIRST)
    write_failure(tmp_path / "failures", "c0000", SECOND)
    return tmp_path / "failures"


def changed(folder: Path, line: int, old: str, new: str) -> str:
    """Change a line of the file of failures; what it is then."""
    path = folder / "c0000.jsonl"
    lines = path.read_text().split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))
    return lines[line - 1]


def test_failures_are_read_as_they_were_written_one_a_trajectory(folder):
    write_failure(folder, "c0000", dataclasses.replace(FIRST, message="seen by another worker"))
    assert read_failures(folder) == [FIRST, SECOND]
    assert scan_failures(folder) == ([FIRST, SECOND], [])
    assert scan_failures(folder / "none") == ([], [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trajectory_id", "trajectory_ie"),  # a key
        ('"role":', '"role";'),  # no JSON any more
        ('"t": 3', '"t": "3"'),
        ('"aa11"', "11"),
        ('", "traceback": "Traceback\\n', ""),  # a key is missing
        (' end"}', ' end"]'),  # the last letter, so that it looks cut off
        (' end"}', " endb}"),
        ("{", "["),
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_read(folder, old, new):
    line = changed(folder, 1, old, new)
    failures, unreadable = scan_failures(folder)
    assert failures == [SECOND]
    assert [(u.path, u.line, u.text) for u in unreadable] == [(folder / "c0000.jsonl", 1, line)]
    with pytest.raises(StoreError, match=r"c0000.jsonl: line 1 is damaged, so that nobody can tell which") as said:
        read_failures(folder)
    assert f"`loopsim verify {folder.parent}` says what is hit; with --repair" in str(said.value)


def test_every_way_a_line_can_be_cut_off_costs_that_line_only(folder):
    whole = json.dumps(dataclasses.asdict(FIRST))
    path = folder / "c0000.jsonl"
    for end in range(1, len(whole)):
        if whole[end - 1] == "}":  # of the message; taken for damaged
            continue
        path.write_text(whole[:end])
        assert scan_failures(folder) == ([], []), whole[:end]
        write_failure(folder, "c0000", SECOND)
        assert read_failures(folder) == [SECOND], whole[:end]


def test_an_event_after_a_half_line_is_not_lost_with_it(tmp_path):
    log = tmp_path / "log.jsonl"
    log_event(log, "start", {})
    log.write_bytes(log.read_bytes() + b'{"time": "2026-01-01T00:0')  # the disk was full, or the power went
    log_event(log, "failed", {"message": "no space left"})
    log_event(log, "start", {})
    assert [event["event"] for event in read_events(log)] == ["start", "failed", "start"]
    assert b"\n\n" not in log.read_bytes()


def test_starts_of_shards_in_the_second_of_a_run_that_gave_way_are_of_the_next_run(tmp_path):
    """As logs tell it whose times are in seconds."""
    at = {"time": "2026-01-01T00:00:00+00:00"}
    for name, events in {"log": ["start", GAVE_WAY], "log-1-of-2": ["start"], "log-2-of-2": ["start"]}.items():
        lines = [json.dumps(at | {"event": event, "of": name}) for event in events]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    assert [event["of"] for event in starts_in(read_all_events(tmp_path))] == ["log-1-of-2", "log-2-of-2"]


def test_what_happens_within_a_second_is_told_in_its_order(tmp_path):
    for name, event in (("log-1-of-2", "start"), ("log", GAVE_WAY), ("log-2-of-2", "start"), ("log", "end")):
        log_event(tmp_path / f"{name}.jsonl", event, {"of": name})
        time.sleep(0.01)
    told = read_all_events(tmp_path)
    assert [event["event"] for event in told] == ["start", GAVE_WAY, "start", "end"]
    assert [event["of"] for event in starts_in(told)] == ["log-2-of-2"]
