"""A pass that may be long lets others run every two milliseconds, so that the loop never stalls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waypost.adapter import Clock

__all__ = ["SLICE_SECONDS", "Slices"]

SLICE_SECONDS = 0.002


class Slices:
    """The slices of one task's passes. Between two calls of `rest` nobody else runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    async def rest(self) -> None:
        """Let others run, if the last time is more than a slice ago."""
        if self._clock.monotonic() - self._began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = self._clock.monotonic()

    async def work(self, steps: Iterable[object]) -> None:
        """Take all steps, and let others run between them."""
        for _ in steps:
            await self.rest()
