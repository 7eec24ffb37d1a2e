"""The JSON around objects: pages of a list, events of a watch. Objects stay as they came, for who decodes them."""

from __future__ import annotations

import msgspec

from waypost.kit.kubernetes.errors import Status
from waypost.kit.kubernetes.resource import Meta

__all__ = ["HEAD", "PAGE", "STATUS", "VERSION", "Page", "event", "located"]


class ListMeta(
    msgspec.Struct,
    frozen=True,
    rename={"resource_version": "resourceVersion", "token": "continue", "remaining": "remainingItemCount"},
):
    """`token` leads to the next page; "" on the last. `remaining` objects are on the next ones; None: not known."""

    resource_version: str = ""
    token: str = ""
    remaining: int | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of a list; an empty one may have null for its items."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class Version(msgspec.Struct, frozen=True):
    """Of a list, only at which version it is."""

    metadata: ListMeta


class Head(msgspec.Struct, frozen=True):
    """Of an object, only which it is."""

    metadata: Meta


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


PAGE = msgspec.json.Decoder(Page)
VERSION = msgspec.json.Decoder(Version)
HEAD = msgspec.json.Decoder(Head)
STATUS = msgspec.json.Decoder(Status)
_EVENT = msgspec.json.Decoder(_Event)

# The API server writes every event so. To look for the object's end again would cost a pass over it.
_USUAL = tuple((f'{{"type":"{kind}","object":'.encode(), kind) for kind in ("MODIFIED", "ADDED", "DELETED"))


def event(line: bytes) -> tuple[str, memoryview]:
    """Return an event's type and its object's JSON. Raises msgspec.DecodeError."""
    kind, text, start, stop = located(line)
    return kind, memoryview(text)[start:stop]


def located(line: bytes) -> tuple[str, bytes, int, int]:
    """Return an event's type, and bytes that its object's JSON is in, with where it begins and where it ends.

    A line that begins as the API server writes it is not parsed here: whether it is JSON shows when the object is. Then
    the bytes are the line. Raises msgspec.DecodeError.
    """
    end = b"}\n" if line.endswith(b"\n") else b"}"
    for begin, kind in _USUAL:
        if line.startswith(begin) and line.endswith(end):
            return kind, line, len(begin), len(line) - len(end)
    found = _EVENT.decode(line)
    return found.type, bytes(found.object), 0, len(found.object)
