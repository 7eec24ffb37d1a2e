"""What the registry keeps for one instance under one name: pure functions between publications and stored content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

import msgspec

from waypost.adapter import InvalidRecord, Record
from waypost.kit import ownership
from waypost.kit.ownership import quoted
from waypost.model import Port, Publication, PublishedInstance, PublishedName, Strategy
from waypost_adapters.registry.directory import NameKey

__all__ = ["MAX_NAME", "NAME", "Entry", "place", "render"]

MAX_NAME = 253
MAX_KEY = 2_048
MAX_CONTENT = 65_536
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")
_canonical = msgspec.json.Encoder(order="deterministic")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One published instance under one name. `ports` are (name, protocol, number), the primary first."""

    environment: str
    namespace: str
    name: str
    id: str
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]
    ready: bool
    weight: int
    node: str
    zone: str
    metadata: Mapping[str, str]
    ttl: int | None
    strategy: Strategy
    ownership: dict[str, str]


def render(publication: Publication, instances: Sequence[PublishedInstance]) -> Iterator[Record | InvalidRecord]:
    """Yield a record for each instance and name; two where a name stands there twice, for two ports."""
    several = {name for name, count in Counter(name.name for name in publication.names).items() if count > 1}
    for name in publication.names:
        for instance in instances:
            try:
                yield _record(publication, instance, name, several=name.name in several)
            except UnicodeEncodeError:
                yield InvalidRecord(
                    instance.id, "a label or an id holds half a surrogate pair: it is no text", name.name
                )


def place(key: str) -> NameKey:
    """Return where the record of this key is shown."""
    environment, namespace, name, *_ = map(unquote, key.split("/", 3))
    return NameKey(environment, namespace, name)


def _record(
    publication: Publication, instance: PublishedInstance, name: PublishedName, *, several: bool
) -> Record | InvalidRecord:
    if not NAME.fullmatch(name.name):
        return InvalidRecord(instance.id, _wrong(name.name), name.name)
    ports: tuple[Port, ...] = instance.ports
    if name.port is not None:
        port = instance.port(name.port)
        if port is None:
            says = f"the instance has no port {name.port[:80]!a}, of which the name `{name.name}` speaks"
            return InvalidRecord(instance.id, says, name.name)
        ports = (port,)
    service = publication.key.service
    parts = (
        publication.environment,
        publication.namespace,
        name.name,
        service.source,
        service.namespace,
        service.name,
        instance.id,
    )
    key = "/".join([quoted(part) for part in parts])
    if several:
        key += f":{quoted(name.port or '')}"
    entry = Entry(
        environment=publication.environment,
        namespace=publication.namespace,
        name=name.name,
        id=instance.id,
        addresses=tuple(address.value for address in instance.addresses),
        ports=tuple((port.name, port.protocol, port.number) for port in ports),
        ready=instance.ready,
        weight=instance.weight,
        node=instance.node,
        zone=instance.zone,
        metadata=dict(instance.metadata),
        ttl=publication.ttl_seconds,
        strategy=publication.strategy,
        ownership=ownership.of(publication, instance).encode(),
    )
    content = _canonical.encode(entry)
    if len(key) > MAX_KEY or len(content) > MAX_CONTENT:
        says = f"key of {len(key)} and content of {len(content)} characters; {MAX_KEY} and {MAX_CONTENT} are possible"
        return InvalidRecord(instance.id, says, name.name)
    return Record(key, instance.id, content, name.name, instance.ready)


def _wrong(name: str) -> str:
    if not 0 < len(name) <= MAX_NAME:
        return f"the name has {len(name)} characters; 1 to {MAX_NAME} are possible"
    return f"the name {name[:80]!a} is not of A-Z, a-z, 0-9, `.`, `-` and `_`, or begins or ends with `.` or `-`"
