"""An owner who publishes into a zone by the sink, and what stands there then, as strangers read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from testbed.servers import NameServer
from waypost.adapter import Change, Clock, Fence, Outcome, Record, Sink
from waypost.model import (
    Address,
    Hop,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
    family,
)
from waypost.testing.context import TestContext
from waypost_adapters.dns import SINK
from waypost_adapters.dns.config import Options

ZONE = "prod.example.com"


def instance(id: str, *addresses: str, http: int = 8080, **more: Any) -> PublishedInstance:
    """An instance with a port `http`."""
    found = tuple(Address(value, "Hostname" if family(value) == "Hostname" else "Host") for value in addresses)
    return PublishedInstance(id, found, (Port(http, "http"),), path=(Hop("test", "me"),), **more)


class Owner:
    """One installation. Its batches are as large as the sink's limit."""

    def __init__(self, sink: Sink, context: TestContext, fence: Fence | None) -> None:
        self.sink, self.context, self.fence = sink, context, fence

    def records(
        self, name: str, *instances: PublishedInstance, ttl: int | None = None, ptr: bool = False
    ) -> list[Record]:
        """What the instances become under a name."""
        key = PublicationKey("shop/web", "dns", ServiceKey("mem", "shop", "web"))
        publication = Publication(key, (PublishedName(name),), "test", self.context.owner, ttl_seconds=ttl)
        publication = msgspec.structs.replace(publication, options=Options(ptr=ptr))
        made = list(self.sink.render(publication, instances))
        assert all(isinstance(record, Record) for record in made), made
        return [record for record in made if isinstance(record, Record)]

    async def put(
        self, name: str, *instances: PublishedInstance, ttl: int | None = None, ptr: bool = False
    ) -> dict[str, Outcome]:
        """Publish; the outcomes by instance."""
        records = self.records(name, *instances, ttl=ttl, ptr=ptr)
        outcomes = await self._apply([Change(record.key, record) for record in records])
        return {record.instance: outcomes[record.key] for record in records}

    async def drop(self, name: str, *instances: PublishedInstance, ptr: bool = False) -> dict[str, Outcome]:
        """Withdraw; the outcomes by instance."""
        records = self.records(name, *instances, ptr=ptr)
        outcomes = await self._apply([Change(record.key) for record in records])
        return {record.instance: outcomes[record.key] for record in records}

    async def _apply(self, changes: Sequence[Change]) -> Mapping[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        most = self.sink.limits.records
        for start in range(0, len(changes), most):
            outcomes |= await self.sink.apply(changes[start : start + most], self.fence)
        return outcomes

    async def observed(self) -> dict[str, int]:
        """The keys that are ours, with their fingerprints."""
        return {each.key: each.fingerprint async for each in self.sink.observe()}


@asynccontextmanager
async def owner(
    server: NameServer,
    folder: Path,
    name: str = "me",
    *,
    environment: str = "test",
    key: str | None = None,
    clock: Clock | None = None,
    claim: bool = True,
    at: str = "",
    **config: Any,
) -> AsyncIterator[Owner]:
    """Open a sink on a server and claim its zone; `at`: by way of a proxy."""
    credentials = {"tsigKey": server.key if key is None else key}
    context = TestContext(folder, owner=name, environment=environment, credentials=credentials, clock=clock)
    made = {"server": at or server.address, "zone": ZONE, "timeoutSeconds": 5, "pollSeconds": 1, **config}
    async with SINK.open(msgspec.convert(made, SINK.config), context) as sink:
        yield Owner(sink, context, await sink.claim(environment, name) if claim else None)


def statuses(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Instance → status."""
    return {instance: outcome.status for instance, outcome in outcomes.items()}
