"""What a manifest may say about a DNS sink."""

from __future__ import annotations

from typing import Annotated

import msgspec

from waypost.kit import dnsnames

__all__ = ["Config", "Options", "server_place"]

LONGEST_ZONE = 150  # characters, so that names below it have room
PORT = 53
REVERSE = ("in-addr.arpa", "ip6.arpa")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The sink's `config`. `server` is the zone's primary; `pollSeconds` is how often its log is read."""

    server: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    zone: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ZONE + 1)]
    reverse_zones: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    ttl_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 30
    timeout_seconds: Annotated[float, msgspec.Meta(ge=1, le=60)] = 10.0
    poll_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0

    def __post_init__(self) -> None:
        """Refuse what the types cannot; each text says which field."""
        try:
            server_place(self.server)
        except ValueError as error:
            raise ValueError(f"server: {error}") from None
        try:
            dnsnames.name(self.zone, underscore=True)
        except dnsnames.BadName as error:
            raise ValueError(f"zone: {error}") from None
        for zone in self.reverse_zones:
            try:
                name = dnsnames.name(zone, underscore=True)
            except dnsnames.BadName as error:
                raise ValueError(f"reverseZones: {error}") from None
            if not any(dnsnames.within(name, each) for each in REVERSE):
                raise ValueError(f"reverseZones: `{name}` is not below {' or '.join(REVERSE)}")
            if name == dnsnames.canonical(self.zone):
                raise ValueError(f"reverseZones: `{name}` is the `zone` itself")


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An entry's `options`. `ptr`: a PTR record for each address, in one of the sink's `reverseZones`."""

    ptr: bool = False


def server_place(text: str) -> tuple[str, int]:
    """Return host and port of `10.0.0.53:53`, `ns.example.com`, `[::1]:53`. Raises ValueError."""
    wrong = f"`{text[:80]}` is no server: expected HOST or HOST:PORT, an IPv6 address in brackets"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(wrong)
        port = rest[1:] if rest else str(PORT)
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(PORT)
    if not host or any(each.isspace() or each in "/@[]" for each in host):
        raise ValueError(wrong)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(wrong)
    return host, int(port)
