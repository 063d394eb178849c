"""What a run says of itself, line by line: its log, one file a writer, and its failures, one file a cohort."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loopsim.errors import StoreError
from loopsim.records import Failure
from loopsim.store.shards import storing

GAVE_WAY = "gave way"
"""Event: nothing had been made, and a run of another plan takes the place of this one. What is above is not of it."""


def log_event(path: Path, event: str, details: dict[str, object]) -> None:
    """Add one line to a log file."""
    entry = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **details}
    with storing(path), path.open("ab+") as handle:
        # A line that a full disk or a killed writer has left unended is ended first, or this one would be lost with it.
        unended = handle.tell() > 0 and handle.seek(-1, os.SEEK_END) >= 0 and handle.read(1) != b"\n"
        handle.write(b"\n" * unended + json.dumps(entry).encode() + b"\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The lines of a log file; a half one, of a writer that was killed, says nothing."""
    return list(_objects(path)) if path.exists() else []


def read_all_events(folder: Path) -> list[dict[str, Any]]:
    """The lines of every log of a run, by time; of those at the same moment, the ones of `log.jsonl` come first."""
    # A blank run gives way there, and logs of before were written to the second: shards began after it, not before.
    paths = sorted(folder.glob("log*.jsonl"), key=lambda path: (path.name != "log.jsonl", path.name))
    found = [event for path in paths for event in read_events(path)]
    return sorted(found, key=lambda event: str(event.get("time")))


def own_events(folder: Path, share: str | None = None) -> Sequence[Mapping[str, Any]]:
    """The lines of one log of a run, in the order they were written; without those of a blank run that gave way to it.

    Args:
        folder: the run directory.
        share: the name of the share whose log it is; None is `log.jsonl`.
    """
    events = read_events(folder / "log.jsonl")
    if share is None:
        return since_gave_way(events)
    # Of a blank run `log.jsonl` alone says when it gave way: the logs of its shares stay as they are, and go on.
    gone = max((str(event.get("time")) for event in events if event.get("event") == GAVE_WAY), default="")
    return [event for event in read_events(folder / f"log-{share}.jsonl") if str(event.get("time")) >= gone]


def starts_in(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines that say with what generating began, by time; without those of a blank run that gave way to this one.

    Args:
        events: every line of every log, by time.
    """
    return [event for event in since_gave_way(events) if event.get("event") == "start"]


def since_gave_way(events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The lines that are not of a blank run that gave way to this one; all where none did.

    Args:
        events: every line of every log, by time.
    """
    gone = max((k for k, event in enumerate(events) if event.get("event") == GAVE_WAY), default=-1)
    return events[gone + 1 :]


def write_failure(folder: Path, cohort: str, failure: Failure) -> None:
    """Store a failure, durably."""
    path = folder / f"{cohort}.jsonl"
    with storing(path):
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as handle:
            # A new line first: the one before may be the half line of a killed writer.
            handle.write(b"\n" * (handle.tell() > 0) + json.dumps(dataclasses.asdict(failure)).encode())
            handle.flush()
            os.fsync(handle.fileno())


@dataclass(frozen=True)
class Unreadable:
    """A line of a file of failures that is damaged: a trajectory of the cohort failed, and nobody can tell which."""

    path: Path
    """The file."""
    line: int
    """Which line of it, from 1 on."""
    text: str
    """What is there now."""


def read_failures(folder: Path) -> list[Failure]:
    """Every failure, one a trajectory: two workers may have seen it.

    Raises:
        StoreError: a line is damaged.
    """
    found, unreadable = scan_failures(folder)
    for one in unreadable:
        raise StoreError(
            f"{one.path}: line {one.line} is damaged, so that nobody can tell which trajectory failed:\n"
            f"  {one.text[:100]}\n"
            f"  `loopsim verify {folder.parent}` says what is hit; with --repair it makes room for it to be made again"
        )
    return found


def scan_failures(folder: Path) -> tuple[list[Failure], list[Unreadable]]:
    """Every failure, one a trajectory, and the lines that cannot be read.

    The half line of a writer that was killed is in neither: its iteration was not stored, and is made again.
    """
    found: dict[str, Failure] = {}
    unreadable: list[Unreadable] = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
            if not line or _is_cut_off(line):
                continue
            failure = _failure(line)
            if failure is None:
                unreadable.append(Unreadable(path, number, line))
            else:
                found.setdefault(failure.trajectory_id, failure)
    return list(found.values()), unreadable


def _failure(line: str) -> Failure | None:
    """What a line says; None where it is no failure."""
    try:
        failure = Failure(**json.loads(line))
    except (ValueError, TypeError):  # no JSON; no object, or one with other keys
        return None
    values = dataclasses.asdict(failure)
    sound = all(isinstance(value, int if name == "t" else str) for name, value in values.items())
    return failure if sound else None


def _is_cut_off(line: str) -> bool:
    """Whether a line is the beginning of a JSON object, which more letters could complete.

    One that ends with a brace is taken for damaged, although a message may have been cut off behind one.
    """
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        if not line.startswith("{") or line.endswith("}"):
            return False
        # Python says so of a string with no end, of an escape such as `\u00` that lacks some, and of all else.
        in_string = error.msg.startswith("Unterminated string")
        in_escape = error.msg.startswith("Invalid \\u") and error.pos >= len(line) - 5
        return in_string or in_escape or error.pos >= len(line.rstrip())
    return False


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
