"""EndpointSlices, read so that what did not change in one costs next to nothing.

An endpoint is some 250 bytes of JSON, a slice has a hundred and more, and mostly one of them changes. So the text is
parted between endpoints and each part known by its hash: only parts that the slice did not have before are decoded.
That rests on how the API server writes: the first field of an endpoint is `addresses`. The text `},{"addresses":`
cannot be inside a string, where quotes are escaped, and is nowhere else in a slice. A slice that is written in another
way is decoded whole.
"""

from __future__ import annotations

import ipaddress
import socket
from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from operator import ne
from sys import intern

import msgspec

from waypost.kit.kubernetes.resource import Meta
from waypost.model import NO_LABELS, Address, AddressType, Instance, Port, Readiness
from waypost_adapters.kubernetes.source_config import MINE

__all__ = ["Slice"]

MOST_PORTS = 100
FEW = 2  # places of a slice that differ; where more do, endpoints have moved within it
FIRST = b'"endpoints":[{"addresses":'
BETWEEN = b'},{"addresses":'
LAST = b'}],"ports":'
OPEN = b'{"addresses":'


class Labels(msgspec.Struct, frozen=True, gc=False, rename={"service": "kubernetes.io/service-name", "mine": MINE}):
    """Of a slice's labels: the Service that it belongs to, and whether Waypost wrote it."""

    service: str = ""
    mine: str = ""


class SliceMeta(Meta, frozen=True, gc=False, rename="camel"):
    """A slice's metadata."""

    labels: Labels | None = None


class Conditions(msgspec.Struct, frozen=True, gc=False):
    """Each may be unknown; what that means is in the API's reference."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Target(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint is of."""

    kind: str = ""
    name: str = ""


class Endpoint(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One endpoint. All its addresses mean the same; the API says to take the first."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    target_ref: Target | None = None
    node_name: str | None = None
    zone: str | None = None


class PortRow(msgspec.Struct, frozen=True, gc=False):
    """A port of all endpoints of a slice; without a number it means any."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class Frame(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A slice without its endpoints."""

    metadata: SliceMeta
    address_type: str = "IPv4"
    ports: tuple[PortRow, ...] | None = None


class Whole(Frame, frozen=True, gc=False, rename="camel"):
    """A slice with its endpoints as they came."""

    endpoints: list[msgspec.Raw] | None = None


_FRAME = msgspec.json.Decoder(Frame)
_WHOLE = msgspec.json.Decoder(Whole)
_ENDPOINT = msgspec.json.Decoder(Endpoint)
_ENDPOINTS = msgspec.json.Decoder(list[Endpoint])


class Slice:
    """A slice. `instances` are what its endpoints are, in the slice's order, once `settle` was called.

    Raises msgspec.DecodeError where it is no slice.
    """

    __slots__ = ("_parts", "hashes", "instances", "metadata", "ports", "rows", "service", "type")

    def __init__(self, raw: bytes | memoryview) -> None:
        self._parts: Sequence[bytes] = ()
        self.instances: tuple[Instance, ...] = ()
        frame = self._parted(bytes(raw))
        labels = frame.metadata.labels or Labels()
        self.metadata = frame.metadata
        self.service = "" if labels.mine else labels.service
        self.type = frame.address_type
        self.rows = frame.ports or ()
        self.ports: tuple[Port, ...] = ()
        self.hashes = array("q", map(hash, self._parts))

    def _parted(self, text: bytes) -> Frame:
        begin = text.find(FIRST)
        end = text.rfind(LAST, begin) if begin >= 0 else -1
        if end >= 0:
            self._parts = text[begin + len(FIRST) : end].split(BETWEEN)
            try:
                return _FRAME.decode(text[: begin + len(FIRST) - len(OPEN)] + text[end + 1 :])
            except msgspec.DecodeError:
                pass  # written in another way
        whole = _WHOLE.decode(text)
        self._parts = [bytes(raw) for raw in whole.endpoints or ()]
        return whole

    def settle(self, before: Slice | None) -> tuple[Sequence[Instance], Sequence[Instance]]:
        """Make the instances, those that are as they were from `before`; return those that went and those that came.

        One that changed is in both. Raises msgspec.DecodeError.
        """
        parts, self._parts = self._parts, ()
        if before is None or before.rows != self.rows or before.type != self.type:
            self.ports = _ports(self.rows)
            self.instances = tuple(self._made(parts))
            return before.instances if before is not None else (), self.instances
        self.rows, self.ports = before.rows, before.ports
        if before.hashes == self.hashes:
            self.instances, self.hashes = before.instances, before.hashes
            return (), ()
        if len(before.hashes) == len(self.hashes):
            places = list(compress(range(len(parts)), map(ne, before.hashes, self.hashes)))
            if len(places) <= FEW:
                return self._replaced(before.instances, places, [parts[place] for place in places])
        return self._sorted_out(before, parts)

    def _replaced(
        self, old: tuple[Instance, ...], places: Sequence[int], parts: Sequence[bytes]
    ) -> tuple[Sequence[Instance], Sequence[Instance]]:
        """Make instances anew in these places; all others are where they were."""
        came = list(self._made(parts))
        now = list(old)
        for place, instance in zip(places, came, strict=True):
            now[place] = instance
        self.instances = tuple(now)
        return [old[place] for place in places], came

    def _sorted_out(self, before: Slice, parts: Sequence[bytes]) -> tuple[Sequence[Instance], Sequence[Instance]]:
        known = dict(zip(before.hashes, before.instances, strict=True))
        fresh = [part for part, number in zip(parts, self.hashes, strict=True) if number not in known]
        came = list(self._made(fresh))
        made = iter(came)
        self.instances = tuple([known[number] if number in known else next(made) for number in self.hashes])
        return [known[number] for number in known.keys() - set(self.hashes)], came

    def _made(self, parts: Sequence[bytes]) -> Iterator[Instance]:
        if not parts:
            return
        if parts[0].startswith(b"{"):
            rows = _ENDPOINTS.decode(b"[" + b",".join(parts) + b"]")
        else:
            rows = _ENDPOINTS.decode(b"[" + OPEN + BETWEEN.join(parts) + b"}]")
        for row in rows:
            yield _instance(row, self.ports, self.type)


def _ports(rows: Sequence[PortRow]) -> tuple[Port, ...]:
    """Return ports in the order of the slice, each once."""
    found: dict[tuple[int, str], Port] = {}
    for row in rows[:MOST_PORTS]:
        protocol = (row.protocol or "TCP").lower()
        if row.port is not None and 1 <= row.port <= 65535 and protocol in {"tcp", "udp", "sctp"}:
            found.setdefault((row.port, protocol), Port(row.port, row.name or "", protocol))
    return tuple(found.values())


def _instance(row: Endpoint, ports: tuple[Port, ...], kind: str) -> Instance:
    addresses = tuple(_addresses(row.addresses[:1], kind))
    of = row.target_ref
    id = of.name if of is not None and of.kind == "Pod" and of.name else (row.addresses or ("",))[0]
    return Instance(
        id,
        addresses,
        ports,
        _readiness(row.conditions),
        1,
        intern(row.node_name or ""),
        intern(row.zone or ""),
        NO_LABELS,
    )


def _readiness(is_: Conditions) -> Readiness:
    """Unknown means ready and serving, says the API's reference. One that ends while it still serves drains."""
    if is_.terminating:
        return "draining" if is_.serving or is_.serving is None else "not-ready"
    return "not-ready" if is_.ready is False else "ready"


def _addresses(texts: Sequence[str], kind: str) -> Iterator[Address]:
    """Yield the addresses in canonical form; the API server has refused what is none."""
    type: AddressType = "Hostname" if kind == "FQDN" else "Container"
    for text in texts:
        if kind == "FQDN":
            yield Address(text.lower().rstrip("."), type)
        elif kind == "IPv4":
            try:
                yield Address(socket.inet_ntoa(socket.inet_pton(socket.AF_INET, text)), type)
            except OSError:
                continue
        else:
            try:
                yield Address(str(ipaddress.IPv6Address(text)), type)
            except ValueError:
                continue
