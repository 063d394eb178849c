"""What a run says of itself, line by line: its log, one file a writer, and its failures, one file a cohort."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loopsim.records import Failure
from loopsim.store.shards import storing


def log_event(path: Path, event: str, details: dict[str, object]) -> None:
    """Add one line to a log file."""
    entry = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), "event": event, **details}
    with storing(path), path.open("ab") as handle:
        handle.write(json.dumps(entry).encode() + b"\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The lines of a log file; a half one, of a writer that was killed, says nothing."""
    return list(_objects(path)) if path.exists() else []


def read_all_events(folder: Path) -> list[dict[str, Any]]:
    """The lines of every log of a run, by time."""
    found = [event for path in sorted(folder.glob("log*.jsonl")) for event in read_events(path)]
    return sorted(found, key=lambda event: str(event.get("time")))


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


def read_failures(folder: Path) -> list[Failure]:
    """Every failure, one a trajectory: two workers may have seen it."""
    found: dict[str, Failure] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for entry in _objects(path):
            failure = Failure(**entry)
            found.setdefault(failure.trajectory_id, failure)
    return list(found.values())


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
