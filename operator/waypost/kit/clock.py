"""The process's own clock, as a Context hands it to adapters. Tests and simulations put another in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["LoopClock"]


class LoopClock:
    """Time as the running event loop and the machine have it.

    `monotonic` is the loop's `time()`, so a loop on virtual time moves it too; it may only be asked inside a running
    loop, and belongs to the first that it was asked in: to look for the running one costs more than its time.
    """

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time: Callable[[], float] | None = None

    def monotonic(self) -> float:
        """Return the loop's seconds; they never go back."""
        if self._time is None:
            self._time = asyncio.get_running_loop().time
        return self._time()

    def wall(self) -> float:
        """Return seconds since 1970 (UTC); may jump when the machine's clock is set."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds; a cancellation ends it at once."""
        await asyncio.sleep(seconds)
