"""Names, types and data of DNS as people read them: printable ASCII, one line. Pure."""

from __future__ import annotations

import ipaddress

from waypost.kit import dnsnames
from waypost_adapters.dns import wire

__all__ = ["data", "kind", "shown"]


def shown(name: bytes) -> str:
    """Return a name for people."""
    parts, at = [], 0
    while at < len(name) and name[at]:
        parts.append(ascii(name[at + 1 : at + 1 + name[at]].decode("latin-1"))[1:-1])
        at += 1 + name[at]
    return ".".join(parts)


def kind(type: int) -> str:
    """Return a type for people."""
    names = {wire.A: "A", wire.AAAA: "AAAA", wire.CNAME: "CNAME", wire.SRV: "SRV", wire.PTR: "PTR", wire.TXT: "TXT"}
    return names.get(type, f"TYPE{type}")


def data(type: int, rdata: bytes) -> str:
    """Return a record's data for people, in a line of printable ASCII."""
    if type in {wire.A, wire.AAAA} and len(rdata) in {4, 16}:
        return str(ipaddress.ip_address(rdata))
    if type in wire.NAMES_AT:
        before = wire.NAMES_AT[type]
        figures = [str(int.from_bytes(rdata[at : at + 2], "big")) for at in range(0, before, 2)]
        return " ".join((*figures, dnsnames.decode(rdata, before)[0]))
    return f"{len(rdata)} octets"
