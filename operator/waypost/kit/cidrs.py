"""Which addresses may be registered and contacted.

A list of networks, and never by accident this machine, its link or a metadata service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["Allowed"]

_NEVER_BY_DEFAULT = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/127",
            "fe80::/10",
            "ff00::/8",
            "fd00:ec2::254/128",
            "::ffff:0:0/96",
        ),
    )
)


class Allowed:
    """The networks that a resource's `allowedCIDRs` names.

    With none: all but loopback, link-local, multicast and metadata addresses.

    A network that is named is allowed, whatever it is: naming 127.0.0.0/8 is how a test allows loopback.
    """

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Raise ValueError for what is no network."""
        self.networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
        self.refusal = lru_cache(maxsize=4096)(self._refusal)

    def _refusal(self, address: str) -> str | None:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            if address.rstrip(".").lower().endswith("localhost"):
                return f"{address} is this machine; allowedCIDRs cannot allow a name"
            return None  # a host name: checked where it is resolved
        if any(ip.version == network.version and ip in network for network in self.networks):
            return None
        if self.networks:
            return f"{address} is in none of allowedCIDRs ({', '.join(map(str, self.networks))})"
        if any(ip.version == network.version and ip in network for network in _NEVER_BY_DEFAULT):
            return (
                f"{address} is a loopback, link-local, multicast or metadata address; "
                "name its network in allowedCIDRs to allow it"
            )
        return None
