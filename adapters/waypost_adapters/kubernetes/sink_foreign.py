"""What others keep under a name of ours, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import msgspec

from waypost.adapter import Foreign
from waypost_adapters.kubernetes.sink_objects import MANAGED_BY, OWNER, Meta, Part, part_of, records_of
from waypost_adapters.kubernetes.sink_service import Front, front_of

__all__ = ["foreign_in"]


class _Head(msgspec.Struct):
    metadata: Meta


_head = msgspec.json.Decoder(_Head).decode


def foreign_in(
    name: str, namespace: str, service: str, front: bytes | None, slices: Sequence[msgspec.Raw], owner: str
) -> Iterator[Foreign]:
    """Yield a foreign Service, and slices: of another Waypost each record, by its key."""
    key = f"{namespace}/{service}"
    told = False
    for raw in slices:
        meta = _head(raw).metadata
        whose = meta.labels.get(OWNER, "")
        if whose == owner:
            continue
        if whose and records_of(meta) is not None:
            told = True
            yield from _records(part_of(raw, whose, lambda _: name), key, whose)
        else:
            manager = meta.labels.get(MANAGED_BY, "nobody")
            yield Foreign(f"{key}/{meta.name}", name, whose, _short(f"EndpointSlice {meta.name}, managed by {manager}"))
    if front is None:
        return
    found = front_of(front, _head(front).metadata.labels.get(OWNER, ""), lambda _: name)
    whose = found.meta.labels.get(OWNER, "")
    if whose == owner:
        return
    for label, line in found.aliases.items():
        told = True
        yield Foreign(f"{key}/{label}", name, whose, _short(f"{unquote(line.whose.registration)}: {line.host}"))
    if not told:
        yield Foreign(key, name, whose, _short(f"Service {key}, {_kind(found)}"))


def _records(part: Part, key: str, whose: str) -> Iterator[Foreign]:
    for label, line in part.lines.items():
        summary = f"{unquote(line.whose.registration)}[{line.whose.entry}]: {', '.join(line.addresses)}"
        yield Foreign(f"{key}/{label}", line.name, whose, _short(summary))


def _kind(front: Front) -> str:
    kind = str(front.spec.get("type", "ClusterIP"))
    return f"{kind} with a selector" if front.spec.get("selector") else kind


def _short(text: str) -> str:
    return ascii(text)[1:-1][:200]
