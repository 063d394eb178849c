"""What the runner hands to an executor, and what it gets back."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loopsim.engine import Settings
from loopsim.records import Cohort, Failure, Step
from loopsim.store import Run


@dataclass(frozen=True)
class Span:
    """Iterations of one cohort that are to be made."""

    cohort: Cohort
    """The cohort."""
    last: tuple[Step, ...]
    """The steps of the iteration before; none where the starts themselves are to be made."""
    until: int
    """The last iteration to be made."""
    failed: Mapping[str, int]
    """Trajectories that failed, with the iteration: they stay out from there on."""


@dataclass(frozen=True)
class Job:
    """Everything that is to be made, and where it goes."""

    run: Run
    """Where it is stored; held for writing by the caller."""
    settings: Settings
    """What every cohort shares."""
    spans: Sequence[Span]
    """What is missing, in the order of the plan."""
    threads: int
    """CPU threads of a call."""
    cohorts: Sequence[str] | None = None
    """The cohorts of this share of the run; None is all."""


@dataclass(frozen=True)
class Advanced:
    """One iteration of one cohort that was made."""

    cohort: Cohort
    """The cohort."""
    t: int
    """The iteration; a start's own t for the starts."""
    steps: int
    """How many trajectories made a step."""
    failures: tuple[Failure, ...]
    """Those that did not."""


class Executor(Protocol):
    """Carries spans to their end. Whatever it yields is stored, at the latest when the iterator is closed."""

    def carry(self, job: Job) -> Generator[Advanced, None, None]:
        """Make what a job asks for."""

    def described(self) -> list[dict[str, object]]:
        """What each loaded model pinned, for the log."""
