"""What should be there: records as a person would work them out, from what is asked for and what runs.

Written without the engine's code, and far simpler: all at once, for one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tests.simulation.manifests import ENVIRONMENT, OWNER
from tests.simulation.schedule import Registered
from waypost.model import Instance, Service, ServiceKey

__all__ = ["Publication", "Shown", "publication_of", "service_key", "shown", "wanted"]

Publication = tuple[str, str]  # its registration with the entry, and its service


class Shown(msgspec.Struct, frozen=True):
    """What a record says, as far as the test cares."""

    registration: str
    entry: str
    service: str
    instance: str
    name: str
    ready: bool
    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    mark: str
    path: str


def shown(content: bytes) -> Shown | None:
    """Read a record; None for one that nobody of Waypost wrote."""
    found: Any = msgspec.json.decode(content)
    whose = found.get("ownership")
    if whose is None:
        return None
    return Shown(
        whose["waypost-registration"].partition("/")[2],
        whose["waypost-entry"],
        whose["waypost-service"],
        whose["waypost-instance"],
        found["name"],
        found["ready"],
        tuple(address for address, _ in found["addresses"]),
        tuple(port for port, _, _ in found["ports"]),
        found["metadata"].get("mark", ""),
        whose["waypost-path"],
    )


def service_key(text: str) -> ServiceKey:
    """Return the key that a record names."""
    return ServiceKey(*text.split("/"))


def publication_of(record: Shown) -> Publication:
    """Return the publication that a record is of."""
    return f"{record.registration}[{record.entry}]", record.service


def wanted(name: str, form: Registered, sink: str, services: Iterable[Service]) -> Mapping[str, Shown]:
    """Return the records of one registration in one sink; draining instances are ready no more, and not gone yet."""
    found: dict[str, Shown] = {}
    for service in services:
        key = service.key
        if sink not in form.sinks or not form.wants(key.source, key.name):
            continue
        for each in service.instances:
            if (record := record_of(name, form, sink, key, each)) is not None:
                found[f"{record.name}/{each.id}"] = record
    return found


def record_of(name: str, form: Registered, sink: str, key: Any, each: Instance) -> Shown | None:
    """Return the record of one instance; None where there should be none."""
    ready = each.readiness in {"ready", "unknown"}
    if not ready and each.readiness != "draining" and form.not_ready == "Withhold":
        return None
    return Shown(
        name,
        sink,
        f"{key.source}/{key.namespace}/{key.name}",
        each.id,
        form.names(key.name),
        ready,
        tuple(address.value for address in each.addresses),
        tuple(port.number for port in each.ports),
        form.mark,
        f"{ENVIRONMENT}/{OWNER}",
    )
