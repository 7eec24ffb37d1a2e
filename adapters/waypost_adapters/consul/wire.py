"""Consul's JSON: the form in which a service is rendered, written, read and compared, and the operations on it.

A record's content is the service's JSON with sorted metadata and without defaults, a blank, and its check's status.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable

import msgspec

__all__ = [
    "Check",
    "Entry",
    "Node",
    "NodeServices",
    "Transaction",
    "Weights",
    "check_id",
    "check_index",
    "check_session",
    "content_of",
    "create_node",
    "delete_key",
    "entry_of",
    "get",
    "leave",
    "lock_key",
    "put_key",
    "remove",
    "remove_key",
    "set_key",
    "status_of",
    "transaction",
    "write",
]

NODE_ADDRESS = "127.0.0.1"  # a node must have one; every service has its own, which is what Consul answers with


class Weights(msgspec.Struct, gc=False, rename="pascal"):
    """What DNS answers weigh while the check passes, and while it warns (ours never does)."""

    passing: int = 1
    warning: int = 1


class Entry(msgspec.Struct, omit_defaults=True, rename="pascal", kw_only=True):
    """A service on a node. What others may have added (`kind` and below) is read so that it shows as drift."""

    id: str = msgspec.field(name="ID")
    service: str
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    weights: Weights | None = None
    enable_tag_override: bool = False
    kind: str = ""
    socket_path: str = ""
    tagged_addresses: dict[str, msgspec.Raw] | None = None
    modify_index: int = 0


class Check(msgspec.Struct, gc=False, rename="pascal"):
    """A check, as far as it is read."""

    check_id: str = msgspec.field(name="CheckID")
    status: str = ""


class Node(msgspec.Struct, rename="pascal"):
    """A node, as far as it is read."""

    node: str
    meta: dict[str, str] | None = None


class NodeServices(msgspec.Struct, rename="pascal"):
    """The answer of `/v1/catalog/node-services/NODE`; of an unknown node both are null."""

    node: Node | None = None
    services: list[Entry] | None = None


class _Key(msgspec.Struct, gc=False, rename="pascal"):
    modify_index: int = 0


class _Result(msgspec.Struct, rename="pascal"):
    kv: _Key | None = msgspec.field(name="KV", default=None)
    service: Entry | None = None
    check: Check | None = None
    node: Node | None = None


class _Error(msgspec.Struct, rename="pascal"):
    op_index: int
    what: str = ""


class Transaction(msgspec.Struct, rename="pascal"):
    """The answer of `/v1/txn`: results in the order of the operations, or the errors of some of them."""

    results: list[_Result] | None = None
    errors: list[_Error] | None = None


_encode = msgspec.json.Encoder(order="deterministic").encode


def content_of(entry: Entry, status: str) -> bytes:
    """Return the canonical content of a service and its check's status; "" where it has no check."""
    entry.modify_index = 0
    entry.tags = entry.tags or None
    return b"%b %b" % (_encode(entry), status.encode())


_entry = msgspec.json.Decoder(Entry)


def entry_of(content: bytes) -> Entry:
    """Return the service of a content."""
    return _entry.decode(content.rpartition(b" ")[0])


def status_of(content: bytes) -> str:
    """Return the check's status of a content."""
    return content.rpartition(b" ")[2].decode()


def check_id(service_id: str) -> str:
    """Return the id of the check that shows a service's readiness."""
    return f"waypost:{service_id}"


# --- operations of a transaction ------------------------------------------------------------------------------------


def transaction(operations: Iterable[bytes]) -> bytes:
    """Return the body of `/v1/txn`."""
    return b"[%b]" % b",".join(operations)


def write(node: str, service_id: str, service: str, content: bytes, index: int) -> bytes:
    """Set a service and its check: with index 0 where neither is there, else where the service is as it was read.

    The check names its service, because that is what the token must have the permission for.
    """
    body, _, status = content.rpartition(b" ")
    host, ident, name = _encode(node), _encode(service_id), _encode(service)
    return b"%b,%b" % (
        b'{"Service":{"Verb":"cas","Node":%b,"Service":%b,"ModifyIndex":%d}}}' % (host, body[:-1], index),
        b'{"Check":{"Verb":"%b","Check":{"Node":%b,"CheckID":%b,"Name":"Waypost","Status":"%b","ServiceID":%b,'
        b'"ServiceName":%b}}}'
        % (b"set" if index else b"cas", host, _encode(check_id(service_id)), status, ident, name),
    )


def remove(node: str, service_id: str, service: str, index: int) -> bytes:
    """Delete a service, and with it its checks, where it is as it was read."""
    return b'{"Service":{"Verb":"delete-cas","Node":%b,"Service":{"ID":%b,"Service":%b,"ModifyIndex":%d}}}' % (
        _encode(node),
        _encode(service_id),
        _encode(service),
        index,
    )


def leave(node: str, entry: Entry, index: int) -> bytes:
    """Set a service as it is given, where it is as it was read; its checks stay as they are."""
    entry.modify_index = 0
    body = _encode(entry)[:-1]
    return b'{"Service":{"Verb":"cas","Node":%b,"Service":%b,"ModifyIndex":%d}}}' % (_encode(node), body, index)


def get(node: str, service_id: str) -> tuple[bytes, bytes]:
    """Read a service; read its check."""
    name = _encode(node)
    return (
        b'{"Service":{"Verb":"get","Node":%b,"Service":{"ID":%b}}}' % (name, _encode(service_id)),
        b'{"Check":{"Verb":"get","Check":{"Node":%b,"CheckID":%b}}}' % (name, _encode(check_id(service_id))),
    )


def create_node(node: str, owner: str) -> bytes:
    """Create a node of ours where there is none: external, so that no agent is expected, and not to be probed."""
    meta = {"external-node": "true", "external-probe": "false", "waypost-owner": owner}
    body = _encode({"Node": node, "Address": NODE_ADDRESS, "Meta": meta, "ModifyIndex": 0})
    return b'{"Node":{"Verb":"cas","Node":%b}}' % body


def check_index(key: str, index: int) -> bytes:
    """Let the transaction pass only while that key is as it was read."""
    return b'{"KV":{"Verb":"check-index","Key":%b,"Index":%d}}' % (_encode(key), index)


def remove_key(key: str, index: int) -> bytes:
    """Delete a key where it is as it was read."""
    return b'{"KV":{"Verb":"delete-cas","Key":%b,"Index":%d}}' % (_encode(key), index)


def lock_key(key: str, value: bytes, session: str) -> bytes:
    """Set a key and lock it by a session, where no other session has locked it."""
    encoded = binascii.b2a_base64(value, newline=False)
    return b'{"KV":{"Verb":"lock","Key":%b,"Value":"%b","Session":%b}}' % (_encode(key), encoded, _encode(session))


def check_session(key: str, session: str) -> bytes:
    """Let the transaction pass only while that session has locked the key."""
    return b'{"KV":{"Verb":"check-session","Key":%b,"Session":%b}}' % (_encode(key), _encode(session))


def set_key(key: str, value: bytes) -> bytes:
    """Set a key, whatever it was."""
    encoded = binascii.b2a_base64(value, newline=False)
    return b'{"KV":{"Verb":"set","Key":%b,"Value":"%b"}}' % (_encode(key), encoded)


def delete_key(key: str) -> bytes:
    """Delete a key, whatever it was; one that is absent too."""
    return b'{"KV":{"Verb":"delete","Key":%b}}' % _encode(key)


def put_key(key: str, value: bytes, index: int) -> bytes:
    """Set a key where it is as it was read; index 0: where it is absent."""
    encoded = binascii.b2a_base64(value, newline=False)
    return b'{"KV":{"Verb":"cas","Key":%b,"Value":"%b","Index":%d}}' % (_encode(key), encoded, index)
