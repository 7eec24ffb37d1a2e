"""Panic: when more of a ward fail than may be true, the checks are in doubt, and no verdict withdraws. Pure.

A ward is what is judged together: the instances of one registration. It is asked when a verdict falls, before the fall
shows: if more than the ward's percentage fail by then, panic begins. So a failure of all must be seen before the first
of them falls. Where a fall took a period or more, everything has been checked since the failure began. Where it took
less (one failure is enough, or checks were asked for), a jury is checked first: some of the others, at random.

While a ward panics, and while a jury is out, a fall is masked: who has ever passed counts as passing, who has not stays
undecided. Panic ends when no more than the percentage have failed for two periods on end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random

from waypost.health.subject import Subject

__all__ = ["JURY", "Ward"]

JURY = 16  # all of them failing by chance while half are well: one in 65,000

_CALM_PERIODS = 2


class Ward:
    """One ward. `total` and `failing` are kept by whoever knows the members."""

    def __init__(self, percent: int, random: Random, on_moved: Callable[[Collection[Subject] | None], None]) -> None:
        """`on_moved` is called with the subjects whose masked verdict changed; None: all whose verdict is False."""
        self.percent = percent
        self.total = 0
        self.failing = 0
        self.panics = False
        self._random = random
        self._on_moved = on_moved
        self._calm_since: float | None = None
        self._jury: list[Subject] = []
        self._awaited: set[Subject] = set()
        self._masked: set[Subject] = set()

    def verdict(self, subject: Subject) -> bool | None:
        """Return the verdict as it counts."""
        verdict = subject.verdict
        if verdict is False and (self.panics or subject in self._masked):
            return True if subject.passed else None
        return verdict

    @property
    def listens(self) -> bool:
        """Whether it wants to hear of each finding, not of changes only."""
        return self.panics or bool(self._awaited)

    def fell(
        self, now: float, subject: Subject, lag: float, others: Callable[[], Sequence[Subject]]
    ) -> Collection[Subject]:
        """Take note that a verdict fell; return those that must be checked first.

        `lag`: how late a check may begin or end, in seconds.
        """
        if self.panics:
            return ()
        if self._awaited:
            self._masked.add(subject)
            return ()
        jury: list[Subject] = []
        if now - subject.failing_since < subject.target.check.period + lag:
            known = others()
            jury = self._random.sample(known, min(JURY, len(known)))
        self._awaited = {s for s in jury if not s.failing and s.finished < subject.failing_since}
        if self._awaited:
            self._jury = [*jury, subject]
            self._masked.add(subject)
        elif self._too_many(self.failing, self.total):
            self._panic()
        return tuple(self._awaited)

    def heard(self, now: float, subject: Subject) -> None:
        """Take note that a member was checked."""
        if self._awaited:
            self._excuse(subject)
        if self.panics:
            self._calm(now, subject.target.check.period)

    def left(self, subject: Subject) -> None:
        """Take note that a member is gone, or no longer counts."""
        self._masked.discard(subject)
        if subject in self._jury:
            self._jury.remove(subject)
        if self._awaited:
            self._excuse(subject)

    def rose(self, subject: Subject) -> None:
        """Take note that a verdict is False no more."""
        self._masked.discard(subject)

    # --- inside

    def _too_many(self, failing: int, total: int) -> bool:
        return failing * 100 > total * self.percent

    def _excuse(self, subject: Subject) -> None:
        self._awaited.discard(subject)
        if not self._awaited:
            self._decide()

    def _decide(self) -> None:
        """Begin to panic, or let the falls show that waited."""
        jury, self._jury = self._jury, []
        masked, self._masked = self._masked, set()
        failing = sum(subject.failing for subject in jury)
        if self._too_many(self.failing, self.total) or self._too_many(failing, len(jury)):
            self._panic()
        else:
            self._on_moved(masked)

    def _panic(self) -> None:
        self.panics = True
        self._calm_since = None
        self._jury, self._awaited, self._masked = [], set(), set()
        self._on_moved(None)

    def _calm(self, now: float, period: float) -> None:
        if self._too_many(self.failing, self.total):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= _CALM_PERIODS * period:
            self.panics = False
            self._on_moved(None)
