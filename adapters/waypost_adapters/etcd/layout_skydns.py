"""The layout `skydns`: records that CoreDNS' plugin `etcd` answers from. Pure.

    <prefix>/<labels of name.zone, reversed>/<instance>/<4, 6 or n>

    /skydns/com/example/prod/web/i-4q…/4   {"owner":"prod-eu",…,"host":"10.0.0.7","port":8080,"weight":5,"ttl":30}

The plugin (`plugin/etcd/msg/service.go` of CoreDNS 1.14) reads host, port, priority, weight, text, mail, ttl,
targetstrip and group, by these names in any case, and ignores all other fields: so ours stand in the value too, the
owner first, where etcd itself compares it before it writes. A look-up of a name is one of everything below it, hence
`above`. A value without `host` is never answered: that is how an instance that is not ready stands there, and a name
with no other instances has no data rather than not existing. A weight or TTL of 0 would be read as 100 and 300; 1 is
written. An instance's addresses share the name `<instance>.<name>.<zone>`, to which its one SRV record points
(`targetstrip`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from waypost.adapter import Foreign, InvalidRecord, Observed, Record, fingerprint
from waypost.kit import dnsnames
from waypost.kit.ownership import Ownership, path_text, quoted
from waypost.model import Address, Publication, PublishedInstance, PublishedName, family
from waypost_adapters.etcd.layout_json import owner_mark, publication_of

__all__ = ["SkydnsLayout"]

APEX = "dns"  # below it CoreDNS keeps the zone's own records (dns/apex, dns/ns)
WILD = "any"  # a label that CoreDNS takes for every label, as `*`
ROOM = 21  # characters of `4.<instance>.` before a name
MOST_WEIGHT = 65_535
LEAVES = {"IPv4": "4", "IPv6": "6", "Hostname": "n"}


class _Value(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A value, in the order in which it is written. No name of ours may be one of CoreDNS' but to mean it."""

    owner: str
    registration: str
    entry: str
    service: str
    instance: str
    path: str = ""
    name: str
    ready: bool | None = None
    withheld: str = ""  # the host of an instance that is not ready
    host: str = ""
    port: int = 0
    weight: int = 0
    ttl: int = 0
    targetstrip: int = 0


class _Seen(msgspec.Struct, gc=False):
    owner: str
    registration: str
    entry: str
    service: str
    instance: str
    name: str
    ready: bool
    host: str = ""


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(_Seen).decode


class SkydnsLayout:
    """Keys and values of one zone, for one owner's view of them."""

    namespaced = False
    canonical = staticmethod(dnsnames.canonical)

    def __init__(self, prefix: str, owner: str, zone: str, ttl: int) -> None:
        self.owner = owner
        self.mark = owner_mark(owner)
        self.root = f"{prefix}/.waypost/{zone}"  # no label begins with a dot, so CoreDNS is never asked for it
        self._zone = zone
        self._ttl = ttl
        self._base = f"{prefix}/{_reversed(zone)}"

    @property
    def records(self) -> str:
        """What all keys of the zone begin with."""
        return f"{self._base}/"

    def above(self, name: str) -> Sequence[str]:
        """Return the names that a name is nested under."""
        labels = name.split(".")
        return [".".join(labels[at:]) for at in range(1, len(labels))]

    def place(self, name: str) -> str | None:
        """Return the key below which a name's records stand; None where it is no name."""
        try:
            return f"{self._base}/{_reversed(self._checked(name))}"
        except dnsnames.BadName:
            return None

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield a record for each instance, name and address family, or why there can be none."""
        key = publication.key
        for name in publication.names:
            try:
                below = f"{self._base}/{_reversed(self._checked(name.name))}"
                flat = Ownership(publication.owner, key.registration, key.entry, key.service, "").encode()
            except dnsnames.BadName as error:
                yield from (InvalidRecord(instance.id, str(error), name.name) for instance in instances)
                continue
            except UnicodeEncodeError:
                yield from (_no_text(instance, name) for instance in instances)
                continue
            for instance in instances:
                try:
                    yield from self._records_of(publication, flat, below, name, instance)
                except dnsnames.BadName as error:
                    yield InvalidRecord(instance.id, str(error), name.name)
                except UnicodeEncodeError:
                    yield _no_text(instance, name)

    def _records_of(
        self,
        publication: Publication,
        flat: dict[str, str],
        below: str,
        name: PublishedName,
        instance: PublishedInstance,
    ) -> list[Record]:
        port = instance.port(name.port)
        if port is None and name.port is not None:
            raise dnsnames.BadName(f"the instance has no port {name.port[:80]!r}")
        registration, entry, service = (flat[f"waypost-{part}"] for part in ("registration", "entry", "service"))
        identity = quoted(instance.id)
        leaf = _leaf(f"{registration}|{entry}|{service}|{identity}|{quoted(name.port or '')}")
        ttl = self._ttl if publication.ttl_seconds is None else publication.ttl_seconds
        path = path_text(instance.path) if instance.path else ""
        made = []
        for kind, host in _hosts(instance.addresses):
            value = _Value(
                owner=flat["waypost-owner"],
                registration=registration,
                entry=entry,
                service=service,
                instance=identity,
                path=path,
                name=name.name,
                ready=instance.ready,
                withheld="" if instance.ready else host,
                host=host if instance.ready else "",
                port=0 if port is None else port.number,
                weight=min(max(instance.weight, 1), MOST_WEIGHT),
                ttl=max(ttl, 1),
                targetstrip=0 if kind == "Hostname" else 1,
            )
            made.append(
                Record(f"{below}/{leaf}/{LEAVES[kind]}", instance.id, _encode(value), name.name, instance.ready)
            )
        return made

    def observed(self, key: bytes, value: bytes) -> Observed | None:
        """Return the record as found; None where it is not this owner's, or says no more than that it is."""
        if not value.startswith(self.mark):
            return None
        try:
            seen = _decode(value)
            at = key.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        whose = publication_of(seen.owner, seen.registration, seen.entry, seen.service)
        if whose is None:
            return None
        registration, entry, service = whose
        return Observed(
            at, fingerprint(value), registration, entry, service, unquote(seen.instance), seen.name, seen.ready
        )

    def foreign(self, key: bytes, value: bytes, name: str) -> Foreign:
        """Return, for people, what somebody else keeps under a name; nothing of an unknown value is repeated."""
        at = key.decode(errors="backslashreplace")
        try:
            seen = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Foreign(at, name, "", f"{len(value)} bytes, no record of Waypost's")
        summary = f"{seen.registration}[{seen.entry}] of {seen.service}: {seen.host}"
        return Foreign(at, name, unquote(seen.owner), ascii(summary)[1:-1][:200])

    def _checked(self, text: str) -> str:
        name = dnsnames.name(text, underscore=True)
        if name != text:
            raise dnsnames.BadName(f"`{text[:80]}`: write it in lower case and without a final dot, as `{name[:80]}`")
        labels = name.split(".")
        if labels[-1] == APEX:
            raise dnsnames.BadName(f"`{text[:80]}`: below `{APEX}` CoreDNS keeps the zone's own records")
        if WILD in labels:
            raise dnsnames.BadName(f"`{text[:80]}`: CoreDNS takes the label `{WILD}` for every label")
        if len(name) + 1 + len(self._zone) + ROOM > dnsnames.MAX_NAME:
            raise dnsnames.BadName(
                f"`{name[:64]}….{self._zone}` is too long: {dnsnames.MAX_NAME - ROOM} characters are possible, so that "
                "its instances can have names below it"
            )
        return name


def _reversed(name: str) -> str:
    return "/".join(reversed(name.split(".")))


@lru_cache(maxsize=16_384)
def _leaf(identity: str) -> str:
    """Return the label of an instance below a name: the same as long as it lives, and never another's (80 bits)."""
    digest = hashlib.blake2b(identity.encode(), digest_size=10).digest()
    return f"i-{base64.b32encode(digest).decode().lower()}"


def _hosts(addresses: Sequence[Address]) -> list[tuple[str, str]]:
    """Return the first IPv4 and IPv6 address of the primary's type, or the primary's host name."""
    chosen: dict[str, str] = {}
    for address in addresses:
        if address.type == addresses[0].type:
            chosen.setdefault(family(address.value), address.value)
    host = chosen.pop("Hostname", None)
    if chosen:
        return list(chosen.items())
    try:
        return [("Hostname", dnsnames.name(host or "", underscore=True))]
    except dnsnames.BadName as error:
        raise dnsnames.BadName(f"the address is neither an IP address nor a host name: {error}") from None


def _no_text(instance: PublishedInstance, name: PublishedName) -> InvalidRecord:
    return InvalidRecord(instance.id, "an id or a name is not valid Unicode", name.name)
