"""Who has been heard of in time: deadlines of any number of instances, kept by one waiting task.

Stores and shows nothing.
"""

from __future__ import annotations

import asyncio
import heapq

from waypost.adapter import Clock

__all__ = ["Heartbeats"]


class Heartbeats:
    """The deadlines. `silent` are those whose deadline passed and who were not heard since."""

    def __init__(self, clock: Clock) -> None:
        self.silent: set[str] = set()
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._earlier = asyncio.Event()

    def heard(self, id: str, ttl: int) -> bool:
        """Take note of a sign of life; `ttl` in seconds, 0: none is needed from now on.

        Return whether it had been silent.
        """
        was_silent = id in self.silent
        self.silent.discard(id)
        if not ttl:
            self._deadlines.pop(id, None)
            return was_silent
        deadline = self._clock.monotonic() + ttl
        before = self._deadlines.get(id)
        self._deadlines[id] = deadline
        if before is None or deadline < before:  # else its entry in the heap comes up before it is due, and is put back
            heapq.heappush(self._heap, (deadline, id))
            self._earlier.set()
        return was_silent

    def forget(self, id: str) -> None:
        """Expect nothing of it any more."""
        self._deadlines.pop(id, None)
        self.silent.discard(id)

    async def next_silent(self) -> str:
        """Return the next one whose deadline passes, once it does."""
        while True:
            self._earlier.clear()
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                _, id = heapq.heappop(self._heap)
                deadline = self._deadlines.get(id)
                if deadline is None:
                    continue
                if deadline > now:
                    heapq.heappush(self._heap, (deadline, id))
                    continue
                del self._deadlines[id]
                self.silent.add(id)
                return id
            await self._until(self._heap[0][0] - now if self._heap else None)

    async def _until(self, seconds: float | None) -> None:
        """Wait that long, or until an earlier deadline is there."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._earlier.wait())]
        if seconds is not None:
            waits.append(asyncio.create_task(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
