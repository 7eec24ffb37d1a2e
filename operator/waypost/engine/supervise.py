"""Keeps adapters running: opened, watched or claimed, observed, and begun again with backoff when they fail.

Each source and each sink is a task of its own: one that hangs, is refused or answers nonsense says so in its own
condition and delays no other. A source's catalog outlives its connection; a sink's ledger is read anew in every
session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waypost.adapter import AdapterError, Fenced, NotClaimed, PermanentError
from waypost.engine.apart import apart
from waypost.engine.catalog import SourceChanges, SourceView
from waypost.engine.ledger import Kept, Ledger, Look
from waypost.engine.names import Names
from waypost.engine.target import Condition, Target
from waypost.kit.backoff import Backoff
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import AdapterType, Clock, Context, Observed, Sink, Source
    from waypost.engine.leadership import Leadership
    from waypost.engine.reconcile import Reconciler
    from waypost.engine.writer import Writer

__all__ = ["SinkRunner", "SourceRunner"]

SLICE_SECONDS = 0.002
RESYNC_SECONDS = 300.0

_FENCED = "another installation with this ownerID has claimed the sink; this process writes nothing more to it"

log = logging.getLogger(__name__)


class SourceRunner:
    """Runs one source's watch, for ever."""

    def __init__(
        self, view: SourceView, clock: Clock, random: Random, on_suspect: Callable[[Any, str, str], None]
    ) -> None:
        """Take the view that the watch fills."""
        self.view = view
        self.condition = Condition(ok=False, reason="Starting")
        self._clock = clock
        self._backoff = Backoff(random, first=0.2, limit=30.0, steady=30.0)
        self._on_suspect = on_suspect
        view.on_read = self._noted

    async def run(self, kind: AdapterType[Any], config: object, context: Context) -> None:
        """Open and watch until cancelled."""
        while True:
            try:
                await apart(self._open(kind, config, context))
            except AdapterError as error:  # it could not even be opened
                await self._pause(error, 0.0, context)
            except Exception as error:
                log.exception("source=%s error='the adapter failed'", self.view.name)
                await self._pause(AdapterError(f"the adapter failed: {type(error).__name__}"), 0.0, context)

    async def _open(self, kind: AdapterType[Any], config: object, context: Context) -> None:
        async with kind.open(config, context) as source:
            while True:
                await self._watch(source, context)

    async def _watch(self, source: Source, context: Context) -> None:
        began = self._clock.monotonic()
        changes = SourceChanges(self.view, self._on_suspect)
        error: AdapterError
        try:
            await apart(source.watch(changes))
            error = AdapterError("the adapter's watch ended, which it must not")
        except AdapterError as raised:
            error = raised
        except Exception as raised:
            log.exception("source=%s error='the adapter failed'", self.view.name)
            error = AdapterError(f"the adapter failed: {type(_first(raised)).__name__}: {_first(raised)}")
        finally:
            changes.closed = True
        await self._pause(error, self._clock.monotonic() - began, context)

    def _noted(self) -> None:
        if not self.condition.ok:
            self._backoff.reset()
            if self.condition.message:
                log.info("source=%s state=Watching", self.view.name)
            self.condition = Condition(ok=True, reason="Watching", since=self._clock.wall())

    async def _pause(self, error: AdapterError, worked: float, context: Context | None) -> None:
        delay = self._backoff.failed(worked)
        if isinstance(error, PermanentError):
            delay = max(delay, 5.0)
        reason = "Refused" if isinstance(error, PermanentError) else "Unreachable"
        since = self._clock.wall() if self.condition.ok or not self.condition.since else self.condition.since
        level = logging.DEBUG if self.condition.message == str(error) else logging.WARNING  # news once, not each try
        self.condition = Condition(ok=False, reason=reason, message=str(error), since=since)
        log.log(level, "source=%s error=%r retry_seconds=%.1f", self.view.name, str(error), delay)
        await _sleep_or_rotated(self._clock, delay, context)


class SinkRunner:
    """Runs one sink: claims it each term, reads what it holds, writes, looks again now and then."""

    def __init__(
        self,
        target: Target,
        reconciler: Reconciler,
        leadership: Leadership,
        make_writer: Callable[[], Writer],
        clock: Clock,
        random: Random,
        *,
        resync_seconds: float = RESYNC_SECONDS,
        on_loaded: Callable[[], None] = lambda: None,
        on_fenced: Callable[[int], None] = lambda _term: None,
        fenced_term: int = 0,
    ) -> None:
        """`fenced_term` is the last term in which this process was fenced off this sink.

        It claims only in a later one. `on_loaded` is called when all that the sink holds is known, before anything is
        planned.
        """
        self._target = target
        self._reconciler = reconciler
        self._leadership = leadership
        self._make_writer = make_writer
        self._clock = clock
        self._random = random
        self._resync_seconds = resync_seconds
        self._on_loaded = on_loaded
        self._on_fenced = on_fenced
        self._fenced_term = fenced_term
        self._backoff = Backoff(random, first=0.2, limit=30.0, steady=30.0)

    async def run(self, kind: AdapterType[Any], config: object, context: Context) -> None:
        """Open and serve term after term until cancelled."""
        while True:
            try:
                await apart(self._open(kind, config, context))
            except AdapterError as error:
                await self._pause(error, 0.0, context)
            except Exception as error:
                log.exception("sink=%s error='the adapter failed'", self._target.name)
                await self._pause(AdapterError(f"the adapter failed: {type(error).__name__}"), 0.0, context)
            finally:
                self._target.loaded = False

    async def _open(self, kind: AdapterType[Any], config: object, context: Context) -> None:
        async with kind.open(config, context) as sink:
            self._target.sink = sink
            await self._serve(sink, context)

    async def _serve(self, sink: Sink, context: Context) -> None:
        target = self._target
        past = 0
        number = self._fenced_term
        if number:
            target.fail("Fenced", _FENCED, self._clock.wall())
        while True:
            writes = target.mode == "Apply"
            if writes:
                if not self._leadership.leads():
                    target.condition = Condition(ok=True, reason="Standby", since=self._clock.wall())
                number = (await self._leadership.won(number)).number
            began = self._clock.monotonic()
            failed: BaseException | None = None
            try:
                await apart(self._serve_term(sink, context, past, number))
                past, number = 0, number - 1  # the term ended; it may be held again
            except* Fenced as group:
                error = _first(group)
                target.fail("Fenced", f"{error}: {_FENCED}", self._clock.wall())
                self._fenced_term = number
                self._on_fenced(number)
                log.exception("sink=%s fenced=%r", target.name, str(error))
                target.loaded = False
            except* NotClaimed as group:
                log.warning("sink=%s not_claimed=%r", target.name, str(_first(group)))
                past = target.fence.epoch if target.fence is not None else 0
                number -= 1 if self._leadership.leads() else 0
                failed = _first(group)
            except* AdapterError as group:
                if not writes or number != self._fenced_term:  # what came beside `Fenced` claims nothing again
                    number -= 1
                    failed = _first(group)
            if failed is not None:
                await self._pause(failed, self._clock.monotonic() - began, context)

    async def _serve_term(self, sink: Sink, context: Context, past: int, number: int) -> None:
        if self._target.mode == "Apply":
            self._target.fence = await self._claim(sink, context, past)
        await self._load(sink)
        await self._session(sink, number)

    async def _claim(self, sink: Sink, context: Context, past: int) -> Any:
        fence = await sink.claim(context.environment, context.owner, past)
        if fence is None:
            context.warn(
                "NotFenced", "this sink cannot be fenced: two installations with one ownerID would not be told apart"
            )
        else:
            log.info("sink=%s claimed epoch=%d", self._target.name, fence.epoch)
        return fence

    async def _session(self, sink: Sink, number: int) -> None:
        """Write until the term ends; what fails ends the session and is raised."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._make_writer().run()), group.create_task(self._resync(sink))]
            if hasattr(sink, "drift"):
                tasks.append(group.create_task(self._drift(sink)))
            if self._target.mode == "Apply":
                await self._leadership.ended(number)
                for task in tasks:
                    task.cancel()

    # --- what the sink holds

    async def _load(self, sink: Sink) -> None:
        """Read all that the sink holds of ours, then mark everything as dirty."""
        target, reconciler = self._target, self._reconciler
        target.loaded = False
        target.ledger = Ledger()
        target.names = Names(
            sink.above,
            lambda key, name: reconciler.keeps(target.name, key, name),
            namespaced=getattr(sink, "namespaced", False),
        )
        target.failed.clear()
        target.problems.clear()
        target.leaving.clear()
        target.waiting.clear()
        target.kept_back.clear()
        target.busy.clear()
        recalled: dict[str, list[tuple[Any, str]]] = {}
        async for observed in _sliced(sink.observe(), self._clock):
            key = _publication(observed)
            target.ledger.put(key, observed.instance, Kept(observed.key, observed.fingerprint, observed.ready))
            target.names.found(key, observed.name)
            recalled.setdefault(observed.service.source, []).append((observed.service, observed.instance))
        for shelf in target.ledger.shelves.values():
            shelf.settled = True
        for source, records in recalled.items():
            if (view := reconciler.views.get(source)) is not None:
                view.recall(records)
        target.names.reset(
            (key, {name.name for name in showing.publication.names})
            for (name_, key), showing in reconciler.showings.items()
            if name_ == target.name
        )
        self._on_loaded()
        target.dirty = dict.fromkeys(
            [key for name, key in reconciler.showings if name == target.name] + list(target.ledger.shelves)
        )
        target.loaded = True
        target.condition = target.well(self._clock.wall())
        target.wake.set()

    async def _resync(self, sink: Sink) -> None:
        """Look at everything again, from time to time and after an outage; a look that fails proves nothing.

        It is also how a target that is gone is noticed while nothing is to be written.
        """
        target = self._target
        unread: Condition | None = None  # what was said of the last look, if it failed
        backoff = Backoff(self._random, first=1.0, limit=60.0)
        while True:
            jitter = self._random.uniform(0.9, 1.1)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._resync_seconds * jitter):
                    await target.look_due.wait()
            target.look_due.clear()
            try:
                await apart(self._look(sink))
                backoff.reset()
                if unread is not None and target.condition is unread:  # else a write has said how it stands since
                    target.condition = target.well(self._clock.wall())
                    log.info("sink=%s state=%s", target.name, target.condition.reason)
                unread = None
            except (Fenced, NotClaimed):
                raise
            except AdapterError as error:
                delay = backoff.failed()
                self._fail(error, "resync_error", delay)
                unread = target.condition
                await self._clock.sleep(delay)
                target.look_due.set()

    async def _look(self, sink: Sink) -> None:
        target = self._target
        now = self._clock.monotonic
        found = 0
        with target.ledger.look() as look:
            async for observed in _sliced(sink.observe(), self._clock):
                found += self._take(look, observed)
            began = now()
            for key, instance, record in look.missing():
                found += 1
                self._own(key, target.ledger.drop(key, instance, record))
                self._lost(key, instance)
                if now() - began > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    began = now()
        for key, refused in list(target.failed.items()):
            target.mark(key, tuple(refused))
        if found:
            log.info("sink=%s resync_differences=%d", target.name, found)

    async def _drift(self, sink: Any) -> None:
        """Follow what others change, where the sink can be watched."""
        target = self._target
        backoff = Backoff(self._random, first=0.5, limit=60.0)
        keys: set[str] = set()
        news = asyncio.Event()
        told = ""

        def mark(changed: Any) -> None:
            if changed is None:
                target.look_due.set()
            else:
                keys.update(changed)
                news.set()

        async def check() -> None:
            while True:
                await news.wait()
                news.clear()
                batch = list(keys)
                keys.clear()
                await self._check(sink, batch)

        async def follow() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(check())
                await sink.drift(mark)
                raise AdapterError("the adapter's drift ended, which it must not")

        while True:
            began, delay = self._clock.monotonic(), 1.0
            try:
                await apart(follow())
            except* AdapterError as group_error:
                delay = backoff.failed(self._clock.monotonic() - began)
                level = logging.DEBUG if str(_first(group_error)) == told else logging.INFO
                told = str(_first(group_error))
                log.log(level, "sink=%s drift_error=%r retry_seconds=%.1f", target.name, told, delay)
            except* Exception:
                delay = backoff.failed(self._clock.monotonic() - began)
                log.exception("sink=%s drift_error='the adapter failed'", target.name)
            await self._clock.sleep(delay)
            target.look_due.set()  # what was changed meanwhile went unseen

    async def _check(self, sink: Sink, keys: list[str]) -> None:
        """Compare some keys with the ledger; our own writes compare as equal."""
        target = self._target
        missing = set(keys)
        with target.ledger.look() as look:
            async for observed in sink.observe(keys):
                missing.discard(observed.key)
                self._take(look, observed)
            for key, instance, record in target.ledger.find(missing) if missing else ():
                if (key, instance) not in look.touched:
                    self._own(key, target.ledger.drop(key, instance, record))
                    self._lost(key, instance)

    def _take(self, look: Look, observed: Observed) -> bool:
        """Compare one record with the ledger; say whether it differed."""
        key = _publication(observed)
        delta = look.see(observed, key)
        if delta is None:
            return False
        self._own(key, delta)
        target = self._target
        target.names.found(key, observed.name)
        self._lost(key, observed.instance)
        for other in target.names.sharing(key):  # a record that was another publication's, as far as was known
            if any(kept.key == observed.key for kept in target.ledger.kept(other, observed.instance)):
                self._own(other, target.ledger.drop(other, observed.instance, observed.key))
                self._lost(other, observed.instance)
        return True

    def _lost(self, key: PublicationKey, instance: str) -> None:
        self._target.account[key, instance] = "target"
        self._target.mark(key, (instance,))

    def _own(self, key: PublicationKey, delta: int) -> None:
        if delta:
            ready = self._target.ledger.count_ready(key)
            self._target.policy.own(self._clock.monotonic(), key, ready - delta, delta, settled=False)

    async def _pause(self, error: BaseException, worked: float, context: Context) -> None:
        delay = self._backoff.failed(worked)
        if isinstance(error, PermanentError):
            delay = max(delay, 5.0)
        self._fail(error, "error", delay)
        await _sleep_or_rotated(self._clock, delay, context)

    def _fail(self, error: BaseException, what: str, delay: float) -> None:
        """Say that the sink cannot be read or written; log it where that is news."""
        reason = "Refused" if isinstance(error, PermanentError) else "Unreachable"
        news = self._target.fail(reason, str(error), self._clock.wall())
        level = logging.WARNING if news else logging.DEBUG
        log.log(level, "sink=%s %s=%r retry_seconds=%.1f", self._target.name, what, str(error), delay)


async def _sleep_or_rotated(clock: Clock, seconds: float, context: Context | None) -> None:
    """Sleep, but not past a rotation of the credentials: it may be what was waited for."""
    if context is None or seconds < 1.0:
        await clock.sleep(seconds)
        return
    began = clock.monotonic()
    rotated = asyncio.ensure_future(context.credentials.changed())
    try:
        await asyncio.wait([rotated], timeout=seconds)
    finally:
        rotated.cancel()
        await asyncio.wait([rotated])
    if not rotated.cancelled() and (error := rotated.exception()) is not None:
        log.warning("credentials cannot be followed: %r", error)
        await clock.sleep(max(0.0, began + seconds - clock.monotonic()))


async def _sliced(items: AsyncIterator[Observed], clock: Clock) -> AsyncIterator[Observed]:
    """Yield the items, letting others run every two milliseconds."""
    began = clock.monotonic()
    async for item in items:
        yield item
        if clock.monotonic() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = clock.monotonic()


def _publication(observed: Observed) -> PublicationKey:
    return PublicationKey(observed.registration, observed.entry, observed.service)


def _first(error: BaseException) -> Any:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
