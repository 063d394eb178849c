"""Whether anybody is at a run, and how fast: decided from what was seen of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from loopsim.store.lock import Holder

WINDOW = 120.0
"""Seconds that the rate is taken over."""
QUIET = 300.0
"""Seconds without growth after which a writer whose lock cannot be seen from here counts as gone."""


@dataclass(frozen=True)
class Activity:
    """What a run is doing."""

    state: str
    """`running`, `measuring` (embedding and measuring, all steps are made), `finished`, or `stopped` (steps are missing
    and nobody is at it)."""
    rate: float | None
    """Steps a second over the last minutes; None where it does not run, or was not watched long enough to say."""


class Watch:
    """Remembers how many steps there were, and when."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._grew: float | None = None

    def note(self, now: float, done: int) -> None:
        """There were so many steps at this time, in seconds of a clock that never goes back."""
        if self._seen and done < self._seen[-1][1]:  # made anew
            self._seen.clear()
            self._grew = None
        if self._seen and done > self._seen[-1][1]:
            if self._grew is None:  # what was seen before is no batch: its models may have been loading, for hours
                self._seen.clear()
            self._grew = now
        if not self._seen or done != self._seen[-1][1]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW:
            self._seen.popleft()

    def rate(self, now: float) -> float | None:
        """Steps a second from the first growth remembered until now.

        Steps are stored in batches: counted from one batch to the last, so that neither the wait before the first nor
        the one after the last makes the run look slower, unless the next batch is late.
        """
        if self._grew is None or len(self._seen) < 2:
            return None
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        longest = max(b[0] - a[0] for a, b in zip(list(self._seen), list(self._seen)[1:], strict=False))
        late = max(0.0, now - ended - longest)
        return (after - before) / (ended - began + late) if ended > began else None

    def grew_within(self, seconds: float, now: float) -> bool:
        """Whether it was seen to grow lately."""
        return self._grew is not None and now - self._grew <= seconds


def activity(done: int, total: int, measured: bool, writer: Holder, age: float, watch: Watch, now: float) -> Activity:
    """What a run is doing.

    Args:
        done: steps stored.
        total: steps that it will have.
        measured: whether measurements are of all that is stored.
        writer: who holds its lock.
        age: seconds since the newest file of the run was written, by the clock of the file system.
        watch: what was seen before.
        now: the time.
    """
    # On another machine of a cluster its lock may not be seen from here: there, growing is living.
    unseen = writer.elsewhere and (age <= QUIET or watch.grew_within(QUIET, now))
    at_it = writer.held or unseen
    if done < total:
        return Activity("running", watch.rate(now)) if at_it else Activity("stopped", None)
    return Activity("measuring" if at_it and not measured else "finished", None)
