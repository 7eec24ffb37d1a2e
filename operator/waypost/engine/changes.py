"""What was changed in the sinks, each with its cause: one log line, and a ring that `waypost changes` reads."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from waypost.adapter import Change, Outcome
    from waypost.engine.step import Step

__all__ = ["Changed", "Ring"]

MOST = 10_000
LINES_A_SECOND = 200  # more than that (a first sync) is summed up in one line a second

Action = Literal["added", "changed", "removed", "released", "refused"]

log = logging.getLogger("waypost.changes")


class Changed(msgspec.Struct, frozen=True, gc=False):
    """One change, or one refusal of it. `number` grows by one with each; `time` is in wall seconds."""

    number: int
    time: float
    sink: str
    action: Action
    registration: str
    entry: str
    service: str
    instance: str
    key: str
    cause: str
    reason: str = ""


class Ring:
    """The latest changes."""

    def __init__(self, wall: Callable[[], float], most: int = MOST) -> None:
        """Begin empty; `most` are kept."""
        self._wall = wall
        self._ring: deque[Changed] = deque(maxlen=most)
        self._number = 0
        self._second = 0
        self._lines = 0
        self.news = asyncio.Event()  # set at each change; who waits clears it first

    def applied(self, sink: str, step: Step, change: Change) -> None:
        """Take note of a change that the sink acknowledged."""
        action: Action = "added" if change.create else "changed"
        if change.record is None:
            action = "released" if change.release else "removed"
        self._add(sink, action, step, change.key, step.reason)

    def refused(self, sink: str, step: Step, key: str, outcome: Outcome) -> None:
        """Take note of a change that the sink refused."""
        self._add(sink, "refused", step, key, f"{outcome.status}: {outcome.reason}")

    def since(self, number: int = 0, most: int = 1000) -> list[Changed]:
        """Return the latest changes after that number, oldest first."""
        found = [changed for changed in self._ring if changed.number > number]
        return found[-most:]

    def _add(self, sink: str, action: Action, step: Step, key: str, reason: str) -> None:
        self._number += 1
        self.news.set()
        now = self._wall()
        service = str(step.key.service)
        self._ring.append(
            Changed(
                self._number,
                now,
                sink,
                action,
                step.key.registration,
                step.key.entry,
                service,
                step.instance,
                key,
                step.cause,
                reason,
            )
        )
        if int(now) != self._second:
            if self._lines > LINES_A_SECOND:
                log.info("changes=%d logged=%d second=%d", self._lines, LINES_A_SECOND, self._second)
            self._second, self._lines = int(now), 0
        self._lines += 1
        if self._lines <= LINES_A_SECOND and log.isEnabledFor(logging.INFO):
            log.info(
                "change=%s sink=%s registration=%s service=%s instance=%s cause=%s%s",
                action,
                sink,
                step.key.registration,
                service,
                step.instance,
                step.cause,
                f" reason={reason!r}" if reason else "",
            )
