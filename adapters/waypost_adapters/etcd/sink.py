"""The sink: claims, observes, inspects, writes and watches one prefix (or zone) of an etcd.

What is written is in `layout_json` and `layout_skydns`, how it is written in `transaction`, who may write in `stamp`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from yarl import URL

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
    PermanentError,
    Place,
    Record,
)
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import wire
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.endpoint import endpoints
from waypost.kit.etcd.faults import Compacted
from waypost.kit.etcd.scan import scan
from waypost.kit.etcd.watch import watch
from waypost.kit.reach import place_of, tried
from waypost.model import Publication, PublishedInstance
from waypost_adapters.etcd import EtcdConfig, members_of
from waypost_adapters.etcd.layout_json import JsonLayout, segment
from waypost_adapters.etcd.layout_skydns import SkydnsLayout
from waypost_adapters.etcd.own_writes import OwnWrites
from waypost_adapters.etcd.stamp import Stamp, judge, read, stamp_key, stamps
from waypost_adapters.etcd.transaction import Terms, write

__all__ = ["EtcdSink"]

CLAIM_TRIES = 10
MOST_FOREIGN = 100
KEYS_AT_ONCE = 100  # read in one transaction


def _layout(config: EtcdConfig, owner: str) -> JsonLayout | SkydnsLayout:
    if config.layout == "skydns":
        return SkydnsLayout(config.place, owner, config.zone, config.ttl_seconds)
    return JsonLayout(config.place, owner)


class EtcdSink:
    """Implements `waypost.adapter.Sink` and `drift`."""

    limits = Limits(records=126, bytes=800_000, in_flight=8)

    def __init__(self, config: EtcdConfig, context: Context, client: Client) -> None:
        """Keep what is needed; nothing is sent."""
        if context.environment.startswith("."):
            raise PermanentError(f"environment `{context.environment}` begins with a dot; such keys are Waypost's own")
        self._config = config
        self._context = context
        self._client = client
        self._environment = context.environment
        self._layout = _layout(config, context.owner)
        self._records = self._layout.records.encode()
        self.namespaced, self.canonical = self._layout.namespaced, self._layout.canonical
        self._own = OwnWrites()
        self._observed_at = 0  # the revision of the last complete view
        self._watch_next = 0  # where the watch goes on

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: EtcdConfig, context: Context) -> AsyncIterator[EtcdSink]:
        """Make a sink with a client of its own, which is closed at the end."""
        members = members_of(config, context)
        async with Client(members, context.credentials, server_name=config.tls.server_name) as client:
            yield cls(config, context, client)

    # --- pure

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return self._layout.render(publication, instances)

    def above(self, name: str) -> Sequence[str]:
        return self._layout.above(name)

    # --- the stamp

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        key, start = stamp_key(self._layout.root, owner), stamps(self._layout.root)
        for _ in range(CLAIM_TRIES):
            revision, mine, value = 0, None, b""
            async with aclosing(scan(self._client, start, wire.successor(start))) as pages:
                async for at, page in pages:
                    revision = at
                    for kv in page:
                        stamp = read(kv.key, kv.value, environment)
                        if kv.key == key:
                            mine, value = stamp, kv.value
            fence = Fence(max(mine.epoch if mine else 0, past) + 1)
            was = wire.equals(key, value) if mine else wire.absent(key)
            # Also that no other stamp came meanwhile: it could be another environment's.
            still = wire.unchanged_since(start, wire.successor(start), revision)
            if await self._set_stamp(still + was, key, environment, fence):
                self._environment, self._layout = environment, _layout(self._config, owner)
                return fence
        raise AdapterError(f"the stamps under {start.decode()} changed at each of {CLAIM_TRIES} tries to claim")

    async def advance(self, fence: Fence) -> Fence:
        key = self._stamp_key
        for _ in range(CLAIM_TRIES):
            answer = await self._client.reads(wire.read(key))
            kvs = answer.responses[0].response_range.kvs
            value = kvs[0].value if kvs else None
            verdict = judge(key, value, self._environment, fence)
            if isinstance(verdict, AdapterError):
                raise verdict
            # A newer generation of this epoch is ours too: an advance whose answer was lost.
            present = fence if verdict is None else verdict.fence
            higher = Fence(present.epoch, present.generation + 1)
            if value is not None and await self._set_stamp(wire.equals(key, value), key, self._environment, higher):
                return higher
        raise AdapterError(f"the stamp {key.decode()} changed at each of {CLAIM_TRIES} tries to advance it")

    @property
    def _stamp_key(self) -> bytes:
        return stamp_key(self._layout.root, self._layout.owner)

    async def _set_stamp(self, compares: bytes, key: bytes, environment: str, fence: Fence) -> bool:
        value = Stamp(environment, fence.epoch, fence.generation).encode()
        answer = await self._send(compares + wire.put(key, value))
        return answer.succeeded

    # --- for people who look whether all is well

    def places(self) -> Sequence[Place]:
        tls = self._config.tls.server_name or ""
        return [place_of(URL(member.url), tls) for member in endpoints(self._config.endpoints)]

    async def examine(self) -> Sequence[Finding]:
        return [await tried("stamp", self._stamp_told()), await tried("write", self._may_write())]

    async def _stamp_told(self) -> str:
        start, told = stamps(self._layout.root), "none yet: the first claim sets it"
        async with aclosing(scan(self._client, start, wire.successor(start))) as pages:
            async for _, page in pages:
                for kv in page:
                    stamp = read(kv.key, kv.value, self._environment)
                    if kv.key == self._stamp_key:
                        told = f"environment {stamp.environment}, epoch {stamp.epoch}"
        return told

    async def _may_write(self) -> str:
        """Ask by a transaction that cannot come true: etcd looks at the user's permissions before the compares."""
        key = self._stamp_key
        never = wire.absent(key) + wire.equals(key, b"")
        probe = f"{self._layout.records}waypost-doctor".encode()
        await self._client.txn(never + wire.put(key, b"") + wire.put(probe, b""))
        return f"may write below {self._layout.records} (asked without writing)"

    # --- what is there

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        damaged = 0
        async with aclosing(self._read_all() if keys is None else self._read(keys)) as pages:
            async for page in pages:
                for kv in page:
                    if (found := self._layout.observed(kv.key, kv.value)) is not None:
                        yield found
                    elif kv.value.startswith(self._layout.mark):
                        damaged += 1
        if damaged:
            self._context.warn(
                "DamagedRecords",
                f"{damaged} records under {self._layout.records} begin as ours and cannot be read further; they are "
                "left alone unless a registration writes their keys",
            )

    async def _read_all(self) -> AsyncGenerator[Sequence[rpc.KeyValue], None]:
        revision = 0
        async with aclosing(scan(self._client, self._records, wire.successor(self._records))) as pages:
            async for at, page in pages:
                revision = at
                yield page
        self._observed_at = revision

    async def _read(self, keys: Collection[str]) -> AsyncGenerator[Sequence[rpc.KeyValue], None]:
        wanted = [key.encode() for key in dict.fromkeys(keys)]
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            answer = await self._client.reads(b"".join(map(wire.read, wanted[start : start + KEYS_AT_ONCE])))
            yield [kv for reading in answer.responses for kv in reading.response_range.kvs]

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        found: list[Foreign] = []
        async for name, place in self._places(dict.fromkeys(names)):
            start = f"{place}/".encode()
            async with aclosing(scan(self._client, start, wire.successor(start))) as pages:
                async for _, page in pages:
                    found += self._foreign(page, name)
                    if len(found) >= MOST_FOREIGN:
                        return found[:MOST_FOREIGN]
            async for page in self._read([place]):
                found += self._foreign(page, name)
        return found[:MOST_FOREIGN]

    def _foreign(self, page: Sequence[rpc.KeyValue], name: str) -> list[Foreign]:
        layout = self._layout
        return [layout.foreign(kv.key, kv.value, name) for kv in page if not kv.value.startswith(layout.mark)]

    async def _places(self, names: Collection[str]) -> AsyncGenerator[tuple[str, str], None]:
        """Yield the names, each with a key that is theirs and below which all is."""
        if isinstance(self._layout, SkydnsLayout):
            for name in names:
                if (place := self._layout.place(name)) is not None:
                    yield name, place
            return
        parts = {name: segment(name) for name in names}
        async for namespace in self._namespaces():
            for name, part in parts.items():
                yield name, namespace + part

    async def _namespaces(self) -> AsyncGenerator[str, None]:
        """Yield what the keys of each namespace begin with: one read a namespace, however much is in it."""
        base = f"{self._layout.records}{segment(self._environment)}/".encode()
        at, end = base, wire.successor(base)
        while True:
            answer = await self._client.range(rpc.RangeRequest(key=at, range_end=end, limit=1, keys_only=True))
            if not answer.kvs:
                return
            key = answer.kvs[0].key
            namespace, slash, _ = key[len(base) :].partition(b"/")
            start = base + namespace + b"/"
            if slash:
                yield start.decode(errors="surrogateescape")
            at = wire.successor(start) if slash else wire.after(key)

    # --- writing

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        if fence is None:
            raise AdapterError("etcd fences its writes: claim it first")
        terms = Terms(self._stamp_key, self._environment, fence, self._layout.mark)
        found: dict[str, bytes] = {}
        if released := [change.key for change in batch if change.release]:
            async with aclosing(self._read(released)) as pages:
                async for page in pages:
                    found.update((kv.key.decode(), kv.value) for kv in page)
        return await write(self._send, batch, terms, found)

    async def _send(self, request: bytes) -> rpc.TxnResponse:
        async with self._own.writing():
            answer = await self._client.txn(request)
            if answer.succeeded:
                self._own.made(answer.header.revision)
            return answer

    # --- what others change

    async def drift(self, mark: Mark) -> None:
        """Mark what others wrote or deleted; our own writes are left out.

        Begins after the last complete view, else now, and goes on where an earlier call ended: nothing between is
        lost. What is no longer kept in between is marked as anything (None).
        """
        self._own.watched = True
        revision = self._watch_next or (self._observed_at + 1 if self._observed_at else 0)
        gap = False
        while True:
            try:
                end = wire.successor(self._records)
                async with aclosing(watch(self._client, self._records, end, revision)) as batches:
                    async for batch in batches:
                        keys = await self._own.others(batch.events, batch.next)
                        self._watch_next = batch.next
                        if gap:
                            gap = False
                            mark(None)
                        elif keys:
                            mark({key.decode() for key in keys if key.isascii()})
            except Compacted as error:
                self._context.log.warning("drift: %s; everything is looked at again", error)
                gap, revision = True, 0
