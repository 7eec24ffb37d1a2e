"""The process's own clock, as a Context hands it to adapters. Tests and simulations put another in its place."""

from __future__ import annotations

import asyncio
import time

__all__ = ["LoopClock"]


class LoopClock:
    """Time as the running event loop and the machine have it.

    `monotonic` is the loop's `time()`, so a loop on virtual time moves it too; it may only be asked inside a running
    loop.
    """

    __slots__ = ()

    def monotonic(self) -> float:
        """Return the running loop's seconds; they never go back."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Return seconds since 1970 (UTC); may jump when the machine's clock is set."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds; a cancellation ends it at once."""
        await asyncio.sleep(seconds)
