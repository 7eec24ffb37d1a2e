"""What a value says beside whose it is: for records that are left behind, and for those that are taken over. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["released", "same"]

MARKS = frozenset({"owner", "registration", "entry", "service", "path"})
_TOLD_BY_THE_KEY = frozenset({"instance", "name"})  # who wrote it by hand need not repeat it

_encode = msgspec.json.Encoder(order="deterministic").encode


def released(value: bytes) -> bytes:
    """Return a value of ours without what says whose it is; all else stays as it is."""
    return _encode({name: part for name, part in _fields(value).items() if name not in MARKS})


def same(value: bytes, content: bytes) -> bool:
    """Say whether a value is nobody's, and tells what a record of ours would."""
    try:
        theirs, ours = _fields(value), _fields(content)
    except msgspec.DecodeError:
        return False
    return "owner" not in theirs and _told(theirs) == _told(ours)


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in fields.items() if name not in MARKS | _TOLD_BY_THE_KEY}


def _fields(value: bytes) -> dict[str, Any]:
    return msgspec.json.decode(value, type=dict[str, Any])
