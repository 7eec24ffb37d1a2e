"""The elector: who leads holds a key by a session that it renews, and each term has a number that outlives both.

    waypost-election/<election>/leader       who leads, locked by its session, and deleted with it
    waypost-election/<election>/term         the number of the last term
    waypost-election/<election>/kept/<name>  what the leader keeps for the next one

A term is won in one transaction: the lock, and the number as it was read. The session has no node check (its node's
failure would end it before its time) and no lock-delay: the term is over here before Consul ends the session, which it
does after its TTL at the earliest, and in practice after twice that (`SessionTTLMultiplier` in agent/structs).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec

from waypost.adapter import AdapterError, AdapterType, Context, Elector, Fenced, Leader, PermanentError, Place
from waypost.kit.election import Election, Taken, Won
from waypost.kit.http import Http, Tls, base_url
from waypost.kit.reach import place_of
from waypost_adapters.consul import wire
from waypost_adapters.consul.client import Client, denied, token_header
from waypost_adapters.consul.config import CREDENTIALS

__all__ = ["ELECTOR", "ConsulElector", "ElectorConfig"]

ROOT = "waypost-election"
TRIES = 10
POLICY = "see the README's ELECTOR"


class ElectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The `config` of an elector of type consul. Consul takes TTLs of 10 s to a day, unless told otherwise."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    election: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z", max_length=64)]
    datacenter: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{0,64}$")] = ""
    ttl_seconds: Annotated[int, msgspec.Meta(ge=2, le=300)] = 10
    tls: Tls = Tls()


class _Mark(msgspec.Struct, frozen=True):
    """The leader's key. `holder` is random, a process's own; `name` is for people."""

    holder: str
    name: str
    number: int


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    value: str | None
    modify_index: int
    session: str = ""

    @property
    def content(self) -> bytes:
        try:
            return base64.b64decode(self.value or "", validate=True)
        except binascii.Error:
            return b""


class _Session(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID")


class _Held(msgspec.Struct, frozen=True):
    """What a term stands on."""

    session: str
    value: bytes


_list = msgspec.json.Decoder(list[_Found])
_session = msgspec.json.Decoder(_Session)
_mark = msgspec.json.Decoder(_Mark)


class ConsulBallot:
    """Implements `waypost.kit.election.Ballot`."""

    def __init__(self, config: ElectorConfig, client: Client, context: Context) -> None:
        """Keep what is needed; nothing is sent."""
        root = f"{ROOT}/{config.election}"
        self.leader, self.term, self.kept = f"{root}/leader", f"{root}/term", f"{root}/kept/"
        self._client = client
        self._context = context
        self._seconds = config.ttl_seconds
        self._holder = f"{context.random.getrandbits(64):016x}"
        self._index = 0  # of the last reading of the leader's key

    async def acquire(self, past: int) -> Won | Taken:
        for _ in range(TRIES):
            found, term = await self._read(self.leader, watched=True), await self._read(self.term)
            if found is not None and found.session:
                mark = _decoded(found)
                if mark is None or mark.holder != self._holder:
                    return Taken(None if mark is None else Leader(mark.name, mark.number))
                await self._destroy(found.session)  # of a try whose answer was lost
                continue
            won = await self._try(term, max(_number(term), past) + 1)
            if won is not None:
                return won
        raise AdapterError(f"{self.leader} changed at each of {TRIES} tries to win a term")

    async def _try(self, term: _Found | None, number: int) -> Won | None:
        """Win the term, unless another was faster. A leader's key without a session is nobody's: it is replaced."""
        session = await self._create()
        value = msgspec.json.encode(_Mark(self._holder, self._context.name, number))
        lock = wire.lock_key(self.leader, value, session)
        count = wire.put_key(self.term, b"%d" % number, 0 if term is None else term.modify_index)
        answer = await self._client.transact(wire.transaction([lock, count]))
        if not answer.errors:
            return Won(number, float(self._seconds), _Held(session, value))
        await self._destroy(session)
        if denied(answer.errors[0].what):
            raise PermanentError(f"{self.leader}: the token may not write it; {POLICY}")
        return None

    async def renew(self, won: Won) -> float | None:
        held: _Held = won.token
        if await self._client.put(f"/v1/session/renew/{held.session}") is None:
            return None
        found = await self._read(self.leader, watched=True)
        return float(self._seconds) if found is not None and found.session == held.session else None

    async def release(self, won: Won) -> None:
        await self._destroy(won.token.session)

    async def freed(self, taken: Taken) -> None:
        await self._changed()

    async def stirred(self, won: Won) -> None:
        await self._changed()

    async def _changed(self) -> None:
        """Return when the leader's key has changed since it was last read, or after a lease's time."""
        index, wait, seconds = str(self._index), f"{self._seconds}s", self._seconds * 1.1 + 2
        await self._client.read(f"/v1/kv/{self.leader}", seconds=seconds, index=index, wait=wait, consistent="")

    async def _read(self, key: str, *, watched: bool = False) -> _Found | None:
        response = await self._client.read(f"/v1/kv/{key}", consistent="")
        if watched:
            self._index = 1 if response is None else max(1, int(response.headers.get("X-Consul-Index", "1")))
        return None if response is None else response.decode(_list)[0]

    async def _create(self) -> str:
        """Make a session; one whose answer was lost runs out by itself."""
        asked = {"Name": f"waypost {self.leader}", "TTL": f"{self._seconds}s", "LockDelay": "0s"}
        body = msgspec.json.encode({**asked, "Behavior": "delete", "NodeChecks": [], "Checks": []})
        response = await self._client.put("/v1/session/create", body)
        if response is None:
            raise AdapterError("Consul knows no sessions")
        return response.decode(_session).id

    async def _destroy(self, session: str) -> None:
        await self._client.put(f"/v1/session/destroy/{session}")


class ConsulElector(Election):
    """Implements `waypost.adapter.Elector`, `Informed` and `Keeping`."""

    largest = 256 * 1024  # Consul takes 512 KiB a transaction, and values in base64

    def __init__(self, config: ElectorConfig, client: Client, context: Context) -> None:
        """Keep what is needed; nothing is sent."""
        self._ballot_box = ConsulBallot(config, client, context)
        self._config, self._client = config, client
        super().__init__(self._ballot_box, context.clock, name=context.name, seconds=config.ttl_seconds)

    def places(self) -> Sequence[Place]:
        return [place_of(base_url(self._config.address, port=8500), self._config.tls.server_name)]

    async def recall(self) -> Mapping[str, bytes]:
        start = self._ballot_box.kept
        response = await self._client.read(f"/v1/kv/{start}", recurse="", consistent="")
        found = [] if response is None else response.decode(_list)
        return {each.key.removeprefix(start): each.content for each in found}

    async def keep(self, name: str, value: bytes | None) -> None:
        ballot, won = self._ballot_box, self.held
        if won is None:
            raise Fenced("this process does not lead")
        key = ballot.kept + name
        operation = wire.delete_key(key) if value is None else wire.set_key(key, value)
        held = wire.check_session(ballot.leader, won.token.session)
        answer = await self._client.transact(wire.transaction([held, operation]))
        if answer.errors:
            said = answer.errors[0].what
            if denied(said):
                raise PermanentError(f"{key}: the token may not write it; {POLICY}")
            raise Fenced(f"{ballot.leader} is not this process's any more: {said}")


def _decoded(found: _Found) -> _Mark | None:
    try:
        return _mark.decode(found.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _number(found: _Found | None) -> int:
    """Return the number of the last term; what is none counts as 0: nobody is locked out by it."""
    text = b"" if found is None else found.content
    return int(text) if text.isdigit() and len(text) < 19 else 0


@asynccontextmanager
async def _open(config: ElectorConfig, context: Context) -> AsyncIterator[Elector]:
    async with Http(
        [base_url(config.address, port=8500)],
        credentials=context.credentials,
        user_agent="waypost-consul-elector",
        connect_seconds=2,
        total_seconds=min(5.0, config.ttl_seconds / 4),
        tls=config.tls,
        headers=lambda: token_header(context.credentials),
        connections=8,
    ) as http:
        if http.is_plaintext_remote() and context.credentials.get("token"):
            context.warn(
                "PlainTextToken",
                "the ACL token travels unencrypted to another machine; use https://, or an agent on loopback",
            )
        elector = ConsulElector(config, Client(http, config.datacenter), context)
        try:
            yield elector
        finally:
            await elector.close()


ELECTOR: AdapterType[Elector] = AdapterType("consul", ElectorConfig, _open, credentials=CREDENTIALS)
