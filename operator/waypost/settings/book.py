"""Settings: all that the manifests say at one moment, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from waypost.settings.kinds import ServiceHold, ServiceSink, ServiceSource
from waypost.settings.registration import ServiceRegistration

__all__ = ["Feed", "Problem", "Settings", "not_adopted", "unresolved"]


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something a person should change.

    `line` and `column` count from 1 and are 0 where unknown; `field` is "" for a whole document.
    """

    file: str
    line: int
    column: int
    kind: str
    name: str
    field: str
    message: str

    def __str__(self) -> str:
        """Return `file:line: field: message`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (place, self.field, self.message)))


class Settings(msgspec.Struct, frozen=True):
    """What is asked for. Equal objects are the same object from one Settings to the next: `is` tells what changed.

    Registrations are keyed `namespace/name`, the rest by name. What cannot be read keeps its last good form. `complete`
    is True only where every document of the set was read: only then does absence mean anything.

    A registration that is here no more was deleted by a person, unless it is in `vanished`: then nothing of it is
    deleted before a person says so. `deleted` are those, each with its deletionPolicy, of which that is known though
    this process may never have had them.
    """

    sources: Mapping[str, ServiceSource] = {}
    sinks: Mapping[str, ServiceSink] = {}
    registrations: Mapping[str, ServiceRegistration] = {}
    holds: Mapping[str, ServiceHold] = {}
    problems: tuple[Problem, ...] = ()
    complete: bool = False
    deleted: Mapping[str, str] = {}
    vanished: frozenset[str] = frozenset()


def unresolved(settings: Settings, registration: ServiceRegistration) -> list[str]:
    """Say which sources and sinks a registration names that are not declared."""
    spec = registration.spec
    advice = (
        "declare it or correct the name" if settings.complete else "but not everything that is declared can be read"
    )
    named: list[tuple[str, str, str, str, Mapping[str, object]]] = [
        *(("sources", each.name, "ServiceSource", each.source_ref.name, settings.sources) for each in spec.sources),
        *(("sinks", each.name, "ServiceSink", each.sink_ref.name, settings.sinks) for each in spec.sinks),
    ]
    return [
        f"{word} entry `{entry}`: there is no {kind} `{name}`; {advice}"
        for word, entry, kind, name, declared in named
        if name not in declared
    ]


def not_adopted(settings: Settings, registration: ServiceRegistration) -> list[str]:
    """Say where a registration asks for more adoption than a sink lets it have."""
    return [
        f"sinks entry `{each.name}`: `adopt: {each.adopt}` is more than the `adoption: Never` of ServiceSink "
        f"`{each.sink_ref.name}`: nothing is taken over"
        for each in registration.spec.sinks
        if each.adopt != "Never" and (sink := settings.sinks.get(each.sink_ref.name)) and sink.spec.adoption == "Never"
    ]


class Feed(Protocol):
    """Where manifests come from."""

    async def watch(self, put: Callable[[Settings], None]) -> None:
        """Run until cancelled. Call `put` with what is asked for, at first and whenever that changed.

        `put` must not block.
        """
