"""Reads of Consul's catalog: a node of ours with its services and checks, single records, and what others keep."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import msgspec

from waypost.adapter import AdapterError, Foreign, Observed, PermanentError, fingerprint
from waypost.kit.http import Response
from waypost.kit.ownership import KEYS, Ownership
from waypost_adapters.consul import wire
from waypost_adapters.consul.adopting import Adopting
from waypost_adapters.consul.client import Client, denied
from waypost_adapters.consul.render import node_name, split_key
from waypost_adapters.consul.wire import Check, Entry, NodeServices

__all__ = ["Baseline", "Catalog", "Seen", "index_of", "together"]

OWNERSHIP = frozenset(KEYS)
COMMON = tuple(key for key in KEYS if key != "waypost-instance")
A = TypeVar("A")
B = TypeVar("B")
_services = msgspec.json.Decoder(NodeServices)
_checks = msgspec.json.Decoder(list[Check])


class _Instance(msgspec.Struct, rename="pascal"):
    node: str
    service_id: str = msgspec.field(name="ServiceID")
    service_address: str = ""
    service_port: int = 0
    service_meta: dict[str, str] | None = None


_instances = msgspec.json.Decoder(list[_Instance])
_nodes = msgspec.json.Decoder(list[wire.Node])


class Seen(msgspec.Struct):
    """A record as it is in Consul now: the service, and the status of its check ("" where there is none)."""

    entry: Entry
    status: str


class Baseline(msgspec.Struct):
    """A node when it was read last: Consul's index, and the ids of the services there (compressed)."""

    index: int
    ids: bytes

    @classmethod
    def of(cls, index: int, ids: Iterable[str]) -> Baseline:
        """Pack the ids."""
        return cls(index, zlib.compress(msgspec.json.encode(list(ids)), 1))

    def unpacked(self) -> set[str]:
        """Return the ids."""
        return set(msgspec.json.decode(zlib.decompress(self.ids), type=list[str]))


class Catalog:
    """Reads for one owner, whose nodes are `waypost-OWNER-00` and on."""

    def __init__(self, client: Client, owner: str, nodes: int, adopting: Adopting) -> None:
        self._client = client
        self._adopting = adopting
        self.owner = owner
        self.nodes = [node_name(owner, number) for number in range(nodes)]
        self.operations = 64  # how many a transaction may hold
        self.baselines: dict[str, Baseline] = {}

    def path(self, node: str) -> str:
        """Return where the services of a node of ours are read."""
        return f"/v1/catalog/node-services/{node}"

    def owned(self, entry: Entry) -> bool:
        """Say whether a service is ours."""
        return entry.meta is not None and entry.meta.get("waypost-owner") == self.owner

    async def known_nodes(self) -> set[str]:
        """Return those of our nodes that are there. Raises PermanentError where one of that name is not ours."""
        pattern = f"^waypost-{self.owner}-[0-9a-f]{{2}}$"
        condition = f'Node matches "{pattern}"'
        response = await self._client.read("/v1/catalog/nodes", partial=True, filter=condition, consistent="")
        return {self._own_node(node) for node in _whole(response).decode(_nodes)}

    async def known_node(self, node: str) -> bool:
        """Say whether that node is there. Raises PermanentError where it is not ours."""
        response = await self._client.read(self.path(node), filter='ID == ""', consistent="")
        found = _whole(response).decode(_services).node
        return found is not None and self._own_node(found) == node

    def _own_node(self, node: wire.Node) -> str:
        if (node.meta or {}).get("waypost-owner") != self.owner:
            raise PermanentError(
                f"the catalog has a node `{node.node}` that is not ours; remove it or choose another ownerID "
                "(nothing is written until then)"
            )
        return node.node

    async def services(self, node: str) -> tuple[list[Entry], int]:
        """Return all services on a node of ours, and Consul's index."""
        response = _whole(await self._client.read(self.path(node), consistent=""))
        entries = response.decode(_services).services or []
        index = index_of(response)
        self.baselines[node] = Baseline.of(index, (entry.id for entry in entries))
        return entries, index

    async def records(self, node: str) -> AsyncIterator[Observed]:
        """Yield our records on a node, giving way now and then."""
        reading = self._client.read(f"/v1/health/node/{node}", consistent="")
        (entries, _), answer = await together(self.services(node), reading)
        status = {check.check_id: check.status for check in _whole(answer).decode(_checks)}
        for at, entry in enumerate(entries):
            if at % 100 == 0:
                await asyncio.sleep(0)
            seen = Seen(entry, status.get(wire.check_id(entry.id), ""))
            if (observed := self.observed(f"{node}/{entry.id}", seen)) is not None:
                yield observed

    def observed(self, key: str, seen: Seen) -> Observed | None:
        """Return a record as the engine wants it; None where it is not ours."""
        entry = seen.entry
        entry.id = split_key(key)[1]  # of what was taken over it is another, where it stands
        meta = entry.meta
        if meta is None or not self.owned(entry) or not meta.keys() >= OWNERSHIP:
            return None
        whose = _shared(*(meta[key] for key in COMMON))
        if whose is None:
            return None
        return Observed(
            key,
            fingerprint(wire.content_of(entry, seen.status)),
            whose.registration,
            whose.entry,
            whose.service,
            unquote(meta["waypost-instance"]),
            entry.service,
            seen.status == "passing",
        )

    async def look(self, keys: Collection[str]) -> dict[str, Seen]:
        """Return what is there under these keys now, whosever it is."""
        size = self.operations // 2
        wanted = list(keys)
        found: dict[str, Seen] = {}
        for at in range(0, len(wanted), size):
            found |= await self._look(wanted[at : at + size])
        return found

    async def _look(self, keys: list[str]) -> dict[str, Seen]:
        asked: list[tuple[str, bytes]] = []
        for key in keys:
            service, check = wire.get(*self._adopting.place(key))
            asked += [(key, service), (key, check)]
        for _ in range(5):
            if not asked:
                return {}
            answer = await self._client.transact(wire.transaction(operation for _, operation in asked))
            if not answer.errors:
                return _paired([key for key, _ in asked], answer)
            if refused := next((error.what for error in answer.errors if denied(error.what)), None):
                raise PermanentError(f"the token may not read what it has written: {refused[:200]}")
            gone = {error.op_index for error in answer.errors}
            asked = [item for at, item in enumerate(asked) if at not in gone]
        raise AdapterError("the records change faster than they can be read")

    async def adopted(self) -> AsyncIterator[Observed]:
        """Yield our records that are where others had put them."""
        await self._adopting.load()
        wanted = self._adopting.keys()
        found = await self.look(wanted) if wanted else {}
        for key in wanted:
            seen = found.get(key)
            if seen is not None and (observed := self.observed(key, seen)) is not None:
                yield observed
            else:
                self._adopting.lost(key)

    async def foreign(self, name: str, room: int) -> list[Foreign]:
        """Return others' instances under a name, at most `room`."""
        pattern = f"^waypost-{self.owner}-[0-9a-f]{{2}}$"
        condition = f'Node not matches "{pattern}" or "waypost-owner" not in ServiceMeta'
        path = f"/v1/catalog/service/{quote(name, safe='')}"
        response = _whole(await self._client.read(path, filter=condition, consistent="", partial=True))
        found: list[Foreign] = []
        for item in response.decode(_instances):
            if self._adopting.holds(item.node, item.service_id) or len(found) == room:
                continue
            whose = Ownership.decode(item.service_meta or {})
            place = f"{item.service_address or '(the node)'}:{item.service_port} on node {item.node}"
            found.append(Foreign(f"{item.node}/{item.service_id}", name, whose.owner if whose else "", place[:200]))
        return found


async def together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Await both at once; the first error ends the other."""
    try:
        async with asyncio.TaskGroup() as group:
            one, two = group.create_task(first), group.create_task(second)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return one.result(), two.result()


@lru_cache(maxsize=4096)
def _shared(*common: str) -> Ownership | None:
    """Return the ownership that many records have in common: decoded once, and kept once."""
    return Ownership.decode({**dict(zip(COMMON, common, strict=True)), "waypost-instance": ""})


def index_of(response: Response) -> int:
    """Return Consul's index of an answer, 0 where it gives none that can be used."""
    text = response.headers.get("X-Consul-Index", "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _whole(response: Response | None) -> Response:
    if response is None:
        raise AdapterError("Consul answered 404 where it always answers")
    return response


def _paired(keys: list[str], answer: wire.Transaction) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    results = answer.results or []
    if len(results) != len(keys):
        raise PermanentError("the token may not read what it has written (service:read, node:read)")
    for key, result in zip(keys, results, strict=True):
        if result.service is not None:
            found[key] = Seen(result.service, "")
        elif result.check is not None and key in found:
            found[key].status = result.check.status
    return found
