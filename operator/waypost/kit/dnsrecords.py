"""What an instance shows in DNS, whichever server answers: its ports as SRV names, and its best addresses. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from waypost.kit import dnsnames
from waypost.model import Address, Port, PublishedInstance, PublishedName, family

__all__ = ["PROTOCOLS", "addresses", "ports"]

PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def ports(instance: PublishedInstance, name: PublishedName) -> tuple[tuple[str, str, int], ...]:
    """Return the ports that get SRV records (name, protocol, number): the named ones of those the name speaks for.

    Raises BadName.
    """
    chosen: tuple[Port, ...] = instance.ports
    if name.port is not None:
        port = instance.port(name.port)
        if port is None:
            raise dnsnames.BadName(
                f"the instance has no port `{name.port[:80]}`, of which the name `{name.name}` speaks"
            )
        chosen = (port,)
    found = []
    for port in chosen:
        if not port.name:
            continue
        try:
            label = dnsnames.label(f"_{port.name}", underscore=True)
        except dnsnames.BadName as error:
            raise dnsnames.BadName(f"the port's name can be no part of an SRV name: {error}") from None
        if port.protocol not in PROTOCOLS:
            raise dnsnames.BadName(
                f"port `{port.name}` has the protocol `{port.protocol[:16]}`; tcp, udp and sctp are possible"
            )
        found.append((label[1:], port.protocol, port.number))
    return tuple(sorted(set(found)))


def addresses(given: Sequence[Address]) -> tuple[tuple[str, ...], str]:
    """Return the first IPv4 and the first IPv6 address of the primary's type, or the primary's host name.

    Raises BadName where it is neither.
    """
    chosen: dict[str, str] = {}
    for address in given:
        if address.type == given[0].type:
            chosen.setdefault(family(address.value), address.value)
    host = chosen.pop("Hostname", "")
    if chosen:
        return tuple(sorted(chosen.values(), key=lambda value: ":" in value)), ""
    try:
        return (), dnsnames.name(host, underscore=True)
    except dnsnames.BadName as error:
        raise dnsnames.BadName(f"the address is neither an IP address nor a host name: {error}") from None
