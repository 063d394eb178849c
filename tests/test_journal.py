"""Logs and failures line by line: what a half or a damaged line costs, and what it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from loopsim.errors import StoreError
from loopsim.records import Failure
from loopsim.store.journal import log_event, read_events, read_failures, scan_failures, write_failure

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
