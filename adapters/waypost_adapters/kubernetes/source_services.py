"""Services and Nodes, as far as they are read, and the instances of services that are not reached at their endpoints.

Pure; README.md has the tables.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Literal, get_args

import msgspec

from waypost.kit import dnsnames
from waypost.kit.kubernetes.resource import Meta
from waypost.model import NO_LABELS, Address, AddressType, Instance, Port, Readiness
from waypost_adapters.kubernetes.source_config import MINE, NAME, PREFIX, PUBLISH, REACH, Reach, SourceConfig

__all__ = ["Node", "Reached", "ServiceRow", "apart_from_endpoints", "is_shown", "labels", "reached"]

Reached = Literal["endpoints", "nodes", "loadBalancer", "clusterIP", "externalName"]

MOST_PORTS = 100
MOST_ADDRESSES = 16
MOST_LABELS = 128
MOST_LABEL_BYTES = 16_384  # key and value together
BY_TYPE: Mapping[str, Reached] = {
    "ClusterIP": "endpoints",
    "NodePort": "nodes",
    "LoadBalancer": "loadBalancer",
    "ExternalName": "externalName",
}
NONE = "None"  # the clusterIP of a headless Service
BEST: Sequence[Readiness] = ("ready", "draining", "not-ready")
ZONE = "topology.kubernetes.io/zone"


class Metadata(Meta, frozen=True, gc=False, rename="camel"):
    """Metadata with what people wrote."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ServicePort(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A port of a Service; `node_port` is 0 where none is open on the nodes."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    node_port: int = 0


class ServiceSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How a Service is reached."""

    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    ip_families: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] | None = None
    external_name: str = ""
    selector: dict[str, str] | None = None


class Ingress(msgspec.Struct, frozen=True, gc=False):
    """Where a load balancer takes what is for a Service."""

    ip: str = ""
    hostname: str = ""


class LoadBalancer(msgspec.Struct, frozen=True, gc=False):
    """What a load balancer has made of a Service."""

    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What has become of a Service."""

    load_balancer: LoadBalancer = LoadBalancer()


class ServiceRow(msgspec.Struct, frozen=True, gc=False):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class NodeAddress(msgspec.Struct, frozen=True, gc=False):
    """An address of a Node; `type` is InternalIP, ExternalIP or another word."""

    type: str = ""
    address: str = ""


class NodeStatus(msgspec.Struct, frozen=True, gc=False):
    """What a Node says of itself; of its conditions, which change every so often, nothing is read."""

    addresses: tuple[NodeAddress, ...] | None = None


class NodeLabels(msgspec.Struct, frozen=True, gc=False, rename={"zone": ZONE}):
    """Of a Node's labels, the zone."""

    zone: str = ""


class NodeMeta(Meta, frozen=True, gc=False, rename="camel"):
    """A Node's metadata."""

    labels: NodeLabels | None = None


class Node(msgspec.Struct, frozen=True, gc=False):
    """A Node."""

    metadata: NodeMeta
    status: NodeStatus = NodeStatus()

    @property
    def zone(self) -> str:
        """The zone that its label names."""
        return self.metadata.labels.zone if self.metadata.labels else ""


def is_shown(row: ServiceRow, config: SourceConfig) -> bool:
    """Return whether a Service is one of those that the source shows: what Waypost itself wrote never is."""
    if MINE in (row.metadata.labels or ()):
        return False
    said = (row.metadata.annotations or {}).get(PUBLISH, "")
    return said == "true" or (said != "false" and not config.opt_in)


def reached(row: ServiceRow, config: SourceConfig) -> Reached:
    """Return how a Service is reached: as its annotation says, the source's config, or its type."""
    by_type = BY_TYPE.get(row.spec.type, "endpoints")
    if by_type == "externalName":
        return by_type
    asked: str = (row.metadata.annotations or {}).get(REACH, config.reach)
    if asked not in get_args(Reach):
        asked = config.reach
    if asked == "type":
        return "endpoints" if by_type == "nodes" and not config.nodes else by_type
    return asked  # type: ignore[return-value] # the others are the same words


def labels(row: ServiceRow) -> Mapping[str, str]:
    """Return a Service's labels, and over them its annotations of Waypost's; `waypost.dev/name` always is one."""
    said = (row.metadata.annotations or {}).items()
    ours = {key: value for key, value in said if key.startswith(PREFIX) and len(key) + len(value) <= MOST_LABEL_BYTES}
    found = {NAME: row.metadata.name, **ours}
    for key, value in (row.metadata.labels or {}).items():
        if len(found) == MOST_LABELS:
            break
        found.setdefault(intern(key), value)
    return found


def apart_from_endpoints(
    row: ServiceRow, how: Reached, endpoints: Iterable[Instance], nodes: Mapping[str, Node]
) -> tuple[Instance, ...]:
    """Return the instances of a Service that is reached in another way than at its endpoints."""
    if how == "nodes":
        return tuple(_at_nodes(row, endpoints, nodes))
    ports = _ports((port.port, port) for port in row.spec.ports or ())
    if how == "externalName":
        places = [*_hosts([row.spec.external_name], "Hostname")]
        return tuple(Instance(place.value, (place,), ports) for place in places)
    if how == "loadBalancer":
        return tuple(_at_load_balancers(row, ports, _best(endpoints)))
    virtual = tuple(_addresses([ip for ip in row.spec.cluster_ips if ip != NONE], "ClusterIP"))
    return (Instance("cluster-ip", virtual, ports, _best(endpoints)),) if virtual else ()


def _at_load_balancers(row: ServiceRow, ports: tuple[Port, ...], readiness: Readiness) -> Iterator[Instance]:
    for ingress in (row.status.load_balancer.ingress or ())[:MOST_ADDRESSES]:
        addresses = (*_addresses([ingress.ip], "LoadBalancer"), *_hosts([ingress.hostname], "LoadBalancer"))
        if addresses:
            yield Instance(addresses[0].value, addresses, ports, readiness)


def _best(endpoints: Iterable[Instance]) -> Readiness:
    """Return what a Service as a whole is: ready when one of its endpoints is."""
    found = {instance.readiness for instance in endpoints}
    return next((each for each in BEST if each in found), "not-ready")


def _at_nodes(row: ServiceRow, endpoints: Iterable[Instance], nodes: Mapping[str, Node]) -> Iterator[Instance]:
    """Yield each node on which there is an endpoint: there a port of the node leads to it, whatever the policy."""
    ports = _ports((port.node_port, port) for port in row.spec.ports or ())
    there: dict[str, list[Instance]] = {}
    for instance in endpoints:
        if instance.node:
            there.setdefault(instance.node, []).append(instance)
    for name in sorted(there):
        node = nodes.get(name)
        rows = [each for each in (node.status.addresses or () if node else ()) if each.type != "Hostname"]
        inside = _addresses([each.address for each in rows if each.type == "InternalIP"], "Node", "internal")
        outside = _addresses([each.address for each in rows if each.type == "ExternalIP"], "Node", "external")
        addresses = (*inside, *outside)
        if node is not None and addresses:
            zone = there[name][0].zone or node.zone
            yield Instance(name, addresses, ports, _best(there[name]), 1, name, intern(zone), NO_LABELS)


def _ports(rows: Iterable[tuple[int, ServicePort]]) -> tuple[Port, ...]:
    found: dict[tuple[int, str], Port] = {}
    for number, row in rows:
        protocol = row.protocol.lower()
        if 1 <= number <= 65535 and protocol in {"tcp", "udp", "sctp"} and len(found) < MOST_PORTS:
            found.setdefault((number, protocol), Port(number, row.name, protocol))
    return tuple(found.values())


def _addresses(texts: Iterable[str], type: AddressType, network: str = "") -> Iterator[Address]:
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if "%" not in text:
            yield Address(str(address), type, network)


def _hosts(texts: Iterable[str], type: AddressType) -> Iterator[Address]:
    """Yield names of hosts; one that is an address, which the API permits, is one."""
    for text in texts:
        found = tuple(_addresses([text], type))
        if found:
            yield found[0]
            continue
        try:
            yield Address(dnsnames.name(text, underscore=True), type)
        except dnsnames.BadName:
            continue
