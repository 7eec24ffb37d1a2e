"""Writes what the engine says of each custom resource into its status: the leader alone, and only what is news.

What changed is looked at half a second later, and what is likely to pass is waited for: a change that is written within
milliseconds costs no write of a status. An object that keeps changing is written ever less often. Everything is looked
at from time to time, in slices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from waypost.adapter import AdapterError, Clock
from waypost.engine.engine import Engine
from waypost.engine.slices import Slices
from waypost.engine.standing import is_stale
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kube.book import KEPT, Book
from waypost.kube.crds import resource_of
from waypost.kube.finalizers import is_due
from waypost.kube.objects import Item
from waypost.kube.pacing import Bucket
from waypost.kube.report import Status, dated, former, is_passing, same, wanted
from waypost.settings import ServiceRegistration, ServiceSink, ServiceSource

__all__ = ["FIELD_MANAGER", "Statuses"]

FIELD_MANAGER = "waypost"
QUIET_SECONDS = 0.5
PASSING_SECONDS = {"": 0.0, "pending": 10.0, "starting": 60.0}
FIRST_SECONDS = 3.0  # an object that has no status is not left without one for longer
LOOK_SECONDS = 0.25
SWEEP_SECONDS = 300.0
START_SECONDS = 15.0  # a new leader looks when all is settled, and after that long in any case
AGAIN_SECONDS = 1.0  # between two writes of one object; doubled as long as they follow each other
MOST_AGAIN_SECONDS = 30.0
REFUSED_SECONDS = 30.0
RATE, BURST, AT_ONCE = 200.0, 200.0, 16
REQUEST_SECONDS = 15.0

Place = tuple[str, str]  # kind, key
OnWritten = Callable[[str, Item, Status, Status | None], None]

log = logging.getLogger("waypost.kube.status")


class _Watched(msgspec.Struct):
    """What is remembered of an object whose status was written or is to be."""

    passing_since: float | None = None
    next: float = 0.0
    pause: float = AGAIN_SECONDS


class Statuses:
    """`touch` what may have changed; `run` does the rest. `on_written(kind, item, status, before)` after each write."""

    def __init__(
        self,
        api: Api,
        engine: Engine,
        book: Book,
        clock: Clock,
        *,
        on_written: OnWritten = lambda _kind, _item, _status, _before: None,
    ) -> None:
        self.written = 0
        self._api = api
        self._engine = engine
        self._book = book
        self._clock = clock
        self._on_written = on_written
        self._due: dict[Place, float] = {}
        self._watched: dict[Place, _Watched] = {}
        self._bucket = Bucket(clock, RATE, BURST)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._standing: dict[Place, object] = {}  # sources and sinks, as they stood at the last look
        self._busy: set[Place] = set()
        self._refused = ""

    def touch(self, kind: str, key: str) -> None:
        """Look at an object soon."""
        self._due.setdefault((kind, key), self._clock.monotonic() + QUIET_SECONDS)

    async def run(self) -> None:
        """Look and write until cancelled."""
        swept = self._clock.monotonic()
        led, patient = False, float("inf")
        async with asyncio.TaskGroup() as group:
            while True:
                await self._clock.sleep(LOOK_SECONDS)
                leads, now = self._engine.leadership.leads(), self._clock.monotonic()
                if leads and not led:
                    patient = now + START_SECONDS
                led = leads
                if not leads or (now < patient and not self._engine.settled()):
                    continue  # while everything is read, everything changes, and nothing of that is worth a look
                self._gather()
                if patient or now - swept >= SWEEP_SECONDS:
                    swept, patient = now, 0.0
                    await self._sweep()
                await self._look(group)

    # --- what may have changed

    def _gather(self) -> None:
        engine = self._engine
        touched, count = engine.touched, len(engine.touched)
        for key in touched:
            self.touch(ServiceRegistration.kind, key)
        if count:
            touched.clear()
        now = self._clock.monotonic()
        present: dict[Place, object] = {}
        for name, target in engine.reconciler.targets.items():
            held = len(engine.holds.waiting(name))
            warned = tuple(engine.contexts.warned("sink", name).items())
            present[ServiceSink.kind, name] = (target.condition, target.loaded, held, warned)
        for name, runner in engine.sources.items():
            warned = tuple(engine.contexts.warned("source", name).items())
            complete = (view := engine.reconciler.views.get(name)) is not None and view.complete
            present[ServiceSource.kind, name] = (runner.condition, complete, is_stale(engine, name, now), warned)
        for place in present.keys() | self._standing.keys():
            if present.get(place) != self._standing.get(place):
                self.touch(*place)
                self._touch_users(*place)
        self._standing = present

    def _touch_users(self, kind: str, name: str) -> None:
        """Look at the registrations that name a source or sink."""
        for compiled in self._engine.reconciler.matcher.compiled.values():
            entries = compiled.entries if kind == ServiceSink.kind else ()
            rules = compiled.sources if kind == ServiceSource.kind else ()
            if any(entry.sink == name for entry in entries) or any(rule.source == name for rule in rules):
                self.touch(ServiceRegistration.kind, compiled.key)

    async def _sweep(self) -> None:
        slices = Slices(self._clock)
        for kind in KEPT:
            for key in list(self._book.items[kind]):
                self.touch(kind, key)
                await slices.rest()

    # --- what is news

    async def _look(self, group: asyncio.TaskGroup) -> None:
        slices = Slices(self._clock)
        now = self._clock.monotonic()
        due = [place for place, at in self._due.items() if at <= now and place not in self._busy]
        for place in due:
            if not self._engine.leadership.leads():
                return
            at = self._due.pop(place, None)
            if at is not None:
                await self._consider(group, place, now)
            await slices.rest()

    async def _consider(self, group: asyncio.TaskGroup, place: Place, now: float) -> None:
        kind, key = place
        item = self._book.items[kind].get(key)
        if item is None:
            self._watched.pop(place, None)
            return
        status = wanted(self._engine, kind, item, now)
        if status is None:
            if key not in self._book.deleted and not self._is_known(item, kind):
                self._due[place] = now + 2 * QUIET_SECONDS  # the engine is about to be told
            return
        before = former(kind, item)
        if same(status, before):
            self._watched.pop(place, None)
            return
        watched = self._watched.setdefault(place, _Watched())
        wait = self._wait(kind, item, status, before, watched, now)
        if wait > 0:
            self._due[place] = now + wait
            return
        await self._room.acquire()
        self._busy.add(place)
        group.create_task(self._write(place, item, status, before, watched))

    def _is_known(self, item: Item, kind: str) -> bool:
        """Say whether there is nothing to wait for: a standby's sink, or a source that is being started."""
        return kind != ServiceRegistration.kind or item.ends

    def _wait(
        self, kind: str, item: Item, status: Status, before: Status | None, watched: _Watched, now: float
    ) -> float:
        """Return the seconds to wait before this is written."""
        passing = is_passing(self._engine, kind, item, status)
        if not passing and kind == ServiceRegistration.kind and is_due(item):
            passing = "pending"  # both writes at once would conflict
        if not passing:
            watched.passing_since = None
        elif watched.passing_since is None:
            watched.passing_since = now
        most = PASSING_SECONDS[passing] if before is not None else min(FIRST_SECONDS, PASSING_SECONDS[passing])
        since = watched.passing_since if watched.passing_since is not None else now
        if passing and now < since + most:
            return max(QUIET_SECONDS, min(since + most - now, 4 * QUIET_SECONDS))
        return watched.next - now

    # --- writing

    async def _write(self, place: Place, item: Item, status: Status, before: Status | None, watched: _Watched) -> None:
        try:
            await self._bucket.take()
            if self._engine.leadership.leads():
                await self._patch(place, item, status, before, watched)
        finally:
            self._room.release()
            self._busy.discard(place)

    async def _patch(self, place: Place, item: Item, status: Status, before: Status | None, watched: _Watched) -> None:
        kind, key = place
        meta = item.metadata
        now = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": dated(status, before, now),
        }
        path = resource_of(kind).path(meta.name, namespace=meta.namespace, subresource="status")
        again = QUIET_SECONDS
        try:
            await self._api.request(
                "PATCH",
                path,
                params={"fieldManager": FIELD_MANAGER},
                body=msgspec.json.encode(body),
                content_type="application/merge-patch+json",
                seconds=REQUEST_SECONDS,
            )
        except ApiError as error:
            if error.status == 404:
                return
            if error.status != 409:
                again = self._tell(kind, key, error)
        except AdapterError as error:
            again = self._tell(kind, key, error)
        else:
            self.written += 1
            self._refused = ""
            moment = self._clock.monotonic()
            watched.pause = (
                AGAIN_SECONDS if moment > watched.next + watched.pause else min(2 * watched.pause, MOST_AGAIN_SECONDS)
            )
            watched.next = moment + watched.pause
            watched.passing_since = None
            self._on_written(kind, item, status, before)
            return
        self._due[place] = self._clock.monotonic() + again

    def _tell(self, kind: str, key: str, error: AdapterError) -> float:
        """Log a failure once; return the seconds until it is tried again."""
        text = str(error)
        level = logging.DEBUG if self._refused else logging.WARNING
        self._refused = self._refused or text
        log.log(level, "kind=%s name=%s error=%r effect='its status is not told'", kind, key, text)
        return REFUSED_SECONDS if isinstance(error, ApiError) and error.is_permanent else 5.0
