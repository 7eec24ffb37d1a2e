"""The finalizer of registrations: a deletion waits until what was published is withdrawn, but never for ever.

Only a registration whose `deletionPolicy` is Delete has it. It is taken off when the engine has nothing of the
registration left, when a deletion is not believed (the CRD goes), and after `bound` seconds in any case: then what is
left waits in a Hold, and an Event says so. Where no Waypost runs, a person takes it off (see docs/kubernetes.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from waypost.adapter import AdapterError, Clock
from waypost.engine.engine import Engine
from waypost.engine.slices import Slices
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kube.book import Book
from waypost.kube.crds import resource_of
from waypost.kube.objects import Item
from waypost.kube.pacing import Bucket
from waypost.settings import ServiceRegistration

__all__ = ["BOUND_SECONDS", "FINALIZER", "Finalizers", "is_due", "left_of"]

FINALIZER = "waypost.dev/withdraw"
BOUND_SECONDS = 120.0
LOOK_SECONDS = 0.25
AGAIN_SECONDS = 5.0
RATE, BURST, AT_ONCE = 200.0, 200.0, 16
REQUEST_SECONDS = 15.0
KIND = ServiceRegistration.kind

log = logging.getLogger("waypost.kube.finalizers")


class Finalizers:
    """`touch` each registration that came or changed; `run` does the rest, in the leader alone."""

    def __init__(
        self,
        api: Api,
        engine: Engine,
        book: Book,
        clock: Clock,
        *,
        bound: float = BOUND_SECONDS,
        on_timeout: Callable[[Item, int], None] = lambda _item, _left: None,
    ) -> None:
        """`on_timeout(item, records)` is told of a registration that goes with so many records still there."""
        self._api = api
        self._engine = engine
        self._book = book
        self._clock = clock
        self._bound = bound
        self._on_timeout = on_timeout
        self._due: dict[str, float] = {}
        self._ending: dict[str, float] = {}  # uid → when its end was first seen
        self._bucket = Bucket(clock, RATE, BURST)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._busy: set[str] = set()

    def touch(self, key: str) -> None:
        """Look at a registration soon."""
        self._due.setdefault(key, 0.0)

    async def run(self) -> None:
        """Look and write until cancelled."""
        slices = Slices(self._clock)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._clock.sleep(LOOK_SECONDS)
                if not self._engine.leadership.leads() or self._engine.settings is None:
                    continue
                now = self._clock.monotonic()
                for key in [key for key, at in self._due.items() if at <= now and key not in self._busy]:
                    del self._due[key]
                    await self._consider(group, key, now)
                    await slices.rest()

    async def _consider(self, group: asyncio.TaskGroup, key: str, now: float) -> None:
        item = self._book.items[KIND].get(key)
        if item is None:
            return
        has = FINALIZER in item.metadata.finalizers
        if not item.ends:
            if has != _needs(item, has=has):
                await self._begin(group, item, add=not has)
            return
        began = self._ending.setdefault(item.metadata.uid, now)
        if not has:
            self._ending.pop(item.metadata.uid, None)
            return
        left = self._left(item)
        if left and now - began < self._bound:
            self._due[key] = now + LOOK_SECONDS
            return
        if left:
            log.warning("registration=%s records=%d effect='it goes; what is left waits in a hold'", key, left)
            self._on_timeout(item, left)
        await self._begin(group, item, add=False)

    def _left(self, item: Item) -> int:
        """Return how much of a registration that goes has not been withdrawn; 0 where it need not be waited for."""
        book, key = self._book, item.key
        if book.deleted.get(key) != item.metadata.uid:
            return 1 if book.is_told(KIND, key) else 0  # not judged yet; or judged, and not believed
        return left_of(self._engine, item)

    async def _begin(self, group: asyncio.TaskGroup, item: Item, *, add: bool) -> None:
        await self._room.acquire()
        self._busy.add(item.key)
        group.create_task(self._write(item, add=add))

    async def _write(self, item: Item, *, add: bool) -> None:
        meta = item.metadata
        finalizers = [each for each in meta.finalizers if each != FINALIZER] + ([FINALIZER] if add else [])
        body = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        try:
            await self._bucket.take()
            if not self._engine.leadership.leads():
                self.touch(item.key)
                return
            await self._api.request(
                "PATCH",
                resource_of(KIND).path(meta.name, namespace=meta.namespace),
                params={"fieldManager": "waypost"},
                body=msgspec.json.encode(body),
                content_type="application/merge-patch+json",
                seconds=REQUEST_SECONDS,
            )
        except ApiError as error:
            if error.status == 409:
                self._due[item.key] = self._clock.monotonic() + LOOK_SECONDS
            elif error.status != 404:
                self._fail(item, error)
        except AdapterError as error:
            self._fail(item, error)
        finally:
            self._room.release()
            self._busy.discard(item.key)

    def _fail(self, item: Item, error: AdapterError) -> None:
        log.warning("registration=%s error=%r effect='its finalizer is not written'", item.key, str(error))
        self._due[item.key] = self._clock.monotonic() + AGAIN_SECONDS


def is_due(item: Item) -> bool:
    """Say whether a registration is to be given the finalizer."""
    has = FINALIZER in item.metadata.finalizers
    return not has and not item.ends and _needs(item, has=has)


def _needs(item: Item, *, has: bool) -> bool:
    """Say whether a registration should have the finalizer; one that cannot be read keeps what it has."""
    made = item.document.decoded.object
    if not isinstance(made, ServiceRegistration):
        return has
    return made.spec.deletion_policy == "Delete"


def left_of(engine: Engine, item: Item) -> int:
    """Return how many publications of a registration that goes are still to be withdrawn, as far as is known.

    A sink that cannot be read counts as one, where the registration names it.
    """
    key = item.key
    settings, reconciler = engine.settings, engine.reconciler
    if settings is None or key in settings.registrations or key not in reconciler.deleted:
        return 1  # the engine is about to be told
    made = item.document.decoded.object
    named = {entry.sink_ref.name for entry in made.spec.sinks} if isinstance(made, ServiceRegistration) else set()
    left = 0
    for name, target in reconciler.targets.items():
        if target.loaded:
            left += len(target.ledger.by_registration.get(key, ()))
        elif name in named:
            left += 1
    return left
