"""From what is published to Consul's services. Pure; the same content gives the same bytes.

A key is `NODE/ID`: the node (one of the owner's, by a hash of the id) and the service's id, which is made of the
published name, the source and the instance's id. Consul compares ids without regard to case; ours end in a digest where
that could mix up two.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from waypost.adapter import InvalidRecord, Record
from waypost.kit import ownership
from waypost.kit.grammar import METADATA, MissingLabel, Template, parse
from waypost.kit.ownership import quoted
from waypost.model import Hop, Publication, PublicationKey, PublishedInstance, PublishedName
from waypost_adapters.consul.config import Options
from waypost_adapters.consul.wire import Entry, Weights, content_of

__all__ = ["ADDRESSES", "key_of", "node_name", "render", "split_key"]

ADDRESSES = "waypost-addresses"  # further addresses, comma-separated: a transaction drops Consul's TaggedAddresses
MAX_PAIRS = 64
MAX_VALUE = 512  # bytes
MAX_ID = 200
MAX_TAGS = 128
MAX_CONTENT = 100_000  # bytes: a transaction is 512 KiB by default
_DNS_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_META_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
NO_OPTIONS = Options()


def render(
    publication: Publication, instances: Sequence[PublishedInstance], nodes: int
) -> Iterator[Record | InvalidRecord]:
    """Yield a record an instance and name, or why there is none."""
    options = publication.options if isinstance(publication.options, Options) else NO_OPTIONS
    templates = [parse(tag, METADATA) for tag in options.tags]
    for name in publication.names:
        unfit = _unfit(name.name)
        for instance in instances:
            reason = unfit
            try:
                if not reason:
                    yield _record(publication, name, instance, templates, options.tags_from_labels, nodes)
            except ValueError as error:
                reason = str(error)
            if reason:
                yield InvalidRecord(instance.id, reason, name.name)


def node_name(owner: str, number: int) -> str:
    """Return the name of a node of that owner's."""
    return f"waypost-{owner}-{number:02x}"


def key_of(owner: str, name: PublishedName, source: str, instance: str, nodes: int) -> str:
    """Return the record's key; it depends on owner, name, port, source and instance only."""
    exact = f"{_prefix(name, source)}{quoted(instance)}"
    ident = exact
    if len(exact) > MAX_ID or exact != exact.lower():
        digest = hashlib.blake2b(exact.encode(), digest_size=16).hexdigest()
        ident = f"{exact[: MAX_ID - 33]}~{digest}"
    return f"{node_name(owner, zlib.crc32(ident.encode()) % nodes)}/{ident}"


@lru_cache(maxsize=16_384)
def _prefix(name: PublishedName, source: str) -> str:
    parts = (name.name, source) if name.port is None else (name.name, name.port, source)
    return "".join(f"{quoted(part)}:" for part in parts)


def split_key(key: str) -> tuple[str, str]:
    """Return the node and the service's id."""
    node, _, ident = key.partition("/")
    return node, ident


def _unfit(name: str) -> str:
    if _DNS_LABEL.fullmatch(name):
        return ""
    return (
        f"`{name[:80]}` is no DNS label: a name in Consul has 1 to 63 letters, digits and inner hyphens, and no dots; "
        "write `names` so that it gives one"
    )


def _record(
    publication: Publication,
    name: PublishedName,
    instance: PublishedInstance,
    templates: Sequence[Template],
    globs: tuple[str, ...],
    nodes: int,
) -> Record:
    port = instance.port(name.port)
    if port is None and name.port is not None:
        raise ValueError(f"it has no port `{name.port}`")
    key = key_of(publication.owner, name, publication.key.service.source, instance.id, nodes)
    weight = max(1, instance.weight)  # Consul takes 0 for "not given", which is 1
    entry = Entry(
        id=split_key(key)[1],
        service=name.name,
        address=instance.addresses[0].value,
        port=port.number if port is not None else 0,
        tags=_tags(publication, instance, port.name if port is not None else "", templates, globs),
        meta=_meta(publication, instance),
        weights=Weights(weight, 1),
    )
    content = content_of(entry, "passing" if instance.ready else "critical")
    if len(content) > MAX_CONTENT:
        raise ValueError(f"its tags and metadata are {len(content)} bytes; {MAX_CONTENT} is the most")
    return Record(key, instance.id, content, name.name, instance.ready)


@lru_cache(maxsize=16_384)
def _shared(owner: str, key: PublicationKey, path: tuple[Hop, ...]) -> Mapping[str, str]:
    """Return the ownership that all instances of a publication have in common."""
    shared = ownership.Ownership(owner, key.registration, key.entry, key.service, "", path).encode()
    for name, value in shared.items():
        _fit(f"its {name.removeprefix(ownership.PREFIX)}", value)
    return shared


def _meta(publication: Publication, instance: PublishedInstance) -> dict[str, str]:
    ident = quoted(instance.id)
    _fit("its instance", ident)
    meta = {**_shared(publication.owner, publication.key, instance.path), "waypost-instance": ident}
    if len(instance.addresses) > 1:
        meta[ADDRESSES] = ",".join(address.value for address in instance.addresses[1:])
        _fit("its addresses", meta[ADDRESSES])
    if len(instance.metadata) + len(meta) > MAX_PAIRS:
        raise ValueError(
            f"it has {len(instance.metadata)} metadata; Consul keeps {MAX_PAIRS}, of which {len(meta)} say whose it is"
        )
    for key, value in instance.metadata.items():
        _fit_key(key)
        _fit("metadata", value, key)
        meta[key] = value
    return meta


@lru_cache(maxsize=4096)
def _fit_key(key: str) -> None:
    if not _META_KEY.fullmatch(key) or key.startswith((ownership.PREFIX, "consul-")):
        raise ValueError(
            f"metadata `{key[:80]}`: a key in Consul has 1 to 128 of A-Z a-z 0-9 _ -, and begins with neither "
            f"`{ownership.PREFIX}` nor `consul-`"
        )


def _fit(what: str, value: str, key: str = "") -> None:
    if len(value) * 4 > MAX_VALUE and (size := len(value.encode())) > MAX_VALUE:
        raise ValueError(f"{what}{f' `{key}`' if key else ''} is {size} bytes; Consul keeps {MAX_VALUE}")


def _tags(
    publication: Publication,
    instance: PublishedInstance,
    port: str,
    templates: Sequence[Template],
    globs: tuple[str, ...],
) -> list[str] | None:
    """Return the templates' tags in their order, then the labels'; a tag whose label is absent is left out."""
    if not templates and not globs:
        return None
    labels = (instance.labels, publication.labels)
    tags: dict[str, None] = {}
    values = _values(publication, instance, port) if templates else {}
    for template in templates:
        try:
            tags[template.expand(values, labels)] = None
        except MissingLabel:
            continue
    if globs:
        for label, value in sorted({**publication.labels, **instance.labels}.items()):
            if _matches(label, globs):
                tags[f"{label}={value}"] = None
    tags.pop("", None)
    if len(tags) > MAX_TAGS:
        raise ValueError(f"it would have {len(tags)} tags; {MAX_TAGS} is the most")
    return list(tags)


def _values(publication: Publication, instance: PublishedInstance, port: str) -> Mapping[str, str]:
    service = publication.key.service
    return {
        "service": service.name,
        "namespace": service.namespace,
        "source": service.source,
        "environment": publication.environment,
        "registration": publication.registration,
        "port": port,
        "instance.id": instance.id,
        "instance.node": instance.node,
        "instance.zone": instance.zone,
    }


@lru_cache(maxsize=16_384)
def _matches(label: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(label, glob) for glob in globs)
