"""Endpoints of a slice: the JSON that is used of each, and the instance that it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from socket import AF_INET, inet_ntoa, inet_pton
from sys import intern

import msgspec

from waypost.model import NO_LABELS, Address, Instance, Port, Readiness

__all__ = ["Endpoint", "PortRow", "instance_of", "ports_of"]

MOST_PORTS = 100
NO_INSTANCE = Instance("")


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


def ports_of(rows: Sequence[PortRow]) -> tuple[Port, ...]:
    """Return ports in the order of the slice, each once."""
    found: dict[tuple[int, str], Port] = {}
    for row in rows[:MOST_PORTS]:
        protocol = (row.protocol or "TCP").lower()
        if row.port is not None and 1 <= row.port <= 65535 and protocol in {"tcp", "udp", "sctp"}:
            found.setdefault((row.port, protocol), Port(row.port, row.name or "", protocol))
    return tuple(found.values())


def instance_of(row: Endpoint, ports: tuple[Port, ...], kind: str, like: Instance = NO_INSTANCE) -> Instance:
    """Return what an endpoint is; what it has in common with an instance of such a slice is taken from that."""
    of, first = row.target_ref, row.addresses[0] if row.addresses else ""
    id = of.name if of is not None and of.kind == "Pod" and of.name else first
    alike = like.addresses
    return Instance(
        like.id if like.id == id else id,
        alike if alike and alike[0].value == first else _addresses(first, kind) if first else (),
        ports,
        _readiness(row.conditions),
        1,
        like.node if like.node == row.node_name else intern(row.node_name or ""),
        like.zone if like.zone == row.zone else intern(row.zone or ""),
        NO_LABELS,
    )


def _readiness(is_: Conditions) -> Readiness:
    """Unknown means ready and serving, says the API's reference. One that ends while it still serves drains."""
    if is_.terminating:
        return "draining" if is_.serving or is_.serving is None else "not-ready"
    return "not-ready" if is_.ready is False else "ready"


def _addresses(text: str, kind: str) -> tuple[Address, ...]:
    """Return the address in canonical form; () where it is none, which the API server refuses."""
    try:
        if kind == "IPv4":
            return (Address(inet_ntoa(inet_pton(AF_INET, text)), "Container"),)
        if kind == "FQDN":
            return (Address(text.lower().rstrip("."), "Hostname"),)
        return (Address(str(ipaddress.IPv6Address(text)), "Container"),)
    except (OSError, ValueError):
        return ()
