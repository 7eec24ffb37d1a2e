"""Sources and sinks, each run in a task of its own: whatever breaks in one breaks it alone, and is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from waypost.engine.apart import apart

if TYPE_CHECKING:
    from waypost.adapter import Clock

__all__ = ["Part", "Parts"]

STOP_SECONDS = 5.0  # how long an adapter may take to close
RESTART_SECONDS = 30.0  # after what should never happen

Part = tuple[str, str]  # "source" or "sink", and its name

log = logging.getLogger(__name__)


class Parts:
    """Those that run now."""

    def __init__(
        self,
        run: Callable[[str, str], Coroutine[Any, Any, None]],
        on_broken: Callable[[str, str, Exception], None],
        clock: Clock,
    ) -> None:
        """`run(kind, name)` runs one until cancelled; `on_broken` is told what came out of it, which nothing should."""
        self._run = run
        self._on_broken = on_broken
        self._clock = clock
        self._tasks: dict[Part, asyncio.Task[None]] = {}

    def start(self, group: asyncio.TaskGroup, kind: str, name: str) -> None:
        """Run one, until it is stopped or the group is cancelled."""
        self._tasks[kind, name] = group.create_task(self._guard(kind, name), name=f"{kind} {name}")

    async def stop(self, which: Iterable[Part]) -> None:
        """Stop these, and return when they have ended; one that does not end when told to is left behind, and said."""
        tasks = [task for part in which if (task := self._tasks.pop(part, None)) is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, hanging = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in hanging:
                log.error("task=%r error='the adapter does not end when told to; going on without it'", task.get_name())

    def clear(self) -> None:
        """Know of none any more: their group has ended."""
        self._tasks.clear()

    async def _guard(self, kind: str, name: str) -> None:
        while True:
            try:
                await apart(self._run(kind, name))
            except Exception as error:
                log.exception("%s=%s error='it cannot be run'", kind, name)
                self._on_broken(kind, name, error)
            await self._clock.sleep(RESTART_SECONDS)
