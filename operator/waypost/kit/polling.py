"""A source made of any async function that lists services: a complete view each time, no error swallowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator

from waypost.adapter import AdapterError, Changes
from waypost.model import Service, ServiceKey

__all__ = ["Polling"]


class Polling:
    """Lists every `seconds`, and soon after `poll_now`; what the function raises ends `watch`: the supervisor retries.

    A list that equals the last one is told as `current()`, for it costs the catalog nothing. A service that equals its
    last form is handed on as the same object. A list function must raise where its answer is not complete; returning
    fewer means that they are gone.
    """

    def __init__(
        self,
        list_services: Callable[[], Awaitable[Iterable[Service]]],
        seconds: float,
        *,
        random: random.Random,
        timeout: float = 30.0,
        least: float = 1.0,
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
        self._hint = asyncio.Event()
        self._last: dict[ServiceKey, Service] = {}

    def poll_now(self) -> None:
        """Hint that something may have changed: list again, yet no sooner than `least` after the last. Never blocks."""
        self._hint.set()

    async def watch(self, out: Changes) -> None:
        """List for ever; the first list of each watch is a snapshot. Cancelled, it leaves no request behind."""
        first = True
        while True:
            self._hint.clear()  # a hint that comes while listing asks for another
            services = await self._read()
            if first or services != self._last:
                # Nobody puts anything beside this view, so to open it after the answer is as good as before the
                # request.
                async with out.snapshot() as snapshot:
                    for service in services.values():
                        snapshot.put(service)
                self._last, first = services, False
            else:
                out.current()
            await self._pause()

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
