"""Which term this process holds.

Without an elector its life is one term; with one, sinks are written only while the lease holds.

A term lost is not an error: catalogs stay warm, and the next term claims the sinks anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from waypost.adapter import AdapterError, Informed, Leader, Lost, Term
from waypost.engine.apart import apart
from waypost.kit.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock, Elector

__all__ = ["Leadership"]

FOREVER = Term(1, float("inf"))
PREPARE_SHARE = 0.5  # of what is left of a new term: what a leader must know before it leads may take so long

log = logging.getLogger(__name__)


async def _nothing(_: Term) -> None:
    pass


class Leadership:
    """The present term, and its end as an event."""

    def __init__(
        self,
        elector: Elector | None,
        clock: Clock,
        random: Random,
        *,
        prepare: Callable[[Term], Awaitable[None]] = _nothing,
    ) -> None:
        """With no elector the first term begins at once and never ends.

        `prepare` is awaited once in each new term, before anybody is told of it; where it raises, the term is not led.
        """
        self.elector = elector
        self.problem = ""  # why the elector does not say anything, as far as is known
        self._clock = clock
        self._random = random
        self._prepare = prepare
        self._prepared = 0
        self._term: Term | None = None if elector else FOREVER
        self._highest = 0
        self._lost = False  # what is told next is a new term
        self._lift = 0  # what is added to the elector's numbers, should they ever go back
        self._changed = asyncio.Event()

    @property
    def term(self) -> Term | None:
        """The term held now; None where the lease has run out, whether or not the elector has said so."""
        term = self._term
        return term if term is not None and self._clock.monotonic() < term.until else None

    def leads(self) -> bool:
        """Say whether this process may write now."""
        return self.term is not None

    def leader(self) -> Leader | None:
        """Return who leads, as the elector calls it; None: nobody, or not known, or there is no elector."""
        elector: object = self.elector
        return elector.leader() if isinstance(elector, Informed) else None

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
        if self.elector is None:
            await asyncio.Event().wait()
            return
        backoff = Backoff(self._random, first=0.5, limit=10)
        while True:
            try:
                await apart(self._follow(self.elector, backoff))
                raise AdapterError("the elector's terms ended")
            except AdapterError as error:
                level = logging.DEBUG if str(error) == self.problem else logging.WARNING  # news once, not each try
                self.problem = str(error)
                log.log(level, "elector error=%r", self.problem)
            except Exception as error:
                self.problem = f"the adapter failed: {type(error).__name__}"
                log.exception("elector error='the adapter failed'")
            await self._clock.sleep(backoff.failed())

    async def _follow(self, elector: Elector, backoff: Backoff) -> None:
        terms: Any = elector.terms()
        try:
            async for event in terms:
                told = self._lifted(event) if isinstance(event, Term) else event
                if isinstance(told, Term) and told.number != self._prepared:
                    await self._made_ready(told)
                self._take(told)
                self.problem = ""
                backoff.reset()
        finally:
            if hasattr(terms, "aclose"):  # a generator, as a rule: it ends before it is asked again
                await terms.aclose()

    def _lifted(self, term: Term) -> Term:
        """Return the term with a number above all that ended before: who counts from 1 again locks nobody out."""
        if self._lost and term.number + self._lift <= self._highest:
            self._lift = self._highest + 1 - term.number
            log.warning("term=%d error='the elector counts lower than before; %d is added'", term.number, self._lift)
        self._lost = False
        lifted = msgspec.structs.replace(term, number=term.number + self._lift) if self._lift else term
        self._highest = max(self._highest, lifted.number)
        return lifted

    async def _made_ready(self, term: Term) -> None:
        try:
            async with asyncio.timeout(max(0.0, (term.until - self._clock.monotonic()) * PREPARE_SHARE)):
                await self._prepare(term)
        except TimeoutError:
            raise AdapterError("what a leader must know could not be had in time") from None
        self._prepared = term.number

    def _take(self, event: Term | Lost) -> None:
        if isinstance(event, Lost):
            log.warning("term=%s lost reason=%r", self._term.number if self._term else "-", event.reason)
            self._term, self._lost = None, True
        else:
            if self._term is None or self._term.number != event.number:
                log.info("term=%d won", event.number)
            self._term = event
        self._changed.set()

    async def _wait(self) -> None:
        if self.elector is None:
            await asyncio.Event().wait()
        self._changed.clear()
        await self._changed.wait()
