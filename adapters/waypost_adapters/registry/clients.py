"""What clients registered themselves.

Checked, kept in a store, shown by the directory, and told to the source's watchers.

An instance with a TTL is ready only while heartbeats come; one that stops coming is shown as not ready, never removed:
the next heartbeat brings it back. After a restart each has a whole TTL to be heard again.
"""

from __future__ import annotations

import asyncio
from base64 import b32hexencode
from collections.abc import Mapping, Sequence

import msgspec

from waypost.adapter import AdapterError, Change, Context, Fence, NotClaimed, Record
from waypost.kit.store import Row, Store
from waypost.model import Address, Instance, Port, Readiness, Service, ServiceKey, family
from waypost_adapters.registry.directory import Directory, NameKey
from waypost_adapters.registry.heartbeats import Heartbeats
from waypost_adapters.registry.shown import Shown, shown

__all__ = ["Clients", "Registered"]

OWNER = "clients"
MAX_INSTANCES = 100_000
_canonical = msgspec.json.Encoder(order="deterministic")


class Registered(msgspec.Struct, frozen=True, gc=False):
    """An instance as its client registered it. `port` 0: none; `ttl` 0: needs no heartbeat."""

    namespace: str
    name: str
    id: str
    host: str
    port: int = 0
    endpoint: str = ""
    weight: int = 1
    readiness: Readiness = "ready"
    zone: str = ""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    ttl: int = 0


_decoder = msgspec.json.Decoder(Registered)


class Clients:
    """All of them, by id; an id is unique in the registry.

    `changed` is called with each service that is another now.
    """

    def __init__(self, context: Context, directory: Directory) -> None:
        self.store: Store
        self.known: dict[str, Registered] = {}
        self.loaded = asyncio.Event()
        self.watchers: list[set[ServiceKey]] = []
        self.suspects: list[tuple[ServiceKey, str, str]] = []
        self.stirred = asyncio.Event()
        self._context = context
        self._directory = directory
        self._fence: Fence | None = None
        self._by_service: dict[ServiceKey, set[str]] = {}
        self._heartbeats = Heartbeats(context.clock)

    def new_id(self) -> str:
        """Return an id that nobody has."""
        return b32hexencode(self._context.random.getrandbits(80).to_bytes(10, "big")).decode().lower()

    async def put(self, registered: Registered) -> None:
        """Keep an instance: on disk when this returns. Raises AdapterError: nothing was kept."""
        if registered.id not in self.known and len(self.known) >= MAX_INSTANCES:
            raise AdapterError(f"the registry is full: {MAX_INSTANCES} instances are registered")
        content = _canonical.encode(registered)
        id = registered.id
        await self._write(Change(id, Record(id, id, content, registered.name)))
        self.heartbeat(registered.id)

    async def remove(self, id: str) -> None:
        """Remove an instance."""
        await self._write(Change(id))

    def heartbeat(self, id: str) -> None:
        """Take note that an instance lives; bring it back where it was silent."""
        registered = self.known[id]
        if self._heartbeats.heard(id, registered.ttl):
            self._show(registered)

    def suspect(self, id: str, reason: str) -> None:
        """Pass on that a consumer could not connect: it is checked and counted, and nothing is removed."""
        registered = self.known[id]
        name = self._directory.find(registered.name, registered.namespace, self._context.environment)
        if name is not None:
            name.failures[id] = name.failures.get(id, 0) + 1
        self._context.metrics.count("registry_failures_reported")
        if len(self.suspects) < 1_000:
            self.suspects.append((self._key(registered), id, reason))
        self.stirred.set()

    def service(self, key: ServiceKey) -> Service | None:
        """Return a service as it is now; None where no instance is registered."""
        ids = self._by_service.get(key)
        if not ids:
            return None
        return Service(key, instances=tuple(self._instance(self.known[id]) for id in sorted(ids)))

    def services(self) -> list[ServiceKey]:
        """Return all services."""
        return sorted(self._by_service)

    def committed(self, rows: Sequence[Row]) -> None:
        """Show what the store has committed."""
        for row in rows:
            if row.content is None:
                self._forget(row.key)
                continue
            registered = _decoder.decode(row.content)
            before = self.known.get(registered.id)
            if before is not None and self._key(before) != self._key(registered):
                self._forget(row.key)
            self.known[registered.id] = registered
            self._by_service.setdefault(self._key(registered), set()).add(registered.id)
            self._show(registered)

    async def load(self) -> None:
        """Show all that was registered before, then turn to silence as time passes, until cancelled."""
        while not self.loaded.is_set():
            try:
                after = ""
                while rows := await self.store.page(after):
                    self.committed(rows)
                    after = rows[-1].key
                self.loaded.set()
            except AdapterError as error:
                self._context.log.warning("registered instances cannot be read, tried again error=%s", error)
                await self._context.clock.sleep(1.0)
        for id in self.known:
            self.heartbeat(id)
        while True:
            silent = await self._heartbeats.next_silent()
            if (registered := self.known.get(silent)) is not None:
                self._show(registered)

    async def _write(self, change: Change) -> None:
        for _ in range(2):
            if self._fence is None:
                self._fence = await self.store.claim(self._context.environment, OWNER, 0)
            try:
                outcome = (await self.store.apply(OWNER, [change], self._fence))[change.key]
            except NotClaimed:
                self._fence = None
                continue
            if outcome.status != "applied":
                raise AdapterError(f"not kept: {outcome.status} {outcome.reason}")
            return
        raise AdapterError("not kept: the store's stamp vanishes")

    def hide(self) -> None:
        """Show none of them any more."""
        for id in list(self.known):
            self._forget(id)

    def _forget(self, id: str) -> None:
        if (registered := self.known.pop(id, None)) is None:
            return
        service = self._key(registered)
        ids = self._by_service[service]
        ids.discard(id)
        if not ids:
            del self._by_service[service]
        self._heartbeats.forget(id)
        self._directory.register(self._place(registered), id, None)
        self._tell(service)

    def _show(self, registered: Registered) -> None:
        self._directory.register(self._place(registered), registered.id, self._shown(registered))
        self._tell(self._key(registered))

    def _tell(self, service: ServiceKey) -> None:
        for watcher in self.watchers:
            watcher.add(service)
        self.stirred.set()

    def _key(self, registered: Registered) -> ServiceKey:
        return ServiceKey(self._context.name, registered.namespace, registered.name)

    def _place(self, registered: Registered) -> NameKey:
        return NameKey(self._context.environment, registered.namespace, registered.name)

    def _readiness(self, registered: Registered) -> Readiness:
        if registered.id in self._heartbeats.silent and registered.readiness == "ready":
            return "not-ready"
        return registered.readiness

    def _instance(self, registered: Registered) -> Instance:
        labels = dict(registered.metadata)
        if registered.endpoint:
            labels.setdefault("endpoint", registered.endpoint)
        return Instance(
            registered.id,
            (Address(registered.host, "Hostname" if family(registered.host) == "Hostname" else "Host"),),
            (Port(registered.port),) if registered.port else (),
            self._readiness(registered),
            registered.weight,
            zone=registered.zone,
            labels=labels,
        )

    def _shown(self, registered: Registered) -> Shown:
        return shown(
            id=registered.id,
            source="",
            host=registered.host,
            ports=(("", "tcp", registered.port),) if registered.port else (),
            endpoint=registered.endpoint,
            readiness=self._readiness(registered),
            weight=registered.weight,
            zone=registered.zone,
            metadata=registered.metadata,
        )
