"""How long to wait before the next attempt: exponential with full jitter, forgotten after a success that lasted.

Full jitter (anything between nothing and the ceiling of this attempt) spreads the attempts of many clients that failed
together best. It computes and never sleeps: the caller waits, so that a hint may end the wait.
"""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Counts the failures in a row of one thing that is tried again and again.

    Seconds throughout. The ceiling of the n-th delay is `first × factor ** (n - 1)`, at most `limit`. An attempt that
    worked for at least `steady` before it failed counts as the first failure again: a connection that breaks once a
    day is retried at once, one that is accepted and closed over and over is not.
    """

    __slots__ = ("_factor", "_first", "_limit", "_random", "_steady", "failures")

    def __init__(
        self,
        random: random.Random,
        *,
        first: float = 0.5,
        limit: float = 60.0,
        factor: float = 2.0,
        steady: float = 60.0,
    ) -> None:
        """Raises ValueError for figures that could not make a growing, finite delay."""
        if not (0 < first <= limit < float("inf") and factor >= 1 and steady >= 0):
            raise ValueError(f"no backoff: first={first} limit={limit} factor={factor} steady={steady}")
        self._random = random
        self._first = first
        self._limit = limit
        self._factor = factor
        self._steady = steady
        self.failures = 0

    @property
    def ceiling(self) -> float:
        """The most that the last `failed` could have returned; 0 before any failure."""
        if not self.failures:
            return 0.0
        try:
            return min(self._limit, self._first * self._factor ** (self.failures - 1))
        except OverflowError:
            return self._limit

    def failed(self, worked: float = 0.0) -> float:
        """Return the seconds to wait after a failure; `worked` is how long it had been working until then."""
        if worked >= self._steady:
            self.failures = 0
        self.failures += 1
        return self._random.uniform(0.0, self.ceiling)

    def reset(self) -> None:
        """Forget the failures: something says that the next attempt is worth it (new credentials, a new spec)."""
        self.failures = 0
