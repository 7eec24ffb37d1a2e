"""The layout `json`: where a record stands and what it says. Pure.

    <prefix>/<environment>/<namespace>/<name>/<instance>[:<port>]@<publication>

Every part is percent-encoded (all but letters, digits and `_.-~`), so no part can hold a `/`, `:` or `@` of its own.
The last one tells whose instance it is: two registrations may publish one instance under one name, and two sources may
both have an instance `1`; `publication` is a digest of registration, entry and service (80 bits in base32), which the
value spells out. The value is JSON on one line. Its first field is the owner: etcd itself compares it, byte by byte,
before it writes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from waypost.adapter import Foreign, InvalidRecord, Observed, Record, fingerprint
from waypost.kit import ownership
from waypost.kit.ownership import Ownership, path_text, quoted
from waypost.model import Address, Port, Publication, PublishedInstance, PublishedName, ServiceKey

__all__ = ["JsonLayout", "owner_mark", "publication_of", "segment", "wrong_segment"]

LONGEST_PART = 255  # bytes of UTF-8, before encoding
LARGEST_VALUE = 256 * 1024  # bytes

_GOOD = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,254}").fullmatch  # nothing wrong and nothing to encode
NOTHING: Mapping[str, str] = {}


class _Document(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A value. The fields are written in this order; those that have nothing to say are left out.

    One is filled again and again: at 100,000 records, setting what differs is half of making another.
    """

    owner: str
    registration: str
    entry: str
    service: str
    instance: str | None = None
    path: str = ""
    name: str | None = None
    host: str | None = None
    port: int | None = None
    ports: tuple[Port, ...] = ()
    addresses: tuple[Address, ...] = ()
    ready: bool | None = None
    weight: int | None = None
    node: str = ""
    zone: str = ""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    ttl: int | None = None


class _Seen(msgspec.Struct, gc=False):
    """What is read back of a value."""

    owner: str
    registration: str
    entry: str
    service: str
    instance: str
    name: str
    ready: bool
    host: str


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(_Seen).decode


def segment(text: str) -> str:
    """Return the text percent-encoded, as one part of a key. Raises UnicodeEncodeError for a lone surrogate."""
    return quoted(text)


def wrong_segment(text: str) -> str:
    """Return what is wrong with a text as a part of a key, "" where nothing is."""
    if not text:
        return "is empty"
    if text in {".", ".."}:
        return "is `.` or `..`, which tools would resolve"
    if "\0" in text:
        return "holds a NUL"
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return "" if size <= LONGEST_PART else f"is {size} bytes long; {LONGEST_PART} are possible"


def owner_mark(owner: str) -> bytes:
    """Return what every value of this owner begins with, and no other owner's does."""
    return b'{"owner":"%b",' % quoted(owner).encode()


class JsonLayout:
    """Keys and values under one prefix, for one owner's view of them."""

    namespaced = True
    canonical = staticmethod(str)  # keys tell every text apart

    def __init__(self, prefix: str, owner: str) -> None:
        self.prefix = prefix
        self.owner = owner
        self.mark = owner_mark(owner)
        self.root = f"{prefix}/.waypost"

    @property
    def records(self) -> str:
        """What all keys begin with."""
        return f"{self.prefix}/"

    def above(self, name: str) -> Sequence[str]:
        """Return nothing: names are parts of keys as wholes."""
        return ()

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield a record for each instance and name, or why there can be none."""
        about = _About(self.prefix, publication)
        for instance in instances:
            at, wrong = instance.id, ""
            if not _GOOD(at):
                wrong = wrong_segment(at)
                at = "" if wrong else segment(at)
            for name, place in zip(publication.names, about.places, strict=True):
                if wrong:
                    yield InvalidRecord(instance.id, f"instance id {_shown(instance.id)} {wrong}", name.name)
                elif isinstance(place, str):
                    yield InvalidRecord(instance.id, place, name.name)
                else:
                    yield about.record(instance, at, name, place)

    def observed(self, key: bytes, value: bytes) -> Observed | None:
        """Return the record as found; None where it is not this owner's, or says no more than that it is."""
        if not value.startswith(self.mark):
            return None
        try:
            seen = _decode(value)
            whose = publication_of(seen.owner, seen.registration, seen.entry, seen.service)
            at = key.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if whose is None:
            return None
        registration, entry, service = whose
        instance = unquote(seen.instance) if "%" in seen.instance else seen.instance
        return Observed(at, fingerprint(value), registration, entry, service, instance, seen.name, seen.ready)

    def foreign(self, key: bytes, value: bytes, name: str = "") -> Foreign:
        """Return, for people, what somebody else keeps. Nothing of an unknown value is repeated: it may be a secret."""
        at = key.decode(errors="backslashreplace")
        parts = at[len(self.prefix) :].split("/")
        name = unquote(parts[3]) if len(parts) > 3 else name
        try:
            seen = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Foreign(at, name, "", f"{len(value)} bytes, no record of Waypost's")
        summary = f"{seen.registration}[{seen.entry}] of {seen.service}: {seen.host}"
        return Foreign(at, name, unquote(seen.owner), ascii(summary)[1:-1][:200])


class _About:
    """What all records of one publication share, made once a call."""

    def __init__(self, prefix: str, publication: Publication) -> None:
        key = publication.key
        try:
            flat = Ownership(publication.owner, key.registration, key.entry, key.service, "").encode()
        except UnicodeEncodeError:  # in a service's name
            flat = dict.fromkeys(ownership.KEYS, "")
        self.publication = publication
        self.document = _Document(
            owner=flat["waypost-owner"],
            registration=flat["waypost-registration"],
            entry=flat["waypost-entry"],
            service=flat["waypost-service"],
            ttl=publication.ttl_seconds,
        )
        self.places = [self._place(prefix, name) for name in publication.names]

    def _place(self, prefix: str, name: PublishedName) -> tuple[str, str] | str:
        """Return what stands before and after the instance in the key, or why there is no such place."""
        environment, namespace, whose = self.publication.environment, self.publication.namespace, self.document
        if not whose.owner:
            return "owner, registration, entry or service is empty or not valid Unicode"
        named = [("environment", environment), ("namespace", namespace), ("name", name.name)]
        if name.port is not None:
            named.append(("port", name.port))
        for what, text in named:
            if wrong := wrong_segment(text):
                return f"{what} {_shown(text)} {wrong}"
        if environment.startswith("."):
            return f"environment {_shown(environment)} begins with a dot; such keys are Waypost's own"
        before = "/".join((prefix, segment(environment), segment(namespace), segment(name.name), ""))
        port = "" if name.port is None else f":{segment(name.port)}"
        return before, f"{port}@{_digest(whose.registration, whose.entry, whose.service)}"

    def record(
        self, instance: PublishedInstance, at: str, name: PublishedName, place: tuple[str, str]
    ) -> Record | InvalidRecord:
        """Return the record of an instance; `at` is its id as a part of the key."""
        port = instance.port(name.port)
        if port is None and name.port is not None:
            return InvalidRecord(instance.id, f"the instance has no port {_shown(name.port)}", name.name)
        document = self.document
        document.instance = at
        document.name = name.name
        document.host = instance.addresses[0].value
        document.port = None if port is None else port.number
        document.ports = instance.ports if name.port is None or port is None else (port,)
        document.addresses = instance.addresses
        document.ready = instance.ready
        document.weight = instance.weight
        document.node = instance.node
        document.zone = instance.zone
        document.metadata = instance.metadata
        try:
            document.path = path_text(instance.path) if instance.path else ""
            content = _encode(document)
        except UnicodeEncodeError:
            return InvalidRecord(instance.id, "a label, address or id is not valid Unicode", name.name)
        if len(content) > LARGEST_VALUE:
            message = f"the record is {len(content)} bytes long; {LARGEST_VALUE} are possible"
            return InvalidRecord(instance.id, message, name.name)
        return Record(place[0] + at + place[1], instance.id, content, name.name, instance.ready)


@lru_cache(maxsize=16_384)
def _digest(registration: str, entry: str, service: str) -> str:
    made = hashlib.blake2b(f"{registration}|{entry}|{service}".encode(), digest_size=10)
    return base64.b32encode(made.digest()).decode().lower()


@lru_cache(maxsize=16_384)
def publication_of(owner: str, registration: str, entry: str, service: str) -> tuple[str, str, ServiceKey] | None:
    """Return registration, entry and service decoded; None where they are not of that form."""
    flat = dict.fromkeys(ownership.KEYS, "")
    flat |= {"waypost-owner": owner, "waypost-registration": registration}
    flat |= {"waypost-entry": entry, "waypost-service": service}
    whose = Ownership.decode(flat)
    return None if whose is None else (whose.registration, whose.entry, whose.service)


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= 60 else f"{ascii(text[:60])[:-1]}…'"
