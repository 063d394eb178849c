"""What a run was made from, as it is kept in its directory: start pictures, the number of iterations, failures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from loopsim.store.journal import Unreadable
from loopsim.store.shards import Shard
from loopsim.verify.expected import Expected
from loopsim.verify.gaps import last_alive
from loopsim.verify.records import Finding

_PICTURE = re.compile(r"([0-9a-f]{12})(\.[^.]+)?")
"""The name of a kept start picture: the beginning of its SHA-256, and the suffix of the original."""


def check_starts(path: Path, experiment: Mapping[str, Any] | str) -> list[Finding]:
    """Look whether every kept start picture is there and is what its name says.

    Args:
        path: the run directory.
        experiment: its experiment as plain data; where that cannot be read, only the pictures that are there are
            looked at.
    """
    there = {p.name for p in (path / "starts").glob("*") if _PICTURE.fullmatch(p.name)}
    named = set() if isinstance(experiment, str) else set(_named(experiment))
    back = "put the picture back, or run the experiment's own file, which copies it from where that names it"
    findings = []
    for name in sorted(there | named):
        match = _PICTURE.fullmatch(name)
        try:
            content = (path / "starts" / name).read_bytes()
        except FileNotFoundError:
            findings.append(Finding(f"starts/{name}", "is missing", "again", advice=back))
            continue
        except OSError as error:
            findings.append(Finding(f"starts/{name}", f"cannot be read: {error.strerror or error}", "none"))
            continue
        if match and sha256(content).hexdigest()[:12] != match[1]:
            message = "is not the picture that it was: its bytes have changed"
            findings.append(Finding(f"starts/{name}", message, "move", advice=f"--repair puts it aside; then {back}"))
    return findings


def _named(experiment: Mapping[str, Any]) -> Iterator[str]:
    """The names of the kept pictures that an experiment begins with."""
    groups = experiment.get("starts")
    for group in groups if isinstance(groups, list) else ():
        for image in (group.get("images") or ()) if isinstance(group, dict) else ():
            folder, _, name = str(image).rpartition("/")
            if folder == "starts":
                yield name


def iterations_before(expected: Expected, shards: Mapping[str, Sequence[Shard]], changed: bool) -> int | None:
    """How many iterations an experiment must have had, where its file says fewer than were made.

    They are never lowered while a run goes on. So either the file was changed, or steps are of another run: the file
    it is where its checksum or the log says so, and in old runs where every cohort that could goes further.

    Args:
        expected: what should be there.
        shards: the shards of each cohort.
        changed: whether the file is certainly no longer what was written.

    Returns:
        The iterations; None where the file agrees with what is stored, or is not to blame.
    """
    if not expected.trajectories:
        return None
    t0s = {cohort: expected.trajectories[members[0]].start.t0 for cohort, members in expected.cohorts.items()}
    made = {cohort: max(s.last for s in found) - t0s[cohort] for cohort, found in shards.items() if found}
    could = [cohort for cohort in made if last_alive(cohort, expected) > t0s[cohort] + expected.iterations]
    further = [cohort for cohort, many in made.items() if many > expected.iterations]
    most = max([*made.values(), *expected.ended.values()], default=0)
    logged = max(expected.ended.values(), default=0) > expected.iterations
    blamed = further and (changed or logged or set(could) <= set(further))
    return most if blamed else None


def says_too_few(said: int, were: int) -> Finding:
    """An experiment file whose iterations were lowered."""
    return Finding(
        "experiment.yaml",
        f"says iterations: {said}, and {were} were made: it was changed after it was written",
        "none",
        advice=f"make it iterations: {were} again, or give the same `loopsim run` command, which writes the file anew",
    )


def damaged_failures(lines: Sequence[Unreadable]) -> list[Finding]:
    """Lines of files of failures that cannot be read."""
    advice = (
        "--repair drops the line and puts aside the iteration that its trajectory failed at; the same `loopsim run` "
        "command makes that again, and finds the failure again"
    )
    return [
        Finding(
            f"failures/{one.path.name}", f"line {one.line} is damaged: nobody can tell which trajectory failed",
            "rewrite", one.path.stem, advice=advice,
        )
        for one in lines
    ]  # fmt: skip
