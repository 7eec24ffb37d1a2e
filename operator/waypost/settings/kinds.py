"""The kinds of DESIGN section 6 as typed, frozen structs: one decoded form, whichever way an object came.

An object is `metadata`, `spec` and what was decoded by its adapter's type. `waypost.settings.decode` makes objects and
checks what types cannot say; nothing here reads a file or knows of an adapter. Every list and text has a bound.
Durations are integers with their unit in the name. ServiceRegistration and its parts: `waypost.settings.registration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from waypost.settings.bounds import (
    Cidr,
    Credential,
    EnvironmentName,
    Glob,
    LabelKey,
    Metadata,
    OwnerID,
    Part,
    Ref,
    TypeName,
)
from waypost.settings.registration import RegistrationSpec, ServiceRegistration, SinkEntry, SourceEntry

__all__ = [
    "KINDS",
    "Accepts",
    "HoldSpec",
    "HoldStatus",
    "MirrorSpec",
    "Rewrite",
    "RewriteAddress",
    "RewriteMetadata",
    "ServiceHold",
    "ServiceMirror",
    "ServiceSink",
    "ServiceSource",
    "SinkGrant",
    "SinkSafety",
    "SinkSpec",
    "SourceGrant",
    "SourceSafety",
    "SourceSpec",
]

Percent = Annotated[int, Meta(ge=0, le=100)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]


class SourceGrant(Part, frozen=True, gc=False):
    """Says whose registrations may read which services. `*` stands for any part of one segment, `**` for any depth.

    Attributes:
        namespaces: Namespaces of registrations.
        service_namespaces: Namespaces of services in the source; none: all.
    """

    namespaces: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=64)]
    service_namespaces: Annotated[tuple[Glob, ...], Meta(max_length=64)] = ()


class SourceSafety(Part, frozen=True, gc=False):
    """Says when the absence of instances is believed.

    Attributes:
        empty_seconds: An empty source is believed after this long and three reads that agree.
        max_loss_percent: The most of a source's, a registration's or an entry's instances that may go by inference in
            the window.
        min_loss: So many may always go.
        window_seconds: The sliding window's length.
        stale_seconds: A source not heard of for this long is called stale; that only alerts.
    """

    empty_seconds: Seconds = 300
    max_loss_percent: Percent = 30
    min_loss: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    window_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 600
    stale_seconds: Annotated[int, Meta(ge=5, le=86_400)] = 120


class SourceSpec(Part, frozen=True, gc=False):
    """Says where services are read.

    Attributes:
        type: The adapter's name, such as `mesos` or `static`. Immutable.
        environment: What is found here belongs to this environment. Immutable.
        mode: `Watch`; or `Frozen`: keep what is known, read nothing, remove nothing.
        config: The adapter's own settings; its README has their reference.
        credentials: The secrets that the adapter uses.
        allowed_cidrs: The networks whose addresses may be reported and probed. None given: all but loopback, link-local
            and metadata ones.
        grants: Who may read what. None given: in files, everybody everything; on Kubernetes, Waypost's own namespace
            only.
        safety: When the absence of instances is believed.
    """

    type: TypeName
    environment: EnvironmentName
    mode: Literal["Watch", "Frozen"] = "Watch"
    config: Mapping[str, Any] = {}
    credentials: Annotated[tuple[Credential, ...], Meta(max_length=16)] = ()
    allowed_cidrs: Annotated[tuple[Cidr, ...], Meta(max_length=64)] = msgspec.field(name="allowedCIDRs", default=())
    grants: Annotated[tuple[SourceGrant, ...], Meta(max_length=64)] = ()
    safety: SourceSafety = SourceSafety()

    def __repr__(self) -> str:
        """Leave `config` out: a person may have put a secret there."""
        return f"SourceSpec(type={self.type!r}, environment={self.environment!r}, mode={self.mode!r}, …)"


class Accepts(Part, frozen=True, gc=False):
    """Says whose services a sink takes.

    Attributes:
        registered: Environments whose services registrations may publish here. Not given: the sink's own environment.
        mirrored: Environments whose services mirrors may show here.
    """

    registered: Annotated[tuple[EnvironmentName, ...], Meta(max_length=32)] | None = None
    mirrored: Annotated[tuple[EnvironmentName, ...], Meta(max_length=32)] = ()


class SinkGrant(Part, frozen=True, gc=False):
    """Says whose registrations may publish which names. `*` stands for any part of one label, `**` for any depth.

    Attributes:
        namespaces: Namespaces of registrations.
        names: Names, as rendered; none: all.
        max_records: The most records that these namespaces may have here.
    """

    namespaces: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=64)]
    names: Annotated[tuple[Glob, ...], Meta(max_length=256)] = ()
    max_records: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None


class SinkSafety(Part, frozen=True, gc=False):
    """Says how much may be withdrawn or changed at once before a person is asked.

    Attributes:
        max_removal_percent: The most of what is published that may be withdrawn in the window.
        min_removals: So many may always be withdrawn.
        max_change_percent: The most of what is published that may be rewritten in the window, other than by an edit.
        window_seconds: The sliding window's length.
    """

    max_removal_percent: Percent = 30
    min_removals: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    max_change_percent: Percent = 60
    window_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 600


class SinkSpec(Part, frozen=True, gc=False):
    """Says where services are registered.

    Attributes:
        type: The adapter's name, such as `consul`, `etcd` or `dns_server`. Immutable.
        environment: Compared with the stamp kept in the target: where that says another, nothing is written. Immutable.
        owner_id: Whose records these are; unique for each installation, never derived from a machine. Immutable.
        mode: `Apply`; `DryRun`: plan and write nothing; `Paused`: do nothing.
        accepts: Whose services are taken.
        adoption: The most that a registration may ask for: whether records that are there already, and equal, become
            ours.
        config: The adapter's own settings; its README has their reference.
        credentials: The secrets that the adapter uses.
        allowed_cidrs: The networks whose addresses may be published. None given: what the source allows.
        grants: Who may publish which names. None given: in files, everybody everything; on Kubernetes, Waypost's own
            namespace only.
        reserved_names: Names that nobody may publish; `*` and `**` as in grants.
        safety: How much may be withdrawn or changed at once.
    """

    type: TypeName
    environment: EnvironmentName
    owner_id: OwnerID = msgspec.field(name="ownerID")
    mode: Literal["Apply", "DryRun", "Paused"] = "Apply"
    accepts: Accepts = Accepts()
    adoption: Literal["Never", "Identical"] = "Never"
    config: Mapping[str, Any] = {}
    credentials: Annotated[tuple[Credential, ...], Meta(max_length=16)] = ()
    allowed_cidrs: Annotated[tuple[Cidr, ...], Meta(max_length=64)] = msgspec.field(name="allowedCIDRs", default=())
    grants: Annotated[tuple[SinkGrant, ...], Meta(max_length=64)] = ()
    reserved_names: Annotated[tuple[Glob, ...], Meta(max_length=256)] = ()
    safety: SinkSafety = SinkSafety()

    def __repr__(self) -> str:
        """Leave `config` out: a person may have put a secret there."""
        return (
            f"SinkSpec(type={self.type!r}, environment={self.environment!r}, ownerID={self.owner_id!r}, "
            f"mode={self.mode!r}, …)"
        )


class RewriteAddress(Part, frozen=True, gc=False):
    """Maps one network onto another of the same size.

    Attributes:
        from_: The network as the origin has it.
        to: The network as it is reached from where it is shown.
    """

    from_: Cidr = msgspec.field(name="from")
    to: Cidr


class RewriteMetadata(Part, frozen=True, gc=False):
    """Says which metadata crosses.

    Attributes:
        keep: The keys that are kept; all others are dropped.
    """

    keep: Annotated[tuple[LabelKey, ...], Meta(max_length=64)] = ()


class Rewrite(Part, frozen=True, gc=False):
    """Says how a service of one environment looks in another.

    Attributes:
        addresses: Networks mapped onto others.
        unmatched: What becomes of an address in none of them.
        metadata: Which metadata crosses.
    """

    addresses: Annotated[tuple[RewriteAddress, ...], Meta(max_length=64)] = ()
    unmatched: Literal["Refuse", "Keep"] = "Refuse"
    metadata: RewriteMetadata = RewriteMetadata()


class MirrorSpec(Part, frozen=True, gc=False):
    """Shows in one environment what another has registered.

    Attributes:
        sources: What is shown, as in a registration.
        sinks: Where it is shown, as in a registration; each must list the origin in `accepts.mirrored`.
        rewrite: How it looks there.
    """

    sources: Annotated[tuple[SourceEntry, ...], Meta(min_length=1, max_length=16)]
    sinks: Annotated[tuple[SinkEntry, ...], Meta(min_length=1, max_length=16)]
    rewrite: Rewrite = Rewrite()


class HoldSpec(Part, frozen=True, gc=False):
    """A person's decision on what waits.

    Attributes:
        digest: Names exactly what is decided upon.
        decision: `Approve` lets it happen, `Reject` does not; undecided where it is not given.
        reason: Why, for whoever reads it later.
        expires_seconds: How long an approval holds, from the decision.
    """

    digest: Annotated[str, Meta(pattern=r"^sha256-[A-Za-z0-9_-]+\Z", max_length=96)]
    decision: Literal["Approve", "Reject"] | None = None
    reason: Annotated[str, Meta(max_length=1024)] = ""
    expires_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 900


Cause = Literal[
    "SourceEmpty", "BudgetExceeded", "MassChange", "MinReady", "FeedUnreadable", "UnknownRegistration", "Takeover"
]


class HoldStatus(Part, frozen=True, gc=False):
    """What waits, and why.

    Attributes:
        cause: Why it waits.
        sink_ref: The sink where it would happen.
        source_ref: The source whose loss it follows from.
        removals: How many instances would be withdrawn.
        changes: How many records would be rewritten.
        of: How many there are.
        sample: Some of them.
        decided_time: When it was decided upon.
        pairs: The set itself, 8 bytes for each item in base64, sorted; not given where it would be too large to keep.
    """

    cause: Cause
    sink_ref: Ref | None = None
    source_ref: Ref | None = None
    removals: Annotated[int, Meta(ge=0)] = 0
    changes: Annotated[int, Meta(ge=0)] = 0
    of: Annotated[int, Meta(ge=0)] = 0
    sample: Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=10)] = ()
    decided_time: Annotated[str, Meta(max_length=40)] | None = None
    pairs: Annotated[str, Meta(max_length=1_000_000)] = ""


class ServiceSource(msgspec.Struct, frozen=True, gc=False):
    """Where services are read. `decoded_config` is the adapter type's own struct."""

    metadata: Metadata
    spec: SourceSpec
    decoded_config: Any = None

    kind: ClassVar[str] = "ServiceSource"

    @property
    def name(self) -> str:
        """The object's name; ServiceKeys of this source begin with it."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        return self.metadata.name

    def __repr__(self) -> str:
        """Leave the configuration out: a person may have put a secret there."""
        return f"ServiceSource({self.name!r}, {self.spec!r})"


class ServiceSink(msgspec.Struct, frozen=True, gc=False):
    """Where services are registered. `decoded_config` is the adapter type's own struct."""

    metadata: Metadata
    spec: SinkSpec
    decoded_config: Any = None

    kind: ClassVar[str] = "ServiceSink"

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        return self.metadata.name

    @property
    def accepted(self) -> frozenset[str]:
        """The environments whose services registrations may publish here."""
        registered = self.spec.accepts.registered
        return frozenset((self.spec.environment,) if registered is None else registered)

    def __repr__(self) -> str:
        """Leave the configuration out: a person may have put a secret there."""
        return f"ServiceSink({self.name!r}, {self.spec!r})"


class ServiceMirror(msgspec.Struct, frozen=True, gc=False):
    """What one environment has registered, shown in another."""

    metadata: Metadata
    spec: MirrorSpec

    kind: ClassVar[str] = "ServiceMirror"

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        return self.metadata.name


class ServiceHold(msgspec.Struct, frozen=True, gc=False):
    """What waits for a person: Waypost makes it, a person decides."""

    metadata: Metadata
    spec: HoldSpec
    status: HoldStatus | None = None

    kind: ClassVar[str] = "ServiceHold"

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        return self.metadata.name


Kind = ServiceSource | ServiceSink | ServiceRegistration | ServiceMirror | ServiceHold

KINDS: Mapping[str, tuple[type[Kind], type[Part]]] = {
    "ServiceSource": (ServiceSource, SourceSpec),
    "ServiceSink": (ServiceSink, SinkSpec),
    "ServiceRegistration": (ServiceRegistration, RegistrationSpec),
    "ServiceMirror": (ServiceMirror, MirrorSpec),
    "ServiceHold": (ServiceHold, HoldSpec),
}
"""Every kind's name, its object and its spec."""
