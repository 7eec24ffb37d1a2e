"""The sink: what the contract asks for, on top of a zone and those of reverse names beside it."""

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
from waypost_adapters.dns import layout, telling, wire
from waypost_adapters.dns.client import Client
from waypost_adapters.dns.config import Config, server_place
from waypost_adapters.dns.draft import Step
from waypost_adapters.dns.layout import Entry
from waypost_adapters.dns.mirror import Mirror, Seen
from waypost_adapters.dns.render import Renderer
from waypost_adapters.dns.work import write
from waypost_adapters.dns.zone import MOST_TRIES, Zone

__all__ = ["DnsSink"]

MOST_FOREIGN = 100
SLICE = 200  # records looked at before others have their turn
ALTERED = b"\0altered"  # makes the fingerprint of a record that is not as it was written


class DnsSink:
    """Records of one owner in one zone; PTR records, where they are asked for, are records of other zones."""

    canonical = staticmethod(dnsnames.canonical)
    limits = Limits(records=150, bytes=25_000, in_flight=4)  # about a message, which has twice as much beside the texts

    def __init__(self, config: Config, context: Context, client: Client) -> None:
        self._config = config
        self._context = context
        self._client = client
        self._zone = Zone(dnsnames.name(config.zone, underscore=True), client, context)
        self._reverse = tuple(
            Zone(dnsnames.name(each, underscore=True), client, context, reverse=True)
            for each in dict.fromkeys(config.reverse_zones)
        )
        self._zones = (self._zone, *self._reverse)
        reverse = [zone.name for zone in self._reverse]
        self._renderer = Renderer(self._zone.name, config.ttl_seconds, reverse)

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
        return self._renderer.render(publication, instances)

    def above(self, name: str) -> Sequence[str]:
        return ()

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        for _ in range(MOST_TRIES):
            epochs = [await zone.epoch() for zone in self._zones]  # all are read before anything is written
            epoch = max(past, *epochs) + 1
            for zone in self._zones:
                if not await zone.claim(epoch):
                    break  # somebody else claims at the same time
            else:
                return Fence(epoch)
        raise AdapterError("others claim the same zones all the time")

    async def advance(self, fence: Fence) -> Fence:
        generation = max([await zone.generation(fence) for zone in self._zones]) + 1
        for zone in self._zones:
            await zone.advance(fence, generation)
        return Fence(fence.epoch, generation)

    def _zone_of(self, key: str) -> Zone | None:
        """Return the zone in which the record of this key is: the longest that has its name, where it is absolute."""
        name, slash, _ = key.rpartition("/")
        if not slash:
            return None
        if not name.endswith("."):
            return self._zone
        fitting = (zone for zone in self._reverse if dnsnames.within(name, zone.name))
        return max(fitting, key=lambda zone: len(zone.name), default=None)

    # --- for people who look whether all is well

    def places(self) -> Sequence[Place]:
        return [Place(*server_place(self._config.server))]

    async def examine(self) -> Sequence[Finding]:
        stamps = [await tried("stamp", zone.told()) for zone in self._zones]
        return [*stamps, *[await tried("write", zone.may_write()) for zone in self._zones]]

    # --- reading

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        for zone in self._zones:
            chosen = None if keys is None else [key for key in dict.fromkeys(keys) if self._zone_of(key) is zone]
            if chosen == []:
                continue
            mirror = await zone.read()
            if chosen is None:
                names = list(mirror.owned)
            else:
                names = [name for key in chosen if (name := layout.key_name(key, zone.apex)) in mirror.owned]
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
            self._published(entry),
            entry.ready,
        )

    def _published(self, entry: Entry) -> str:
        """Return the published name."""
        if not entry.ptr:
            return entry.name
        return layout.APEX if entry.ptr == self._zone.name else entry.ptr.removesuffix(f".{self._zone.name}")

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        mirror = await self._zone.read()
        found: list[Foreign] = []
        for name in dict.fromkeys(names):
            try:
                at = layout.place(name if name == layout.APEX else dnsnames.name(name), self._zone.apex)
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
                        f"{name} {telling.kind(rrset.type)}",
                        name,
                        "",
                        f"{telling.kind(rrset.type)} {telling.data(rrset.type, rdata)}"[:200],
                    )

    # --- writing

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        if fence is None:
            raise AdapterError("the sink `dns` fences its writes: claim it first")
        outcomes: dict[str, Outcome] = {}
        steps: dict[str, list[Step]] = {}
        for change in batch:
            where, made = self._step(change)
            if isinstance(made, Outcome):
                outcomes[change.key] = made
            else:
                steps.setdefault(where, []).append(made)
        wrote = False  # or may have
        for zone in self._zones:
            given = steps.get(zone.name, [])
            try:
                outcomes |= await write(zone, given, fence) if given else {}
            except AdapterError as error:
                if not wrote:
                    raise
                outcomes |= {step.key: Outcome("superseded", f"not written: {error}") for step in given}
            wrote = wrote or any(outcomes[step.key].status in {"applied", "unknown"} for step in given)
        return outcomes

    def _step(self, change: Change) -> tuple[str, Step | Outcome]:
        zone = self._zone_of(change.key)
        own = layout.key_name(change.key, zone.apex) if zone is not None else None
        if zone is None or own is None:
            return "", Outcome("invalid", "the key is none of this sink's")
        if change.record is None:
            return zone.name, Step(change.key, own, None, release=change.release)
        entry = layout.decode(change.record.content)
        if entry is None or entry.key != change.key or entry.owner != zone.quoted_owner:
            return "", Outcome("conflict", "the record is not of this sink's owner and key")
        return zone.name, Step(change.key, own, entry, change.record.content, adopt=change.adopt)

    # --- what others change

    async def drift(self, mark: Mark) -> None:
        """Mark what others wrote or deleted, by the zones' own logs; our own writes are left out."""
        while True:
            await self._context.clock.sleep(self._config.poll_seconds)
            for zone in self._zones:
                if (marked := await self._drifted(zone)) is None or marked:
                    mark(marked)

    async def _drifted(self, zone: Zone) -> set[str] | None:
        """Return the keys in a zone that others may have changed since it was read; None: any."""
        marked: set[str] | None = set()

        def touched(name: bytes, type: int) -> None:
            nonlocal marked
            if type == wire.ANY_TYPE:
                marked = None
            elif marked is not None:
                marked |= _keys_at(zone, name, type)

        await zone.read(touched)
        return marked


def _keys_at(zone: Zone, name: bytes, type: int) -> set[str]:
    """Return the keys that a changed record may be about."""
    owns = {name} if layout.OWN.match(name) else set()
    if zone.mirror is not None:
        for entries in zone.mirror.wanted(name, type).values():
            owns |= set(entries)
    return {layout.name_key(own, zone.apex, absolute=zone.reverse) for own in owns}
