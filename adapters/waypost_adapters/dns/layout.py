"""What one instance is in DNS: its entry, the TXT record that says so, and the records that follow from it. Pure.

An entry has a name of its own, `i-<digest>.<name>`: there stand its addresses and the TXT record that says whose it is.
Everything else it wants follows from that text, so what may be deleted is known from the zone alone, however much of
our own memory is lost. The text is `waypost=1 owner=… registration=… …`: printable ASCII, values percent-encoded.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b32hexencode
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b

import msgspec

from waypost.kit import dnsnames, ownership
from waypost.kit.ownership import Ownership
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
    "place",
    "share_name",
    "wants",
]

MARK = b"waypost=1 "
APEX = "@"
LONGEST_TEXT = 2_000  # octets of an entry's text, so that a message holds several
OWN = re.compile(rb"\x12i-([0-9a-v]{16})")  # the first label of a name of an entry's own
ALONE = re.compile(rb"\x12[ic]-[0-9a-v]{16}")  # … or of a shared record's: only Waypost writes there
LONGEST_LABELS = 19  # octets that `i-<digest>` takes before a name
WORDS = ("owner", "registration", "entry", "service", "instance", "path")
_NUMBER = "(0|[1-9][0-9]*)"
_TEXT = re.compile(  # what `encode` writes, and nothing that it would write otherwise
    f"waypost=1 {' '.join([f'{word}=([^ ]*)' for word in WORDS])} name=([^ ]*)(?: port=([^ ]+))?"
    f"(?: ptr=([^ ]+) ready=([01])| at=([^ ]+) srv=([^ ]*) ready=([01]) weight={_NUMBER}) ttl={_NUMBER}"
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An instance under one name, as its text says.

    `name` is relative to the zone, `@` its apex; `host` is set where there are no addresses. With `ptr`, the full name
    that a PTR record points to, `name` is that of an address in reverse, absolute (it ends with a dot).
    """

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
    ptr: str = ""

    @property
    def digest(self) -> str:
        """The label's part that tells whose it is and what: never another's."""
        port = f"{self.port}>{self.ptr}" if self.ptr else self.port
        return digest_of(self.owner, self.registration, self.entry, self.service, self.instance, port)

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
        if self.ptr:
            parts.append(f"ptr={self.ptr} ready={self.ready:d} ttl={self.ttl}")
            return " ".join(parts).encode("ascii")
        parts.append(f"at={','.join(self.addresses) or self.host}")
        parts.append(f"srv={_ports_text(self.ports)}")
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
        return own_label(digest) + place(name, zone)
    except (dnsnames.BadName, UnicodeEncodeError):
        return None


def name_key(own: bytes, zone: bytes, *, absolute: bool = False) -> str:
    """Return the key of the entry with this own name, on the wire. `absolute`: in a zone of reverse names."""
    wire_name = own[19:] if absolute else own[19 : -len(zone)] + b"\0"
    name, _ = dnsnames.decode(wire_name)
    return f"{name}{'.' if absolute else ''}/{own[3:19].decode()}" if name else f"{APEX}/{own[3:19].decode()}"


@lru_cache(maxsize=4096)
def place(name: str, zone: bytes) -> bytes:
    """Return a name on the wire: relative to the zone, or absolute and in it. Raises BadName."""
    if name == APEX:
        return zone
    if not name.endswith("."):
        return dnsnames.encode(name)[:-1] + zone
    made = dnsnames.encode(name)
    if not made.endswith(zone):
        raise dnsnames.BadName(f"`{name}` is not in the zone")
    return made


def decode(value: bytes) -> Entry | None:
    """Return what a text says; None where it is none of ours, or not as `encode` writes it."""
    if not value.startswith(MARK):
        return None
    try:
        if (found := _TEXT.fullmatch(value.decode("ascii"))) is None:
            return None
        owner, registration, entry, service, instance, path, *rest = found.groups()
        name, port, ptr, ptr_ready, at, srv, ready, weight, ttl = rest
        if ptr is not None and (dnsnames.name(ptr, underscore=True) != ptr or not name.endswith(".")):
            return None
        literal = at is not None and _is_address(at.partition(",")[0])
        made = Entry(
            owner=owner,
            registration=registration,
            entry=entry,
            service=service,
            instance=instance,
            path=path,
            name=name,
            port=port or "",
            addresses=tuple(at.split(",")) if literal else (),
            host="" if literal else at or "",
            ports=_ports(srv or ""),
            ready=(ready or ptr_ready) == "1",
            weight=int(weight or 0),
            ttl=int(ttl),
            ptr=ptr or "",
        )
    except ValueError:
        return None
    return made if made.weight < 65_536 and made.ttl < 1 << 31 else None


@lru_cache(maxsize=4096)
def _packed(text: str) -> bytes:
    """Return an IP address on the wire. Raises ValueError."""
    return ipaddress.ip_address(text).packed


def _is_address(text: str) -> bool:
    if text[:1].isdigit() or ":" in text:
        with suppress(ValueError):
            return bool(_packed(text))
    return False


@lru_cache(maxsize=4096)
def _ports(text: str) -> tuple[tuple[str, str, int], ...]:
    """Return ports as `encode` writes them. Raises ValueError where they are not so."""
    triples = (part.split("/") for part in text.split(",") if part)
    found = tuple((name, protocol, int(number)) for name, protocol, number in triples)
    if _ports_text(found) != text or not all(0 < number < 65_536 for *_, number in found):
        raise ValueError("not as they are written")
    return found


def _ports_text(ports: tuple[tuple[str, str, int], ...]) -> str:
    return ",".join([f"{name}/{protocol}/{number}" for name, protocol, number in ports])


def wants(entry: Entry, zone: bytes) -> list[Want]:
    """Return the records that follow from an entry, in its zone: all but the text itself. Raises ValueError.

    Not ready, it has only its own name. Raises ValueError (BadName too) where the entry says what cannot be.
    """
    name = place(entry.name, zone)
    if entry.ptr:
        return [Want(name, wire.PTR, dnsnames.encode(entry.ptr), shared=True)] if entry.ready else []
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
    packed = _packed(text)
    return (wire.A if len(packed) == 4 else wire.AAAA), packed


def encode_label(text: str) -> bytes:
    """Return a label on the wire."""
    octets = text.encode("ascii")
    if not 0 < len(octets) <= dnsnames.MAX_LABEL:
        raise dnsnames.BadName(f"a label of {len(octets)} octets")
    return bytes((len(octets),)) + octets
