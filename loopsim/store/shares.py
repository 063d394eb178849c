"""Several processes that write to one run at once, each a share of its cohorts: `--shard 2/4`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from loopsim.errors import RunBusy, UsageError
from loopsim.store import lock
from loopsim.store.shards import storing

FOLDER = ".shards"
"""Of a run directory: a lock file for every share that was ever begun."""
_NAME = re.compile(r"(\d+)-of-(\d+)\.lock")
_LOG = re.compile(r"log-(\d+)-of-(\d+)\.jsonl")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """One of n parts of the cohorts of a run."""

    i: int
    """Which, from 1 on."""
    n: int
    """Of how many."""

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"

    @property
    def name(self) -> str:
        """As part of a file name."""
        return f"{self.i}-of-{self.n}"

    def of(self, cohorts: Sequence[Item]) -> list[Item]:
        """Its cohorts: every n-th, so that each share gets some of every condition."""
        return list(cohorts[self.i - 1 :: self.n])


def read_share(text: str) -> Share:
    """A share as it is typed, `2/4`.

    Raises:
        UsageError: it is none; a 0 is refused, since nobody could tell whether 4/4 is then missing.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if not match:
        raise UsageError(f"--shard {text!r}: must be I/N, such as 1/4 for the first of four")
    i, n = int(match[1]), int(match[2])
    if n < 1 or not 1 <= i <= n:
        known = f"1/{n} to {n}/{n}" if n else "1/1"
        hint = f"; in Slurm, #SBATCH --array=1-{n} counts so too" if n else ""
        raise UsageError(f"--shard {text}: shards are counted from 1, so these are {known}{hint}")
    return Share(i, n)


def share_of_log(name: str) -> Share | None:
    """The share that a log file is of, by its name; None for the log of a whole run."""
    match = _LOG.fullmatch(name)
    return Share(int(match[1]), int(match[2])) if match else None


@contextmanager
def holding_share(path: Path, share: Share, unlocked: Callable[[str], None]) -> Iterator[None]:
    """Hold one share of a run for writing, beside others of the same n.

    Raises:
        RunBusy: somebody writes this share, or the whole run, or shares of another number.
        StoreError: a lock file cannot be made.
    """
    _same_number(path, share)  # before its file is there: what was begun last is what `status` tells of
    own = path / FOLDER / f"{share.name}.lock"
    with lock.holding_file(path / lock.NAME, _busy(path, "this run"), unlocked, shared=True):
        with storing(path / FOLDER):
            (path / FOLDER).mkdir(exist_ok=True)
        with lock.holding_file(own, _busy(path, f"shard {share} of this run"), unlocked):
            _same_number(path, share)
            yield


def check_free(path: Path, share: Share | None = None) -> None:
    """Refuse a run, or a share of it, that could not be written to now; nothing is held.

    Raises:
        RunBusy: as `holding_share`; without a share, somebody writes the run or any share of it.
    """
    others = {other: holder for other, holder in holders(path).items() if holder.held}
    whole = lock.holder(path)
    if share is not None:
        _same_number(path, share)
        if share in others:
            raise RunBusy(_busy(path, f"shard {share} of this run")(others[share]))
    if whole.held and (share is None or not others):
        raise RunBusy(_busy(path, "this run")(whole))


def _same_number(path: Path, share: Share) -> None:
    for other, holder in holders(path).items():
        if holder.held and other.n != share.n:
            raise RunBusy(
                f"{path}: shard {other} of this run is being written{holder}, and {share} would share some of "
                f"its cohorts: use --shard I/{other.n}, or wait for it to end"
            )


def _busy(path: Path, what: str) -> Callable[[lock.Holder], str]:
    return lambda holder: f"{path}: another process is writing to {what}{holder}; wait for it to end"


def holders(path: Path) -> dict[Share, lock.Holder]:
    """Every share that was ever begun, and who holds it or died with it."""
    found = {}
    for file in sorted((path / FOLDER).glob("*.lock")):
        if match := _NAME.fullmatch(file.name):
            found[Share(int(match[1]), int(match[2]))] = lock.holder_of(file)
    return dict(sorted(found.items(), key=lambda item: (item[0].n, item[0].i)))


def latest(path: Path) -> list[Share]:
    """All shares of the number that was last begun; none where the run was never shared out."""
    files = [(file.stat().st_mtime_ns, _NAME.fullmatch(file.name)) for file in (path / FOLDER).glob("*.lock")]
    known = [(when, match) for when, match in files if match]
    if not known:
        return []
    n = int(max(known, key=lambda item: item[0])[1][2])
    return [Share(i, n) for i in range(1, n + 1)]
