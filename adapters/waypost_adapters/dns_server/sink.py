"""The sink `dns_server`: records in a store of its own, answered by a process of its own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from waypost.adapter import (
    AdapterError,
    Change,
    Context,
    Fence,
    Finding,
    Foreign,
    InvalidRecord,
    Limits,
    Observed,
    Outcome,
    PermanentError,
    Record,
    fingerprint,
)
from waypost.kit import dnsnames
from waypost.kit.listen import Listen, bind_stream_and_datagram, bound, parse_listen
from waypost.kit.ownership import Ownership
from waypost.kit.reach import tried
from waypost.kit.store import Store, open_store
from waypost.model import Publication, PublishedInstance
from waypost_adapters.dns_server import layout
from waypost_adapters.dns_server.config import Config
from waypost_adapters.dns_server.feed import Feed, feeding
from waypost_adapters.dns_server.process import Settings

__all__ = ["DnsServerSink", "open_sink"]

SWAP_SECONDS = 15.0


class _Head(msgspec.Struct, frozen=True, gc=False):
    name: str
    ready: bool
    ownership: dict[str, str]


_decoder = msgspec.json.Decoder(_Head)


class DnsServerSink:
    """The sink. `listening` is where it answers; `feed` the process behind it."""

    limits = Limits(records=256, bytes=1_000_000, in_flight=4)
    namespaced = True
    canonical = staticmethod(dnsnames.canonical)

    def __init__(self, context: Context, zone: str, ttl: int, store: Store, feed: Feed, listening: Listen) -> None:
        self._context = context
        self._zone = zone
        self._ttl = ttl
        self._store = store
        self.feed = feed
        self.listening = listening

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return layout.render(publication, instances, self._zone, self._ttl)

    def above(self, name: str) -> Sequence[str]:
        return ()

    async def examine(self) -> Sequence[Finding]:
        return [await tried("stamp", self._store.stamp(self._context.environment, self._context.owner))]

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        return await self._store.claim(environment, owner, past)

    async def advance(self, fence: Fence) -> Fence:
        return await self._store.advance(self._context.owner, fence)

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        async for row in self._store.owned(self._context.owner, keys):
            assert row.content is not None
            try:
                head = _decoder.decode(row.content)
            except msgspec.DecodeError as error:
                raise AdapterError(f"the stored record {row.key!r} cannot be read: {error}") from error
            if (own := Ownership.decode(head.ownership)) is not None:
                yield Observed(
                    row.key,
                    fingerprint(row.content),
                    own.registration,
                    own.entry,
                    own.service,
                    own.instance,
                    row.name,
                    head.ready,
                )

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        return await self._store.foreign(self._context.owner, names, as_dns=True)

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write; applied means on disk, and swapped in by the DNS process."""
        outcomes = await self._store.apply(self._context.owner, batch, fence)
        try:
            async with asyncio.timeout(SWAP_SECONDS):
                await self.feed.swapped()
        except TimeoutError:
            late = Outcome(
                "unknown", f"on disk, but the DNS process did not say within {SWAP_SECONDS:g} s that it answers so"
            )
            return {key: late if outcome.status == "applied" else outcome for key, outcome in outcomes.items()}
        return outcomes


@asynccontextmanager
async def open_sink(config: Config, context: Context) -> AsyncIterator[DnsServerSink]:
    """Bind, start the DNS process, and answer from what the last run published.

    Raises AdapterError where the port is taken.
    """
    zone = _zone(config.zone)
    stream, datagram = bind_stream_and_datagram(parse_listen(config.listen))
    with stream, datagram:
        listening = bound(stream)
        servers = () if listening.wildcard else (ipaddress.ip_address(listening.host).packed.hex(),)
        settings = Settings(datagram.fileno(), stream.fileno(), zone, config.ttl_seconds, servers)
        stream.listen(128)
        feed = Feed(context, settings, (stream, datagram))
        async with open_store(context.state_dir / "published.db", feed.committed) as store, feeding(feed, store):
            context.log.info("answering DNS address=%s zone=%s known=%s", listening, zone, store.known)
            yield DnsServerSink(context, zone, config.ttl_seconds, store, feed, listening)


def _zone(text: str) -> str:
    try:
        zone = dnsnames.name(text)
    except dnsnames.BadName as error:
        raise PermanentError(f"config.zone: {error}; expected a domain name, as waypost.test.") from None
    if len(zone) > 150:
        raise PermanentError(f"config.zone: {len(zone)} characters; 150 are possible, so that names below it have room")
    return zone
