"""The source `registry`: what clients registered over HTTP, and nothing that was published here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from waypost.adapter import Changes, Context, PermanentError
from waypost.kit.store import open_store
from waypost.model import ServiceKey
from waypost_adapters.registry.clients import Clients
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.registry import Registry, use_registry

__all__ = ["RegistrySource", "open_source"]

ALIVE_SECONDS = 10.0


class RegistrySource:
    """The source. `registry` is where its clients register."""

    def __init__(self, context: Context, clients: Clients, registry: Registry) -> None:
        self._context = context
        self._clients = clients
        self.registry = registry

    async def watch(self, out: Changes) -> None:
        """Give all that is registered, then each service that changes, as it is at that time."""
        clients = self._clients
        await clients.loaded.wait()
        changed: set[ServiceKey] = set()
        clients.watchers.append(changed)
        try:
            async with out.snapshot() as snapshot:
                for key in clients.services():
                    if (service := clients.service(key)) is not None:
                        snapshot.put(service)
            while True:
                clients.stirred.clear()
                self._pass_on(out, changed)
                with suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE_SECONDS):
                        await clients.stirred.wait()
                        continue
                out.current()
        finally:
            clients.watchers.remove(changed)

    def _pass_on(self, out: Changes, changed: set[ServiceKey]) -> None:
        for key in sorted(changed):
            service = self._clients.service(key)
            if service is None:
                out.remove(key)
            else:
                out.put(service)
        changed.clear()
        suspects, self._clients.suspects = self._clients.suspects, []
        for key, instance, reason in suspects:
            out.suspect(key, instance, reason)


@asynccontextmanager
async def open_source(config: Config, context: Context) -> AsyncIterator[RegistrySource]:
    """Take registrations at the registry's address. Raises AdapterError where the port is taken."""
    async with use_registry(config, context) as registry:
        if registry.writes.attached:
            raise PermanentError(
                f"another ServiceSource has the registry at {config.listen}; give this one another `listen`"
            )
        clients = Clients(context, registry.directory)
        async with open_store(context.state_dir / "registered.db", clients.committed) as clients.store:
            loading = asyncio.create_task(clients.load(), name="registry clients")
            registry.writes.attach(clients, context.credentials, anonymous=config.anonymous_writes)
            registry.directory.registry = context.name
            registry.parts.append(clients.loaded.is_set)
            try:
                yield RegistrySource(context, clients, registry)
            finally:
                registry.parts.remove(clients.loaded.is_set)
                registry.directory.registry = ""
                registry.writes.detach()
                loading.cancel()
                with suppress(asyncio.CancelledError):
                    await loading
                clients.hide()
