"""The sink `consul`: its parts, put together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

from waypost.adapter import (
    AdapterType,
    Change,
    Context,
    Fence,
    Finding,
    Foreign,
    InvalidRecord,
    Limits,
    Mark,
    Observed,
    Outcome,
    PermanentError,
    Place,
    Record,
)
from waypost.kit.http import Http, base_url
from waypost.kit.reach import place_of, tried
from waypost.model import Publication, PublishedInstance
from waypost_adapters.consul import writing
from waypost_adapters.consul.adopting import Adopting
from waypost_adapters.consul.catalog import Catalog
from waypost_adapters.consul.client import Client, token_header
from waypost_adapters.consul.config import CREDENTIALS, Config, Options
from waypost_adapters.consul.permissions import permissions
from waypost_adapters.consul.render import render
from waypost_adapters.consul.stamp import Stamps
from waypost_adapters.consul.watching import Own, Watching

__all__ = ["SINK", "ConsulSink"]

MAX_BODY = 64 << 20  # bytes; a node's services, at some 700 bytes each
FOREIGN_AT_MOST = 100
FEW = 1_000  # records are read one by one, up to so many; else node by node
_OWNER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")


class ConsulSink:
    """Implements `waypost.adapter.Sink` on one Consul."""

    def __init__(self, config: Config, context: Context, http: Http) -> None:
        client = Client(http, config.datacenter)
        self.limits = Limits(records=31, bytes=writing.MAX_BYTES)  # of Consul before 1.14; the claim finds out
        self._client, self._config, self._environment = client, config, context.environment
        self._nodes = config.nodes
        adopting = Adopting(client, context.owner, context.clock)
        self._catalog = Catalog(client, context.owner, config.nodes, adopting)
        self._stamps = Stamps(client, context.owner, config.nodes)
        own = Own()
        self._writing = writing.Writing(client, self._stamps, self._catalog, own, adopting)
        self._watching = Watching(client, self._catalog, own, context.clock, context.random)

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return render(publication, instances, self._nodes)

    def above(self, name: str) -> Sequence[str]:
        return ()

    def canonical(self, name: str) -> str:
        """Consul keeps the case of a service's name, and finds those of any case by each, in its API and its DNS."""
        return name.lower()

    def places(self) -> Sequence[Place]:
        return [place_of(base_url(self._config.address, port=8500), self._config.tls.server_name)]

    async def examine(self) -> Sequence[Finding]:
        stamp = await tried("stamp", self._stamps.told(self._environment))
        return [stamp, *await permissions(self._client, self._stamps.key, self._catalog.nodes[0])]

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        fence = await self._stamps.claim(environment, past)
        self.limits = await self._writing.prepare()
        return fence

    async def advance(self, fence: Fence) -> Fence:
        return await self._stamps.advance(fence)

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        if keys is not None and len(keys) <= FEW:
            for key, seen in (await self._catalog.look(keys)).items():
                if (observed := self._catalog.observed(key, seen)) is not None:
                    yield observed
            return
        wanted = None if keys is None else set(keys)
        for node in self._catalog.nodes:
            async for observed in self._catalog.records(node):
                if wanted is None or observed.key in wanted:
                    yield observed
        async for observed in self._catalog.adopted():
            if wanted is None or observed.key in wanted:
                yield observed

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        found: list[Foreign] = []
        for name in sorted(names):
            if len(found) >= FOREIGN_AT_MOST:
                break
            found += await self._catalog.foreign(name, FOREIGN_AT_MOST - len(found))
        return found

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        return await self._writing.apply(batch, fence)

    async def drift(self, mark: Mark) -> None:
        await self._watching.drift(mark)


@asynccontextmanager
async def _open(config: Config, context: Context) -> AsyncIterator[ConsulSink]:
    if not _OWNER.fullmatch(context.owner):
        raise PermanentError(
            f"ownerID `{context.owner[:80]}`: the names of Consul's nodes are made of it, so it has 1 to 48 of a-z, "
            "0-9 and inner hyphens"
        )
    async with Http(
        [base_url(config.address, port=8500)],
        credentials=context.credentials,
        user_agent="waypost-consul",
        total_seconds=12,
        max_body_bytes=MAX_BODY,
        tls=config.tls,
        headers=lambda: token_header(context.credentials),
        connections=config.nodes + 16,
    ) as http:
        if http.is_plaintext_remote() and context.credentials.get("token"):
            context.warn(
                "PlainTextToken",
                "the ACL token travels unencrypted to another machine; use https://, or an agent on loopback",
            )
        yield ConsulSink(config, context, http)


SINK = AdapterType("consul", Config, _open, Options, CREDENTIALS, releases=True, adopts=True)
