"""An election by a lease that a store keeps (etcd, Consul, …): when to campaign, to renew, to believe that it is over.

A `Ballot` says how the store is asked; all that depends on time is here. A term lasts until a moment on this process's
own clock that is counted from before the request was sent, and less than the whole lease: however late an answer comes,
and though the two clocks do not run equally fast, the term is over here before it can be over there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

import msgspec

from waypost.adapter import AdapterError, Clock, Leader, Lost, Term

__all__ = ["Ballot", "Election", "Taken", "Won"]

SHARE = 0.9  # of a lease: clocks of machines differ by far less than a thousandth, and what is left costs nothing
RENEWALS = 3  # a lease is renewed so often in its time
RETRIES = 12  # and tried again so often, once that failed
CLOSE_SECONDS = 2.0

log = logging.getLogger(__name__)


class Won(msgspec.Struct, frozen=True):
    """A lease that was won: its term, how long it lasts from when the request was sent, and what the ballot needs."""

    number: int
    seconds: float
    token: Any = None


class Taken(msgspec.Struct, frozen=True):
    """Another has it, as far as is known who; `token` is what the ballot needs to wait for a change since."""

    leader: Leader | None = None
    token: Any = None


class Ballot(Protocol):
    """How a store is asked. Every method ends in bounded time, but for the two that wait; all raise AdapterError."""

    async def acquire(self, past: int) -> Won | Taken:
        """Try to win a term with a number above `past` and above all that the store knows of.

        The lease begins after this was called. What a former try of this very candidate left is taken away first.
        """

    async def renew(self, won: Won) -> float | None:
        """Prolong the lease; return its seconds from when this was called, None where it is ours no more."""

    async def release(self, won: Won) -> None:
        """Give the lease back, where it is ours still."""

    async def freed(self, taken: Taken) -> None:
        """Return when another try may be worth it; too early does no harm."""

    async def stirred(self, won: Won) -> None:
        """Return when the lease may not be ours any more; too early does no harm."""


class Election:
    """Implements `waypost.adapter.Elector` and `Informed` on a ballot. `close` gives back what is held."""

    def __init__(self, ballot: Ballot, clock: Clock, *, name: str, seconds: float) -> None:
        """`name` is what others call it; `seconds` is about how long a lease lasts: as a standby it looks so often."""
        self._ballot = ballot
        self._clock = clock
        self._name = name
        self._seconds = seconds
        self._won: Won | None = None
        self._until = 0.0
        self._left: Won | None = None  # what the store may still believe is ours
        self._past = 0
        self._leader: Leader | None = None

    def leader(self) -> Leader | None:
        """See `Informed`."""
        return self._leader

    @property
    def held(self) -> Won | None:
        """What is held now; None where the lease has run out."""
        return self._won if self._clock.monotonic() < self._until else None

    async def terms(self) -> AsyncIterator[Term | Lost]:
        """See `waypost.adapter.Elector`. Raises AdapterError where the store cannot be asked, and nothing is held."""
        if self._won is not None:
            event: Term | Lost = await self._renewed(at_once=True)
            yield event
        while True:
            while self._won is None:
                self._won = await self._campaign()
            yield Term(self._won.number, self._until)
            while self._won is not None:
                event = await self._renewed()
                yield event

    async def close(self) -> None:
        """Give back what is held, or may be, within two seconds; what cannot be given back runs out."""
        left, self._won, self._left, self._leader = self._left, None, None, None
        if left is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ballot.release(left)
        except (AdapterError, TimeoutError) as error:
            log.warning("term=%d error=%r effect='its lease has to run out'", left.number, str(error) or "no answer")
        else:
            log.info("term=%d released", left.number)

    async def _campaign(self) -> Won | None:
        """Try once, and where another leads wait until it may be worth another try."""
        sent = self._clock.monotonic()
        found = await self._ballot.acquire(self._past)
        if isinstance(found, Won):
            self._left = found
            self._past = max(self._past, found.number)
            self._until = sent + found.seconds * SHARE
            if self._clock.monotonic() >= self._until:
                raise AdapterError("the lease that was won had run out before the answer came; it is too short")
            self._leader = Leader(self._name, found.number)
            return found
        self._leader = found.leader
        if found.leader is not None:
            self._past = max(self._past, found.leader.number)
        await _first(self._ballot.freed(found), self._clock.sleep(self._seconds))
        return None

    async def _renewed(self, *, at_once: bool = False) -> Term | Lost:
        """Wait until the lease has been renewed, or is lost."""
        won = self._won
        assert won is not None
        pause = 0.0 if at_once else won.seconds / RENEWALS
        why = "the lease was not renewed in time"
        while True:
            await self._rest(won, pause)
            sent = self._clock.monotonic()
            if sent >= self._until:
                return self._lose(why)
            try:
                async with asyncio.timeout(self._until - sent):
                    seconds = await self._ballot.renew(won)
            except (AdapterError, TimeoutError) as error:
                why = f"the lease was not renewed in time: {str(error) or 'no answer'}"
                log.warning("term=%d renewal_error=%r", won.number, str(error) or "no answer")
                pause = won.seconds / RETRIES
                continue
            if seconds is None:
                return self._lose("the lease is gone: it ran out, or somebody took it away")
            self._until = max(self._until, sent + seconds * SHARE)
            return Term(won.number, self._until)

    async def _rest(self, won: Won, pause: float) -> None:
        pause = min(pause, self._until - self._clock.monotonic())
        if pause > 0:
            try:
                await _first(self._clock.sleep(pause), self._ballot.stirred(won))
            except AdapterError as error:
                log.debug("term=%d watch_error=%r", won.number, str(error))  # the next renewal tells more
                await self._clock.sleep(min(won.seconds / RETRIES, pause))

    def _lose(self, reason: str) -> Lost:
        self._won = self._leader = None
        return Lost(reason)


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends, and raise what it raises; the others are cancelled and have ended at the return."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error
