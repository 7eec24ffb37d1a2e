"""The Service under which instances stand: what it should say, and whether one that is there says it. Pure.

It shows addresses where any instance has one, and else one host name (`ExternalName`): of those that are ready the
first by their labels. A number that a port has in a Service it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from waypost_adapters.kubernetes.sink_naming import Shape
from waypost_adapters.kubernetes.sink_objects import (
    FENCE,
    MANAGER,
    OWNER,
    RECORDS,
    Meta,
    annotation,
    cost,
    records_of,
)
from waypost_adapters.kubernetes.sink_placing import MOST_TEXT
from waypost_adapters.kubernetes.sink_record import Line

__all__ = ["Front", "Wanted", "differs", "document", "ended", "fits", "front_of", "is_headless", "wanted"]

ENDING = "waypost.dev/ending"  # an annotation: its leader is about to delete it; whoever needs it writes it first
MANAGED_BY = "app.kubernetes.io/managed-by"


class Front(msgspec.Struct):
    """A Service as read. `aliases` are the instances with a host name, by their labels."""

    meta: Meta
    spec: dict[str, Any]
    aliases: dict[str, Line] = {}
    altered: bool = False

    def is_of(self, owner: str) -> bool:
        """Whether it is this owner's."""
        return self.meta.labels.get(OWNER) == owner


class Wanted(msgspec.Struct, frozen=True):
    """What a Service should say: what is in `spec` as it stands there, a key with None not at all."""

    spec: Mapping[str, Any]
    aliases: Mapping[str, Line]


class _Object(msgspec.Struct):
    metadata: Meta
    spec: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Object).decode
_encode = msgspec.json.Encoder().encode


def front_of(raw: bytes | msgspec.Raw, owner: str, name_of: Callable[[str], str]) -> Front:
    """Return a Service as read, whoever's it is. `name_of` gives a Service's published name."""
    found = _decode(raw)
    front = Front(found.metadata, found.spec)
    if not front.is_of(owner) or RECORDS not in found.metadata.annotations:
        return front
    records = records_of(found.metadata)
    if records is None or any(
        len(row) != 4 or not isinstance(row[2], str) or not isinstance(row[3], bool)
        for row in records.instances.values()
    ):
        front.altered = True
        return front
    front.aliases = {
        label: Line(owner, records.publications[row[0]], row[1], name_of(front.meta.name), row[3], (), row[2], (), "")
        for label, row in records.instances.items()
    }
    return front


def is_headless(spec: Mapping[str, Any]) -> bool:
    """Whether a Service has no address of its own."""
    return spec.get("clusterIP") == "None"


def fits(aliases: Mapping[str, Line]) -> bool:
    """Whether a Service's annotation holds these."""
    texts = {line.whose for line in aliases.values()}
    return (
        sum(map(cost, aliases.values())) + sum(400 + len(whose.path) + len(whose.service) for whose in texts)
        <= MOST_TEXT
    )


def wanted(there: Mapping[str, Any], shapes: Iterable[Shape], aliases: Mapping[str, Line], *, headless: bool) -> Wanted:
    """Return what a Service should say, given what its spec says (nothing where there is none).

    `shapes` are the ports of its slices: none where it has no slices. `headless` is for one that is new.
    """
    shapes = list(shapes)
    ready = [(label, line.host) for label, line in aliases.items() if line.ready]
    if not shapes and ready:
        spec: dict[str, Any] = {"type": "ExternalName", "externalName": min(ready)[1], "selector": None, "ports": None}
        return Wanted(spec, aliases)
    ports = _ports(there.get("ports") or (), shapes)
    spec = {"type": "ClusterIP", "externalName": None, "selector": None, "ports": ports or None}
    if not there.get("clusterIP") and (headless or not ports):
        spec["clusterIP"] = "None"
    return Wanted(spec, aliases)


def _ports(there: Iterable[Mapping[str, Any]], shapes: Iterable[Shape]) -> list[dict[str, Any]]:
    """Return the ports, by name.

    One that is there already keeps its number; of several numbers under one name the lowest is taken. A port without a
    name, and one whose number another one has, stand in the slices only.
    """
    lowest: dict[tuple[str, str], int] = {}
    for name, number, protocol in {port for shape in shapes for port in shape}:
        lowest[name, protocol] = min(number, lowest.get((name, protocol), number))
    names = {name for name, _ in lowest}
    if len(lowest) > 1:
        names.discard("")
    kept = {(port.get("name") or "", port.get("protocol") or "TCP"): dict(port) for port in there}
    found: dict[str, dict[str, Any]] = {}
    used: set[tuple[str, int]] = set()
    for key in sorted(lowest, key=lambda key: (key not in kept, key)):
        name, protocol = key
        port = kept.get(key) or {"name": name, "port": lowest[key], "protocol": protocol}
        if name not in names or name in found or (protocol, port["port"]) in used:
            continue
        used.add((protocol, port["port"]))
        if not name:
            port.pop("name", None)
        found[name] = port
    return [found[name] for name in sorted(found)]


def differs(front: Front, want: Wanted, owner: str) -> bool:
    """Whether a Service of ours does not say what it should, and so is to be written."""
    if front.altered or ENDING in front.meta.annotations or not front.is_of(owner) or front.aliases != want.aliases:
        return True
    if front.meta.labels.get(MANAGED_BY) != MANAGER:
        return True
    return any(_said(front.spec.get(key)) != _said(value) for key, value in want.spec.items())


def _said(value: Any) -> Any:
    """Return a value in the form in which two are compared: what the server fills in of a port is left out."""
    if isinstance(value, list):
        rows = [(each.get("name") or "", each.get("port"), each.get("protocol") or "TCP") for each in value]
        return sorted(rows) or None
    return value or None


def document(front: Front, want: Wanted, owner: str, fence: str, *, ending: bool = False) -> bytes:
    """Return a Service as it is written, given what is there (for a new one, its name and namespace alone)."""
    labels = {**front.meta.labels, MANAGED_BY: MANAGER, OWNER: owner}
    annotations = {**front.meta.annotations, FENCE: fence}
    annotations.pop(ENDING, None)
    annotations.pop(RECORDS, None)
    if want.aliases:
        annotations[RECORDS] = annotation(sorted(want.aliases.items()))
    if ending:
        annotations[ENDING] = fence
    spec = {key: value for key, value in {**front.spec, **want.spec}.items() if value is not None}
    if spec["type"] == "ExternalName":
        for key in _ADDRESSES:
            spec.pop(key, None)
    meta = msgspec.structs.replace(front.meta, labels=labels, annotations=annotations)
    return _encode({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})


def ended(front: Front, owner: str, fence: str) -> bytes:
    """Return a Service as it is written before it is deleted."""
    return document(front, Wanted({"type": front.spec.get("type", "ClusterIP")}, {}), owner, fence, ending=True)


# What a Service with addresses has, and one that is another name must not have.
_ADDRESSES = (
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "internalTrafficPolicy",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "loadBalancerIP",
    "loadBalancerClass",
    "allocateLoadBalancerNodePorts",
    "trafficDistribution",
)
