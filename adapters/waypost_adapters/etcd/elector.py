"""The elector: who leads has a key that lives as long as its lease, and each term a number that outlives both.

    <prefix>/<election>/leader       who leads, under its lease
    <prefix>/<election>/term         the number of the last term
    <prefix>/<election>/kept/<name>  what the leader keeps for the next one

A term is won in one transaction: there is no leader, the number is as it was read; then both are written. What the
leader keeps is compared with its own mark in the write itself. etcd's own locks are no more than a key under a lease
either, and nothing that holds one may rely on it alone (Jepsen on etcd 3.4.3): sinks compare their stamp in each write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from yarl import URL

from waypost.adapter import AdapterError, Context, Fenced, Leader, Place
from waypost.kit.election import Election, Taken, Won
from waypost.kit.etcd import wire
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.endpoint import endpoints
from waypost.kit.etcd.scan import scan
from waypost.kit.etcd.watch import watch
from waypost.kit.reach import place_of
from waypost_adapters.etcd import ElectorConfig, members_of

__all__ = ["EtcdElector"]

TRIES = 10


class _Mark(msgspec.Struct, frozen=True):
    """The leader's key. `holder` is random, a process's own; `name` is for people."""

    holder: str
    name: str
    number: int


class _Held(msgspec.Struct, frozen=True):
    """What a term stands on."""

    lease: int
    value: bytes


class EtcdBallot:
    """Implements `waypost.kit.election.Ballot`."""

    def __init__(self, config: ElectorConfig, client: Client, context: Context) -> None:
        """Keep what is needed; nothing is sent."""
        root = f"{config.prefix}/{config.election}"
        self.leader, self.term, self.kept = f"{root}/leader".encode(), f"{root}/term".encode(), f"{root}/kept/".encode()
        self._client = client
        self._context = context
        self._seconds = config.ttl_seconds
        self._holder = f"{context.random.getrandbits(64):016x}"
        self._next = 0  # the revision after what was last read of the leader's key

    async def acquire(self, past: int) -> Won | Taken:
        for _ in range(TRIES):
            answer = await self._client.reads(wire.read(self.leader) + wire.read(self.term))
            self._next = answer.header.revision + 1
            (mark, lease), number = _mark(answer.responses[0]), _number(answer.responses[1])
            if lease:
                if mark is None or mark.holder != self._holder:
                    return Taken(None if mark is None else Leader(mark.name, mark.number), self._next)
                await self._client.revoke(lease)  # of a try whose answer was lost
                continue
            won = await self._try(answer.responses, max(number, past) + 1)
            if won is not None:
                return won
        raise AdapterError(f"{self.leader.decode()} changed at each of {TRIES} tries to win a term")

    async def _try(self, was: Any, number: int) -> Won | None:
        """Win the term, unless another was faster. A leader's key without a lease is nobody's: it is replaced."""
        granted = await self._client.grant(self._seconds)
        value = msgspec.json.encode(_Mark(self._holder, self._context.name, number))
        compares = _as_it_was(self.leader, was[0]) + _as_it_was(self.term, was[1])
        puts = wire.put(self.leader, value, granted.ID) + wire.put(self.term, b"%d" % number)
        answer = await self._client.txn(compares + puts)
        if not answer.succeeded:
            await self._client.revoke(granted.ID)
            return None
        self._next = answer.header.revision + 1
        return Won(number, float(granted.TTL), _Held(granted.ID, value))

    async def renew(self, won: Won) -> float | None:
        held: _Held = won.token
        seconds = await self._client.keep_alive(held.lease)
        if seconds <= 0:
            return None
        answer = await self._client.reads(wire.read(self.leader))
        self._next = answer.header.revision + 1
        kvs = answer.responses[0].response_range.kvs
        return float(seconds) if kvs and (kvs[0].value, kvs[0].lease) == (held.value, held.lease) else None

    async def release(self, won: Won) -> None:
        await self._client.revoke(won.token.lease)

    async def freed(self, taken: Taken) -> None:
        await self._changed(taken.token)

    async def stirred(self, won: Won) -> None:
        await self._changed(self._next)

    async def _changed(self, revision: int) -> None:
        """Return when the leader's key was written or deleted, from that revision on."""
        async with aclosing(watch(self._client, self.leader, wire.after(self.leader), revision)) as told:
            async for events in told:
                if events.events:
                    return


class EtcdElector(Election):
    """Implements `waypost.adapter.Elector`, `Informed` and `Keeping`."""

    largest = 256 * 1024

    def __init__(self, config: ElectorConfig, client: Client, context: Context) -> None:
        """Keep what is needed; nothing is sent."""
        self._ballot_box = EtcdBallot(config, client, context)
        self._config, self._client = config, client
        super().__init__(self._ballot_box, context.clock, name=context.name, seconds=config.ttl_seconds)

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: ElectorConfig, context: Context) -> AsyncIterator[EtcdElector]:
        """Make an elector with a client of its own; at the end what is held is given back."""
        members = members_of(config, context)
        quick = max(0.5, config.ttl_seconds / 5)  # several members can be asked before a lease runs out
        async with Client(
            members,
            context.credentials,
            server_name=config.tls.server_name,
            connect_seconds=min(3.0, quick),
            call_seconds=min(5.0, quick),
        ) as client:
            elector = cls(config, client, context)
            try:
                yield elector
            finally:
                await elector.close()

    def places(self) -> Sequence[Place]:
        tls = self._config.tls.server_name or ""
        return [place_of(URL(member.url), tls) for member in endpoints(self._config.endpoints)]

    async def recall(self) -> Mapping[str, bytes]:
        found, start = {}, self._ballot_box.kept
        async with aclosing(scan(self._client, start, wire.successor(start))) as pages:
            async for _, page in pages:
                found.update({kv.key.removeprefix(start).decode(errors="replace"): kv.value for kv in page})
        return found

    async def keep(self, name: str, value: bytes | None) -> None:
        ballot, won = self._ballot_box, self.held
        if won is None:
            raise Fenced("this process does not lead")
        key = ballot.kept + name.encode()
        operation = wire.delete(key) if value is None else wire.put(key, value)
        answer = await self._client.txn(wire.equals(ballot.leader, won.token.value) + operation)
        if not answer.succeeded:
            raise Fenced(f"{ballot.leader.decode()} is not this process's any more")


def _mark(response: Any) -> tuple[_Mark | None, int]:
    """Return what the leader's key says, None where it cannot be read, and its lease, 0 where there is none."""
    kvs = response.response_range.kvs
    if not kvs:
        return None, 0
    try:
        return msgspec.json.decode(kvs[0].value, type=_Mark), kvs[0].lease
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, kvs[0].lease


def _number(response: Any) -> int:
    """Return the number of the last term; what is none counts as 0: nobody is locked out by it."""
    kvs = response.response_range.kvs
    text = kvs[0].value if kvs else b""
    return int(text) if text.isdigit() and len(text) < 19 else 0


def _as_it_was(key: bytes, response: Any) -> bytes:
    """Compare: the key is as it was read."""
    kvs = response.response_range.kvs
    return wire.equals(key, kvs[0].value) if kvs else wire.absent(key)
