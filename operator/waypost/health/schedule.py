"""Which subject is due when. A heap; pure but for the random phases.

Each subject has its own place in its period, at random, and keeps it: a late check is not the reason for another late
one. What is new is checked at once, but so many a second and no more. Nothing is checked twice within a second.
"""

from __future__ import annotations

import heapq
import math
from random import Random

from waypost.health.subject import Subject

__all__ = ["AGAIN_SECONDS", "NEW_PER_SECOND", "Schedule"]

NEW_PER_SECOND = 500  # first checks that do not wait for their place in the period
AGAIN_SECONDS = 1.0  # a check that is asked for waits so long since the last one began

_MOST_STALE = 1024


class Schedule:
    """The heap. Entries that no longer count are left in it and passed over, up to half of it."""

    def __init__(self, random: Random) -> None:
        """Begin with nothing."""
        self._random = random
        self._heap: list[tuple[float, int, Subject]] = []
        self._number = 0
        self._stale = 0
        self._next_new = 0.0
        self.skipped = 0  # checks left out because the one before them was too late

    def add(self, now: float, subject: Subject) -> None:
        """Take in a new subject."""
        subject.due = now + self._random.random() * subject.target.check.period
        self._next_new = max(self._next_new, now)
        if self._next_new < subject.due:
            self._put(self._next_new, subject)
            self._next_new += 1 / NEW_PER_SECOND
        else:
            self._put(subject.due, subject)

    def remove(self, subject: Subject) -> None:
        """Forget a subject; one that is queued is not put back."""
        if not subject.queued:
            self._leave_stale(subject)
        subject.when = -math.inf

    def soon(self, now: float, subject: Subject) -> bool:
        """Check a subject as soon as may be; say whether that is sooner than it was due anyway."""
        when = max(now, subject.began + AGAIN_SECONDS)
        if subject.queued or subject.when <= when:
            return False
        self._leave_stale(subject)
        self._put(when, subject)
        return True

    def take(self, now: float) -> Subject | None:
        """Return the next subject that is due, which is then queued; None where none is."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, number, subject = heapq.heappop(heap)
            if number == subject.entry:
                subject.queued = True
                return subject
            self._stale -= 1
        return None

    def again(self, now: float, subject: Subject) -> None:
        """Put a subject back whose check is over, at its next place in the period; one that is too near is left out."""
        period = subject.target.check.period
        if subject.due <= now:
            missed = math.floor((now - subject.due) / period)
            self.skipped += missed
            subject.due += (missed + 1) * period
        if subject.due < subject.began + min(AGAIN_SECONDS, period / 2):
            subject.due += period
        self._put(subject.due, subject)

    def next_due(self) -> float | None:
        """Return when the next subject is due; None where there is none."""
        heap = self._heap
        while heap and heap[0][1] != heap[0][2].entry:
            heapq.heappop(heap)
            self._stale -= 1
        return heap[0][0] if heap else None

    def _put(self, when: float, subject: Subject) -> None:
        self._number += 1
        subject.when, subject.entry, subject.queued = when, self._number, False
        heapq.heappush(self._heap, (when, self._number, subject))

    def _leave_stale(self, subject: Subject) -> None:
        subject.entry = 0
        self._stale += 1
        if self._stale > _MOST_STALE and self._stale > len(self._heap) // 2:
            self._heap = [item for item in self._heap if item[1] == item[2].entry]
            heapq.heapify(self._heap)
            self._stale = 0
