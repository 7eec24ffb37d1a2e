"""What a source's watch is given to put into: facts at once, a complete view when its block ends cleanly.

Facts that are stated while a view is open win over it. A watch that has been replaced, or a source that is frozen, is
not listened to. See adapter.Changes and adapter.Snapshot, which these are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waypost.engine.catalog import SourceView
    from waypost.model import Service, ServiceKey

__all__ = ["SourceChanges"]


class _Snapshot:
    """A view being read; see adapter.Snapshot."""

    def __init__(self, view: SourceView) -> None:
        self._view = view
        self.staged: dict[ServiceKey, Service | None] = {}
        self.touched: set[ServiceKey] = set()
        self.unknown: frozenset[str] = frozenset()

    def put(self, service: Service) -> None:
        known = self._view.services.get(service.key)
        same = (
            known is not None
            and known.labels == service.labels
            and len(known.instances) == len(service.instances)
            and service.key not in self._view.doubt
            and all(known.instances.get(instance.id) == instance for instance in service.instances)
        )
        self.staged[service.key] = None if same else service

    def unknown_nodes(self, nodes: Collection[str]) -> None:
        self.unknown = frozenset(nodes)


class SourceChanges:
    """What a source's `watch` is given.

    Puts into the view, unless it is frozen or the watch has been replaced (see adapter.Changes).
    """

    def __init__(self, view: SourceView, on_suspect: Callable[[ServiceKey, str, str], None]) -> None:
        """Stand between a watch and its view."""
        self._view = view
        self._on_suspect = on_suspect
        self._open: list[_Snapshot] = []
        self.closed = False

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Snapshot]:
        """See adapter.Changes."""
        snapshot = _Snapshot(self._view)
        self._open.append(snapshot)
        try:
            yield snapshot
            if self._live():
                self._view.take(snapshot.staged, snapshot.touched, snapshot.unknown)
        finally:
            self._open.remove(snapshot)

    def resumed(self) -> None:
        """See adapter.Changes."""
        if self._live():
            self._view.resume()

    def put(self, service: Service) -> None:
        """See adapter.Changes."""
        if self._live():
            self._touch(service.key)
            self._view.put(service)

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """See adapter.Changes."""
        if self._open:
            raise RuntimeError("part of a service was amended while a complete view is open: put it whole then")
        if self._live():
            self._view.amend(part, gone)

    def remove(self, key: ServiceKey) -> None:
        """See adapter.Changes."""
        if self._live():
            self._touch(key)
            self._view.remove(key)

    def current(self) -> None:
        """See adapter.Changes."""
        if self._live():
            self._view.current()

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """See adapter.Changes."""
        if self._live():
            self._on_suspect(key, instance, reason)

    def _touch(self, key: ServiceKey) -> None:
        for snapshot in self._open:
            snapshot.touched.add(key)

    def _live(self) -> bool:
        return not self.closed and not self._view.frozen
