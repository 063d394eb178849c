"""The actors of one kind: those that are up, those on their way, and those that are yet to be made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loopsim.executors.ray_blame import Blame
from loopsim.executors.ray_cluster import Needs
from loopsim.executors.ray_workers import Hello
from loopsim.executors.work import Key

_COMING = 60.0
"""Seconds after which an actor that has not come up is not waited for where others could be asked."""


@dataclass(eq=False)
class Place:
    """An actor, up or on its way."""

    slot: int
    """Which of the crew's slots it is in."""
    number: int
    """Its own, which no other of the crew ever has."""
    actor: Any
    """The handle."""
    hello: Any
    """The reference that its greeting comes by, until it has come."""
    begun: float
    """When it was asked for."""
    greeting: Hello | None = None
    """What it said when it was up."""
    busy: set[Key] = field(default_factory=set)
    """What it is at."""
    chain: str | None = None
    """The models it has."""
    ended: bool = False
    """Whether we have ended it, so that what it was at has not failed."""

    def __str__(self) -> str:
        return "one that is not up" if self.greeting is None else f"{self.greeting.pid} on {self.greeting.node}"


class Crew:
    """As many actors of a kind as are wanted.

    Args:
        ray: the module.
        kind: the class.
        size: how many.
        needs: what each takes.
        threads: calls that one does at a time.
        setup: what each begins with.
        backoff: seconds until another one is made for one that is lost; each that cannot begin doubles it.
    """

    def __init__(self, ray: Any, kind: type, size: int, needs: Needs, threads: int, setup: Any, backoff: float) -> None:
        self.ray, self.needs, self.backoff = ray, needs, backoff
        self.title = "worker" if kind.__name__ == "Worker" else "captioner"
        self.blame = Blame(size)
        self.places: list[Place] = []
        self.failed_starts = [0] * size
        """By slot, since the last time that one came up there."""
        self.failed_since_up = 0
        """In all slots, since the last time that one came up anywhere."""
        self._due = dict.fromkeys(range(size), 0.0)
        self._numbers = 0
        remote = ray.remote(kind).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_restarts=0, max_task_retries=0, max_concurrency=threads
        )
        self._make: Callable[[], Any] = lambda: remote.remote(setup)

    @property
    def up(self) -> list[Place]:
        """Actors that have said that they are up."""
        return [place for place in self.places if place.greeting is not None]

    def on_the_way(self, now: float) -> bool:
        """Whether there will be more of them soon."""
        return bool(self._due) or any(p.greeting is None and now - p.begun < _COMING for p in self.places)

    def active(self, now: float) -> set[int]:
        """Slots with an actor that is up, or will be soon."""
        soon = {p.slot for p in self.places if p.greeting is not None or now - p.begun < _COMING}
        return (soon | set(self._due)) & self.blame.open

    def make(self, now: float) -> None:
        """Make those whose time has come."""
        for slot in [slot for slot, at in self._due.items() if at <= now]:
            del self._due[slot]
            self._numbers += 1
            actor = self._make()
            self.places.append(Place(slot, self._numbers, actor, actor.hello.remote(), now))

    def greeted(self, place: Place, greeting: Hello) -> None:
        """An actor is up."""
        place.greeting, place.hello = greeting, None
        self.failed_starts[place.slot] = 0
        self.failed_since_up = 0
        self.blame.renewed(place.slot)

    def lose(self, place: Place, *, again: bool = True) -> None:
        """Be rid of an actor.

        Args:
            place: the actor.
            again: whether another one is made after a while; else its slot is closed.
        """
        self.kill(place)
        self.places.remove(place)
        if again:
            wait = self.backoff * 2 ** max(0, self.failed_starts[place.slot] - 1)
            self._due[place.slot] = time.monotonic() + wait
        else:
            self.blame.close(place.slot)

    def kill(self, place: Place) -> None:
        """End an actor, if it lives."""
        with contextlib.suppress(Exception):
            self.ray.kill(place.actor, no_restart=True)
