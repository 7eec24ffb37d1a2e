"""What reads what runs: a source, and where it puts what it learns."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from waypost.model import Service, ServiceKey

__all__ = [
    "Changes",
    "Snapshot",
    "Source",
]


class Snapshot(Protocol):
    """A complete view while it is being read; takes effect when its `async with` block ends without an exception."""

    def put(self, service: Service) -> None:
        """Add a service to the view. The same key again replaces."""

    def unknown_nodes(self, nodes: Collection[str]) -> None:
        """Name nodes whose instances this view cannot show (an agent not back yet): what was known on them is kept."""


class Changes(Protocol):
    """Where a source puts what it learns. No method blocks; the order of calls is the order of facts."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Begin a complete view.

        Enter it before the request is sent: what is put or removed beside it while open wins over it.
        """

    def resumed(self) -> None:
        """State, in place of the first snapshot, that the source's log has no gap since the last watch."""

    def put(self, service: Service) -> None:
        """State a fact: this is the service now. With no instances: it exists and has none."""

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """State a fact of a part: the service's labels are these, and these instances of it; those ids are gone.

        All else of it is as it was: of a service that this watch has put, or shown in a view, and while none is open
        (then put it). Costs as much as what it names, where a put costs as much as the service.
        """

    def remove(self, key: ServiceKey) -> None:
        """State a fact: the service is gone."""

    def current(self) -> None:
        """State that nothing has changed and the source is alive."""

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """Ask for a health check of this instance now; states nothing."""


@runtime_checkable
class Source(Protocol):
    """Reads what runs.

    May also be `Placed` and `Examined`.
    """

    async def watch(self, out: Changes) -> None:
        """Run until cancelled or until it raises; the supervisor then calls again, with backoff.

        Returning is an error too.

        The first thing after each start is a snapshot, unless `out.resumed()` is true to the source's log.
        """
