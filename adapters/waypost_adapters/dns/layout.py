"""What one instance is in DNS: its entry, the TXT record that says so, and the records that follow from it. Pure.

An entry has a name of its own, `i-<digest>.<name>`: there stand its addresses and the TXT record that says whose it is.
Everything else it wants follows from that text, so what may be deleted is known from the zone alone, however much of
our own memory is lost. The text is `waypost=1 owner=… registration=… …`: printable ASCII, values percent-encoded.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b32hexencode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from waypost.adapter import InvalidRecord, Record
from waypost.kit import dnsnames, dnsrecords, ownership
from waypost.kit.ownership import Ownership
from waypost.model import Publication, PublishedInstance, PublishedName
from waypost_adapters.dns import wire

__all__ = [
    "Entry",
    "Want",
    "decode",
    "digest_of",
    "encode_label",
    "key_name",
    "name_key",
    "own_label",
    "render",
    "share_name",
    "wants",
]

MARK = b"waypost=1 "
LONGEST_TEXT = 2_000  # octets of an entry's text, so that a message holds several
OWN = re.compile(rb"\x12i-([0-9a-v]{16})")  # the first label of a name of an entry's own
ALONE = re.compile(rb"\x12[ic]-[0-9a-v]{16}")  # … or of a shared record's: only Waypost writes there
LONGEST_LABELS = 19  # octets that `i-<digest>` takes before a name
WORDS = ("owner", "registration", "entry", "service", "instance", "path")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An instance under one name, as its text says. `name` is relative to the zone; `host` is set without addresses."""

    owner: str
    registration: str
    entry: str
    service: str
    instance: str
    path: str
    name: str
    port: str
    addresses: tuple[str, ...]
    host: str
    ports: tuple[tuple[str, str, int], ...]
    ready: bool
    weight: int
    ttl: int

    @property
    def digest(self) -> str:
        """The label's part that tells whose it is and what: never another's."""
        return digest_of(self.owner, self.registration, self.entry, self.service, self.instance, self.port)

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{self.name}/{self.digest}"

    def ownership(self) -> Ownership | None:
        """Return whose it is, decoded; None where the text is not of that form."""
        words = (self.owner, self.registration, self.entry, self.service, self.instance, self.path)
        return Ownership.decode(dict(zip(ownership.KEYS, words, strict=True)))

    def encode(self) -> bytes:
        """Return the one text that says it."""
        parts = ["waypost=1"]
        parts += [f"{word}={getattr(self, word)}" for word in WORDS]
        parts.append(f"name={self.name}")
        if self.port:
            parts.append(f"port={self.port}")
        parts.append(f"at={','.join(self.addresses) or self.host}")
        parts.append(f"srv={','.join(f'{name}/{protocol}/{number}' for name, protocol, number in self.ports)}")
        parts.append(f"ready={self.ready:d} weight={self.weight} ttl={self.ttl}")
        return " ".join(parts).encode("ascii")


class Want(msgspec.Struct, frozen=True, gc=False):
    """A record that an entry wants. `shared`: others may stand beside it, and several entries may want the same one."""

    name: bytes
    type: int
    rdata: bytes
    shared: bool


@lru_cache(maxsize=65_536)
def digest_of(owner: str, registration: str, entry: str, service: str, instance: str, port: str) -> str:
    """Return 80 bits of what an entry is for, in 16 letters that DNS takes in either case."""
    made = blake2b(f"{owner}|{registration}|{entry}|{service}|{instance}|{port}".encode(), digest_size=10).digest()
    return b32hexencode(made).decode().lower()


def own_label(digest: str) -> bytes:
    """Return the first label of an entry's own name, on the wire."""
    return b"\x12i-" + digest.encode()


def share_name(name: bytes, type: int, rdata: bytes) -> bytes:
    """Return the name where owners say that they rely on a record that another owner of Waypost's wrote."""
    made = blake2b(type.to_bytes(2, "big") + rdata, digest_size=10).digest()
    return b"\x12c-" + b32hexencode(made).lower() + name


def key_name(key: str, zone: bytes) -> bytes | None:
    """Return the own name of the entry of this key, on the wire; None where there can be none."""
    name, _, digest = key.rpartition("/")
    try:
        return own_label(digest) + dnsnames.encode(name)[:-1] + zone
    except (dnsnames.BadName, UnicodeEncodeError):
        return None


def name_key(own: bytes, zone: bytes) -> str:
    """Return the key of the entry with this own name, on the wire."""
    name, _ = dnsnames.decode(own[len(own_label("0" * 16)) : -len(zone)] + b"\0")
    return f"{name}/{own[3:19].decode()}"


def _entry(words: Iterable[str], **rest: Any) -> Entry:
    rest.update(zip(WORDS, words, strict=True))
    return Entry(**rest)


def decode(value: bytes) -> Entry | None:
    """Return what a text says; None where it is none of ours, or not as `encode` writes it."""
    if not value.startswith(MARK):
        return None
    try:
        words = dict(part.split("=", 1) for part in value.decode("ascii").split(" "))
        at = tuple(words["at"].split(","))
        literal = at[0][0].isdigit() or ":" in at[0]
        literal = literal and _is_address(at[0])
        made = _entry(
            (words[word] for word in WORDS),
            name=words["name"],
            port=words.get("port", ""),
            addresses=at if literal else (),
            host="" if literal else words["at"],
            ports=_ports(words["srv"]),
            ready=words["ready"] == "1",
            weight=int(words["weight"]),
            ttl=int(words["ttl"]),
        )
        bounded = made.weight < 65_536 and made.ttl < 1 << 31 and all(0 < number < 65_536 for *_, number in made.ports)
        return made if bounded and made.encode() == value else None
    except (KeyError, ValueError, IndexError):
        return None


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return False


@lru_cache(maxsize=4096)
def _ports(text: str) -> tuple[tuple[str, str, int], ...]:
    triples = (part.split("/") for part in text.split(",") if part)
    return tuple((name, protocol, int(number)) for name, protocol, number in triples)


def wants(entry: Entry, zone: bytes) -> list[Want]:
    """Return the records that follow from an entry, in its zone: all but the text itself. Raises ValueError.

    Not ready, it has only its own name. Raises ValueError (BadName too) where the entry says what cannot be.
    """
    name = dnsnames.encode(entry.name)[:-1] + zone
    own = own_label(entry.digest) + name
    found = []
    for address in entry.addresses:
        type, rdata = _address(address)
        found.append(Want(own, type, rdata, shared=False))
        if entry.ready:
            found.append(Want(name, type, rdata, shared=True))
    if not entry.ready:
        return found
    if entry.host:
        found.append(Want(name, wire.CNAME, dnsnames.encode(entry.host), shared=True))
    target = dnsnames.encode(entry.host) if entry.host else own
    for port, protocol, number in entry.ports:
        rdata = b"\0\0" + entry.weight.to_bytes(2, "big") + number.to_bytes(2, "big") + target
        found.append(Want(encode_label(f"_{port}") + encode_label(f"_{protocol}") + name, wire.SRV, rdata, shared=True))
    return found


def _address(text: str) -> tuple[int, bytes]:
    packed = ipaddress.ip_address(text).packed
    return (wire.A if len(packed) == 4 else wire.AAAA), packed


def encode_label(text: str) -> bytes:
    """Return a label on the wire."""
    octets = text.encode("ascii")
    if not 0 < len(octets) <= dnsnames.MAX_LABEL:
        raise dnsnames.BadName(f"a label of {len(octets)} octets")
    return bytes((len(octets),)) + octets


# --- from what is published


def render(
    publication: Publication, instances: Sequence[PublishedInstance], zone: str, ttl: int
) -> Iterator[Record | InvalidRecord]:
    """Yield a record for each instance and name; its content is the entry's text."""
    taken: dict[tuple[str, str | None], str] = {}
    for name in publication.names:
        try:
            full = _full(name.name, zone)
            if (other := taken.setdefault((full, name.port), name.name)) != name.name:
                raise dnsnames.BadName(f"`{name.name}` and `{other}` are one name in DNS: case does not matter")
        except dnsnames.BadName as error:
            yield from (InvalidRecord(instance.id, str(error), name.name) for instance in instances)
            continue
        for instance in instances:
            yield _record(publication, instance, name, full, zone, ttl)


def _full(name: str, zone: str) -> str:
    full = dnsnames.name(name)
    if len(full) + 1 + len(zone) + LONGEST_LABELS > dnsnames.MAX_NAME:
        raise dnsnames.BadName(
            f"`{full[:64]}….{zone}` is too long: {dnsnames.MAX_NAME - LONGEST_LABELS} characters are possible, so that "
            "its instances can have names below it"
        )
    return full


def _record(
    publication: Publication,
    instance: PublishedInstance,
    name: PublishedName,
    full: str,
    zone: str,
    ttl: int,
) -> Record | InvalidRecord:
    try:
        ports = dnsrecords.ports(instance, name)
        addresses, host = dnsrecords.addresses(instance.addresses)
        for port, protocol, _ in ports:
            if len(f"_{port}._{protocol}.{full}.{zone}") > dnsnames.MAX_NAME:
                raise dnsnames.BadName(f"the SRV name of port `{port}` is longer than {dnsnames.MAX_NAME} characters")
        flat = ownership.of(publication, instance).encode()
        entry = _entry(
            (flat[word] for word in ownership.KEYS),
            name=full,
            port=ownership.quoted(name.port) if name.port is not None else "",
            addresses=addresses,
            host=host,
            ports=ports,
            ready=instance.ready,
            weight=min(max(instance.weight, 0), 65_535),
            ttl=publication.ttl_seconds if publication.ttl_seconds is not None else ttl,
        )
        content = entry.encode()
    except dnsnames.BadName as error:
        return InvalidRecord(instance.id, str(error), name.name)
    except UnicodeEncodeError:
        return InvalidRecord(instance.id, "an id holds half a surrogate pair: it is no text", name.name)
    if len(content) > LONGEST_TEXT:
        message = f"ids and names make a TXT record of {len(content)} octets; {LONGEST_TEXT} are possible"
        return InvalidRecord(instance.id, message, name.name)
    return Record(entry.key, instance.id, content, name.name, instance.ready)
