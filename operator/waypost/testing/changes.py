"""Recorder: takes what a source says, keeps it in order, and works out the view that follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import msgspec

from waypost.model import Instance, Service, ServiceKey
from waypost.testing.context import Signal

__all__ = ["Event", "Recorder"]

Kind = Literal["begun", "snapshot", "dropped", "resumed", "put", "remove", "current", "suspect"]


class Event(msgspec.Struct, frozen=True):
    """One thing that a source said. A snapshot is `begun`, then either `snapshot` (it took effect) or `dropped`."""

    kind: Kind
    key: ServiceKey | None = None
    service: Service | None = None
    instance: str = ""
    reason: str = ""


class Recorder:
    """Implements `waypost.adapter.Changes`. `view` is what is known now, `events` all that was said."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.view: dict[ServiceKey, Service] = {}
        self.unknown_nodes: frozenset[str] = frozenset()
        self._open: list[_View] = []
        self._said = Signal()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_View]:
        """Begin a view; it replaces what is known on a clean end only, except what was put or removed beside it."""
        view = _View()
        self._open.append(view)
        self._say(Event("begun"))
        try:
            yield view
        except BaseException:
            self._open.remove(view)
            self._say(Event("dropped"))
            raise
        self._open.remove(view)
        view.closed = True
        self._commit(view)
        self._say(Event("snapshot"))

    def resumed(self) -> None:
        """Keep that the source's log had no gap."""
        self._say(Event("resumed"))

    def put(self, service: Service) -> None:
        """State a fact."""
        for view in self._open:
            view.beside[service.key] = service
        self.view[service.key] = self._with_unknown(service)
        self._say(Event("put", service.key, service))

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """State a fact of a part; it is kept as the put of the whole that it means."""
        if self._open:
            raise RuntimeError("part of a service was amended while a complete view is open: put it whole then")
        if (before := self.view.get(part.key)) is None:
            raise RuntimeError(f"part of {part.key} was amended, which was neither put nor shown in a view")
        changed = {instance.id: instance for instance in part.instances}
        stay = {each.id: changed.pop(each.id, each) for each in before.instances if each.id not in gone}
        self.put(msgspec.structs.replace(part, instances=(*stay.values(), *changed.values())))

    def remove(self, key: ServiceKey) -> None:
        """State a fact."""
        for view in self._open:
            view.beside[key] = None
        self.view.pop(key, None)
        self._say(Event("remove", key))

    def current(self) -> None:
        """Keep that the source is alive."""
        self._say(Event("current"))

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """Keep the suspicion."""
        self._say(Event("suspect", key, instance=instance, reason=reason))

    def count(self, kind: Kind) -> int:
        """Return how many events of a kind there were."""
        return sum(event.kind == kind for event in self.events)

    async def until(self, holds: Callable[[Mapping[ServiceKey, Service]], bool], timeout: float = 10.0) -> None:
        """Return once `holds(view)` is true, asked after each event. Raises TimeoutError that shows the last events."""
        try:
            async with asyncio.timeout(timeout):
                while not holds(self.view):
                    await self._said.wait()
        except TimeoutError:
            last = ", ".join(event.kind for event in self.events[-20:])
            raise TimeoutError(
                f"not within {timeout:g} s; {len(self.view)} services known; said last: {last}"
            ) from None

    def _say(self, event: Event) -> None:
        self.events.append(event)
        self._said.give()

    def _commit(self, view: _View) -> None:
        before, self.unknown_nodes = self.view, view.unknown
        services = dict(view.services)
        self.view = before  # what is kept on unknown nodes is looked up there
        known = {key: self._with_unknown(service) for key, service in services.items()}
        for key, service in before.items():
            if key not in known and (kept := self._on_unknown(service)):
                known[key] = msgspec.structs.replace(service, instances=kept)
        for key, fact in view.beside.items():
            if fact is None:
                known.pop(key, None)
            else:
                known[key] = self._with_unknown(fact)
        self.view = known

    def _on_unknown(self, service: Service) -> tuple[Instance, ...]:
        return tuple(instance for instance in service.instances if instance.node in self.unknown_nodes)

    def _with_unknown(self, service: Service) -> Service:
        """Return the service with the instances that are kept because nothing can be known of their nodes."""
        if not self.unknown_nodes or (before := self.view.get(service.key)) is None:
            return service
        present = {instance.id for instance in service.instances}
        kept = tuple(instance for instance in self._on_unknown(before) if instance.id not in present)
        return msgspec.structs.replace(service, instances=(*service.instances, *kept)) if kept else service


class _View:
    """An open snapshot, and the facts that came beside it."""

    def __init__(self) -> None:
        self.services: dict[ServiceKey, Service] = {}
        self.beside: dict[ServiceKey, Service | None] = {}
        self.unknown: frozenset[str] = frozenset()
        self.closed = False

    def put(self, service: Service) -> None:
        if self.closed:
            raise RuntimeError("put into a snapshot that has ended")
        self.services[service.key] = service

    def unknown_nodes(self, nodes: Collection[str]) -> None:
        self.unknown = self.unknown | frozenset(nodes)
