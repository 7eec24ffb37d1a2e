"""The model of what runs: services, their instances, addresses and ports, as every source states them.

All structs are frozen msgspec structs without garbage-collector tracking: at 100,000 instances a tracked object costs
16 bytes and every full collection walks it. Mappings inside them (labels) are never changed after construction; who
needs another value makes another struct. Nothing here knows of manifests, sinks or the engine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from socket import AF_INET, inet_pton
from typing import Literal

import msgspec

__all__ = [
    "Address",
    "AddressType",
    "Family",
    "Hop",
    "Instance",
    "Port",
    "Publication",
    "PublicationKey",
    "PublishedInstance",
    "PublishedName",
    "Readiness",
    "Service",
    "ServiceKey",
    "Strategy",
    "family",
]

AddressType = Literal["Host", "Container", "Node", "LoadBalancer", "ClusterIP", "Hostname"]
Family = Literal["IPv4", "IPv6", "Hostname"]
Readiness = Literal["ready", "not-ready", "draining", "unknown"]
Strategy = Literal["Ordered", "Weighted", "RoundRobin", "Random", "LeastFailures", "Zone"]

NO_LABELS: Mapping[str, str] = {}


class ServiceKey(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """Names one service of one source.

    The source's resource name, the namespace there ("" where it has none), the name there.
    """

    source: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `source/namespace/name`, for people; not to be parsed (see kit.ownership for the reversible form)."""
        return f"{self.source}/{self.namespace}/{self.name}"


class Address(msgspec.Struct, frozen=True, gc=False):
    """An IPv4 or IPv6 literal (canonical form, no brackets, no zone) or a host name, and what kind of place it is."""

    value: str
    type: AddressType = "Host"
    network: str = ""


class Port(msgspec.Struct, frozen=True, gc=False):
    """A port of an instance: number 1..65535, name "" where the source gives none, protocol `tcp`, `udp` or `sctp`."""

    number: int
    name: str = ""
    protocol: str = "tcp"


class Hop(msgspec.Struct, frozen=True, gc=False):
    """A station of a record's path: the environment it was read in and the owner that published it."""

    environment: str
    owner: str


class Instance(msgspec.Struct, frozen=True, gc=False):
    """One running copy of a service.

    `id` is stable over the instance's life and unique in its service. `ports` are in the source's order.
    `weight` is relative, 0..65535. `node` and `zone` are "" where unknown. `path` is how it came here, () when found
    directly.
    """

    id: str
    addresses: tuple[Address, ...] = ()
    ports: tuple[Port, ...] = ()
    readiness: Readiness = "ready"
    weight: int = 1
    node: str = ""
    zone: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: NO_LABELS)
    path: tuple[Hop, ...] = ()


class Service(msgspec.Struct, frozen=True, gc=False):
    """A service as a source states it: `labels` are the source's own, else those that all its instances share."""

    key: ServiceKey
    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: NO_LABELS)
    instances: tuple[Instance, ...] = ()


class PublicationKey(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """Names a publication.

    The registration (`namespace/name`), the entry of its `sinks`, the service. Names are not part of it.
    """

    registration: str
    entry: str
    service: ServiceKey

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.registration}[{self.entry}] of {self.service}"


class PublishedName(msgspec.Struct, frozen=True, gc=False):
    """One name, fully expanded, and the ports it speaks for.

    A port's name, or None for all published ports (the first is primary).
    """

    name: str
    port: str | None = None


class Publication(msgspec.Struct, frozen=True, gc=False):
    """What one entry publishes of one service, as a sink sees it: everything that holds for all its instances.

    `namespace` is the registration's. `ttl_seconds` is None where the sink's own default holds. `options` are the
    entry's, already decoded to the sink type's Options struct. `labels` are the service's.
    """

    key: PublicationKey
    names: tuple[PublishedName, ...]
    environment: str
    owner: str
    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: NO_LABELS)
    strategy: Strategy = "Weighted"
    ttl_seconds: int | None = None
    options: object = None

    @property
    def namespace(self) -> str:
        """The registration's namespace."""
        return self.key.registration.partition("/")[0]

    @property
    def registration(self) -> str:
        """The registration's name without its namespace."""
        return self.key.registration.partition("/")[2]


class PublishedInstance(msgspec.Struct, frozen=True, gc=False):
    """An instance as one publication shows it.

    Addresses and ports selected, verdicts applied, weight shared out, metadata expanded.

    `addresses` has at least one; the first is the primary. `ports` are those the entry asks for, under the names the
    manifest gives them, and may be empty. `ready` is the source's readiness and the health verdict together. `path` is
    the path to store.
    """

    id: str
    addresses: tuple[Address, ...]
    ports: tuple[Port, ...] = ()
    ready: bool = True
    weight: int = 1
    node: str = ""
    zone: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: NO_LABELS)
    metadata: Mapping[str, str] = msgspec.field(default_factory=lambda: NO_LABELS)
    path: tuple[Hop, ...] = ()

    def port(self, name: str | None) -> Port | None:
        """Return the port of that name; for None the first one; None where there is none."""
        if name is None:
            return self.ports[0] if self.ports else None
        return next((port for port in self.ports if port.name == name), None)


def family(value: str) -> Family:
    """Return which family an address belongs to; everything that is no IP literal is a host name."""
    try:
        inet_pton(AF_INET, value)  # a tenth of the time that ipaddress needs, and as strict: no zeros before, no spaces
    except (OSError, ValueError):
        return _other_family(value)
    return "IPv4"


def _other_family(value: str) -> Family:
    try:
        return "IPv6" if ipaddress.ip_address(value).version == 6 else "IPv4"
    except ValueError:
        return "Hostname"
