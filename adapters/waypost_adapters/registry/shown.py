"""An instance as answers show it: what choosing needs, and its JSON, made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import intern

import msgspec

from waypost.model import Readiness, Strategy

__all__ = ["Shown", "metadata_of", "shown"]

_encoder = msgspec.json.Encoder()


class Shown(msgspec.Struct, frozen=True, gc=False):
    """An instance as answers show it: `json` is its object, ready to be sent.

    `source` is set where it was published.
    """

    id: str
    source: str
    ready: bool
    weight: int
    zone: str
    endpoint: str
    strategy: Strategy
    json: bytes


def shown(
    *,
    id: str,
    source: str,
    host: str,
    ports: Sequence[tuple[str, str, int]],
    endpoint: str,
    readiness: Readiness,
    weight: int,
    zone: str,
    metadata: Mapping[str, str],
    strategy: Strategy = "Weighted",
) -> Shown:
    """Return an instance as answers show it."""
    port = str(ports[0][2]) if ports else ""
    body = {
        "ID": id,
        "Host": host,
        "Port": port,
        "Ports": {name: number for name, _, number in ports if name},
        "Endpoint": endpoint,
        "Weight": weight,
        "Readiness": readiness,
        "Zone": zone,
        "Metadata": dict(metadata),
    }
    address = f"[{host}]" if ":" in host else host
    joined = f"{address}:{port}" if port else address
    return Shown(
        id, intern(source), readiness == "ready", weight, intern(zone), joined, strategy, _encoder.encode(body)
    )


class _Metadata(msgspec.Struct, gc=False):
    metadata: dict[str, str] = msgspec.field(name="Metadata")


_decoder = msgspec.json.Decoder(_Metadata)


def metadata_of(instance: Shown) -> dict[str, str]:
    """Return an instance's own metadata."""
    return _decoder.decode(instance.json).metadata
