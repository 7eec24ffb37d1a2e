"""One object for all who use the same key: opened with its first user, closed with its last.

So a registry's source and its sink have one store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, cast

__all__ = ["Shared"]

A = TypeVar("A")


class Shared:
    """The shared objects of one process (or of one test). Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    @asynccontextmanager
    async def use(self, key: str, factory: Callable[[], AbstractAsyncContextManager[A]]) -> AsyncIterator[A]:
        """Give the object of that key; the first user's factory makes it, further ones wait. What it raises, all get.

        Each object lives in a task of its own, so that a TaskGroup in it belongs to no user and outlives whichever
        came first. The last user's exit waits until it is closed, also when cancelled, and raises what closing raised.
        """
        while (held := self._held.get(key)) is not None and held.closing:
            await asyncio.wait([held.task])
        if held is None:
            held = self._held[key] = _Held()
            held.task = asyncio.create_task(self._hold(key, held, factory), name=f"shared {key}")
        held.users += 1
        try:
            yield cast("A", await asyncio.shield(held.ready))
        finally:
            held.users -= 1
            if not held.users:
                held.closing = True
                held.released.set()
                if not held.ready.done():
                    held.task.cancel()
                await _finish(held.task)

    async def _hold(self, key: str, held: _Held, factory: Callable[[], AbstractAsyncContextManager[A]]) -> None:
        try:
            async with factory() as opened:
                held.ready.set_result(opened)
                await held.released.wait()
        except BaseException as error:
            if held.ready.done():
                raise
            if isinstance(error, Exception):
                held.ready.set_exception(error)
                held.ready.exception()  # asked for here: who would have asked may be gone
            else:
                held.ready.cancel()
        finally:
            if self._held.get(key) is held:
                del self._held[key]


class _Held:
    """One object, its task and how many use it."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.released = asyncio.Event()
        self.task: asyncio.Task[None]
        self.users = 0
        self.closing = False


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for the task to end whatever comes; then raise what it raised, or the cancellation that came meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    if not task.cancelled():
        task.result()
