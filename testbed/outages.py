"""While a block runs, a server is away, or takes what it is sent and does not answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from testbed.process import Server

Act = Callable[[], Awaitable[object]]


class Way(Protocol):
    """A proxy, in this loop or in another."""

    async def refuse(self) -> None:
        """Refuse connections."""

    async def hang(self) -> None:
        """Let nothing through, in either direction."""

    async def heal(self) -> None:
        """Let everything through."""


@asynccontextmanager
async def _between(first: Act, *last: Act) -> AsyncIterator[None]:
    await first()
    try:
        yield
    finally:
        for each in last:
            await each()


def stopped(server: Server) -> AbstractAsyncContextManager[None]:
    """Stop a server; it starts again with its state."""
    return _between(server.stop, server.start)


def paused(server: Server) -> AbstractAsyncContextManager[None]:
    """SIGSTOP a server; it is awake and ready afterwards."""
    return _between(server.pause, server.resume, server.ready)


def refusing(way: Way) -> AbstractAsyncContextManager[None]:
    """Refuse connections."""
    return _between(way.refuse, way.heal)


def hanging(way: Way) -> AbstractAsyncContextManager[None]:
    """Let nothing through."""
    return _between(way.hang, way.heal)
