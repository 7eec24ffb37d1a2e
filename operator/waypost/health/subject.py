"""Rise and fall: how findings become a verdict. Pure.

So many passes in a row make True, so many failures in a row make False, until then the verdict stays, at first None. A
check that could not be made breaks no row; as many of them in a row as failures would be needed make the verdict None.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from waypost.health.check import Target

__all__ = ["UNDECIDED", "Standing", "Subject", "judge"]


class Standing(NamedTuple):
    """A verdict and the row that leads to the next.

    `row` counts passes where positive, failures where negative. `blind` counts the last checks that could not be made.
    """

    verdict: bool | None = None
    row: int = 0
    blind: int = 0


UNDECIDED = Standing()


def judge(was: Standing, ok: bool | None, rise: int, fall: int) -> Standing:  # noqa: FBT001 - a finding, not a switch
    """Return the standing after one more finding."""
    if ok is None:
        blind = was.blind + 1
        return UNDECIDED._replace(blind=blind) if blind >= fall else was._replace(blind=blind)
    row = max(was.row, 0) + 1 if ok else min(was.row, 0) - 1
    if row >= rise:
        return Standing(True, row)
    if -row >= fall:
        return Standing(False, row)
    return Standing(was.verdict, row)


class Subject(msgspec.Struct, eq=False):
    """A target under check, shared by all who subscribed. Times are monotonic seconds.

    `passed`: the verdict was True at some time. `failing_since` is when the first check of the present row of failures
    began. `due` is when it is checked next as planned; `when` and `entry` are its present place in the schedule.
    `queued`: it is no longer there, but being checked or about to be. `slow`: the last check ended by its time-out.

    Unlike other structs it is seen by the garbage collector: its subscribers know it, too, and would never be freed.
    """

    target: Target
    subscribers: tuple[object, ...] = ()
    standing: Standing = UNDECIDED
    ok: bool | None = None
    passed: bool = False
    reason: str = ""
    failing_since: float = math.inf
    began: float = -math.inf
    finished: float = -math.inf
    due: float = 0.0
    when: float = 0.0
    entry: int = 0
    queued: bool = False
    slow: bool = False

    @property
    def verdict(self) -> bool | None:
        """Whether it is well; None: not decided."""
        return self.standing.verdict

    @property
    def failing(self) -> bool:
        """Whether it fails, or failed when it was last checked."""
        return self.standing.verdict is False or self.ok is False

    def take(self, ok: bool | None, reason: str, began: float, finished: float) -> None:  # noqa: FBT001 - a finding
        """Take a finding."""
        check = self.target.check
        self.standing = judge(self.standing, ok, check.rise, check.fall)
        self.finished = finished
        self.reason = reason
        if ok is None:
            return
        if ok:
            self.failing_since = math.inf
        elif self.ok is not False:
            self.failing_since = began
        self.ok = ok
        self.passed = self.passed or self.standing.verdict is True
