"""The networks of a cluster's own Pods and Services, whose addresses are not written.

kubernetes/kubernetes issue 103675 (CVE-2021-25740): whoever chooses the addresses of EndpointSlices reaches, by an
Ingress or load balancer of another namespace, what a NetworkPolicy keeps from them. Loopback, link-local and metadata
addresses are refused before anything is rendered (waypost.kit.cidrs). Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["Networks"]


class Networks:
    """Networks whose addresses are refused."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        """Raise ValueError for what is no network."""
        self.cidrs = tuple(dict.fromkeys(str(ipaddress.ip_network(cidr, strict=False)) for cidr in cidrs))
        ranges = [ipaddress.ip_network(cidr) for cidr in self.cidrs]
        self._ranges = [
            (network.version, int(network.network_address), int(network.broadcast_address), str(network))
            for network in ipaddress.collapse_addresses(each for each in ranges if each.version == 4)
        ] + [
            (network.version, int(network.network_address), int(network.broadcast_address), str(network))
            for network in ipaddress.collapse_addresses(each for each in ranges if each.version == 6)
        ]

    def refusal(self, address: str) -> str:
        """Say why an IP address is not written; "" where it is."""
        if not self._ranges:
            return ""
        found = ipaddress.ip_address(address)
        number = int(found)
        for version, low, high, cidr in self._ranges:
            if version == found.version and low <= number <= high:
                return (
                    f"{address} is in {cidr}, a network of the cluster's own Pods or Services: a Service that leads "
                    "there would go round its NetworkPolicies; `config.clusterCIDRs` says which networks these are"
                )
        return ""
