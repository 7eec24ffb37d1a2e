"""EndpointSlices and Services as the API has them, and as this sink writes and reads them. Pure.

A slice's endpoints say address, readiness and zone; its annotation `waypost.dev/records` says, by their host names,
whose they are: {"publications": [[registration, entry, service, path], …], "instances": {"i-…": [index, instance], …}}.
A Service's says the same of the instances that have a host name only, with that name and readiness behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from waypost_adapters.kubernetes.sink_naming import Shape
from waypost_adapters.kubernetes.sink_record import Line, Whose

__all__ = [
    "FENCE",
    "HEADLESS",
    "MANAGED_BY",
    "MANAGER",
    "OWNER",
    "RECORDS",
    "SERVICE_NAME",
    "Family",
    "Meta",
    "Part",
    "annotation",
    "bare",
    "cost",
    "meta_of",
    "part_document",
    "part_of",
    "records_of",
]

MANAGER = "waypost"  # the field manager, and who manages the slices
OWNER = "waypost.dev/owner"  # a label: the ownerID
FENCE = "waypost.dev/fence"  # an annotation: epoch and generation of the last write
RECORDS = "waypost.dev/records"  # an annotation: see above
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = (
    "service.kubernetes.io/headless"  # as the slices of the cluster's own controller: kube-proxy passes them over
)

Family = Literal["IPv4", "IPv6"]


class Meta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Metadata: what is ours and what others may have put there, which a write keeps."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()


class _Conditions(msgspec.Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Seat(msgspec.Struct):
    addresses: tuple[str, ...]
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)
    hostname: str | None = None
    zone: str | None = None


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class SliceObject(msgspec.Struct, rename="camel"):
    """What is read of an EndpointSlice."""

    metadata: Meta
    address_type: str = ""
    endpoints: tuple[_Seat, ...] | None = None
    ports: tuple[_Port, ...] | None = None


class Records(msgspec.Struct):
    """The annotation. Behind publication and instance a Service's rows have host name and readiness."""

    publications: tuple[Whose, ...] = ()
    instances: dict[str, tuple[Any, ...]] = {}


class Part(msgspec.Struct):
    """A slice of ours: its lines by host name, in memory with all their addresses. `altered`: not as we write it."""

    meta: Meta
    family: str
    shape: Shape
    lines: dict[str, Line]
    altered: bool = False


class _Head(msgspec.Struct):
    metadata: Meta


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_slice = msgspec.json.Decoder(SliceObject).decode
_decode_records = msgspec.json.Decoder(Records).decode
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4096)
def _same(value: Any) -> Any:
    """Return the one object that stands for all that are equal: there are many slices, and few shapes."""
    return value


def meta_of(raw: bytes | msgspec.Raw) -> Meta:
    """Return the metadata of any object."""
    return _decode_head(raw).metadata


def bare(meta: Meta) -> Meta:
    """Return metadata without the annotation that is made anew for each write: it is large."""
    annotations = {key: text for key, text in meta.annotations.items() if key != RECORDS}
    return msgspec.structs.replace(meta, annotations=annotations)


def records_of(meta: Meta) -> Records | None:
    """Return what the annotation says; None where there is none that can be read."""
    try:
        found = _decode_records(meta.annotations[RECORDS])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    count = len(found.publications)
    for row in found.instances.values():
        if len(row) < 2 or not isinstance(row[0], int) or not 0 <= row[0] < count or not isinstance(row[1], str):
            return None
    return found


def part_of(raw: bytes | msgspec.Raw, owner: str, name_of: Callable[[str], str]) -> Part:
    """Return a slice as read; each line has its address alone. `name_of` gives a Service's published name."""
    found = _decode_slice(raw)
    name = name_of(found.metadata.labels.get(SERVICE_NAME, ""))
    records = records_of(found.metadata)
    altered = records is None or found.metadata.labels.get(MANAGED_BY) != MANAGER
    records = records or Records()
    shape = _same(
        tuple(sorted((port.name or "", port.port or 0, port.protocol or "TCP") for port in found.ports or ()))
    )
    whose = [_same(each) for each in records.publications]
    lines: dict[str, Line] = {}
    for seat in found.endpoints or ():
        row = records.instances.get(seat.hostname or "")
        if row is None or len(seat.addresses) != 1 or seat.hostname in lines:
            altered = True
            continue
        ready = seat.conditions.ready is not False
        altered |= seat.conditions.serving not in (None, ready) or bool(seat.conditions.terminating)
        lines[seat.hostname or ""] = Line(
            owner, whose[row[0]], row[1], name, ready, seat.addresses, "", shape, seat.zone or ""
        )
    altered |= len(lines) != len(records.instances)
    return Part(bare(found.metadata), found.address_type, shape, lines, altered)


def part_document(part: Part, service: str, owner: str, fence: str, *, headless: bool) -> bytes:
    """Return a slice as it is written. Others' labels and annotations stay."""
    labels = {**part.meta.labels, SERVICE_NAME: service, MANAGED_BY: MANAGER, OWNER: owner}
    labels.pop(HEADLESS, None)
    if headless:
        labels[HEADLESS] = ""
    records = annotation((label, line) for label, line in sorted(part.lines.items()))
    annotations = {**part.meta.annotations, FENCE: fence, RECORDS: records}
    return _encode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": msgspec.structs.replace(part.meta, labels=labels, annotations=annotations),
            "addressType": part.family,
            "endpoints": [_seat(label, line, part.family) for label, line in sorted(part.lines.items())],
            "ports": [{"name": name, "port": number, "protocol": protocol} for name, number, protocol in part.shape],
        }
    )


def _seat(label: str, line: Line, family: str) -> dict[str, Any]:
    seat: dict[str, Any] = {
        "addresses": [address for address in line.addresses if (":" in address) == (family == "IPv6")],
        "conditions": {"ready": line.ready},
        "hostname": label,
    }
    if line.zone:
        seat["zone"] = line.zone
    return seat


def annotation(lines: Iterable[tuple[str, Line]]) -> str:
    """Return the annotation that says whose these lines are."""
    numbers: dict[Whose, int] = {}
    instances: Mapping[str, tuple[Any, ...]] = {
        label: (numbers.setdefault(line.whose, len(numbers)), line.instance)
        + ((line.host, line.ready) if line.host else ())
        for label, line in lines
    }
    return _encode(Records(tuple(numbers), dict(instances))).decode()


def cost(line: Line) -> int:
    """Return about how many bytes a line adds to the annotation, its publication left out."""
    return 40 + 2 * len(line.instance.encode()) + len(line.host)
