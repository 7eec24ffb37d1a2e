"""How often the API server is written to: so many requests a second over all, after a burst."""

from __future__ import annotations

from waypost.adapter import Clock

__all__ = ["Bucket"]


class Bucket:
    """A token bucket: `rate` a second, at most `burst` at once."""

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = clock.monotonic()

    async def take(self) -> None:
        """Return when one more request may be sent."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self._rate)
