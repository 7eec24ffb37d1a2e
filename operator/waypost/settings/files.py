"""The Feed of files and folders: followed as they change, by the system's notices and by looking now and then.

A notice says only *look again*: what is there is read anew each time, and costs what differs. An editor's rename, a
link that is swapped (as Kubernetes does with a ConfigMap's `..data`) and a folder that goes and comes back are changes
like any other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from waypost.adapter import Clock
from waypost.settings.book import Settings
from waypost.settings.decode import Types
from waypost.settings.folder import ManifestSet
from waypost.settings.notices import Notices

__all__ = ["FileFeed", "read_once"]

POLL_SECONDS = 10.0  # for what no notice tells of: network file systems, links to other folders
SOONEST_SECONDS = 0.02


def read_once(paths: Iterable[str | Path], types: Types) -> Settings:
    """Return what files and folders say as they are now; blocks while it reads them."""
    return ManifestSet([Path(path) for path in paths], types, still=False).read(time.monotonic(), time.time())


class FileFeed:
    """Follows files and folders. Reads in a thread: a large set does not hold up the loop."""

    def __init__(
        self, paths: Iterable[str | Path], types: Types, clock: Clock, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Name the files and folders; they need not be there yet. `poll_seconds` bounds how late anything is seen."""
        self._paths: Sequence[Path] = [Path(path) for path in paths]
        self._set = ManifestSet(self._paths, types)
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._one = threading.Lock()

    async def watch(self, put: Callable[[Settings], None]) -> None:
        """Run until cancelled; put what the set says, at first and when that changed.

        What is on disk never makes it raise. When cancelled, a reading under way ends unheard.
        """
        last: Settings | None = None
        with Notices(self._paths) as notices:
            while True:
                changed = notices.take()
                now, wall = self._clock.monotonic(), self._clock.wall()
                settings, wake = await asyncio.to_thread(self._read, notices, now, wall, changed)
                if settings is not last:
                    last = settings
                    put(settings)
                seconds = self._poll_seconds if wake is None else wake - self._clock.monotonic()
                await self._wait(notices, min(max(seconds, SOONEST_SECONDS), self._poll_seconds))

    def _read(
        self, notices: Notices, now: float, wall: float, changed: Collection[str]
    ) -> tuple[Settings, float | None]:
        with self._one:
            notices.renew()
            return self._set.read(now, wall, changed), self._set.wake

    async def _wait(self, notices: Notices, seconds: float) -> None:
        """Return when something may have changed, or after that long."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(notices.changed.wait()), group.create_task(self._clock.sleep(seconds))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
