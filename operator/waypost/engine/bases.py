"""How many ready records each publication had when a window began: what it may fall back to without being counted.

A publication that is new has its measure when it is first complete; until then it has none, and earns nothing. Between
two sessions of a sink nothing is known; what differs after them is taken as changed when the first of them ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from waypost.model import PublicationKey

__all__ = ["Bases"]

_MOST = 64  # changes of one publication that are remembered; of more, those in the middle are left out


class Bases:
    """The publications of one sink; `window` is in seconds."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.counts: dict[PublicationKey, int] = {}  # ready records now, where there are any
        self._growing: set[PublicationKey] = set()  # new, and not complete yet
        self._before: dict[PublicationKey, deque[tuple[float, int]]] = {}  # how many there were before each change

    def begin(self, counts: Mapping[PublicationKey, int]) -> None:
        """Take what is there at first as complete."""
        self.counts = {key: count for key, count in counts.items() if count}

    def move(self, now: float, key: PublicationKey, delta: int) -> None:
        """Take note that ready records came or went."""
        count = self.counts.get(key, 0)
        if not count and self._noted(now, key) is None:
            self._growing.add(key)
        if key not in self._growing:
            noted = self._before.setdefault(key, deque())
            noted.append((now, count))
            if len(noted) > _MOST:
                del noted[1]
        if count + delta:
            self.counts[key] = count + delta
        else:
            self.counts.pop(key, None)
            self._growing.discard(key)

    def complete(self, key: PublicationKey) -> None:
        """Take note that a publication is as wanted: from now on it has a measure."""
        self._growing.discard(key)

    def is_free(self, now: float, key: PublicationKey, ready: int) -> bool:
        """Say whether one of `ready` records may go and leave as many as there were when the window began."""
        noted = self._noted(now, key)
        return noted is not None and ready - 1 >= noted[0][1]

    def _noted(self, now: float, key: PublicationKey) -> deque[tuple[float, int]] | None:
        """Return what is known of the window, None where nothing changed in it."""
        if (noted := self._before.get(key)) is None:
            return None
        while noted and noted[0][0] < now - self.window:
            noted.popleft()
        if not noted:
            del self._before[key]
            return None
        return noted
