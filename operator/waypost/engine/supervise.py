"""Keeps adapters running: opened, watched or claimed, observed, and begun again with backoff when they fail.

Each source and each sink is a task of its own: one that hangs, is refused or answers nonsense says so in its own
condition and delays no other. A source's catalog outlives its connection; a sink's ledger is read anew in every
session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waypost.adapter import AdapterError, Fenced, NotClaimed, PermanentError
from waypost.engine.apart import apart, first_of
from waypost.engine.catalog import SourceView
from waypost.engine.intake import SourceChanges
from waypost.engine.observe import RESYNC_SECONDS, Observer
from waypost.engine.target import Condition, Target
from waypost.kit.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import AdapterType, Clock, Context, Sink, Source
    from waypost.engine.leadership import Leadership
    from waypost.engine.reconcile import Reconciler
    from waypost.engine.writer import Writer

__all__ = ["SinkRunner", "SourceRunner"]

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
            error = AdapterError(f"the adapter failed: {type(first_of(raised)).__name__}: {first_of(raised)}")
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
        self._leadership = leadership
        self._make_writer = make_writer
        self._clock = clock
        self._observer = Observer(
            target, reconciler, clock, random, resync_seconds=resync_seconds, on_loaded=on_loaded, on_failure=self._fail
        )
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
            self._target.sink, self._target.releases, self._target.adopts = sink, kind.releases, kind.adopts
            await self._serve(sink, context)

    async def _serve(self, sink: Sink, context: Context) -> None:
        target = self._target
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
                await apart(self._serve_term(sink, context, number))
                number -= 1  # the term ended; it may be held again
            except* Fenced as group:
                error = first_of(group)
                target.fail("Fenced", f"{error}: {_FENCED}", self._clock.wall())
                self._fenced_term = number
                self._on_fenced(number)
                log.warning("sink=%s fenced=%r", target.name, str(error))
                target.loaded = False
            except* NotClaimed as group:
                log.warning("sink=%s not_claimed=%r", target.name, str(first_of(group)))
                number -= 1 if self._leadership.leads() else 0
                failed = first_of(group)
            except* AdapterError as group:
                if not writes or number != self._fenced_term:  # what came beside `Fenced` claims nothing again
                    number -= 1
                    failed = first_of(group)
            if failed is not None:
                await self._pause(failed, self._clock.monotonic() - began, context)

    async def _serve_term(self, sink: Sink, context: Context, number: int) -> None:
        target = self._target
        writes = target.mode == "Apply"
        if writes:
            target.fence = await self._claim(sink, context)
        await self._observer.load(sink)
        unstamped = target.fence is not None and target.fence.epoch == 1 and target.ledger.records
        if writes and unstamped and self._leadership.leads():
            # Records, and no stamp beside them: who wrote them may be alive, and of epoch 1 as well.
            log.warning("sink=%s error='the stamp is lost: it is claimed past any other'", target.name)
            target.fence = await sink.claim(context.environment, context.owner, int(self._clock.wall()))
            await self._observer.load(sink)
        try:
            await self._session(sink, number)
        finally:
            self._target.policy.left(self._clock.monotonic())

    async def _claim(self, sink: Sink, context: Context) -> Any:
        """Claim the sink, past every epoch that this process wrote in: its target may have lost the stamp since."""
        past = self._target.fence.epoch if self._target.fence is not None else 0
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
            tasks = [group.create_task(self._make_writer().run()), group.create_task(self._observer.resync(sink))]
            if hasattr(sink, "drift"):
                tasks.append(group.create_task(self._observer.drift(sink)))
            if self._target.mode == "Apply":
                await self._leadership.ended(number)
                for task in tasks:
                    task.cancel()

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
