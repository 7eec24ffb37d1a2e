"""Requests of etcd's transactions as bytes, written by hand: half the time that protobuf's objects take.

A transaction is three lists: compares, what to do when all hold, what to do when one does not. Every function returns
one item of one list, tag and length included, so a request is their concatenation in any order. Pure; nothing here is
decoded.

Field numbers: etcd's api/etcdserverpb/rpc.proto, messages TxnRequest, Compare, RequestOp, RangeRequest, PutRequest,
DeleteRangeRequest.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = [
    "absent",
    "after",
    "between",
    "delete",
    "delete_when",
    "equals",
    "put",
    "put_if_absent",
    "put_if_between",
    "read",
    "read_instead",
    "successor",
    "unchanged_since",
]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT = tuple(_varint(number) for number in range(4096))


def _size(number: int) -> bytes:
    return _SHORT[number] if number < 4096 else _varint(number)


def _field(tag: bytes, body: bytes) -> bytes:
    return tag + _size(len(body)) + body


def successor(prefix: bytes) -> bytes:
    """Return the smallest bytes greater than everything that begins with `prefix`; its last byte must not be 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def after(key: bytes) -> bytes:
    """Return the smallest key greater than `key`."""
    return key + b"\0"


# --- compares -------------------------------------------------------------------------------------


def absent(key: bytes) -> bytes:
    """Compare: there is no such key (its create revision is 0)."""
    size = _size(len(key))
    body = b"\x10\x01\x1a" + size + key + b"\x28\x00"
    return b"\x0a" + _size(len(body)) + body


def equals(key: bytes, value: bytes) -> bytes:
    """Compare: the key is there and has exactly this value."""
    return _field(b"\x0a", b"\x10\x03" + _field(b"\x1a", key) + _field(b"\x3a", value))


def between(key: bytes, low: bytes, high: bytes) -> bytes:
    """Two compares: the key is there and its value is greater than `low` and less than `high`."""
    named = b"\x10\x03" + _field(b"\x1a", key)
    return _field(b"\x0a", b"\x08\x01" + named + _field(b"\x3a", low)) + _field(
        b"\x0a", b"\x08\x02" + named + _field(b"\x3a", high)
    )


def unchanged_since(key: bytes, end: bytes, revision: int) -> bytes:
    """Compare: no key of the range was put after that revision (deletions are not seen; an empty range passes)."""
    last = b"\x30" + _varint(revision + 1)
    return _field(b"\x0a", b"\x08\x02\x10\x02" + _field(b"\x1a", key) + last + _field(b"\x82\x04", end))


# --- operations, in the list for when all compares hold -------------------------------------------


def put(key: bytes, value: bytes, lease: int = 0) -> bytes:
    """Operation: write; with a lease the key goes when that ends."""
    body = b"\x0a" + _size(len(key)) + key + b"\x12" + _size(len(value)) + value
    if lease:
        body += b"\x18" + _varint(lease)
    size = _size(len(body))
    return b"\x12" + _size(len(body) + len(size) + 1) + b"\x12" + size + body


def delete(key: bytes) -> bytes:
    """Operation: delete this one key."""
    return _field(b"\x12", _field(b"\x1a", _field(b"\x0a", key)))


def read(key: bytes) -> bytes:
    """Operation: read this one key."""
    return _field(b"\x12", _field(b"\x0a", _field(b"\x0a", key)))


def read_instead(key: bytes) -> bytes:
    """Operation for when a compare fails: read this one key."""
    named = b"\x0a" + _size(len(key)) + key
    size = _size(len(named))
    return b"\x1a" + _size(len(named) + len(size) + 1) + b"\x0a" + size + named


# --- what one record needs, all lists together ------------------------------------------------------
# The hot path. Around key and value, everything depends on their lengths alone: it is made once for each pair of
# lengths, by the functions above.


@lru_cache(maxsize=8192)
def _putting(length: int, size: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before the key to put, before the value, and before the key to read instead."""
    blank, value = bytes(length), b"\x12" + _size(size)
    whole = put(blank, bytes(size))
    return whole[: len(whole) - length - len(value) - size], value, read_instead(blank)[:-length]


@lru_cache(maxsize=8192)
def _if_absent(length: int, size: int) -> tuple[bytes, bytes, bytes, bytes]:
    head, value, reading = _putting(length, size)
    compare = absent(bytes(length))
    return compare[: len(compare) - length - 2], compare[-2:] + head, value, reading


def put_if_absent(key: bytes, value: bytes) -> bytes:
    """One compare: write the key where there is none; where a compare fails, read it."""
    compare, before, middle, reading = _if_absent(len(key), len(value))
    return b"".join((compare, key, before, key, middle, value, reading, key))


def put_if_between(key: bytes, value: bytes, low: bytes, high: bytes) -> bytes:
    """Two compares: write the key where its value is between; where a compare fails, read it."""
    before, middle, reading = _putting(len(key), len(value))
    return b"".join((between(key, low, high), before, key, middle, value, reading, key))


def delete_when(key: bytes, low: bytes, high: bytes) -> bytes:
    """Two compares: delete the key where its value is between; where a compare fails, read it."""
    return between(key, low, high) + delete(key) + read_instead(key)
