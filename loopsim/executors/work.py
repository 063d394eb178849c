"""What a driver still has to hand out: pure book-keeping of cohorts, attempts and waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from loopsim.executors.base import Span
from loopsim.records import Cohort, Step
from loopsim.seeds import digest

Key = tuple[str, int]
"""Cohort and last iteration of a span: a cohort with holes has several spans."""


@dataclass
class _State:
    cohort: Cohort
    until: int
    last: tuple[Step, ...]
    failed: dict[str, int]
    attempts: int = 0
    not_before: float = 0.0
    out: bool = False
    chain: str = field(default="")


class Work:
    """Every span that is not finished.

    Args:
        spans: what is to be made, in the order of the plan.
        attempts: how often a span is tried without getting any further, before it is given up.
        backoff: seconds until the second attempt; each further one waits twice as long. Together they must be longer
            than a cluster takes to see that a node is dead, or all attempts go to that node.
    """

    def __init__(self, spans: Sequence[Span], attempts: int, backoff: float) -> None:
        self.attempts, self.backoff = attempts, backoff
        self.given_up: dict[Key, str] = {}
        self._open: dict[Key, _State] = {}
        for span in spans:
            chain = digest([spec.identity() for spec in span.cohort.trajectories[0].condition.chain])
            state = _State(span.cohort, span.until, tuple(span.last), dict(span.failed), chain=chain)
            self._open[span.cohort.id, span.until] = state

    @property
    def finished(self) -> bool:
        """Whether nothing is left, neither waiting nor handed out."""
        return not self._open

    @property
    def left(self) -> list[Key]:
        """Spans that are neither finished nor given up."""
        return list(self._open)

    def take(
        self, now: float, chain: str | None = None, may: Callable[[Key], bool] | None = None,
        avoid: Collection[str] = (), tried: Collection[Key] = (),
    ) -> Key | None:  # fmt: skip
        """The next span to hand out.

        Args:
            now: the time.
            chain: one of the same chain comes first, so that a worker keeps its models.
            may: whether a span may be handed out; None is all.
            avoid: chains that come last, since somebody has failed at them.
            tried: spans that come after the others, likewise.
        """
        ready = [key for key in self.ready(now) if may is None or may(key)]
        if not ready:
            return None
        fresh = [key for key in ready if key not in tried] or ready
        better = [key for key in fresh if self._open[key].chain not in avoid] or fresh
        key = next((key for key in better if self._open[key].chain == chain), better[0])
        self._open[key].out = True
        return key

    def ready(self, now: float) -> list[Key]:
        """Every span that could be handed out."""
        return [key for key, state in self._open.items() if not state.out and state.not_before <= now]

    def waiting(self, key: Key) -> bool:
        """Whether a span is open, and nobody is at it."""
        return key in self._open and not self._open[key].out

    def state(self, key: Key) -> tuple[Cohort, tuple[Step, ...], Mapping[str, int]]:
        """Cohort, last steps and failures of a span."""
        state = self._open[key]
        return state.cohort, state.last, state.failed

    def chain(self, key: Key) -> str:
        """What tells the models of a span from others."""
        return self._open[key].chain

    def advanced(self, key: Key, last: Sequence[Step], failed: Mapping[str, int]) -> None:
        """A span got further, or to its end."""
        state = self._open[key]
        state.failed |= failed
        state.last, state.out, state.attempts, state.not_before = tuple(last), False, 0, 0.0
        alive = any(state.failed.get(t.id, state.until + 1) > state.until for t in state.cohort.trajectories)
        t = last[0].t if last else -1
        if t >= state.until or not alive:
            del self._open[key]

    def broke(self, key: Key, message: str, now: float) -> bool:
        """A span did not get further, by nobody's fault; whether it is given up.

        Args:
            key: the span.
            message: why.
            now: the time.
        """
        state = self._open[key]
        state.out = False
        state.attempts += 1
        if state.attempts >= self.attempts:
            self.give_up(key, message)
            return True
        state.not_before = now + self.backoff * 2 ** (state.attempts - 1)
        return False

    def put_back(self, key: Key, not_before: float) -> None:
        """A span is to be handed out again, which is no attempt of its own."""
        self._open[key].out, self._open[key].not_before = False, not_before

    def give_up(self, key: Key, message: str) -> None:
        """Hand a span out no more."""
        self.given_up[key] = message
        del self._open[key]

    def waits(self, now: float) -> float:
        """Seconds until something can be handed out; 0 where something can be now."""
        times = [max(0.0, state.not_before - now) for state in self._open.values() if not state.out]
        return min(times, default=0.0)
