"""The sink: what the contract asks for, on top of one zone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from waypost.adapter import (
    AdapterError,
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
    Place,
    Record,
    fingerprint,
)
from waypost.kit import dnsnames
from waypost.kit.reach import tried
from waypost.model import Publication, PublishedInstance
from waypost_adapters.dns import layout, wire
from waypost_adapters.dns.client import Client
from waypost_adapters.dns.config import Config, server_place
from waypost_adapters.dns.draft import Step, kind
from waypost_adapters.dns.mirror import Mirror, Seen
from waypost_adapters.dns.zone import Zone

__all__ = ["DnsSink"]

MOST_FOREIGN = 100
SLICE = 200  # records looked at before others have their turn
ALTERED = b"\0altered"  # makes the fingerprint of a record that is not as it was written


class DnsSink:
    """Records of one owner in one zone."""

    limits = Limits(records=100, bytes=60_000, in_flight=4)

    def __init__(self, config: Config, context: Context, client: Client) -> None:
        self._config = config
        self._context = context
        self._client = client
        self._zone = Zone(dnsnames.name(config.zone, underscore=True), client, context)

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: Config, context: Context) -> AsyncIterator[Self]:
        """Open it; nothing is connected yet."""
        client = Client(config, context)
        try:
            yield cls(config, context, client)
        finally:
            await client.close()

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return layout.render(publication, instances, self._zone.name, self._config.ttl_seconds)

    def above(self, name: str) -> Sequence[str]:
        return ()

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        return await self._zone.claim(past)

    async def advance(self, fence: Fence) -> Fence:
        return await self._zone.advance(fence)

    # --- for people who look whether all is well

    def places(self) -> Sequence[Place]:
        return [Place(*server_place(self._config.server))]

    async def examine(self) -> Sequence[Finding]:
        return [await tried("stamp", self._zone.told()), await tried("write", self._zone.may_write())]

    # --- reading

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        mirror = await self._zone.read()
        if keys is None:
            names = list(mirror.owned)
        else:
            given = (layout.key_name(key, self._zone.apex) for key in dict.fromkeys(keys))
            names = [name for name in given if name in mirror.owned]
        sets: dict[tuple[bytes, int], Seen] = {}
        for number, own in enumerate(names):
            if (seen := self._observed(mirror, own, sets)) is not None:
                yield seen
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    def _observed(self, mirror: Mirror, own: bytes, sets: dict[tuple[bytes, int], Seen]) -> Observed | None:
        entry, text = mirror.entry(own)
        whose = entry.ownership() if entry is not None and entry.owner == mirror.quoted_owner else None
        if entry is None or text is None or whose is None:
            return None
        content = text if mirror.whole(own, entry, sets) else text + ALTERED
        return Observed(
            entry.key,
            fingerprint(content),
            whose.registration,
            whose.entry,
            whose.service,
            whose.instance,
            entry.name,
            entry.ready,
        )

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        mirror = await self._zone.read()
        found: list[Foreign] = []
        for name in dict.fromkeys(names):
            try:
                at = dnsnames.encode(dnsnames.name(name))[:-1] + self._zone.apex
            except dnsnames.BadName:
                continue
            found += self._foreign(mirror, name, at)
            if len(found) >= MOST_FOREIGN:
                break
        return found[:MOST_FOREIGN]

    def _foreign(self, mirror: Mirror, name: str, at: bytes) -> Iterator[Foreign]:
        theirs: set[tuple[bytes, int, bytes]] = set()
        for entry in mirror.strangers(at):
            whose = entry.ownership()
            theirs |= {(want.name, want.type, want.rdata) for want in layout.wants(entry, mirror.apex)}
            summary = (
                f"{entry.registration}[{entry.entry}] of {entry.service}: {','.join(entry.addresses) or entry.host}"
            )
            yield Foreign(entry.key, name, whose.owner if whose else "", summary[:200])
        for rrset in mirror.nodes.get(at, ()):
            wanted = mirror.wanted(at, rrset.type)
            for rdata in rrset.rdatas:
                if rdata not in wanted and (at, rrset.type, rdata) not in theirs:
                    yield Foreign(
                        f"{name} {kind(rrset.type)}",
                        name,
                        "",
                        f"{kind(rrset.type)} {wire.shown(rrset.type, rdata)}"[:200],
                    )

    # --- writing

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        if fence is None:
            raise AdapterError("the sink `dns` fences its writes: claim it first")
        outcomes: dict[str, Outcome] = {}
        steps: list[Step] = []
        for change in batch:
            made = self._step(change)
            if isinstance(made, Outcome):
                outcomes[change.key] = made
            else:
                steps.append(made)
        return outcomes | await self._zone.write(steps, fence) if steps else outcomes

    def _step(self, change: Change) -> Step | Outcome:
        own = layout.key_name(change.key, self._zone.apex)
        if own is None:
            return Outcome("invalid", "the key is none of this sink's")
        if change.record is None:
            return Step(change.key, own, None)
        entry = layout.decode(change.record.content)
        if entry is None or entry.key != change.key or entry.owner != self._zone.quoted_owner:
            return Outcome("conflict", "the record is not of this sink's owner and key")
        return Step(change.key, own, entry, change.record.content)

    # --- what others change

    async def drift(self, mark: Mark) -> None:
        """Mark what others wrote or deleted, by the zone's own log; our own writes are left out."""
        while True:
            await self._context.clock.sleep(self._config.poll_seconds)
            marked: set[str] | None = set()

            def touched(name: bytes, type: int) -> None:
                nonlocal marked
                if type == wire.ANY_TYPE:
                    marked = None
                elif marked is not None:
                    marked |= self._keys_at(name, type)

            await self._zone.read(touched)
            if marked is None or marked:
                mark(marked)

    def _keys_at(self, name: bytes, type: int) -> set[str]:
        """Return the keys that a changed record may be about."""
        owns = {name} if layout.OWN.match(name) else set()
        mirror = self._zone.mirror
        if mirror is not None:
            for entries in mirror.wanted(name, type).values():
                owns |= set(entries)
        return {key for own in owns if (key := layout.name_key(own, self._zone.apex))}
