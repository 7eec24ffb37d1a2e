"""Records that were taken over where others had put them: on nodes that are not ours, under ids that are not ours.

They stay there, so that nothing is ever absent, and Consul's log shows no deregistration. Which they are is kept in its
own key-value store, one key a record, written in the same transaction as the record.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from urllib.parse import quote

import msgspec

from waypost.adapter import Clock, Record
from waypost.kit import ownership
from waypost_adapters.consul import wire
from waypost_adapters.consul.client import Client
from waypost_adapters.consul.render import split_key
from waypost_adapters.consul.wire import Check, Entry, Weights

__all__ = ["Adopting", "Met", "same"]

FRESH_SECONDS = 1.0  # for so long a service's listing is not asked for again; what is written compares indexes


class Met(msgspec.Struct):
    """A service of others at a record's address and port; `wrong` says in what it is not the same."""

    node: str
    entry: Entry
    wrong: str


class _Value(msgspec.Struct):
    key: str = ""
    node: str = ""
    id: str = ""


class _Kept(msgspec.Struct, rename="pascal"):
    value: str | None = None


class _Healthy(msgspec.Struct, rename="pascal"):
    node: wire.Node
    service: Entry
    checks: list[Check] = []


_kept = msgspec.json.Decoder(list[_Kept])
_value = msgspec.json.Decoder(_Value)
_healthy = msgspec.json.Decoder(list[_Healthy])


class Adopting:
    """What one owner took over."""

    def __init__(self, client: Client, owner: str, clock: Clock) -> None:
        self._client = client
        self._owner = owner
        self._clock = clock
        self._root = f"waypost/{quote(owner, safe='')}/adopted/"
        self._places: dict[str, tuple[str, str]] = {}  # key → node and id
        self._indexed: set[str] = set()  # keys of which Consul's store says something
        self._listed: dict[str, tuple[float, list[_Healthy]]] = {}

    def place(self, key: str) -> tuple[str, str]:
        """Return where the record of this key is, or would be: node and id."""
        return self._places.get(key) or split_key(key)

    def keys(self) -> list[str]:
        """Return the keys of what was taken over."""
        return list(self._places)

    def has(self, key: str) -> bool:
        """Say whether it is where others had put it."""
        return key in self._places

    def holds(self, node: str, ident: str) -> bool:
        """Say whether the service there is one that was taken over."""
        return (node, ident) in self._places.values()

    async def load(self) -> None:
        """Read which they are."""
        response = await self._client.read(f"/v1/kv/{self._root}", recurse="", consistent="")
        places = {}
        for item in response.decode(_kept) if response is not None else ():
            try:
                value = _value.decode(base64.b64decode(item.value or "", validate=True))
            except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
                continue  # what somebody wrote there by hand
            if value.key and value.node and value.id:
                places[value.key] = (value.node, value.id)
        self._places = places
        self._indexed = set(places)

    def lost(self, key: str) -> None:
        """Take note that it is no longer there, or no longer ours."""
        self._places.pop(key, None)

    # --- in transactions

    def operations(self, key: str, node: str, ident: str, *, stays: bool) -> list[bytes]:
        """Return what is to be written beside a record: where it is, or that it is nowhere else."""
        name = f"{self._root}{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
        if stays and (node, ident) != split_key(key):
            return [] if self._places.get(key) == (node, ident) else [wire.set_key(name, _text(key, node, ident))]
        return [wire.delete_key(name)] if key in self._indexed else []

    def wrote(self, key: str, node: str, ident: str, *, stays: bool) -> None:
        """Take note that such a transaction passed."""
        if stays and (node, ident) != split_key(key):
            self._places[key] = (node, ident)
            self._indexed.add(key)
        else:
            self._places.pop(key, None)
            self._indexed.discard(key)

    # --- what others have

    async def meet(self, record: Record) -> Met | None:
        """Return what stands at a record's address and port and is nobody's; the same, where there is one."""
        ours = wire.entry_of(record.content)
        met: Met | None = None
        for found in await self._listing(record.name):
            entry = found.service
            whose = (entry.meta or {}).get("waypost-owner", "")
            if (entry.address, entry.port) != (ours.address, ours.port) or whose not in {"", self._owner}:
                continue
            if whose and self.holds(found.node.node, entry.id):
                continue
            wrong = _wrong(found, record)
            if met is None or not wrong:
                met = Met(found.node.node, msgspec.structs.replace(entry), wrong)
            if not wrong:
                break
        return met

    def stale(self) -> None:
        """Take note that something has changed since it was listed."""
        self._listed.clear()

    async def _listing(self, name: str) -> list[_Healthy]:
        now = self._clock.monotonic()
        at, found = self._listed.get(name, (0.0, None))
        if found is None or now - at > FRESH_SECONDS:
            path = f"/v1/health/service/{quote(name, safe='')}"
            response = await self._client.read(path, consistent="", partial=True)
            found = response.decode(_healthy) if response is not None else []
            self._listed = {each: kept for each, kept in self._listed.items() if now - kept[0] <= FRESH_SECONDS}
            self._listed[name] = (now, found)
        return found


def same(entry: Entry, status: str, content: bytes) -> str:
    """Say in what a service of others is not the same as a record would be; "" where it is."""
    ours = wire.entry_of(content)
    mine = {name: text for name, text in (ours.meta or {}).items() if name.startswith(ownership.PREFIX)}
    theirs = {name: text for name, text in (entry.meta or {}).items() if not name.startswith(ownership.PREFIX)}
    changed = msgspec.structs.replace(
        entry,
        id=ours.id,
        meta=theirs | mine,
        weights=entry.weights or Weights(),
        tagged_addresses=None if _plain(entry) else entry.tagged_addresses,
    )
    if wire.content_of(changed, status) == content:
        return ""
    for field, name in (("tags", "tags"), ("meta", "metadata"), ("weights", "weights")):
        if (getattr(changed, field) or None) != (getattr(ours, field) or None):
            return f"its {name} differ"
    return "its checks say otherwise" if wire.status_of(content) != status else "it differs"


def _wrong(found: _Healthy, record: Record) -> str:
    if any(check.check_id == "serfHealth" for check in found.checks):
        return "an agent keeps it, and would undo what is written to it; deregister it there"
    states = {check.status for check in found.checks}
    status = "passing" if states <= {"passing"} else "critical" if "critical" in states else "warning"
    return same(found.service, status, record.content)


def _plain(entry: Entry) -> bool:
    """Say whether the addresses that a service has beside its own are but its own."""
    for raw in (entry.tagged_addresses or {}).values():
        tagged = msgspec.json.decode(raw, type=_Tagged)
        if (tagged.address, tagged.port) != (entry.address, entry.port):
            return False
    return True


class _Tagged(msgspec.Struct, rename="pascal"):
    address: str = ""
    port: int = 0


def _text(key: str, node: str, ident: str) -> bytes:
    return msgspec.json.encode(_Value(key, node, ident))
