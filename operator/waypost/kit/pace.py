"""A long pass gives way to the rest of the program every 2 ms."""

from __future__ import annotations

import asyncio

from waypost.adapter import Clock

__all__ = ["Pace"]

SLICE_SECONDS = 0.002


class Pace:
    """Call `breathe` between steps: it costs a look at the clock, and lets others run when it is their turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._worked = 0.0

    async def breathe(self) -> None:
        """Let others run if 2 ms have passed since they last could."""
        if self._clock.monotonic() - self._since >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = self._clock.monotonic()

    async def worked(self, since: float) -> None:
        """Let others run if the steps since they last could have taken 2 ms; this one has since then (monotonic).

        For steps between which one mostly waits, so that others run anyway: a pass of the loop costs more than a step.
        """
        self._worked += self._clock.monotonic() - since
        if self._worked >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._worked = 0.0
