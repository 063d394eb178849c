"""What verifying finds, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from loopsim.store.spans import Range, in_words

Remedy = Literal["again", "rewrite", "move", "none"]


REMEDIES: Mapping[Remedy, str] = MappingProxyType(
    {
        "again": "the same `loopsim run` command makes it again",
        "rewrite": "--repair writes it anew from what is intact",
        "move": "--repair puts it aside, and the same `loopsim run` command makes it again",
        "none": "nothing here can make it again: take it from a backup",
    }
)
"""What mends a finding, in words."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    file: str
    """The file, relative to the run directory."""
    message: str
    """What is wrong with it."""
    remedy: Remedy
    """What mends it: key of `REMEDIES`."""
    cohort: str | None = None
    """The cohort that is hit, where it is one."""
    iterations: tuple[Range, ...] = ()
    """The iterations that are lost or not to be trusted."""
    trajectories: tuple[str, ...] = ()
    """The trajectories of that cohort that are hit."""
    embedder: str | None = None
    """Folder of the embedder whose vectors are hit; pictures and captions are not then."""
    advice: str | None = None
    """What mends it, where that is more than the remedy says."""

    def in_words(self, shown: int = 6) -> str:
        """The finding in a line or two, at most `shown` trajectories by name."""
        text = f"{self.file}: {self.message}"
        if self.iterations:
            many = len(self.trajectories)
            named = ", ".join(self.trajectories[:shown]) + (f" and {many - shown} more" if many > shown else "")
            one = len(self.iterations) == 1 and self.iterations[0][0] == self.iterations[0][1]
            text += f"\n  hit: iteration{'s' * (not one)} {in_words(self.iterations)} of cohort {self.cohort}"
            text += f", {many} {'trajectory' if many == 1 else 'trajectories'} ({named})" if many else ""
        return f"{text}\n  {self.advice or REMEDIES[self.remedy]}"


@dataclass(frozen=True)
class Verdict:
    """Everything that was looked at, and what was found."""

    findings: tuple[Finding, ...]
    """What is wrong; empty where all is well."""
    notices: tuple[str, ...]
    """What could not be checked, and why."""
    steps: int = 0
    """Rows that were read and are right, starts included."""
    pictures: int = 0
    """Pictures that were decoded."""
    vectors: int = 0
    """Vectors that were read and are right."""
    hits: Mapping[str, frozenset[int]] = field(default_factory=lambda: MappingProxyType({}))
    """Cohort to the stored iterations that are not to be trusted."""
