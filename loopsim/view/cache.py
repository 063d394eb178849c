"""What was made for one request and may be asked for again: kept while there is room, and made once at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

Key = tuple[str, str]


class Cache:
    """The most recently used results.

    Args:
        room: bytes to keep.
        makers: how many results are made at the same time; more wait.
    """

    def __init__(self, room: int = 256 << 20, makers: int = 3) -> None:
        self._room = room
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Event] = {}
        self._makers = threading.Semaphore(makers)

    def get(self, key: Key, make: Callable[[], bytes]) -> bytes:
        """The result of `make`, or the one that was made before under the same key.

        Whatever `make` raises goes to the one who asked first; others try again themselves.
        """
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
                busy = self._making.get(key)
                if busy is None:
                    mine = self._making[key] = threading.Event()
                    break
            busy.wait()
        try:
            with self._makers:
                made = make()
            self._keep(key, made)
            return made
        finally:
            with self._lock:
                del self._making[key]
            mine.set()

    def _keep(self, key: Key, made: bytes) -> None:
        with self._lock:
            self._kept[key] = made
            self._size += len(made)
            while self._size > self._room and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
