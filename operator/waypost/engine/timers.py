"""What is due because of time alone: doubts and drainings that end, holds as people see them, windows that slid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waypost.adapter import Clock
    from waypost.engine.holds import Holds
    from waypost.engine.reconcile import Reconciler

__all__ = ["Timers"]

HOLDS_SECONDS = 1.0  # how often what waits is looked at, while anything waits
REVIEW_SECONDS = 10.0  # how often what waits is planned again, for a budget's window slides

log = logging.getLogger(__name__)


class Timers:
    """Sleeps while nothing is due."""

    def __init__(
        self,
        reconciler: Reconciler,
        holds: Holds,
        clock: Clock,
        wake: asyncio.Event,
        on_round: Callable[[], Awaitable[None]],
    ) -> None:
        """`wake` is set when something may be due sooner than was known; `on_round` is awaited at the end of each."""
        self._reconciler = reconciler
        self._holds = holds
        self._clock = clock
        self._wake = wake
        self._on_round = on_round

    async def run(self) -> None:
        """Do what is due, round after round, until cancelled."""
        reviewed = 0.0
        targets = self._reconciler.targets
        while True:
            waits = [name for name in targets if self._holds.anything_waits(name)]
            await self._sleep(anything_waits=bool(waits))
            self._reconciler.tick()
            self._show_holds()
            now = self._clock.monotonic()
            if waits and now - reviewed >= REVIEW_SECONDS:
                reviewed = now
                for name in waits:
                    if name in targets:
                        targets[name].mark_pairs(self._holds.waiting(name))
            await self._on_round()

    async def _sleep(self, *, anything_waits: bool) -> None:
        now = self._clock.monotonic()
        due = self._reconciler.next_due()
        if anything_waits or self._holds.holds:
            due = min(due if due is not None else now + HOLDS_SECONDS, now + HOLDS_SECONDS)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _show_holds(self) -> None:
        for hold in self._holds.show(self._owned, self._planned):
            log.warning(
                "hold=%s sink=%s cause=%s removals=%d changes=%d of=%d",
                hold.name,
                hold.sink,
                hold.cause,
                hold.removals,
                hold.changes,
                hold.of,
            )

    def _planned(self, sink: str, source: str) -> bool:
        target, view = self._reconciler.targets.get(sink), self._reconciler.views.get(source)
        return target is not None and target.settled and (view is None or view.complete)

    def _owned(self, sink: str) -> int:
        target = self._reconciler.targets.get(sink)
        return target.ledger.ready if target is not None else 0
