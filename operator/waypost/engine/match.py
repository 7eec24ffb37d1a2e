"""Which registrations want which services: an index by name and a list of selectors for each source.

Compiling a registration parses its templates once; matching a service costs the registrations that could want it, not
all. Pure.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from waypost.kit import grammar
from waypost.model import ServiceKey

if TYPE_CHECKING:
    from waypost.settings import ServiceRegistration

__all__ = ["Compiled", "EntryRule", "Matcher", "SourceRule"]

WHOLE = 10_000  # what a registration's shares add up to: fine enough to be divided by the ready instances


class SourceRule:
    """One item of a registration's `sources`, compiled.

    `share` is its part of the traffic in ten-thousandths, however the manifest scales its weights; None where none are
    given.
    """

    __slots__ = ("addresses", "exact", "labels", "name", "namespaces", "services", "share", "source")

    def __init__(self, spec: Any, registration: ServiceRegistration) -> None:
        self.name: str = spec.name
        self.source: str = spec.source_ref.name
        total = sum(source.weight or 0 for source in registration.spec.sources)
        self.share: float | None = WHOLE * spec.weight / total if spec.weight else spec.weight
        self.addresses = spec.addresses
        self.exact: ServiceKey | None = None
        self.labels: Mapping[str, str] = {}
        self.services: re.Pattern[str] | None = None
        self.namespaces: re.Pattern[str] | None = None
        if spec.selector is not None:
            self.labels = dict(spec.selector.match_labels or {})
            self.services = _globs(spec.selector.services)
            self.namespaces = _globs(spec.selector.namespaces)
        elif spec.service is not None:
            named = spec.instances is not None
            self.exact = ServiceKey(
                self.source, registration.metadata.namespace if named else spec.service.namespace, spec.service.name
            )
        else:
            self.exact = ServiceKey(self.source, registration.metadata.namespace, registration.metadata.name)

    def wants(self, key: ServiceKey, labels: Mapping[str, str]) -> bool:
        """Say whether this rule matches a service of its source."""
        if self.exact is not None:
            return key == self.exact
        return (
            all(labels.get(name) == value for name, value in self.labels.items())
            and (self.services is None or self.services.fullmatch(key.name) is not None)
            and (self.namespaces is None or self.namespaces.fullmatch(key.namespace) is not None)
        )


class EntryRule:
    """One item of a registration's `sinks`, compiled."""

    __slots__ = ("adopts", "metadata", "name", "names", "not_ready", "options", "ports", "sink", "ttl_seconds")

    def __init__(self, spec: Any, registration: ServiceRegistration) -> None:
        self.name: str = spec.name
        self.sink: str = spec.sink_ref.name
        self.names = tuple(grammar.parse(name, grammar.NAMES) for name in spec.names or registration.spec.names)
        self.ports: frozenset[str] | None = frozenset(spec.ports) if spec.ports else None
        self.ttl_seconds: int | None = spec.ttl_seconds
        self.not_ready: str = spec.not_ready
        self.adopts: bool = spec.adopt == "Identical"
        self.options = spec.decoded_options
        self.metadata = {
            key: grammar.parse(text, grammar.METADATA) for key, text in (registration.spec.metadata or {}).items()
        }


class Compiled:
    """A registration, compiled."""

    __slots__ = ("deletes", "entries", "key", "min_ready", "registration", "shares", "sources")

    def __init__(self, registration: ServiceRegistration) -> None:
        self.registration = registration
        self.key = f"{registration.metadata.namespace}/{registration.metadata.name}"
        self.sources = tuple(SourceRule(spec, registration) for spec in registration.spec.sources)
        self.entries = tuple(EntryRule(spec, registration) for spec in registration.spec.sinks)
        self.min_ready: int = registration.spec.min_ready_instances
        self.shares: bool = registration.spec.sharing == "Shared"
        self.deletes = registration.spec.sync_policy == "Sync"


class Matcher:
    """The registrations in force."""

    def __init__(self) -> None:
        """Begin with none."""
        self.compiled: dict[str, Compiled] = {}
        self._exact: dict[ServiceKey, list[tuple[Compiled, SourceRule]]] = {}
        self._selecting: dict[str, list[tuple[Compiled, SourceRule]]] = {}

    def put(self, registration: ServiceRegistration) -> Compiled:
        """Put a registration in force, in place of its former form."""
        compiled = Compiled(registration)
        self.remove(compiled.key)
        self.compiled[compiled.key] = compiled
        for rule in compiled.sources:
            place = (
                self._selecting.setdefault(rule.source, [])
                if rule.exact is None
                else self._exact.setdefault(rule.exact, [])
            )
            place.append((compiled, rule))
        return compiled

    def remove(self, key: str) -> None:
        """Take a registration out."""
        compiled = self.compiled.pop(key, None)
        if compiled is None:
            return
        for index, places in (
            (self._exact, {rule.exact for rule in compiled.sources if rule.exact is not None}),
            (self._selecting, {rule.source for rule in compiled.sources if rule.exact is None}),
        ):
            for place in places:
                left = [pair for pair in index[place] if pair[0] is not compiled]  # type: ignore[index]
                if left:
                    index[place] = left  # type: ignore[index]
                else:
                    del index[place]  # type: ignore[arg-type]

    def matches(self, key: ServiceKey, labels: Mapping[str, str]) -> Iterator[tuple[Compiled, SourceRule]]:
        """Yield who wants a service, each registration once, by the first of its sources that does."""
        seen = set()
        for compiled, rule in (*self._exact.get(key, ()), *self._selecting.get(key.source, ())):
            if compiled.key not in seen and rule.wants(key, labels):
                seen.add(compiled.key)
                yield compiled, self._first(compiled, key, labels)

    @staticmethod
    def _first(compiled: Compiled, key: ServiceKey, labels: Mapping[str, str]) -> SourceRule:
        return next(rule for rule in compiled.sources if rule.source == key.source and rule.wants(key, labels))


def _globs(patterns: Iterable[str] | None) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in patterns))
