"""How a record says whose it is.

One flat form of owner, registration, entry, service, instance and path that every layout can hold.

The values are percent-encoded segments joined by `/` (`,` between hops), so any label, id or name goes in and comes out
unchanged, and no value can pretend to be two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

from waypost.model import Hop, Publication, PublishedInstance, ServiceKey

__all__ = ["KEYS", "Ownership", "of"]

PREFIX = "waypost-"
KEYS = ("waypost-owner", "waypost-registration", "waypost-entry", "waypost-service", "waypost-instance", "waypost-path")


class Ownership(msgspec.Struct, frozen=True, gc=False):
    """Whose a record is and where it came from. `registration` is `namespace/name`."""

    owner: str
    registration: str
    entry: str
    service: ServiceKey
    instance: str
    path: tuple[Hop, ...] = ()

    def encode(self) -> dict[str, str]:
        """Return the flat form, in the order of KEYS; values hold printable ASCII only."""
        return {
            **_common(self.owner, self.registration, self.entry, self.service),
            "waypost-instance": _quote(self.instance),
            "waypost-path": _path(self.path) if self.path else "",
        }

    @classmethod
    def decode(cls, flat: Mapping[str, str]) -> Ownership | None:
        """Return what `encode` made; None where it is not there or not of this form: such a record is not ours."""
        try:
            owner, registration, entry, service, instance, path = (flat[key] for key in KEYS)
            namespace, name = map(unquote, registration.split("/"))
            key = ServiceKey(*map(unquote, service.split("/")))
            hops = tuple(Hop(*map(unquote, hop.split("/"))) for hop in path.split(",") if hop)
        except (KeyError, ValueError, TypeError):
            return None
        return cls(unquote(owner), f"{namespace}/{name}", unquote(entry), key, unquote(instance), hops)


def of(publication: Publication, instance: PublishedInstance) -> Ownership:
    """Return the ownership of the record that shows this instance in this publication."""
    key = publication.key
    return Ownership(publication.owner, key.registration, key.entry, key.service, instance.id, instance.path)


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")  # what quote leaves as it is


def _quote(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")


@lru_cache(maxsize=16_384)
def _common(owner: str, registration: str, entry: str, service: ServiceKey) -> dict[str, str]:
    """Return what all records of a publication say alike; not to be changed."""
    return {
        "waypost-owner": _quote(owner),
        "waypost-registration": "/".join(map(_quote, registration.split("/", 1))),
        "waypost-entry": _quote(entry),
        "waypost-service": f"{_quote(service.source)}/{_quote(service.namespace)}/{_quote(service.name)}",
    }


@lru_cache(maxsize=1024)
def _path(path: tuple[Hop, ...]) -> str:
    return ",".join(f"{_quote(hop.environment)}/{_quote(hop.owner)}" for hop in path)
