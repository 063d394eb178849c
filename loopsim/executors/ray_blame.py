"""Whose fault it is where a slice fails, the worker's or the cohort's: pure book-keeping of one kind of actor.

Actors come and go in numbered *slots*. One that fails at two different cohorts in a row is taken to be at fault, and
is replaced; if its successor fails in the same way the slot is closed, and what failed there is nobody's fault but its
own. A cohort is at fault where two sound actors failed at it, or everybody that there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from loopsim.executors.work import Key

_ROW = 2
"""Failures in a row, at different cohorts, that put an actor at fault."""
_RENEWALS = 1
"""Successors of an actor at fault, until one gets anything done."""

Verdict = Literal["keep", "renew", "close"]


class Actor(Protocol):
    """Which actor it is."""

    slot: int
    """Its slot."""
    number: int
    """Its own, which no other of its kind ever has."""


@dataclass(eq=False)
class _Fault:
    slot: int
    number: int
    message: str
    details: str
    sound: bool
    """Whether the actor is known to be sound: it got something done before or after, and did not fail twice running."""


@dataclass
class _Slot:
    row: list[_Fault] = field(default_factory=list)
    sound: bool = False
    renewed: int = 0
    closed: bool = False


class Blame:
    """What failed where.

    Args:
        slots: how many actors there are to be at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = [_Slot() for _ in range(slots)]
        self._faults: dict[Key, list[_Fault]] = {}
        self._said: dict[str, set[tuple[int, int]]] = {}

    @property
    def open(self) -> set[int]:
        """Slots that are not closed; none where nobody gets anything done."""
        return {i for i, slot in enumerate(self._slots) if not slot.closed}

    @property
    def tried(self) -> set[Key]:
        """Cohorts that somebody has failed at since they last got further."""
        return set(self._faults)

    def may(self, actor: Actor, key: Key, active: set[int]) -> bool:
        """Whether an actor may be given a cohort: not again, and not its slot while there is another one to try.

        Args:
            actor: the actor.
            key: the cohort.
            active: slots with an actor that is up or about to be.
        """
        faults = self._live(key)
        if any(fault.number == actor.number for fault in faults):
            return False
        tried = {fault.slot for fault in faults}
        return actor.slot not in tried or active <= tried

    def succeeded(self, slot: int, key: Key, *mended: str) -> None:
        """An actor got a cohort further.

        Args:
            slot: of the actor.
            key: the cohort.
            mended: complaints that are refuted by it.
        """
        mine = self._slots[slot]
        for fault in mine.row:
            fault.sound = True
        mine.row, mine.sound, mine.renewed = [], True, 0
        self.forget(key)
        for complaint in mended:
            self._said.pop(complaint, None)

    def failed(self, actor: Actor, key: Key, message: str, details: str, complaint: str | None = None) -> Verdict:
        """An actor failed at a cohort; what is to become of it.

        Args:
            actor: the actor.
            key: the cohort.
            message: why.
            details: the traceback.
            complaint: what it says that is no cohort's fault, such as that a model cannot be loaded.
        """
        mine = self._slots[actor.slot]
        fault = _Fault(actor.slot, actor.number, message, details, mine.sound and not mine.row)
        self._faults.setdefault(key, []).append(fault)
        mine.row.append(fault)
        if complaint is not None:
            self._said.setdefault(complaint, set()).add((actor.slot, actor.number))
        if len(mine.row) < _ROW and complaint is None:
            return "keep"
        for each in mine.row:
            each.sound = False
        if mine.renewed < _RENEWALS:
            mine.renewed += 1
            return "renew"
        mine.closed = True
        return "close"

    def renewed(self, slot: int) -> None:
        """There is another actor in a slot."""
        self._slots[slot].row, self._slots[slot].sound = [], False

    def close(self, slot: int) -> None:
        """No further actor comes in a slot."""
        self._slots[slot].closed = True

    def unanimous(self, complaint: str, active: set[int]) -> bool:
        """Whether everybody says it: at least two actors, the second of which may be the successor of the only one."""
        said = self._said.get(complaint, set())
        return len(said) > 1 and active <= {slot for slot, _ in said}

    def hopeless(self, active: set[int]) -> Iterator[tuple[Key, str, str]]:
        """Cohorts that are at fault, with the last message and its traceback."""
        for key in list(self._faults):
            faults = self._live(key)
            everybody = len(faults) > 1 and bool(active) and active <= {fault.slot for fault in faults}
            if everybody or sum(fault.sound for fault in faults) > 1:
                yield key, faults[-1].message, faults[-1].details

    def faulty(self) -> Iterator[tuple[Key, str, str]]:
        """Every cohort that anybody has failed at since it last got further, likewise."""
        for key, faults in self._faults.items():
            yield key, faults[-1].message, faults[-1].details

    def forget(self, key: Key) -> None:
        """A cohort got further, or was given up."""
        self._faults.pop(key, None)

    def acquit(self, key: Key) -> None:
        """A cohort is given up: if sound actors failed at it, it is at fault and they are not."""
        theirs = self._faults.get(key, [])
        if sum(fault.sound for fault in theirs) > 1:
            for slot in self._slots:
                slot.row = [fault for fault in slot.row if fault not in theirs]
        self.forget(key)

    def _live(self, key: Key) -> list[_Fault]:
        return [fault for fault in self._faults.get(key, ()) if not self._slots[fault.slot].closed]
