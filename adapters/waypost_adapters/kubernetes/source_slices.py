"""EndpointSlices, and what a newer state of one changes: decoded whole, or beside the text that was there before."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from waypost.kit.kubernetes.resource import Meta
from waypost.model import Instance, Port
from waypost_adapters.kubernetes.source_config import MINE
from waypost_adapters.kubernetes.source_endpoints import Endpoint, PortRow, instance_of, ports_of
from waypost_adapters.kubernetes.source_text import FIRST, Text

__all__ = ["Frame", "Slice"]


class Labels(msgspec.Struct, frozen=True, gc=False, rename={"service": "kubernetes.io/service-name", "mine": MINE}):
    """Of a slice's labels: the Service that it belongs to, and whether Waypost wrote it."""

    service: str = ""
    mine: str = ""


class SliceMeta(Meta, frozen=True, gc=False, rename="camel"):
    """A slice's metadata."""

    labels: Labels | None = None


class Frame(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A slice without its endpoints."""

    metadata: SliceMeta
    address_type: str = "IPv4"
    ports: tuple[PortRow, ...] | None = None


class Whole(Frame, frozen=True, gc=False, rename="camel"):
    """A slice with its endpoints as they came."""

    endpoints: list[msgspec.Raw] | None = None


class Tail(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """All that may stand behind the endpoints of a slice with whose text others are compared."""

    endpoints: list[msgspec.Raw]
    address_type: str = "IPv4"
    ports: tuple[PortRow, ...] | None = None


BEFORE, BEHIND = b'{"type":"MODIFIED","object":', b"}\n"

_FRAME = msgspec.json.Decoder(Frame)
_WHOLE = msgspec.json.Decoder(Whole)
_TAIL = msgspec.json.Decoder(Tail)
_ENDPOINTS = msgspec.json.Decoder(list[Endpoint])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)


class Slice:
    """A slice, whose JSON is in `text` from `start` until `stop`. Raises msgspec.DecodeError where it is none.

    Once `settle` was called, `instances` are what its endpoints are, in their order, `single` says that no id is there
    twice, and `size` how many bytes of text are kept. The list is handed on to the slice that takes this one's place.
    """

    __slots__ = ("_head", "_start", "_text", "instances", "metadata", "ports", "service", "single", "size", "type")

    def __init__(self, text: bytes, start: int = 0, stop: int | None = None) -> None:
        stop = len(text) if stop is None else stop
        begin = text.find(FIRST, start, stop) + len(FIRST)
        head = _head(text[start:begin]) if begin >= len(FIRST) else None
        if head is None:
            head, begin = _FRAME.decode(memoryview(text)[start:stop]), 0
        labels = head.metadata.labels
        self.metadata = head.metadata
        self.service = "" if labels is None or labels.mine else labels.service
        self.type = head.address_type
        self.ports: tuple[Port, ...] = ()
        self.instances: list[Instance] = []
        self.single = True
        self._head, self._start = head, start
        self._text: Text | None = Text(text, begin, stop)
        self.size = len(text)

    @classmethod
    def of(cls, raw: bytes | memoryview) -> Slice:
        """Return one of which the text is copied, into as many bytes as an event of it has: one fits where another was.

        Where it does not, the memory of all that a list brought is left unused once events have taken its place.
        """
        return cls(b"".join((BEFORE, raw, BEHIND)), len(BEFORE), len(BEFORE) + len(raw))

    def forget(self) -> None:
        """Keep no text: what takes its place is decoded whole."""
        self._text, self.size = None, 0

    def settle(self, before: Slice | None) -> tuple[Sequence[Instance], Sequence[Instance]]:
        """Take the place of what it was; return instances that went and those that came. One that changed is in both.

        Those that are as they were are then the same objects. Raises msgspec.DecodeError and UnicodeDecodeError; then
        what it was keeps its place.
        """
        if before is not None and (found := self._from(before)) is not None:
            return found
        return self._from_all(before)

    def _from(self, before: Slice) -> tuple[Sequence[Instance], Sequence[Instance]] | None:
        """Settle by what differs from the text before; None, and nothing is done, where that cannot be told."""
        text, old, head, old_head = self._text, before._text, self._head, before._head
        if text is None or old is None or not text.begin:
            return None
        if head.address_type != old_head.address_type or head.ports != old_head.ports:
            return None
        if (change := old.compared(text)) is None:
            return None
        first, last, begin, end = change
        part = b"[%b]" % text.text[begin:end]
        try:
            rows = _ENDPOINTS.decode(part)
            sizes = [len(part) - 1] if len(rows) == 1 else [len(raw) + 1 for raw in _RAWS.decode(part)]
        except NOT_JSON:
            return None  # decoding it whole tells what is wrong with it
        if sum(sizes) != len(part) - 1:
            return None  # there are spaces, or nothing
        self.type, self.ports, instances = before.type, before.ports, before.instances
        if len(rows) == 1 == last - first:  # what an event mostly is
            was = instances[first]
            it = instance_of(rows[0], self.ports, self.type, was)
            now, went, came = ([was], [], []) if it == was else ([it], [was], [it])
        else:
            now, went, came = _matched(instances[first:last], [instance_of(row, self.ports, self.type) for row in rows])
        instances[first:last] = now  # in this order, though none may be another
        text.succeed(old, change, sizes)
        self.instances = instances
        self.single = before.single and _stays_single(instances, went, came)
        return went, came

    def _from_all(self, before: Slice | None) -> tuple[Sequence[Instance], Sequence[Instance]]:
        """Settle by decoding all."""
        text = self._text
        assert text is not None
        view = memoryview(text.text)
        whole = _WHOLE.decode(view[self._start : text.stop])
        if whole.metadata != self.metadata:
            raise msgspec.DecodeError("its metadata are there twice")
        raws = whole.endpoints or ()
        rows = self._compact(text, raws) or _ENDPOINTS.decode(b"[" + b",".join(raws) + b"]")
        if not text.strides:
            self.forget()
        self.type, self.ports = whole.address_type, ports_of(whole.ports or ())
        made = [instance_of(row, self.ports, self.type) for row in rows]
        self.single = len({each.id for each in made}) == len(made)
        self.instances, went, came = _matched(before.instances if before is not None else [], made)
        return went, came

    def _compact(self, text: Text, raws: Sequence[msgspec.Raw]) -> Sequence[Endpoint]:
        """Decode endpoints where they are, and note where each ends; () if they are not as they can be compared."""
        if not text.begin or not raws:
            return ()
        strides = array("I", [len(raw) + 1 for raw in raws])
        end = text.begin + sum(strides)  # behind the bracket, if there are no spaces
        try:
            if _TAIL.decode(b'{"endpoints":[' + text.text[end - 1 : text.stop]).endpoints:
                return ()
            rows = _ENDPOINTS.decode(memoryview(text.text)[text.begin - 1 : end])
        except NOT_JSON:
            return ()
        text.strides = strides
        return rows


def _head(text: bytes) -> Frame | None:
    """Return what is before the endpoints; None where they are not the object's own."""
    try:
        return _FRAME.decode(text + b"]}")
    except NOT_JSON:
        return None


def _matched(old: list[Instance], new: list[Instance]) -> tuple[list[Instance], list[Instance], list[Instance]]:
    """Return the new ones, those that are as old ones as these, with the old ones that went and the new that came."""
    known = {each.id: each for each in old}
    now: list[Instance] = []
    came: list[Instance] = []
    for each in new:
        before = known.get(each.id)
        if before is not None and before == each:
            del known[each.id]
            now.append(before)
        else:
            now.append(each)
            came.append(each)
    if len(came) == len(new):
        return now, old, came
    kept = set(map(id, now))
    return now, [each for each in old if id(each) not in kept], came


def _stays_single(now: Sequence[Instance], went: Sequence[Instance], came: Sequence[Instance]) -> bool:
    """Whether no id is twice among instances of which that was so before some went and others came."""
    if not came or (len(came) == len(went) == 1 and came[0].id == went[0].id):
        return True
    fresh = {each.id for each in came}
    if len(fresh) < len(came):
        return False
    fresh.difference_update([each.id for each in went])
    return not fresh or sum(each.id in fresh for each in now) == len(fresh)
