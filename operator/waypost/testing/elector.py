"""An elector whose terms the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from waypost.adapter import Clock, Lost, Term

__all__ = ["ScriptedElector"]


class ScriptedElector:
    """Yields what the test says, in order. Several electors of one test share nothing: the test plays the election."""

    def __init__(self, clock: Clock, number: int = 0) -> None:
        """`number` is that of the last term before the test."""
        self._clock = clock
        self._number = number
        self._said: asyncio.Queue[Term | Lost] = asyncio.Queue(maxsize=10_000)
        self._awake = asyncio.Event()
        self._awake.set()

    def win(self, seconds: float = 15.0, number: int | None = None) -> Term:
        """Win a new term that lasts so long from now; its number is the next one, unless given."""
        self._number = self._number + 1 if number is None else number
        return self.prolong(seconds)

    def prolong(self, seconds: float = 15.0) -> Term:
        """Prolong the term to so long from now."""
        term = Term(self._number, self._clock.monotonic() + seconds)
        self._said.put_nowait(term)
        return term

    def lose(self, reason: str = "another process holds the lease") -> None:
        """Lose the term."""
        self._said.put_nowait(Lost(reason))

    def pause(self) -> None:
        """Say nothing from now on, as a process that is stopped or cut off: terms run out unheard, until `go_on`."""
        self._awake.clear()

    def go_on(self) -> None:
        """Say everything that was held back, then go on."""
        self._awake.set()

    async def terms(self) -> AsyncIterator[Term | Lost]:
        """Yield the script's events as they come."""
        while True:
            said = await self._said.get()
            await self._awake.wait()
            yield said
