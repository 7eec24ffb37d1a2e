"""Runs the checks: those that are due, so many at once and no more, each ended by its time-out.

A check that several ask for runs once. Those that hang never take more than half of the places, so that a network that
swallows packets delays no check of others. What it finds is told to one callback; what is kept after a restart is
nothing, and verdicts begin as None.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random

from waypost.adapter import Clock, Metrics
from waypost.health.check import Outcome, Target, failed, unknown
from waypost.health.schedule import Schedule
from waypost.health.subject import Subject

__all__ = ["Checker", "Heard", "Probe"]

Probe = Callable[[Target], Awaitable[Outcome]]
Heard = Callable[[Subject, bool, "bool | None"], None]  # the subject, whether it was failing before, its former verdict

TICK_SECONDS = 0.005  # what falls due within it is begun together
BATCH = 16  # begun before others may run: a millisecond or two
LATE = 1.5  # a time-out that comes so many times too late is this process's fault, not the instance's
TROUBLE_SECONDS = 60.0  # how long a check that could not be made is told of

_RESULTS = {True: "passed", False: "failed", None: "unknown"}

log = logging.getLogger(__name__)


class Checker:
    """All checks of a process."""

    def __init__(
        self, clock: Clock, random: Random, probe: Probe, heard: Heard, metrics: Metrics, *, most: int = 256
    ) -> None:
        """`most` checks run at once."""
        self._clock = clock
        self._probe = probe
        self._heard = heard
        self._metrics = metrics
        self._most = most
        self._schedule = Schedule(random)
        self._waiting: deque[Subject] = deque()  # due, but of those that hang enough are under way
        self._slow = 0
        self._news = asyncio.Event()
        self._wakes = -math.inf  # when the next look at the schedule is planned
        self._trouble = ""
        self._trouble_at = -TROUBLE_SECONDS
        self.subjects: dict[Target, Subject] = {}
        self.counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}  # subjects by verdict
        self.in_flight = 0
        self.lag = 0.0  # seconds by which the last check began too late

    # --- what is checked

    def subscribe(self, target: Target, who: object) -> Subject:
        """Have a target checked; the same for all who ask for the same."""
        subject = self.subjects.get(target)
        if subject is None:
            subject = self.subjects[target] = Subject(target)
            self.counts[None] += 1
            self._schedule.add(self._clock.monotonic(), subject)
            self._nudge(subject)
        subject.subscribers += (who,)
        return subject

    def unsubscribe(self, subject: Subject, who: object) -> None:
        """Ask no more; who asks last ends the check."""
        left = list(subject.subscribers)
        left.remove(who)
        subject.subscribers = tuple(left)
        if not left:
            del self.subjects[subject.target]
            self.counts[subject.verdict] -= 1
            self._schedule.remove(subject)

    def soon(self, subject: Subject) -> None:
        """Check now, or as soon as a second has gone by since it was last checked."""
        if self._schedule.soon(self._clock.monotonic(), subject):
            self._nudge(subject)

    def _nudge(self, subject: Subject) -> None:
        """Look at the schedule sooner than planned, where this one is due sooner."""
        if subject.when < self._wakes:
            self._news.set()

    @property
    def trouble(self) -> str:
        """Why checks could lately not be made; "" where all could."""
        recent = self._clock.monotonic() - self._trouble_at < TROUBLE_SECONDS
        return self._trouble if recent else ""

    # --- running

    async def run(self) -> None:
        """Check until cancelled; what is under way is then broken off, and says nothing."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._begin(group) == BATCH:
                    await asyncio.sleep(0)
                else:
                    await self._wait()

    def _begin(self, group: asyncio.TaskGroup) -> int:
        """Begin what is due, as far as there are places; return how many were begun."""
        for begun in range(BATCH):
            if self.in_flight >= self._most or (subject := self._take()) is None:
                return begun
            self.in_flight += 1
            group.create_task(self._check(subject))
        return BATCH

    async def _wait(self) -> None:
        """Wait until something is due and there is a place for it."""
        delay = None
        self._wakes = -math.inf  # no place is free: one that becomes free is news
        if self.in_flight < self._most:
            now, due = self._clock.monotonic(), self._schedule.next_due()
            delay = None if due is None else max(TICK_SECONDS, due - now)
            self._wakes = math.inf if delay is None else now + delay
        try:
            async with asyncio.timeout(delay):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _take(self) -> Subject | None:
        """Return what is to be checked next; of those that hang only as many as half of the places."""
        now = self._clock.monotonic()
        may_hang = self._slow < max(1, self._most // 2)
        while may_hang and self._waiting:
            if (subject := self._waiting.popleft()).subscribers:
                self._slow += 1
                return subject
        while (found := self._schedule.take(now)) is not None:
            self.lag = now - found.when
            if not found.slow:
                return found
            if may_hang:
                self._slow += 1
                return found
            self._waiting.append(found)
        return None

    async def _check(self, subject: Subject) -> None:
        was_slow = subject.slow
        began = subject.began = self._clock.monotonic()
        try:
            outcome = await self._outcome(subject, began)
        except asyncio.CancelledError:
            self._schedule.again(self._clock.monotonic(), subject)
            raise
        finally:
            self._slow -= was_slow
            self.in_flight -= 1
            if self.in_flight == self._most - 1 or self._waiting:
                self._news.set()
        self._metrics.count("health_checks", result=_RESULTS[outcome.ok])
        if subject.subscribers:
            self._settle(subject, outcome, began)

    async def _outcome(self, subject: Subject, began: float) -> Outcome:
        target = subject.target
        seconds = target.check.timeout
        subject.slow = False
        try:
            async with asyncio.timeout(seconds):
                return await self._probe(target)
        except TimeoutError:
            subject.slow = True
            if self._clock.monotonic() - began > seconds * LATE:
                return unknown("this process was too busy, or stopped, to see an answer")
            return failed(f"no answer within {seconds:g} s")
        except Exception as error:
            log.exception("check instance=%r error='the check itself failed'", target.instance)
            return unknown(f"the check itself failed: {type(error).__name__}")

    def _settle(self, subject: Subject, outcome: Outcome, began: float) -> None:
        now = self._clock.monotonic()
        was_failing, was_verdict = subject.failing, subject.verdict
        subject.take(outcome.ok, outcome.reason, began, now)
        if subject.verdict is not was_verdict:
            self.counts[was_verdict] -= 1
            self.counts[subject.verdict] += 1
        if outcome.ok is None:
            self._note_trouble(now, outcome.reason)
        self._schedule.again(now, subject)
        self._nudge(subject)
        self._heard(subject, was_failing, was_verdict)

    def _note_trouble(self, now: float, reason: str) -> None:
        if now - self._trouble_at >= TROUBLE_SECONDS:
            log.warning("check_impossible=%r verdicts=kept", reason)
        self._trouble, self._trouble_at = reason, now
