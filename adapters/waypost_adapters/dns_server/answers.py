"""From the zone to what is answered: which records, in which orders. Pure; randomness is handed in.

A reply comes as an iterator of replies, to be given out in turn: first places are in proportion to the weights over all
of them. One that never differs has one. `node` is what it follows from; None for what follows from the zone as a whole
(also all that is negative, which carries the SOA record and its serial).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from waypost.choice import spread
from waypost_adapters.dns_server import packet
from waypost_adapters.dns_server.packet import Query, Reply, record
from waypost_adapters.dns_server.zone import Instance, Node, Zone, parent

__all__ = ["Answers", "Found"]

_SELF = b"\xc0\x0c"  # a pointer to the question's name
_SRV = struct.Struct(">HHH")
_ORDERS = 32


class Found(msgspec.Struct):
    """The replies to give out in turn, and the node they follow from."""

    replies: Iterator[Reply]
    node: Node | None = None


class Answers:
    """Answers queries from a zone.

    `servers` are the server's own addresses (packed), `ttl` is that of what is the zone's own.
    """

    def __init__(self, zone: Zone, ttl: int, servers: Sequence[bytes], random: Random) -> None:
        self.zone = zone
        self.ttl = ttl
        self.random = random
        self.answering = False
        self._servers = [address for address in servers if address]
        self._host = b"\x02ns" + zone.apex

    def find(self, query: Query) -> Found:
        """Return what to answer."""
        if query.rcode:
            return _one(Reply(query.rcode))
        if not self.zone.contains(query.name) or query.type in {packet.AXFR, packet.IXFR}:
            return _one(Reply(packet.REFUSED))
        if not self.answering:
            return _one(Reply(packet.SERVFAIL))
        if query.name == self.zone.apex:
            return self._apex(query)
        if (node := self.zone.nodes.get(query.name)) is not None:
            return self._service(query, node)
        return self._derived(query) or self._nothing(query)

    def _service(self, query: Query, node: Node) -> Found:
        ready = node.ready
        if len(ready) == 1 and ready[0].host and query.type != packet.ANY:
            return _one(_positive([record(_SELF, packet.CNAME, ready[0].ttl, ready[0].host)]), node)
        if query.type == packet.A:
            return self._addresses(query, node, packet.A, [one for one in ready if one.v4])
        if query.type == packet.AAAA:
            return self._addresses(query, node, packet.AAAA, [one for one in ready if one.v6])
        return self._any(query) or self._negative(query, packet.NOERROR)

    def _addresses(self, query: Query, node: Node, type: int, ready: list[Instance]) -> Found:
        if not ready:
            return self._negative(query, packet.NOERROR)
        ttl = min(one.ttl for one in ready)
        made = {one.id: record(_SELF, type, ttl, one.v4 if type == packet.A else one.v6) for one in ready}
        if len(set(made.values())) == 1:
            return _one(_positive(list(made.values())[:1]), node)
        orders = spread(ready[0].strategy, ready, self.random, _ORDERS)
        return Found((_positive(list(dict.fromkeys(made[one.id] for one in order))) for order in orders), node)

    def _derived(self, query: Query) -> Found | None:
        """Answer for a name that follows from a service's.

        `_port._proto`, `_proto`, or an instance's own, before it.
        """
        first = query.name[: 1 + query.name[0]]
        rest = parent(query.name)
        if first.startswith(b"\x02ns") and rest == self.zone.apex:
            return self._server(query)
        if first[1:2] != b"_":
            node = self.zone.nodes.get(rest)
            mine = node.at_target(first) if node is not None else None
            return self._target(query, mine) if mine is not None else None
        if (node := self.zone.nodes.get(rest)) is not None:
            return (self._any(query) or self._negative(query, packet.NOERROR)) if node.has_port(first) else None
        if rest and (node := self.zone.nodes.get(parent(rest))) is not None:
            prefix = query.name[: len(first) + 1 + rest[0]]
            return self._services(query, node, prefix) if node.has_port(prefix) else None
        return None

    def _services(self, query: Query, node: Node, prefix: bytes) -> Found:
        """Answer with SRV records, and with the addresses of their targets beside them."""
        if query.type != packet.SRV:
            return self._any(query) or self._negative(query, packet.NOERROR)
        numbers = {one.id: [number for port, number in one.ports if port == prefix] for one in node.ready}
        ready = [one for one in node.ready if numbers[one.id]]
        if not ready:
            return self._negative(query, packet.NOERROR)
        ttl = min(one.ttl for one in ready)
        below = (0xC000 | (12 + len(prefix))).to_bytes(2, "big")  # a pointer to the service's name within the question
        answers = {
            one.id: [
                record(_SELF, packet.SRV, ttl, _SRV.pack(0, one.weight, number) + (one.host or one.label + node.wire))
                for number in numbers[one.id]
            ]
            for one in ready
        }
        orders = spread(ready[0].strategy, ready, self.random, _ORDERS)
        return Found(
            (
                _positive(
                    [one for instance in order for one in answers[instance.id]],
                    list(
                        dict.fromkeys(one for instance in order for one in _own(instance.label + below, ttl, instance))
                    ),
                )
                for order in orders
            ),
            node,
        )

    def _target(self, query: Query, mine: Instance) -> Found:
        """Answer for an instance's own name.

        Somebody was told of it, so it is answered while the instance is not ready, too.
        """
        found = {packet.A: mine.v4, packet.AAAA: mine.v6}.get(query.type)
        if not found:
            return self._any(query) or self._negative(query, packet.NOERROR)
        return _one(_positive([record(_SELF, query.type, mine.ttl, found)]))

    def _apex(self, query: Query) -> Found:
        if query.type == packet.SOA:
            return _one(_positive([self._soa(_SELF, b"\xc0\x0c")]))
        if query.type == packet.NS:
            extra = [self._address(b"\x02ns\xc0\x0c", address) for address in self._servers]
            return _one(_positive([record(_SELF, packet.NS, self.ttl, b"\x02ns\xc0\x0c")], extra))
        return self._any(query) or self._negative(query, packet.NOERROR)

    def _server(self, query: Query) -> Found:
        """Answer for `ns.<zone>`, this server's own name."""
        wanted = {packet.A: 4, packet.AAAA: 16}.get(query.type)
        found = [self._address(_SELF, address) for address in self._servers if len(address) == wanted]
        return _one(_positive(found)) if found else self._any(query) or self._negative(query, packet.NOERROR)

    def _nothing(self, query: Query) -> Found:
        if self.zone.below(query.name):
            return self._any(query) or self._negative(query, packet.NOERROR)
        return self._negative(query, packet.NXDOMAIN)

    def _any(self, query: Query) -> Found | None:
        """Answer ANY for a name that exists with what RFC 8482 section 4.2 makes of it: nothing to amplify."""
        if query.type != packet.ANY:
            return None
        return _one(_positive([record(_SELF, packet.HINFO, self.ttl, b"\x07RFC8482\x00")]))

    def _negative(self, query: Query, rcode: int) -> Found:
        """Say that there is nothing, for as long as the SOA record says (RFC 2308 section 3)."""
        apex = (0xC000 | (12 + len(query.name) - len(self.zone.apex))).to_bytes(2, "big")
        return _one(Reply(rcode, authoritative=True, authority=[self._soa(apex, apex)]))

    def _soa(self, owner: bytes, apex: bytes) -> bytes:
        numbers = struct.pack(">IIIII", self.zone.serial & 0xFFFFFFFF, 3600, 600, 86_400, self.ttl)
        return record(owner, packet.SOA, self.ttl, b"\x02ns" + apex + b"\x0ahostmaster" + apex + numbers)

    def _address(self, owner: bytes, address: bytes) -> bytes:
        return record(owner, packet.A if len(address) == 4 else packet.AAAA, self.ttl, address)


def _own(owner: bytes, ttl: int, instance: Instance) -> list[bytes]:
    """Return the addresses of an SRV record's target; none for a host name, which is not of this zone."""
    made = [record(owner, packet.A, ttl, instance.v4)] if instance.v4 else []
    return [*made, record(owner, packet.AAAA, ttl, instance.v6)] if instance.v6 else made


def _positive(answer: Sequence[bytes], additional: Sequence[bytes] = ()) -> Reply:
    return Reply(authoritative=True, answer=answer, additional=additional)


def _one(reply: Reply, node: Node | None = None) -> Found:
    return Found(iter((reply,)), node)
