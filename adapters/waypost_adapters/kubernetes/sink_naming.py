"""What names become: the place of a Service, the host name of an instance in it, the names of ports. Pure.

    web         the Service `web` in the sink's `namespace`
    web.shop    the Service `web` in `shop`, one of the sink's `namespaces`

A record's key is `<namespace>/<service>/<host name>`; the host name is a digest of registration, entry, service,
instance and port, and is the instance's own name below the Service's in the cluster's DNS.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from waypost.kit import dnsnames
from waypost.kit.dnsnames import BadName
from waypost.model import Port
from waypost_adapters.kubernetes.sink_config import SinkConfig

__all__ = ["Shape", "key_parts", "label_for", "place", "ports_shown", "published_name"]

MOST_PORTS = 100  # a slice; kubernetes.io, API reference of EndpointSlice
_SERVICE = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?").fullmatch  # RFC 1035: what every release takes for a Service
_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}

Shape = tuple[tuple[str, int, str], ...]  # ports as a slice has them: name, number, protocol; in order


def place(config: SinkConfig, name: str) -> tuple[str, str]:
    """Return the namespace and the Service that a published name means. Raises BadName."""
    service, dot, namespace = name.partition(".")
    if not service or len(service) > dnsnames.MAX_LABEL or not _SERVICE(service):
        raise BadName(
            f"{name[:64]!a} is no Service's name: expected 1 to {dnsnames.MAX_LABEL} of a-z, 0-9 and `-`, "
            "beginning with a letter, or such a name, a dot and one of the sink's `namespaces`"
        )
    if not dot:
        return config.namespace, service
    if namespace == config.namespace:
        raise BadName(f"`{name[:130]}` is in the sink's own `namespace`: write `{service}`, for a name has one form")
    if namespace not in config.namespaces:
        raise BadName(f"{namespace[:64]!a} is none of the sink's `namespaces`")
    return namespace, service


def published_name(config: SinkConfig, namespace: str, service: str) -> str:
    """Return the name that means this Service: the reverse of `place`."""
    return service if namespace == config.namespace else f"{service}.{namespace}"


def label_for(*parts: str) -> str:
    """Return the host name of what these (already quoted) parts name: `i-` and 80 bits of a digest."""
    made = hashlib.blake2b("|".join(parts).encode(), digest_size=10)
    return "i-" + base64.b32encode(made.digest()).decode().lower()


def key_parts(key: str) -> tuple[str, str, str] | None:
    """Return namespace, Service and host name of a key; None where it is no key of this sink."""
    parts = key.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(parts) else None


def ports_shown(ports: Sequence[Port]) -> Shape:
    """Return the ports as a slice has them.

    Names in lower case; one that has none keeps none where it is alone, and is `port-<index>` else. Raises BadName.
    """
    if len(ports) > MOST_PORTS:
        raise BadName(f"the instance has {len(ports)} ports; {MOST_PORTS} are possible")
    shown: dict[str, tuple[str, int, str]] = {}
    for index, port in enumerate(ports):
        name = port.name
        if name:
            try:
                name = dnsnames.label(name)
            except BadName as error:
                raise BadName(
                    f"{error}: a port's name is such a label here (the registration's `ports` give names)"
                ) from None
        elif len(ports) > 1:
            name = f"port-{index}"
        if (protocol := _PROTOCOLS.get(port.protocol)) is None:
            raise BadName(f"port {port.name[:64]!a} has the protocol {port.protocol[:16]!a}")
        if shown.setdefault(name, (name, port.number, protocol)) != (name, port.number, protocol):
            raise BadName(f"two ports of the instance have the name `{name}`: upper and lower case are one here")
    return tuple(sorted(shown.values()))
