"""Which addresses may be registered and contacted.

A list of networks, and never by accident this machine, its link or a metadata service.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

__all__ = ["Allowed"]

_NEVER_BY_DEFAULT = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "192.0.0.192/32",  # … and of Oracle Cloud
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/96",  # with IPv4 addresses within (RFC 4291, 2.5.5)
            "::ffff:0:0/96",
            "fe80::/10",
            "ff00::/8",
            "fd00:ec2::254/128",  # metadata of AWS
            "fd20:ce::254/128",  # … and of Google Cloud
            # 0.0.0.0/8, 127.0.0.0/8 and 169.254.0.0/16 by a translator (RFC 6052) and by 6to4 (RFC 3056)
            "64:ff9b::/104",
            "64:ff9b::7f00:0/104",
            "64:ff9b::a9fe:0/112",
            "2002::/24",
            "2002:7f00::/24",
            "2002:a9fe::/32",
        ),
    )
)


class Allowed:
    """The networks that a resource's `allowedCIDRs` names.

    With none: all but loopback, link-local, multicast and metadata addresses. A network that is named is allowed,
    whatever it is: naming 127.0.0.0/8 is how a test allows loopback.
    """

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Raise ValueError for what is no network."""
        self.networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
        self._allowed = _ranges(self.networks)

    def __eq__(self, other: object) -> bool:
        """Say whether both allow the same."""
        return isinstance(other, Allowed) and self.networks == other.networks

    def __hash__(self) -> int:
        """Return the same for what is equal."""
        return hash(self.networks)

    def refusal(self, address: str) -> str | None:
        """Say why an address may not be registered or contacted; None where it may.

        A host name is refused only where it is this machine by name: where it leads is checked when it is resolved.
        """
        version = 6 if ":" in address else 4
        try:
            number = int.from_bytes(socket.inet_pton(_FAMILIES[version], address), "big")
        except (OSError, ValueError):
            if version == 6:
                return f"{address} is no IPv6 address in plain form (no zone, no brackets)"
            if address.rstrip(".").lower().endswith("localhost"):
                return f"{address} is this machine; allowedCIDRs cannot allow a name"
            return None
        for low, high in self._allowed[version]:
            if low <= number <= high:
                return None
        if self.networks:
            return f"{address} is in none of allowedCIDRs ({', '.join(map(str, self.networks))})"
        for low, high in _NEVER[version]:
            if low <= number <= high:
                return (
                    f"{address} is a loopback, link-local, multicast or metadata address; "
                    "name its network in allowedCIDRs to allow it"
                )
        return None


def _ranges(networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> dict[int, list[tuple[int, int]]]:
    """Return the first and last address of each network, by version: integers compare faster than objects."""
    found: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for network in networks:
        found[network.version].append((int(network.network_address), int(network.broadcast_address)))
    return found


_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_NEVER = _ranges(_NEVER_BY_DEFAULT)
