"""A source whose services the test sets, with faults."""

from __future__ import annotations

import asyncio

from waypost.adapter import AdapterError, Changes
from waypost.model import Service, ServiceKey

__all__ = ["MemorySource"]


class MemorySource:
    """A source whose services the test sets. Facts reach a running watch at once; several watches may run.

    Faults: `fail`, `recover`, `hang`, `partial`, `silent`.
    """

    def __init__(self) -> None:
        self.services: dict[ServiceKey, Service] = {}
        self.read_seconds = (
            0.0  # how long the answer to a snapshot's request takes; it shows the state at its beginning
        )
        self.silent = False  # true: facts are swallowed, as by a connection that is dead and does not know it
        self.watches = 0
        self._unknown: frozenset[str] = frozenset()
        self._outs: list[Changes] = []
        self._down: BaseException | None = None
        self._partial: int | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._asked = 0
        self._stir = asyncio.Event()

    # --- what the test does

    def set(self, *services: Service) -> None:
        """Set services, and state each as a fact."""
        for service in services:
            self.services[service.key] = service
            for out in self._heard():
                out.put(service)

    def delete(self, *keys: ServiceKey) -> None:
        """Delete services, and state each as a fact."""
        for key in keys:
            del self.services[key]
            for out in self._heard():
                out.remove(key)

    def set_quietly(self, *services: Service) -> None:
        """Set services that only the next snapshot shows."""
        self.services.update((service.key, service) for service in services)

    def delete_quietly(self, *keys: ServiceKey) -> None:
        """Delete services, of which only the next snapshot tells."""
        for key in keys:
            del self.services[key]

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """Ask for a check."""
        for out in self._heard():
            out.suspect(key, instance, reason)

    def current(self) -> None:
        """Say that nothing has changed."""
        for out in self._heard():
            out.current()

    def snapshot_now(self) -> None:
        """Make every watch read a new snapshot."""
        self._asked += 1
        self._wake()

    def unknown_nodes(self, *nodes: str) -> None:
        """Name these nodes as unknown in snapshots from now on."""
        self._unknown = frozenset(nodes)

    def fail(self, error: BaseException | None = None) -> None:
        """Break every watch, and each further one, until `recover`."""
        self._down = error if error is not None else AdapterError("the source is down")
        self._wake()

    def recover(self) -> None:
        """End `fail`, `hang`, `partial` and `silent`."""
        self._down, self._partial, self.silent = None, None, False
        self._readable.set()

    def hang(self) -> None:
        """Let snapshots that are read from now on never come, until `recover`."""
        self._readable.clear()

    def partial(self, services: int) -> None:
        """Let snapshots break after that many services, until `recover`."""
        self._partial = services

    # --- the adapter

    async def watch(self, out: Changes) -> None:
        """Read a snapshot, then pass facts on until cancelled or told to fail."""
        self.watches += 1
        try:
            while True:
                asked = self._asked
                if self._down is not None:
                    raise self._down
                await self._snapshot(out)
                while self._asked == asked and self._down is None:
                    await self._stir.wait()
        finally:
            self.watches -= 1
            if out in self._outs:
                self._outs.remove(out)

    async def _snapshot(self, out: Changes) -> None:
        async with out.snapshot() as snapshot:
            if out not in self._outs:
                self._outs.append(out)
            services = list(self.services.values())
            snapshot.unknown_nodes(self._unknown)
            await asyncio.sleep(self.read_seconds)
            await self._readable.wait()
            for number, service in enumerate(services):
                if self._partial is not None and number >= self._partial:
                    break
                snapshot.put(service)
            if self._down is not None:
                raise self._down
            if self._partial is not None:
                raise AdapterError(f"the answer broke off after {self._partial} services")

    def _heard(self) -> tuple[Changes, ...]:
        return () if self.silent or self._down is not None else tuple(self._outs)

    def _wake(self) -> None:
        self._stir.set()
        self._stir = asyncio.Event()
