"""A record: what one instance shows under one name. Its content, how it is rendered and read. Pure.

The content is never stored as such: it is spread over EndpointSlices and a Service (sink_objects), and put together
again from what is read there, so that whatever is changed by hand changes its fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from waypost.adapter import InvalidRecord, Record
from waypost.kit import dnsrecords, ownership
from waypost.kit.dnsnames import BadName
from waypost.model import Publication, PublishedInstance, PublishedName
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_naming import Shape, label_for, place, ports_shown
from waypost_adapters.kubernetes.sink_networks import Networks

__all__ = ["Line", "Renderer", "Whose", "decode", "encode"]

LONGEST_ID = 1024  # bytes of an instance's id: a hundred of them stand in one annotation
LONGEST_WHOSE = 4096  # bytes of registration, entry, service and path together
_ZONE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?").fullmatch  # as labels of nodes can say it


class Whose(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the records of one publication share, in the flat form of kit.ownership. Stored as a list of four."""

    registration: str
    entry: str
    service: str
    path: str = ""


class Line(msgspec.Struct, frozen=True, gc=False):
    """A record as it is written: of an instance with addresses, or of one with a host name and none."""

    owner: str
    whose: Whose
    instance: str
    name: str
    ready: bool
    addresses: tuple[str, ...]  # one of each family at most, IPv4 first
    host: str
    ports: Shape
    zone: str


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Line).decode


class Renderer:
    """Renders for one config."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._refused = Networks(config.cluster_cidrs or ())

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield a record for each instance and name, or why there can be none."""
        for name in publication.names:
            try:
                at = "/".join(place(self._config, name.name))
            except BadName as error:
                yield from (InvalidRecord(instance.id, str(error), name.name) for instance in instances)
                continue
            for instance in instances:
                try:
                    yield self._record(publication, instance, name, at)
                except BadName as error:
                    yield InvalidRecord(instance.id, str(error), name.name)
                except UnicodeEncodeError:
                    yield InvalidRecord(instance.id, "an id holds half a surrogate pair: it is no text", name.name)

    def _record(self, publication: Publication, instance: PublishedInstance, name: PublishedName, at: str) -> Record:
        port = instance.port(name.port)
        if name.port is not None and port is None:
            raise BadName(f"the instance has no port {name.port[:64]!a}, of which the name speaks")
        flat = ownership.of(publication, instance).encode()
        owner, registration, entry, service, id_, path = (flat[key] for key in ownership.KEYS)
        if not instance.id or len(instance.id.encode()) > LONGEST_ID:
            raise BadName(f"the instance's id has {len(instance.id)} characters; 1 to {LONGEST_ID} octets are possible")
        if len(registration) + len(entry) + len(service) + len(path) > LONGEST_WHOSE:
            raise BadName(f"registration, entry, service and path have more than {LONGEST_WHOSE} characters")
        addresses, host = dnsrecords.addresses(instance.addresses)
        for address in addresses:
            if refusal := self._refused.refusal(address):
                raise BadName(refusal)
        if host and "_" in host:
            raise BadName(f"`{host}` has a `_`: Kubernetes takes none in a host name")
        shape = ports_shown(instance.ports if name.port is None or port is None else (port,))
        line = Line(
            owner=owner,
            whose=_whose(registration, entry, service, path),
            instance=instance.id,
            name=name.name,
            ready=instance.ready,
            addresses=addresses,
            host=host,
            ports=shape if addresses else (),
            zone=instance.zone if addresses and _ZONE(instance.zone) else "",
        )
        label = label_for(registration, entry, service, id_, ownership.quoted(name.port or ""))
        return Record(f"{at}/{label}", instance.id, encode(line), name.name, instance.ready)


@lru_cache(maxsize=4096)
def _whose(registration: str, entry: str, service: str, path: str) -> Whose:
    return Whose(registration, entry, service, path)
