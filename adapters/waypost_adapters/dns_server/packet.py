"""DNS messages on the wire: a query read with suspicion, an answer put together within a size.

Pure; nothing of ours is answered from here.

RFC 1035 section 4 (form), RFC 2181 section 9 (truncation), RFC 6891 (EDNS), RFC 9619 (one question).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

__all__ = ["Query", "Reply", "Unanswerable", "build", "parse", "record"]

A, NS, CNAME, SOA, HINFO, TXT, AAAA, SRV, OPT, IXFR, AXFR, ANY = 1, 2, 5, 6, 13, 16, 28, 33, 41, 251, 252, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
UDP_SIZE = 1232  # what passes without fragments (DNS flag day 2020); never more is sent, whatever a query allows
PLAIN_SIZE = 512
TCP_SIZE = 65_535

_HEADER = struct.Struct(">HHHHHH")
_FIXED = struct.Struct(">HHIH")
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100


class Unanswerable(Exception):
    """The message gets no answer: it is none of a client, or too short to know whose."""


class Query(msgspec.Struct, gc=False):
    """A query as read.

    `question` is its octets, echoed as they came; `name` is lower case, on the wire form. `rcode` not 0: refused as
    read.
    """

    id: int
    flags: int
    question: bytes
    name: bytes
    type: int
    edns: bool
    size: int  # of an answer over UDP
    rcode: int = NOERROR


class Reply(msgspec.Struct, gc=False):
    """What to answer.

    Additional records may be left out, answers may not. `names`: the records that these orders are made of.
    """

    rcode: int = NOERROR
    authoritative: bool = False
    answer: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()
    additional: Sequence[bytes] = ()


def parse(data: bytes) -> Query:
    """Read a query. Raises Unanswerable; whatever else is wrong with it is its `rcode`."""
    if len(data) < 12:
        raise Unanswerable
    id_, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & _QR:
        raise Unanswerable
    bare = Query(id_, flags, b"", b"", 0, edns=False, size=PLAIN_SIZE)
    if flags & 0x7800:
        bare.rcode = NOTIMP
        return bare
    bare.rcode = FORMERR
    if questions != 1 or answers or authority or additional > 2:
        return bare
    end = _name_end(data, 12)
    if end is None or end + 4 > len(data):
        return bare
    type_, class_ = struct.unpack_from(">HH", data, end)
    query = Query(id_, flags, data[12 : end + 4], data[12:end].lower(), type_, edns=False, size=PLAIN_SIZE)
    query.rcode = _additional(data, end + 4, additional, query)
    if not query.rcode and class_ != IN:
        query.rcode = REFUSED
    return query


def _additional(data: bytes, at: int, count: int, query: Query) -> int:
    """Read the OPT record; return an rcode. A TSIG or anything else beside it is stepped over."""
    for _ in range(count):
        end = _name_end(data, at)
        if end is None or end + 10 > len(data):
            return FORMERR
        type_, class_, ttl, length = _FIXED.unpack_from(data, end)
        root = end == at + 1
        at = end + 10 + length
        if at > len(data):
            return FORMERR
        if type_ == OPT:
            if query.edns or not root:
                return FORMERR
            query.edns = True
            query.size = min(max(class_, PLAIN_SIZE), UDP_SIZE)
            if (ttl >> 16) & 0xFF:
                return BADVERS
    return NOERROR


def _name_end(data: bytes, at: int) -> int | None:
    """Return the offset behind a name without pointers; None where there is none."""
    start, size = at, len(data)
    while at < size:
        length = data[at]
        if length == 0:
            return at + 1 if at - start < 255 else None
        if length > 63:
            return None
        at += 1 + length
    return None


def record(owner: bytes, type: int, ttl: int, content: bytes) -> bytes:
    """Return a resource record of class IN."""
    return owner + _FIXED.pack(type, IN, ttl, len(content)) + content


def build(query: Query, reply: Reply, size: int, *, stream: bool = False) -> bytes:
    """Return the answer in at most `size` octets.

    What does not fit: additional records are left out; else over UDP nothing but TC is sent (a part of a set is of no
    use, and a small answer lends itself to no amplification), and over a stream as many answers as fit.
    """
    opt = b""
    if query.edns:
        opt = b"\0" + _FIXED.pack(OPT, UDP_SIZE, (reply.rcode >> 4) << 24, 0)
    flags = _QR | (query.flags & (0x7800 | _RD)) | (reply.rcode & 0xF) | (_AA if reply.authoritative else 0)
    room = size - 12 - len(query.question) - len(opt)
    answer, authority, additional = reply.answer, reply.authority, reply.additional
    room -= sum(map(len, answer)) + sum(map(len, authority))
    if room < 0:
        additional, authority = (), ()
        if stream:
            answer = _fitting(answer, size - 12 - len(query.question) - len(opt))
        else:
            answer = ()
            flags |= _TC
    elif additional and room < sum(map(len, additional)):
        additional = _fitting(additional, room)
    header = _HEADER.pack(
        query.id, flags, 1 if query.question else 0, len(answer), len(authority), len(additional) + (1 if opt else 0)
    )
    return b"".join((header, query.question, *answer, *authority, *additional, opt))


def _fitting(records: Sequence[bytes], room: int) -> Sequence[bytes]:
    for count, one in enumerate(records):
        room -= len(one)
        if room < 0:
            return records[:count]
    return records
