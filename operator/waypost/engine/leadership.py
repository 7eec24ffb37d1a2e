"""Which term this process holds.

Without an elector its life is one term; with one, sinks are written only while the lease holds.

A term lost is not an error: catalogs stay warm, and the next term claims the sinks anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from waypost.adapter import AdapterError, Lost, Term
from waypost.engine.apart import apart
from waypost.kit.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock, Elector

__all__ = ["Leadership"]

FOREVER = Term(1, float("inf"))

log = logging.getLogger(__name__)


class Leadership:
    """The present term, and its end as an event."""

    def __init__(self, elector: Elector | None, clock: Clock, random: Random) -> None:
        """With no elector the first term begins at once and never ends."""
        self._elector = elector
        self._clock = clock
        self._random = random
        self._term: Term | None = None if elector else FOREVER
        self._changed = asyncio.Event()

    @property
    def term(self) -> Term | None:
        """The term held now; None where the lease has run out, whether or not the elector has said so."""
        term = self._term
        return term if term is not None and self._clock.monotonic() < term.until else None

    def leads(self) -> bool:
        """Say whether this process may write now."""
        return self.term is not None

    async def won(self, after: int = 0) -> Term:
        """Return when a term numbered above `after` is held."""
        while (term := self.term) is None or term.number <= after:
            await self._wait()
        return term

    async def ended(self, number: int) -> None:
        """Return when the term of that number is no longer held."""
        while (term := self.term) is not None and term.number == number:
            try:
                remaining = term.until - self._clock.monotonic()
                async with asyncio.timeout(None if remaining == float("inf") else max(0.0, remaining)):
                    await self._wait()
            except TimeoutError:
                pass

    async def run(self) -> None:
        """Follow the elector until cancelled.

        A failing elector is asked again, and its last lease runs out by itself.
        """
        if self._elector is None:
            await asyncio.Event().wait()
            return
        backoff = Backoff(self._random, first=0.5, limit=10)
        while True:
            try:
                await apart(self._follow(self._elector, backoff))
                raise AdapterError("the elector's terms ended")
            except AdapterError as error:
                log.warning("elector error=%r", str(error))
            except Exception:
                log.exception("elector error='the adapter failed'")
            await self._clock.sleep(backoff.failed())

    async def _follow(self, elector: Elector, backoff: Backoff) -> None:
        async for event in elector.terms():
            self._take(event)
            backoff.reset()

    def _take(self, event: Term | Lost) -> None:
        if isinstance(event, Lost):
            log.warning("term=%s lost reason=%r", self._term.number if self._term else "-", event.reason)
            self._term = None
        else:
            if self._term is None or self._term.number != event.number:
                log.info("term=%d won", event.number)
            self._term = event
        self._changed.set()

    async def _wait(self) -> None:
        if self._elector is None:
            await asyncio.Event().wait()
        self._changed.clear()
        await self._changed.wait()
