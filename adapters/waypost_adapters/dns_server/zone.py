"""The zone as the DNS process holds it: which names there are, and the records of each. Pure: no socket, no clock.

A name exists as a service, as `_proto` or `_port._proto` before one, as an instance's own name before one, or because
something is below it (RFC 4592 section 2.2.2: such a name has no records and is no NXDOMAIN). Of these only services
are kept; the others follow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

from waypost.kit import dnsnames
from waypost.model import Strategy

__all__ = ["Instance", "Node", "Zone"]


class _Stored(msgspec.Struct, frozen=True, gc=False):
    """What is read of an entry: all but the ownership (see layout.Entry)."""

    target: str
    addresses: tuple[str, ...]
    host: str
    ports: tuple[tuple[str, str, int], ...]
    ready: bool
    weight: int
    ttl: int
    strategy: Strategy


class Instance(msgspec.Struct, frozen=True, gc=False):
    """One record: an instance under one name.

    `id` is the record's key, `label` is its own name's first label, `host` the host name that stands for it, both as on
    the wire.
    """

    id: str
    label: bytes
    v4: bytes
    v6: bytes
    host: bytes
    ports: tuple[tuple[bytes, int], ...]
    ready: bool
    weight: int
    ttl: int
    strategy: Strategy
    zone: str = ""


class Node:
    """A service's name and its instances. `cached` are the questions whose answers follow from it."""

    __slots__ = ("_labels", "_prefixes", "_ready", "cached", "instances", "wire")

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.instances: dict[str, Instance] = {}
        self.cached: set[bytes] = set()
        self._ready: list[Instance] | None = None
        self._labels: dict[bytes, Instance] | None = None
        self._prefixes: set[bytes] | None = None

    @property
    def ready(self) -> list[Instance]:
        """The ready instances in the order of their keys."""
        if self._ready is None:
            self._ready = [instance for _, instance in sorted(self.instances.items()) if instance.ready]
        return self._ready

    def put(self, key: str, instance: Instance) -> None:
        """Add or replace one."""
        self.instances[key] = instance
        self._forget()

    def remove(self, key: str) -> None:
        """Take one away, if it is there."""
        self.instances.pop(key, None)
        self._forget()

    def at_target(self, label: bytes) -> Instance | None:
        """Return the instance of which this is the own name."""
        if self._labels is None:
            self._labels = {instance.label: instance for instance in self.instances.values()}
        return self._labels.get(label)

    def has_port(self, prefix: bytes) -> bool:
        """Say whether any instance, ready or not, has a port `_port._proto`; or, for one label, any of `_proto`."""
        if self._prefixes is None:
            whole = {port for instance in self.instances.values() for port, _ in instance.ports}
            self._prefixes = whole | {parent(port) for port in whole}
        return prefix in self._prefixes

    def _forget(self) -> None:
        self._ready = self._labels = self._prefixes = None


class Zone:
    """All names of the zone. `apex` is its name on the wire."""

    def __init__(self, name: str) -> None:
        """`name` is checked by the sink."""
        self.apex = dnsnames.encode(name)
        self.serial = 0
        self.nodes: dict[bytes, Node] = {}
        self._interior: dict[bytes, int] = {}

    def change(self, changes: Iterable[tuple[str, bytes | None]]) -> set[Node]:
        """Put and remove records by key; return the nodes that changed."""
        touched: set[Node] = set()
        for key, content in changes:
            wire = self._wire(key.partition("/")[0])
            node = self.nodes.get(wire)
            if content is None:
                if node is None:
                    continue
                node.remove(key)
                if not node.instances:
                    self._drop(node)
            else:
                if node is None:
                    node = self._add(wire)
                node.put(key, _read(key, content))
            touched.add(node)
        return touched

    def below(self, name: bytes) -> bool:
        """Say whether the zone has something below this name, which is no service's."""
        return name in self._interior

    def contains(self, name: bytes) -> bool:
        """Say whether a name (lower case) is the apex or below it."""
        if not name.endswith(self.apex):
            return False
        at, border = 0, len(name) - len(self.apex)
        while at < border:
            at += 1 + name[at]
        return at == border

    def _wire(self, relative: str) -> bytes:
        return dnsnames.encode(relative)[:-1] + self.apex

    def _add(self, wire: bytes) -> Node:
        node = self.nodes[wire] = Node(wire)
        for above in self._above(wire):
            self._interior[above] = self._interior.get(above, 0) + 1
        return node

    def _drop(self, node: Node) -> None:
        del self.nodes[node.wire]
        for above in self._above(node.wire):
            self._interior[above] -= 1
            if not self._interior[above]:
                del self._interior[above]

    def _above(self, wire: bytes) -> list[bytes]:
        """Return the names between this one and the apex."""
        found = []
        name = parent(wire)
        while len(name) > len(self.apex):
            found.append(name)
            name = parent(name)
        return found


def parent(wire: bytes) -> bytes:
    """Return a name without its first label."""
    return wire[1 + wire[0] :]


_decoder = msgspec.json.Decoder(_Stored)
_labels: dict[str, bytes] = {}


def _read(key: str, content: bytes) -> Instance:
    stored = _decoder.decode(content)
    v4 = v6 = b""
    for text in stored.addresses:
        packed = ipaddress.ip_address(text).packed
        if len(packed) == 4:
            v4 = packed
        else:
            v6 = packed
    label = _label(stored.target)
    return Instance(
        key,
        label,
        v4,
        v6,
        dnsnames.encode(stored.host) if stored.host else b"",
        tuple((_port(name, protocol), number) for name, protocol, number in stored.ports),
        stored.ready,
        stored.weight,
        stored.ttl,
        stored.strategy,
    )


def _label(text: str) -> bytes:
    octets = text.encode("ascii")
    return bytes((len(octets),)) + octets


def _port(name: str, protocol: str) -> bytes:
    """Return `_name._protocol` on the wire; few values, so each is kept once."""
    both = f"{name}/{protocol}"
    if (known := _labels.get(both)) is None:
        if len(_labels) > 10_000:
            _labels.clear()
        known = _labels[both] = _label(f"_{name}") + _label(f"_{protocol}")
    return known
