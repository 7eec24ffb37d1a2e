"""How MemorySink lays a record out: pure functions from what is published to keys and canonical JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from waypost.adapter import InvalidRecord, Record
from waypost.kit import ownership
from waypost.model import Publication, PublishedInstance, PublishedName

__all__ = ["normalised", "released", "render", "same"]

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253
_LONGEST_KEY = 2048
_canonical = msgspec.json.Encoder(order="deterministic")


def render(publication: Publication, instances: Sequence[PublishedInstance]) -> Iterator[Record | InvalidRecord]:
    """Yield a record for each instance and name: key `name/instance id`, with `:port` where a name is there often."""
    several = {name for name, count in Counter(name.name for name in publication.names).items() if count > 1}
    for instance in instances:
        for name in publication.names:
            try:
                yield _record(publication, instance, name, several=name.name in several)
            except UnicodeEncodeError:  # half a surrogate pair
                yield InvalidRecord(instance.id, "the id, a label or a port's name is not valid Unicode", name.name)


def _record(
    publication: Publication, instance: PublishedInstance, name: PublishedName, *, several: bool
) -> Record | InvalidRecord:
    if problem := _wrong_name(name.name):
        return InvalidRecord(instance.id, f"name {_shown(name.name)}: {problem}", name.name)
    port = instance.port(name.port)
    if port is None and name.port is not None:
        return InvalidRecord(instance.id, f"the instance has no port {_shown(name.port)}", name.name)
    key = f"{name.name}/{quote(instance.id, safe='')}" + (f":{quote(name.port or '', safe='')}" if several else "")
    if len(key) > _LONGEST_KEY:
        return InvalidRecord(instance.id, f"key of {len(key)} characters; {_LONGEST_KEY} are possible", name.name)
    ports = [port] if name.port is not None else list(instance.ports)
    content = _canonical.encode(
        {
            "addresses": [[address.value, address.type] for address in instance.addresses],
            "metadata": dict(instance.metadata),
            "name": name.name,
            "node": instance.node,
            "ownership": ownership.of(publication, instance).encode(),
            "ports": [[port.number, port.name, port.protocol] for port in ports if port is not None],
            "ready": instance.ready,
            "ttl": publication.ttl_seconds,
            "weight": instance.weight,
            "zone": instance.zone,
        }
    )
    return Record(key, instance.id, content, name.name, instance.ready)


def normalised(content: bytes) -> bytes:
    """Return content as read, in the form that `render` gives, so that spaces and order are no difference."""
    decoded: Any = msgspec.json.decode(content)
    return _canonical.encode(decoded)


def released(content: bytes) -> bytes:
    """Return a record without the mark that says whose it is."""
    return _canonical.encode({name: value for name, value in _decoded(content).items() if name != "ownership"})


def same(one: bytes, other: bytes) -> bool:
    """Say whether two records tell consumers the same."""
    try:
        return released(one) == released(other)
    except (msgspec.DecodeError, AttributeError):
        return False


def _decoded(content: bytes) -> Any:
    return msgspec.json.decode(content)


def _wrong_name(name: str) -> str:
    if not 0 < len(name) <= _LONGEST_NAME:
        return f"1 to {_LONGEST_NAME} characters are possible"
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            return f"the label {_shown(label)} is not of a-z, 0-9, `-` and `_`, 1 to 63 characters"
    return ""


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "…")
