"""What the DNS server keeps for one instance under one name: pure functions between publications and stored content.

The stored name is relative to the zone, so a zone can be renamed without a write. The key begins with that name and a
`/`.
"""

from __future__ import annotations

from base64 import b32hexencode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b

import msgspec

from waypost.adapter import InvalidRecord, Record
from waypost.kit import dnsnames, dnsrecords, ownership
from waypost.kit.ownership import quoted
from waypost.model import Publication, PublishedInstance, PublishedName, ServiceKey, Strategy

__all__ = ["Entry", "render", "target"]

MAX_KEY = 2048
_TARGET_ROOM = 15  # `i-`, 13 characters and a dot stand before a name that SRV records point to
_canonical = msgspec.json.Encoder(order="deterministic")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One instance under one name.

    `ports` are (name, protocol, number); `host` is set where the instance has no IP address.
    """

    name: str
    target: str
    addresses: tuple[str, ...]
    host: str
    ports: tuple[tuple[str, str, int], ...]
    ready: bool
    weight: int
    ttl: int
    strategy: Strategy
    ownership: dict[str, str]


def render(
    publication: Publication, instances: Sequence[PublishedInstance], zone: str, ttl: int
) -> Iterator[Record | InvalidRecord]:
    """Yield a record for each instance and name; two where a name stands there twice, for two ports."""
    several = _several(publication, zone)
    taken: dict[tuple[str, str | None], str] = {}
    for name in publication.names:
        try:
            full = _full(publication, name.name, zone)
            if (other := taken.setdefault((full, name.port), name.name)) != name.name:
                raise dnsnames.BadName(f"`{name.name}` and `{other}` are one name in DNS: case does not matter")
        except dnsnames.BadName as error:
            yield from (InvalidRecord(instance.id, str(error), name.name) for instance in instances)
            continue
        for instance in instances:
            yield _record(publication, instance, name, full, ttl, several=full in several)


def _several(publication: Publication, zone: str) -> frozenset[str]:
    """Return the full names that stand there more than once: each for a port of its own."""
    counts: Counter[str] = Counter()
    for name in publication.names:
        with suppress(dnsnames.BadName):
            counts[_full(publication, name.name, zone)] += 1
    return frozenset(full for full, count in counts.items() if count > 1)


def target(source: str, instance: str) -> str:
    """Return the label under which an instance has its own addresses, the same for as long as it lives."""
    digest = blake2b(f"{quoted(source)}/{instance}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return f"i-{b32hexencode(digest).rstrip(b'=').decode().lower()}"


def _full(publication: Publication, name: str, zone: str) -> str:
    """Return `<service>.<namespace>.<environment>`. Raises BadName, which says what part is wrong."""
    service = dnsnames.name(name)
    for what, text in (("namespace", publication.namespace), ("environment", publication.environment)):
        try:
            dnsnames.label(text)
        except dnsnames.BadName as error:
            raise dnsnames.BadName(f"the {what} `{text[:80]}` can be no part of a DNS name: {error}") from None
    full = f"{service}.{publication.namespace}.{publication.environment}".lower()
    if len(full) + 1 + len(zone) + _TARGET_ROOM > dnsnames.MAX_NAME:
        raise dnsnames.BadName(
            f"`{full[:64]}….{zone}` is too long: {dnsnames.MAX_NAME - _TARGET_ROOM} characters are possible, so that "
            "its instances can have names below it"
        )
    return full


def _record(
    publication: Publication, instance: PublishedInstance, name: PublishedName, full: str, ttl: int, *, several: bool
) -> Record | InvalidRecord:
    service = publication.key.service
    try:
        ports = dnsrecords.ports(instance, name)
        addresses, host = dnsrecords.addresses(instance.addresses)
        key = "/".join((full, *(quoted(part) for part in (*_parts(service), instance.id))))
        key += f":{quoted(name.port or '')}" if several else ""
        if len(key) > MAX_KEY:
            raise dnsnames.BadName(f"the ids make a key of {len(key)} characters; {MAX_KEY} are possible")
        entry = Entry(
            name=full,
            target=target(service.source, instance.id),
            addresses=addresses,
            host=host,
            ports=ports,
            ready=instance.ready,
            weight=min(max(instance.weight, 0), 65_535),
            ttl=publication.ttl_seconds if publication.ttl_seconds is not None else ttl,
            strategy=publication.strategy,
            ownership=ownership.of(publication, instance).encode(),
        )
        content = _canonical.encode(entry)
    except dnsnames.BadName as error:
        return InvalidRecord(instance.id, str(error), name.name)
    except UnicodeEncodeError:
        return InvalidRecord(instance.id, "an id holds half a surrogate pair: it is no text", name.name)
    return Record(key, instance.id, content, name.name, instance.ready)


def _parts(service: ServiceKey) -> tuple[str, str, str]:
    return service.source, service.namespace, service.name
