"""What Waypost says of an object: bounded, written on real change only, and never read back as a wish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from waypost.settings.bounds import EntryName, Part
from waypost.settings.kinds import HoldStatus

__all__ = ["STATUSES", "Condition", "EntryStatus", "ObjectStatus", "RegistrationStatus", "SourceStatus"]

Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=1024)]


class Condition(Part, frozen=True, gc=False):
    """One thing that holds, does not hold, or is not known.

    Attributes:
        type: What it is about: Accepted, ResolvedRefs, Programmed, Ready; Held and Conflicted only when true.
        status: Whether it holds.
        reason: Why, in one word.
        message: Why, for people.
        observed_generation: The generation that this is about.
        last_transition_time: When `status` last changed.
    """

    type: Annotated[str, Meta(min_length=1, max_length=64)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(max_length=128)] = ""
    message: Text = ""
    observed_generation: Count = 0
    last_transition_time: Annotated[str, Meta(max_length=40)] = ""


class ObjectStatus(Part, frozen=True, gc=False):
    """What is said of any object.

    Attributes:
        observed_generation: The generation that this is about.
        conditions: What holds.
        problems: What a person should change.
    """

    observed_generation: Count = 0
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16)] = ()
    problems: Annotated[tuple[Text, ...], Meta(max_length=10)] = ()


class SourceStatus(Part, frozen=True, gc=False):
    """What one entry of `sources` finds.

    Attributes:
        name: The entry.
        services: How many services it matches.
        instances: How many instances they have.
        ready_instances: How many of those are ready.
        stale: Whether the source has not been heard of for too long.
    """

    name: EntryName
    services: Count = 0
    instances: Count = 0
    ready_instances: Count = 0
    stale: bool = False


class EntryStatus(Part, frozen=True, gc=False):
    """What one entry of `sinks` keeps.

    Attributes:
        name: The entry.
        records: How many records are in the target.
        pending: How many changes are to be written.
        failed: How many records cannot be written.
        held: How many changes wait for a person.
        conflicting: How many names others hold.
        programmed: Whether the target has all that it should have.
        reason: Why it has not.
    """

    name: EntryName
    records: Count = 0
    pending: Count = 0
    failed: Count = 0
    held: Count = 0
    conflicting: Count = 0
    programmed: bool = False
    reason: Text = ""


class RegistrationStatus(Part, frozen=True, gc=False):
    """What is said of a registration.

    Attributes:
        observed_generation: The generation that this is about.
        conditions: What holds.
        services: How many services it publishes.
        instances: How many instances they have.
        ready_instances: How many of those are ready.
        sources: What each entry of `sources` finds.
        sinks: What each entry of `sinks` keeps.
        problems: What a person should change.
    """

    observed_generation: Count = 0
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16)] = ()
    services: Count = 0
    instances: Count = 0
    ready_instances: Count = 0
    sources: Annotated[tuple[SourceStatus, ...], Meta(max_length=16)] = ()
    sinks: Annotated[tuple[EntryStatus, ...], Meta(max_length=16)] = ()
    problems: Annotated[tuple[Text, ...], Meta(max_length=10)] = ()


STATUSES: Mapping[str, type[Part]] = {
    "ServiceSource": ObjectStatus,
    "ServiceSink": ObjectStatus,
    "ServiceRegistration": RegistrationStatus,
    "ServiceMirror": RegistrationStatus,
    "ServiceHold": HoldStatus,
}
"""The status of every kind."""
