"""From what the files say now, and what was good before, to Settings. Pure: the time comes in as an argument.

What cannot be read keeps its last good form. What is absent goes only after ABSENT_SECONDS in which every document of
the set was read. Equal objects stay the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from waypost.model import ServiceKey
from waypost.settings.book import Problem, Settings
from waypost.settings.decode import Types, resolve
from waypost.settings.explain import Fault
from waypost.settings.kinds import Kind, ServiceHold, ServiceSink, ServiceSource, SinkSpec, SourceSpec
from waypost.settings.reading import Document, Reading, problem_at
from waypost.settings.registration import ServiceRegistration

__all__ = ["ABSENT_SECONDS", "Assembly"]

ABSENT_SECONDS = 2.0
MAX_PROBLEMS = 1000

Key = tuple[str, str]
"""A kind, and what an object is found by among its kind."""


class _Good(msgspec.Struct):
    """The last good form of an object: `plain` as decoded alone, `object` as resolved with the adapter `types`."""

    file: str
    plain: Kind
    object: Kind
    types: tuple[str | None, ...] = ()


class Assembly:
    """Keeps the last good form of every object from one call to the next.

    `wake` is when to call again, whatever happens; None where only a change matters.
    """

    def __init__(self, types: Types) -> None:
        """Begin with nothing known."""
        self.wake: float | None = None
        self._types = types
        self._good: dict[Key, _Good] = {}
        self._absent: dict[Key, float] = {}
        self._problems: list[Problem] = []
        self._given: list[Problem] = []
        self._readings: list[Reading] = []
        self._of: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
        self._last = Settings()

    def settings(
        self, readings: Iterable[Reading], problems: Sequence[Problem], now: float, *, still: bool = True
    ) -> Settings:
        """Return what is asked for; the same Settings where nothing changed. `problems` are those of the set.

        `still` False: a file is being written, and what is absent may be in it.
        """
        readings, given = list(readings), list(problems)
        if not self._absent and given == self._given and _same(readings, self._readings):
            return self._last
        self._readings, self._given, self._problems = readings, given, list(given)
        chosen = self._choose(readings)
        for key, document in chosen.items():
            if key[0] != ServiceRegistration.kind:
                self._accept(key, document)
        self._register(chosen)
        self._forget(chosen, now, still=still)
        return self._settings(complete=not self._problems, most=MAX_PROBLEMS)

    def objects(
        self,
        chosen: Mapping[Key, Document],
        gone: Iterable[Key],
        *,
        complete: bool,
        deleted: Mapping[str, str] = {},
        vanished: frozenset[str] = frozenset(),
    ) -> Settings:
        """Return what is asked for, where somebody else knows which objects there are: `gone` are let go of at once.

        A fault of one object holds no other back, so that `complete` does not depend on it. The rest is as in Settings.
        """
        self._problems = [problem for document in chosen.values() for problem in document.problems]
        for key in gone:
            self._good.pop(key, None)
        for key, document in chosen.items():
            if key[0] != ServiceRegistration.kind:
                self._accept(key, document)
        self._register(chosen)
        return self._settings(complete=complete, most=None, deleted=deleted, vanished=vanished)

    def _choose(self, readings: Iterable[Reading]) -> dict[Key, Document]:
        """Return one document for each object, and say what is wrong with the others."""
        chosen: dict[Key, Document] = {}
        for reading in readings:
            self._problems += reading.problems
            for document in reading.documents:
                for problem in document.problems:
                    self._problems.append(msgspec.structs.replace(problem, line=problem.line + document.line))
                if not document.decoded.key:
                    continue
                key = (document.decoded.kind, document.decoded.key)
                first = chosen.setdefault(key, document)
                if first is not document:
                    chosen[key] = self._incumbent(key, first, document)
        return chosen

    def _incumbent(self, key: Key, first: Document, second: Document) -> Document:
        """Of two documents of one object, the one from the file that it came from stays; else the first."""
        good = self._good.get(key)
        if good is not None and second.file == good.file != first.file:
            first, second = second, first
        self._refuse(
            second, Fault(("metadata", "name"), f"{key[0]} {key[1]} is in {first.place} already; this one is not read")
        )
        return first

    def _refuse(self, document: Document, fault: Fault) -> None:
        self._problems.append(problem_at(document, fault))

    def _accept(self, key: Key, document: Document) -> None:
        """Put a source, a sink or a hold in force, unless it must not change so."""
        good = self._good.get(key)
        made = document.decoded.object
        if made is None:
            return
        if good is None:
            self._good[key] = _Good(document.file, made, made)
        elif (fault := _immutable(good.plain, made)) is not None:
            self._refuse(document, fault)
        else:
            if good.plain != made:
                good.plain = good.object = made
            good.file = document.file

    def _register(self, chosen: Mapping[Key, Document]) -> None:
        """Put registrations in force, with what their sinks' and sources' types make of them."""
        sources, sinks = self._typed()
        settled = self._of == (sources, sinks)
        self._of = (sources, sinks)
        waiting = []
        for key, document in chosen.items():
            if not isinstance(plain := document.decoded.object, ServiceRegistration):
                continue
            good = self._good.get(key)
            if settled and good is not None and good.plain is plain:
                good.file = document.file
            else:
                waiting.append(key)
        for last in (False, True):  # who takes a service over waits for who gives it up
            if not waiting:
                return
            declaring = self._declaring(chosen)
            waiting = [
                key for key in waiting if not self._resolve(key, chosen[key], sources, sinks, declaring, last=last)
            ]

    def _typed(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the types of sources and of sinks, by name."""
        sources: dict[str, str] = {}
        sinks: dict[str, str] = {}
        for (kind, name), good in self._good.items():
            if kind == ServiceSource.kind and isinstance(good.object, ServiceSource):
                sources[name] = good.object.spec.type
            elif kind == ServiceSink.kind and isinstance(good.object, ServiceSink):
                sinks[name] = good.object.spec.type
        return sources, sinks

    def _resolve(
        self,
        key: Key,
        document: Document,
        sources: Mapping[str, str],
        sinks: Mapping[str, str],
        declaring: dict[ServiceKey, str],
        *,
        last: bool,
    ) -> bool:
        """Put one registration in force, or refuse it; False where it should be tried again."""
        plain = document.decoded.object
        assert isinstance(plain, ServiceRegistration)
        good = self._good.get(key)
        if good is not None and isinstance(good.plain, ServiceRegistration) and good.plain == plain:
            plain = good.plain
        types = _types_of(plain, sources, sinks)
        if good is not None and good.plain is plain and good.types == types:
            good.file = document.file
            return True
        made, faults = resolve(plain, sources, sinks, self._types)
        if made is not None:
            faults = _twice(made, key[1], declaring)
            if faults and not last:
                return False
        if made is None or faults:
            for fault in faults:
                self._refuse(document, fault)
            return True
        declaring.update((service.key, key[1]) for service in made.declared)
        same = good is not None and good.object == made
        self._good[key] = _Good(document.file, plain, good.object if good is not None and same else made, types)
        return True

    def _declaring(self, chosen: Mapping[Key, Document]) -> dict[ServiceKey, str]:
        """Return who declares which service; who has left the set holds nothing back from its successor."""
        return {
            service.key: key[1]
            for key, good in self._good.items()
            if isinstance(good.object, ServiceRegistration) and good.object.declared and key in chosen
            for service in good.object.declared
        }

    def _forget(self, chosen: Mapping[Key, Document], now: float, *, still: bool) -> None:
        """Let go of what has been absent long enough from a set that was read whole."""
        self.wake = None
        if self._problems:
            self._absent.clear()
            return
        absent = {key: self._absent.get(key, now) for key in self._good if key not in chosen}
        for key, since in list(absent.items()):
            if still and now - since >= ABSENT_SECONDS:
                del self._good[key], absent[key]
        self._absent = absent
        self.wake = min(absent.values()) + ABSENT_SECONDS if absent and still else None

    def _settings(
        self,
        *,
        complete: bool,
        most: int | None,
        deleted: Mapping[str, str] = {},
        vanished: frozenset[str] = frozenset(),
    ) -> Settings:
        problems = sorted(self._problems)
        if most is not None and len(problems) > most:
            more = f"{len(problems) - most} more problems are not shown"
            problems[most:] = [Problem(problems[0].file, 0, 0, "", "", "", more)]
        sources: dict[str, ServiceSource] = {}
        sinks: dict[str, ServiceSink] = {}
        registrations: dict[str, ServiceRegistration] = {}
        holds: dict[str, ServiceHold] = {}
        for (_, name), good in self._good.items():  # one pass: there may be ten thousand, and one changes
            if isinstance(made := good.object, ServiceRegistration):
                registrations[name] = made
            elif isinstance(made, ServiceSource):
                sources[name] = made
            elif isinstance(made, ServiceSink):
                sinks[name] = made
            elif isinstance(made, ServiceHold):
                holds[name] = made
        settings = Settings(
            sources,
            sinks,
            registrations,
            holds,
            tuple(problems),
            complete,
            deleted,
            vanished,
        )
        if settings != self._last:
            self._last = settings
        return self._last


def _same(readings: Sequence[Reading], former: Sequence[Reading]) -> bool:
    return len(readings) == len(former) and all(one is other for one, other in zip(readings, former, strict=True))


def _immutable(former: Kind, made: Kind) -> Fault | None:
    """Say which field of a source or a sink must not change, and did."""
    if not isinstance(former.spec, SourceSpec | SinkSpec) or not isinstance(made.spec, SourceSpec | SinkSpec):
        return None
    fields = {"type": "type", "environment": "environment", "owner_id": "ownerID"}
    for name, wire in fields.items():
        before, after = getattr(former.spec, name, None), getattr(made.spec, name, None)
        if before != after:
            message = (
                f"is immutable: it was `{before}` and cannot become `{after}`; the former version stays in force. "
                "Make another object under another name"
            )
            return Fault(("spec", wire), message)
    return None


def _types_of(
    registration: ServiceRegistration, sources: Mapping[str, str], sinks: Mapping[str, str]
) -> tuple[str | None, ...]:
    """Return all that `resolve` depends on beside the registration."""
    spec = registration.spec
    return (
        *(sinks.get(entry.sink_ref.name) for entry in spec.sinks),
        *(sources.get(entry.source_ref.name) for entry in spec.sources if entry.instances is not None),
    )


def _twice(registration: ServiceRegistration, key: str, declaring: Mapping[ServiceKey, str]) -> tuple[Fault, ...]:
    """Say which declared service another registration declares already."""
    for service in registration.declared:
        other = declaring.get(service.key, key)
        if other != key:
            message = f"registration {other} declares {service.key} already; give it another `service: {{name: …}}`"
            place = next(
                at
                for at, entry in enumerate(registration.spec.sources)
                if entry.instances is not None
                and entry.source_ref.name == service.key.source
                and (entry.service.name if entry.service else registration.name) == service.key.name
            )
            return (Fault(("spec", "sources", place, "instances"), message),)
    return ()
