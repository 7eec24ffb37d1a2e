"""What a sink holds: read in whole at the start of a session, again from time to time, and where others changed it.

What is seen goes into the ledger, and what differs is marked. A look that fails proves nothing missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waypost.adapter import AdapterError, Fenced, NotClaimed
from waypost.engine import accounts
from waypost.engine.apart import apart, first_of
from waypost.engine.ledger import Kept, Ledger, Look
from waypost.engine.names import Names
from waypost.engine.slices import Slices
from waypost.kit.backoff import Backoff
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock, Observed, Sink
    from waypost.engine.reconcile import Reconciler
    from waypost.engine.target import Condition, Target

__all__ = ["RESYNC_SECONDS", "Observer"]

RESYNC_SECONDS = 300.0

log = logging.getLogger(__name__)


class Observer:
    """Looks at one sink."""

    def __init__(
        self,
        target: Target,
        reconciler: Reconciler,
        clock: Clock,
        random: Random,
        *,
        resync_seconds: float = RESYNC_SECONDS,
        on_loaded: Callable[[], None] = lambda: None,
        on_failure: Callable[[BaseException, str, float], None] = lambda _error, _what, _delay: None,
    ) -> None:
        """`on_loaded` is called when all that the sink holds is known, before anything is planned.

        `on_failure` is told of a look that failed: the error, what it is called in logs, seconds until the next.
        """
        self._target = target
        self._reconciler = reconciler
        self._clock = clock
        self._random = random
        self._resync_seconds = resync_seconds
        self._on_loaded = on_loaded
        self._on_failure = on_failure

    async def load(self, sink: Sink) -> None:
        """Read all that the sink holds of ours, then mark everything as dirty."""
        target, reconciler = self._target, self._reconciler
        target.loaded = False
        target.ledger = Ledger(indexed=hasattr(sink, "drift"))
        target.names = Names(
            sink.above,
            lambda key, name: reconciler.keeps(target.name, key, name),
            reconciler.shares,
            namespaced=getattr(sink, "namespaced", False),
            canonical=getattr(sink, "canonical", None),
        )
        target.failed.clear()
        target.twins.clear()
        target.asking.clear()
        target.problems.clear()
        target.leaving.clear()
        target.waiting.clear()
        target.kept_back.clear()
        target.busy.clear()
        target.flying.clear()
        recalled: dict[str, list[tuple[Any, str]]] = {}
        async for observed in _sliced(sink.observe(), self._clock):
            key = observed.publication
            target.ledger.put(key, observed.instance, Kept(observed.key, observed.fingerprint, observed.ready))
            target.names.found(key, observed.name)
            recalled.setdefault(observed.service.source, []).append((observed.service, observed.instance))
        for source, records in recalled.items():
            if (view := reconciler.views.get(source)) is not None:
                view.recall(records)
        target.names.reset(
            (key, showing.wants) for (name_, key), showing in reconciler.showings.items() if name_ == target.name
        )
        self._on_loaded()
        target.dirty = dict.fromkeys(
            [key for name, key in reconciler.showings if name == target.name] + list(target.ledger.shelves)
        )
        target.loaded = True
        target.condition = target.well(self._clock.wall())
        target.wake.set()

    async def resync(self, sink: Sink) -> None:
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
                self._on_failure(error, "resync_error", delay)
                unread = target.condition
                await self._clock.sleep(delay)
                target.look_due.set()

    async def _look(self, sink: Sink) -> None:
        target = self._target
        found = 0
        with target.ledger.look() as look:
            async for observed in _sliced(sink.observe(), self._clock):
                found += self._take(look, observed)
            slices = Slices(self._clock)
            for key, instance, record in look.missing():
                found += 1
                self._own(key, target.ledger.drop(key, instance, record))
                self._lost(key, instance)
                await slices.rest()
        for key, refused in list(target.failed.items()):
            target.mark(key, tuple(refused))
        target.ask_again()
        if found:
            log.info("sink=%s resync_differences=%d", target.name, found)

    async def drift(self, sink: Any) -> None:
        """Follow what others change, where the sink can be watched."""
        target = self._target
        backoff = Backoff(self._random, first=0.5, limit=60.0)
        keys: dict[str, None] = {}
        news = asyncio.Event()
        told = ""

        def mark(changed: Any) -> None:
            if changed is None:
                target.look_due.set()
            else:
                keys.update(dict.fromkeys(changed))
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
                level = logging.DEBUG if str(first_of(group_error)) == told else logging.INFO
                told = str(first_of(group_error))
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
        key = observed.publication
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
        accounts.own(self._target, self._clock.monotonic(), key, delta)


async def _sliced(items: AsyncIterator[Observed], clock: Clock) -> AsyncIterator[Observed]:
    """Yield the items, letting others run every two milliseconds."""
    slices = Slices(clock)
    async for item in items:
        yield item
        await slices.rest()
