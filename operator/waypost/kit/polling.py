"""A source made of any async function that lists services: a complete view each time, no error swallowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import NoReturn

from waypost.adapter import AdapterError, Changes
from waypost.kit.backoff import Backoff
from waypost.model import Service, ServiceKey

__all__ = ["Polling"]


class Polling:
    """Lists every `seconds`, and soon after `poll_now`; what the function raises ends `watch`: the supervisor retries.

    A list that equals the last one is told as `current()`, for it costs the catalog nothing. A service that equals its
    last form is handed on as the same object. A list function must raise where its answer is not complete.

    What a list no longer has is absent, which Waypost doubts before it believes. A system that says more – it still
    lists what has ended, say – gives `ended`: whether the instance of that id, which the last list had and this one has
    not, is known to have ended. Changes that lose no other instances are then told as facts, believed at once.

    A system that also tells when something happens gives `hints`, an async generator: each thing it yields lists again,
    as `poll_now` does. When it ends or raises an AdapterError it is begun anew, with backoff, and that lists again too;
    the poll remains the truth, so nothing that it misses is lost.
    """

    def __init__(
        self,
        list_services: Callable[[], Awaitable[Iterable[Service]]],
        seconds: float,
        *,
        random: random.Random,
        timeout: float = 30.0,
        least: float = 1.0,
        ended: Callable[[str], bool] | None = None,
        hints: Callable[[], AsyncGenerator[object, None]] | None = None,
    ) -> None:
        """Seconds; `timeout` bounds one listing, `least` keeps two apart however many hints come.

        Waits vary by a tenth at random, so that many sources do not ask at once. Raises ValueError.
        """
        if not 0 < least <= seconds:
            raise ValueError(
                f"a poll every {seconds} s, but at least {least} s apart: neither may be 0, nor the first be less"
            )
        self._list = list_services
        self._seconds = seconds
        self._random = random
        self._timeout = timeout
        self._least = least
        self._ended = ended
        self._hints = hints
        self._hint = asyncio.Event()
        self._last: dict[ServiceKey, Service] = {}

    def poll_now(self) -> None:
        """Hint that something may have changed: list again, yet no sooner than `least` after the last. Never blocks."""
        self._hint.set()

    async def watch(self, out: Changes) -> None:
        """List for ever; the first list of each watch is a snapshot. Cancelled, it leaves no request behind."""
        if self._hints is None:
            await self._poll(out)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="hints")
                await self._poll(out)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the poll's, else the hints'

    async def _follow(self) -> None:
        """Turn what `hints` yields into hints."""
        assert self._hints is not None
        backoff = Backoff(self._random, first=self._seconds, limit=max(30.0, self._seconds))
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            with suppress(AdapterError):
                async with aclosing(self._hints()) as hints:
                    async for _ in hints:
                        self.poll_now()
            await asyncio.sleep(backoff.failed(loop.time() - began))
            self.poll_now()  # what happened meanwhile was not told

    async def _poll(self, out: Changes) -> NoReturn:
        first = True
        while True:
            self._hint.clear()  # a hint that comes while listing asks for another
            services = await self._read()
            if first or not self._tell(out, services):
                # Nobody puts anything beside this view, so to open it after the answer is as good as before the
                # request.
                async with out.snapshot() as snapshot:
                    for service in services.values():
                        snapshot.put(service)
            self._last, first = services, False
            await self._pause()

    def _tell(self, out: Changes, services: dict[ServiceKey, Service]) -> bool:
        """Tell as facts what is one; return whether that was all there is to tell."""
        if services == self._last:
            out.current()
            return True
        if self._ended is None:
            return False
        whole = True
        for key in [*services, *(key for key in self._last if key not in services)]:
            last, now = self._last.get(key), services.get(key)
            if last is now:
                continue
            if last is not None and not all(map(self._ended, _lost(last, now))):
                whole = False
            elif now is None:
                out.remove(key)
            else:
                out.put(now)
        return whole

    async def _read(self) -> dict[ServiceKey, Service]:
        bound = asyncio.timeout(self._timeout)
        try:
            async with bound:
                return dict(self._kept(await self._list()))
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise AdapterError(
                f"listing the services took more than {self._timeout:g} s; what is known is kept"
            ) from error

    def _kept(self, listed: Iterable[Service]) -> Iterator[tuple[ServiceKey, Service]]:
        for service in listed:
            last = self._last.get(service.key)
            yield service.key, last if last is not None and last == service else service

    async def _pause(self) -> None:
        await asyncio.sleep(self._least)
        rest = self._seconds * self._random.uniform(0.9, 1.1) - self._least
        try:
            async with asyncio.timeout(max(0.0, rest)):
                await self._hint.wait()
        except TimeoutError:
            return


def _lost(last: Service, now: Service | None) -> set[str]:
    return {each.id for each in last.instances} - {each.id for each in (now.instances if now is not None else ())}
