"""Octets in, octets out.

Answers kept ready by the very octets of the question, so that the frequent ones cost a look-up each.

The key is all of a query but its id, so what is kept is right whatever the case of its letters and its options. A
change of a name drops what follows from it; what is negative, or the zone's own, is dropped at each change (it carries
the serial). Bounded in octets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

from waypost_adapters.dns_server import packet
from waypost_adapters.dns_server.answers import Answers
from waypost_adapters.dns_server.packet import Reply
from waypost_adapters.dns_server.zone import Node

__all__ = ["Responder"]

MAX_KEPT = 32 * 1024 * 1024  # octets of answers and questions


class Responder:
    """`kept[query without its id]()` gives the next answer without its id; `udp` and `tcp` make what is not there."""

    def __init__(self, answers: Answers, limit: int = MAX_KEPT) -> None:
        self.answers = answers
        self._limit = limit
        self.kept: dict[bytes, Callable[[], bytes]] = {}
        self.room = limit
        self._rings: dict[bytes, _Ring] = {}
        self._nodes: set[Node] = set()
        self._others: set[bytes] = set()

    def udp(self, data: bytes) -> bytes | None:
        """Return the answer to a datagram, and keep it; None: no answer at all."""
        if (kept := self.kept.get(data[2:])) is not None:
            return data[:2] + kept()
        try:
            query = packet.parse(data)
        except packet.Unanswerable:
            return None
        found = self.answers.find(query)
        if query.rcode in {packet.FORMERR, packet.NOTIMP}:
            return packet.build(query, next(found.replies), query.size)
        key = data[2:]
        ring = _Ring(self, key, (packet.build(query, reply, query.size)[2:] for reply in found.replies))
        first = ring()
        self.kept[key] = ring
        self._rings[key] = ring
        self.room -= len(key) + 200
        if found.node is None:
            self._others.add(key)
        else:
            found.node.cached.add(key)
            self._nodes.add(found.node)
        if self.room < 0:
            self.clear()
        return data[:2] + first

    def tcp(self, data: bytes) -> bytes | None:
        """Return the answer to a query that came over a stream; None: the stream is to be closed."""
        try:
            query = packet.parse(data)
        except packet.Unanswerable:
            return None
        reply: Reply = next(self.answers.find(query).replies)
        return packet.build(query, reply, packet.TCP_SIZE, stream=True)

    def changed(self, nodes: Iterable[Node]) -> None:
        """Drop what follows from these nodes, and what follows from the zone."""
        for node in nodes:
            self._drop(node.cached)
            self._nodes.discard(node)
        self._drop(self._others)
        if not self.kept:
            self.room = self._limit

    def clear(self) -> None:
        """Drop all."""
        self.kept.clear()
        self._rings.clear()
        self._others.clear()
        for node in self._nodes:
            node.cached.clear()
        self._nodes.clear()
        self.room = self._limit

    def complete(self, ring: _Ring, key: bytes, following: Callable[[], bytes]) -> None:
        """Keep, in place of a ring that has made all its answers, what gives them in turn without it."""
        if self._rings.get(key) is ring:
            self.kept[key] = following

    def _drop(self, keys: set[bytes]) -> None:
        for key in keys:
            self.kept.pop(key, None)
            if (ring := self._rings.pop(key, None)) is not None:
                self.room += len(key) + 200 + ring.size
        keys.clear()


class _Ring:
    """Gives answers in turn, over and over; each is made when its turn first comes."""

    __slots__ = ("_coming", "_key", "_made", "_responder", "size")

    def __init__(self, responder: Responder, key: bytes, coming: Iterator[bytes]) -> None:
        self._responder = responder
        self._key = key
        self._coming = coming
        self._made: list[bytes] = []
        self.size = 0

    def __call__(self) -> bytes:
        if (answer := next(self._coming, None)) is None:
            following = cycle(self._made).__next__
            self._responder.complete(self, self._key, following)
            return following()
        self._made.append(answer)
        self.size += len(answer) + 40
        self._responder.room -= len(answer) + 40
        return answer
