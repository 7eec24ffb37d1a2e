"""One registry: what a source and the sinks that say the same `listen` share.

A directory, and the server that answers from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiohttp import web

from waypost.adapter import Context, PermanentError
from waypost.kit.serve import Serving, serve, server_tls
from waypost_adapters.registry.api import Api
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.directory import Directory
from waypost_adapters.registry.writes import Writes

__all__ = ["Registry", "use_registry"]


class Registry:
    """The shared part.

    `parts` say whether they know all of theirs; while one does not, nothing is told to be absent.
    """

    def __init__(self, config: Config, directory: Directory) -> None:
        self.config = config
        self.directory = directory
        self.parts: list[Callable[[], bool]] = []
        self.writes = Writes()
        self.serving: Serving

    def known(self) -> bool:
        """Whether what is not found is not there."""
        return bool(self.parts) and all(part() for part in self.parts)

    def routes(self) -> list[web.RouteDef]:
        """Return all that is served."""
        return [*Api(self.directory, self.known).routes(), *self.writes.routes()]


@asynccontextmanager
async def use_registry(config: Config, context: Context) -> AsyncIterator[Registry]:
    """Use the registry of that address. Raises PermanentError where another resource has it with other TLS settings."""
    shared: AbstractAsyncContextManager[Registry] = context.shared(
        f"registry {config.listen}", lambda: _open(config, context)
    )
    async with shared as registry:
        if registry.config.tls != config.tls:
            raise PermanentError(
                f"another resource has the registry at {config.listen} with another `tls`: give both the same, or "
                "this one another `listen`"
            )
        yield registry


@asynccontextmanager
async def _open(config: Config, context: Context) -> AsyncIterator[Registry]:
    registry = Registry(config, Directory(context.random, int(context.clock.wall() * 1000)))
    tls = server_tls(context.credentials, config.tls) if config.tls is not None else None
    async with serve(registry.routes(), config.listen, log=context.log, tls=tls) as registry.serving:
        yield registry
