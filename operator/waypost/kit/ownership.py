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

__all__ = ["KEYS", "Ownership", "of", "path_text", "quoted"]

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
            "waypost-instance": quoted(self.instance),
            "waypost-path": path_text(self.path) if self.path else "",
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


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch  # what quote leaves as it is
_OTHER = re.compile(r"[^A-Za-z0-9_.~-]").sub


def quoted(text: str) -> str:
    """Return the text percent-encoded (all but letters, digits and `_.-~`): as `quote` does, eight times as fast."""
    if _PLAIN(text):
        return text
    return _OTHER(_percent, text) if text.isascii() else quote(text, safe="")


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


@lru_cache(maxsize=16_384)
def _common(owner: str, registration: str, entry: str, service: ServiceKey) -> dict[str, str]:
    """Return what all records of a publication say alike; not to be changed."""
    return {
        "waypost-owner": quoted(owner),
        "waypost-registration": "/".join(map(quoted, registration.split("/", 1))),
        "waypost-entry": quoted(entry),
        "waypost-service": f"{quoted(service.source)}/{quoted(service.namespace)}/{quoted(service.name)}",
    }


@lru_cache(maxsize=1024)
def path_text(path: tuple[Hop, ...]) -> str:
    """Return the flat form of a path."""
    return ",".join(f"{quoted(hop.environment)}/{quoted(hop.owner)}" for hop in path)
