"""ServiceRegistration: which services are published, as what, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from waypost.model import AddressType, Family, Service, Strategy
from waypost.settings.bounds import (
    EntryName,
    Glob,
    LabelKey,
    LabelValue,
    Metadata,
    Part,
    PortName,
    PortNumber,
    Ref,
    Template,
)

__all__ = [
    "AddressRule",
    "DeclaredInstance",
    "DeclaredPort",
    "DnsCheck",
    "GrpcCheck",
    "HealthCheck",
    "HttpCheck",
    "MessageCheck",
    "PingCheck",
    "PortMatch",
    "PortRule",
    "RegistrationSpec",
    "Selector",
    "ServiceRef",
    "ServiceRegistration",
    "SinkEntry",
    "SourceEntry",
    "TcpCheck",
]

ServiceName = Annotated[str, Meta(min_length=1, max_length=253)]
Weight = Annotated[int, Meta(ge=0, le=65_535)]
CheckedPort = PortNumber | PortName
Names = Annotated[tuple[Template, ...], Meta(min_length=1, max_length=16)]


class ServiceRef(Part, frozen=True, gc=False):
    """Names one service of a source.

    Attributes:
        name: The service's name there. With `instances`: the name under which they are declared.
        namespace: The service's namespace there, as the source's README says; empty where the source has none.
    """

    name: ServiceName
    namespace: Annotated[str, Meta(max_length=253)] = ""


class Selector(Part, frozen=True, gc=False):
    """Selects services of a source; what is given must all hold, and something must be given.

    Attributes:
        match_labels: Labels that the service must have, with these values.
        namespaces: The namespaces that are looked at, with `*` for any part; none: all that are granted.
        services: The services' names, with `*` for any part.
    """

    match_labels: Annotated[Mapping[LabelKey, LabelValue], Meta(max_length=16)] = {}
    namespaces: Annotated[tuple[Glob, ...], Meta(max_length=64)] = ()
    services: Annotated[tuple[Glob, ...], Meta(max_length=64)] = ()


class AddressRule(Part, frozen=True, gc=False):
    """Says which addresses of an instance are published.

    Attributes:
        types: The types of address, in order of preference; none: all.
        families: The families of address; none: all.
    """

    types: Annotated[tuple[AddressType, ...], Meta(max_length=6)] = ()
    families: Annotated[tuple[Family, ...], Meta(max_length=3)] = ()


class DeclaredPort(Part, frozen=True, gc=False):
    """A port of a declared instance.

    Attributes:
        number: The port's number.
        name: The port's name.
        protocol: The transport.
    """

    number: PortNumber
    name: PortName | None = None
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"


class DeclaredInstance(Part, frozen=True, gc=False):
    """An instance that no orchestrator runs.

    Attributes:
        id: Names the instance; stable, and unique in its source.
        addresses: IPv4 or IPv6 addresses or host names; the first is the primary one.
        ports: Its ports, in order.
        weight: Its weight among the instances.
        node: The machine it runs on.
        zone: The zone it runs in.
        labels: What templates read as `{label:K}`.
    """

    id: Annotated[str, Meta(min_length=1, max_length=253)]
    addresses: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...], Meta(min_length=1, max_length=8)
    ]
    ports: Annotated[tuple[DeclaredPort, ...], Meta(max_length=32)] = ()
    weight: Weight = 1
    node: Annotated[str, Meta(max_length=253)] = ""
    zone: Annotated[str, Meta(max_length=63)] = ""
    labels: Annotated[Mapping[LabelKey, LabelValue], Meta(max_length=64)] = {}


class SourceEntry(Part, frozen=True, gc=False):
    """One part of what is published. Exactly one of `service`, `selector`, `instances`; `service` may name `instances`.

    Attributes:
        name: Names the entry in this registration.
        source_ref: The ServiceSource.
        service: One service of the source.
        selector: The services of the source that it selects.
        instances: Instances declared here, under a source of type `static`.
        weight: This entry's share of the traffic, beside the other entries'; on all entries or on none. 0: checked, not
            published.
        addresses: Which addresses of an instance are published; not given: all.
    """

    name: EntryName
    source_ref: Ref
    service: ServiceRef | None = None
    selector: Selector | None = None
    instances: Annotated[tuple[DeclaredInstance, ...], Meta(max_length=1000)] | None = None
    weight: Weight | None = None
    addresses: AddressRule | None = None


class PortMatch(Part, frozen=True, gc=False):
    """Finds a port of an instance. Exactly one of `name`, `index` and `number`.

    Attributes:
        name: The port's name at the source.
        index: The port's place in the order that the source declares, from 0.
        number: The port's number.
    """

    name: PortName | None = None
    index: Annotated[int, Meta(ge=0, le=255)] | None = None
    number: PortNumber | None = None


class PortRule(Part, frozen=True, gc=False):
    """A port that is published, under a name of ours.

    Attributes:
        name: The name it is published under.
        match: How it is found among an instance's ports; not given: by that same name.
    """

    name: PortName
    match: PortMatch = msgspec.field(default_factory=PortMatch)

    def __post_init__(self) -> None:
        """Let a rule without `match` find the port of its own name."""
        if self.match == PortMatch():
            msgspec.structs.force_setattr(self, "match", PortMatch(name=self.name))


class SinkEntry(Part, frozen=True, gc=False):
    """One place where it is published.

    Attributes:
        name: Names the entry in this registration; one sink may be named by several entries.
        sink_ref: The ServiceSink.
        names: The names here, in place of the registration's.
        ports: Names of those ports that are published here; not given: all.
        ttl_seconds: How long consumers may keep an answer; not given: the sink's own default.
        not_ready: What becomes of an instance that is not ready: `Withhold` it, or `Publish` it marked so, where the
            sink can.
        adopt: Whether records that are there already, and equal, become ours; at most what the sink's `adoption`
            allows.
        options: The adapter's own settings for this entry; its README has their reference.
    """

    name: EntryName
    sink_ref: Ref
    names: Names | None = None
    ports: Annotated[tuple[PortName, ...], Meta(min_length=1, max_length=32)] | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=604_800)] | None = None
    not_ready: Literal["Withhold", "Publish"] = "Withhold"
    adopt: Literal["Never", "Identical"] = "Never"
    options: Mapping[str, Any] = {}
    decoded_options: Any = msgspec.field(name="\x7fdecoded", default=None)
    """The sink type's own struct; None while the sink is not known. No manifest can spell its name."""

    def __repr__(self) -> str:
        """Leave the options out: a person may have put a secret there."""
        return f"SinkEntry(name={self.name!r}, sinkRef={self.sink_ref.name!r}, …)"


class HttpCheck(Part, frozen=True, gc=False):
    """Ready when a request is answered with a status from 200 to 399.

    Attributes:
        path: The path that is asked for.
        port: The port, by name or number; not given: the first.
        scheme: `HTTP` or `HTTPS`.
        host: The Host header; not given: the address.
    """

    path: Annotated[str, Meta(min_length=1, max_length=1024)] = "/"
    port: CheckedPort | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: Annotated[str, Meta(max_length=253)] = ""


class TcpCheck(Part, frozen=True, gc=False):
    """Ready when a connection is accepted.

    Attributes:
        port: The port, by name or number; not given: the first.
    """

    port: CheckedPort | None = None


class GrpcCheck(Part, frozen=True, gc=False):
    """Ready when the gRPC health service says SERVING.

    Attributes:
        port: The port, by name or number; not given: the first.
        service: The service that is asked about.
    """

    port: CheckedPort | None = None
    service: Annotated[str, Meta(max_length=253)] = ""


class DnsCheck(Part, frozen=True, gc=False):
    """Ready when a question is answered without an error.

    Attributes:
        name: The name that is asked for.
        type: The type that is asked for.
        port: The port, by name or number; not given: the first.
    """

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    type: Literal["A", "AAAA", "SRV", "TXT", "CNAME", "NS", "SOA"] = "A"
    port: CheckedPort | None = None


class PingCheck(Part, frozen=True, gc=False):
    """Ready when an ICMP echo is answered."""


class MessageCheck(Part, frozen=True, gc=False):
    """Ready when the answer to a message has a pattern.

    Attributes:
        send: The text that is sent.
        expect: A regular expression that the answer must contain; not given: any answer.
        protocol: `tcp` or `udp`.
        port: The port, by name or number; not given: the first.
    """

    send: Annotated[str, Meta(max_length=1024)] = ""
    expect: Annotated[str, Meta(max_length=1024)] = ""
    protocol: Literal["tcp", "udp"] = "tcp"
    port: CheckedPort | None = None


class HealthCheck(Part, frozen=True, gc=False):
    """How Waypost finds out whether an instance is ready. Exactly one of the six kinds of check.

    Attributes:
        http_get: Asks by HTTP.
        tcp_socket: Opens a connection.
        grpc: Asks the gRPC health service.
        dns: Asks a DNS question.
        ping: Sends an ICMP echo.
        message: Sends a message and reads the answer.
        period_seconds: The time between two checks.
        timeout_seconds: How long one check may take; at most the period.
        success_threshold: So many successes in a row make an instance ready.
        failure_threshold: So many failures in a row make it not ready.
        panic_percent: When more than this share fails at once, none is withdrawn: the checks, or the way there, are in
            doubt.
    """

    http_get: HttpCheck | None = None
    tcp_socket: TcpCheck | None = None
    grpc: GrpcCheck | None = None
    dns: DnsCheck | None = None
    ping: PingCheck | None = None
    message: MessageCheck | None = None
    period_seconds: Annotated[int, Meta(ge=1, le=3600)] = 10
    timeout_seconds: Annotated[int, Meta(ge=1, le=300)] = 2
    success_threshold: Annotated[int, Meta(ge=1, le=100)] = 1
    failure_threshold: Annotated[int, Meta(ge=1, le=100)] = 3
    panic_percent: Annotated[int, Meta(ge=1, le=100)] = 50


class RegistrationSpec(Part, frozen=True, gc=False):
    """Says which services are published, as what, and where.

    Attributes:
        sources: What is published: the union of the entries.
        sinks: Where it is published.
        ports: The ports that are published, and their names; none: all, as the source names them.
        names: The names that are published; templates over the service. Relative: each sink adds its own zone or
            prefix.
        metadata: What is published beside; templates over the instance.
        health_check: How Waypost finds out whether an instance is ready, beside what the source says.
        strategy: How consumers should choose among the instances, where the sink can say so.
        sharing: `Exclusive`: who holds a name keeps it; `Shared`: all registrations that say so add their instances.
        sync_policy: `Sync`; `UpsertOnly`: never delete while it is there; `CreateOnly`: never delete nor change.
        deletion_policy: What becomes of the records when the registration is deleted: `Delete` them, or leave them
            (`Orphan`).
        min_ready_instances: So many ready instances are kept, whatever is inferred or checked; facts and edits pass.
        drain_seconds: How long a draining instance stays, marked as not ready.
    """

    sources: Annotated[tuple[SourceEntry, ...], Meta(min_length=1, max_length=16)]
    sinks: Annotated[tuple[SinkEntry, ...], Meta(min_length=1, max_length=16)]
    ports: Annotated[tuple[PortRule, ...], Meta(max_length=32)] = ()
    names: Names = ("{service}",)
    metadata: Annotated[Mapping[Annotated[str, Meta(min_length=1, max_length=128)], Template], Meta(max_length=64)] = {}
    health_check: HealthCheck | None = None
    strategy: Strategy = "Weighted"
    sharing: Literal["Exclusive", "Shared"] = "Exclusive"
    sync_policy: Literal["Sync", "UpsertOnly", "CreateOnly"] = "Sync"
    deletion_policy: Literal["Delete", "Orphan"] = "Delete"
    min_ready_instances: Annotated[int, Meta(ge=0, le=100_000)] = 0
    drain_seconds: Annotated[int, Meta(ge=0, le=3600)] = 10


class ServiceRegistration(msgspec.Struct, frozen=True, gc=False):
    """What a team writes. `declared` are the services that its `instances` make, one for each such entry."""

    metadata: Metadata
    spec: RegistrationSpec
    declared: tuple[Service, ...] = ()

    kind: ClassVar[str] = "ServiceRegistration"

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.metadata.namespace

    @property
    def generation(self) -> int | None:
        """Counts the changes of `spec`, where the feed knows."""
        return self.metadata.generation

    @property
    def key(self) -> str:
        """What it is found by: `namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
