"""Budgets: how much may be withdrawn or rewritten in one sink within a sliding window before a person is asked.

Counted are (publication, instance) pairs that were ready and no longer are. A pair whose publication still has as many
ready records as at the window's start counts for nothing, and one that is replaced later is given back: a rolling
update, either way round, is free. Pure: time comes in, nothing is written; what is spent can be saved and put back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from waypost.engine.bases import Bases
from waypost.model import PublicationKey, ServiceKey

__all__ = ["Budget", "Cause", "HoldCause", "Policy", "SinkSafety", "SourceSafety", "Spent"]

Cause = Literal["source", "inferred", "health", "edit", "target", "share"]  # share: a weight follows another's count
NOT_COUNTED: frozenset[Cause] = frozenset({"edit", "target", "share"})  # whose rewrites in place count for nothing
HoldCause = Literal[
    "SourceEmpty", "BudgetExceeded", "MassChange", "MinReady", "FeedUnreadable", "UnknownRegistration", "Takeover"
]
Scope = tuple[str, ...]
_CHANGES: Scope = ("changes",)  # what was rewritten before this policy began
_NOBODY = PublicationKey("", "", ServiceKey("", "", ""))  # to whom a window is charged whose history is lost


class SinkSafety(msgspec.Struct, frozen=True):
    """A sink's limits; see DESIGN's `safety`."""

    max_removal_percent: int = 30
    min_removals: int = 5
    max_change_percent: int = 60
    window_seconds: float = 600


class SourceSafety(msgspec.Struct, frozen=True):
    """A source's limits for what is inferred from absence."""

    max_loss_percent: int = 30
    min_loss: int = 5
    window_seconds: float = 600


class Spent(msgspec.Struct, frozen=True):
    """Withdrawals that were counted: when, for which publication, in which scopes, how many."""

    at: float
    publication: PublicationKey
    scopes: tuple[Scope, ...]
    count: int = 1


class Budget:
    """One scope: what is owned, the most that was in the window, and how much is spent."""

    def __init__(self, percent: int, minimum: int, window: float) -> None:
        """Begin with nothing owned and nothing spent."""
        self.percent = percent
        self.minimum = minimum
        self.window = window
        self.owned = 0
        self.used = 0
        self._peaks: deque[tuple[float, int]] = deque()  # owned counts, falling; the first is the most in the window

    def own(self, now: float, delta: int) -> None:
        """Take note of pairs gained or lost."""
        if delta < 0:
            self._note(now)
        self.owned += delta

    def most(self, now: float) -> int:
        """Return the most owned in the window."""
        while self._peaks and self._peaks[0][0] < now - self.window:
            self._peaks.popleft()
        return max(self._peaks[0][1] if self._peaks else 0, self.owned)

    def limit(self, now: float) -> int:
        """Return how many may be spent within the window."""
        return max(self.minimum, self.most(now) * self.percent // 100)

    def _note(self, now: float) -> None:
        while self._peaks and self._peaks[-1][1] <= self.owned:
            self._peaks.pop()
        self._peaks.append((now, self.owned))


class Policy:
    """The budgets of one sink. `source_safety(name)` gives the limits of a source."""

    def __init__(self, safety: SinkSafety, source_safety: Callable[[str], SourceSafety]) -> None:
        """Begin with nothing owned."""
        self.safety = safety
        self._source_safety = source_safety
        self.budgets: dict[Scope, Budget] = {}
        self._spent: deque[Spent] = deque()
        self._by_publication: dict[PublicationKey, dict[int, Spent]] = {}  # by their `id`; the latest is last
        self._gathered: dict[tuple[int, tuple[Scope, ...]], int] = {}  # the same by tenths of a window, for saving
        self.begun = False  # what the sink holds has been seen once
        self._left = 0.0  # when the last session ended
        self._bases = Bases(safety.window_seconds)
        self._changed: OrderedDict[tuple[PublicationKey, str], int] = OrderedDict()  # → the tenth of a window
        self._changes: dict[int, int] = {}  # tenth → how many

    def follow(self, safety: SinkSafety) -> None:
        """Take other limits; what was counted stays counted."""
        self.safety = safety
        self._bases.window = safety.window_seconds
        for scope, budget in self.budgets.items():
            budget.percent, budget.minimum, budget.window = self._limits(scope)

    # --- what is owned

    def observed(self, now: float, counts: Mapping[PublicationKey, int]) -> None:
        """Take how many ready instances each publication has, as seen when a session begins.

        The first time it is what was there before; later on what differs came or went since the last session.
        """
        if not self.begun:
            self.begun = True
            self._bases.begin(counts)
            for key, count in counts.items():
                for scope in self._scopes(key):
                    self._budget(scope).own(now, count)
            return
        known = self._bases.counts
        moved = {key: counts.get(key, 0) - known.get(key, 0) for key in (*known, *counts)}
        for key, delta in sorted(moved.items(), key=lambda item: item[1]):  # losses first: else both would be the most
            if delta:
                self.own(self._left, key, delta)

    def left(self, now: float) -> None:
        """Take note that a session ends: from now on others may change what is owned."""
        self._left = now

    def complete(self, key: PublicationKey) -> None:
        """Take note that a publication is as wanted."""
        self._bases.complete(key)

    def own(self, now: float, key: PublicationKey, delta: int) -> None:
        """Take note that the ready instances of a publication changed by `delta`."""
        self._bases.move(now, key, delta)
        for scope in self._scopes(key):
            self._budget(scope).own(now, delta)
        for _ in range(delta):
            if not self._give_back(key):
                break

    # --- questions

    def may_withdraw(
        self, now: float, key: PublicationKey, cause: Cause, ready: int, min_ready: int
    ) -> HoldCause | None:
        """Say why one ready pair of a publication with `ready` of them may not go now; None: it may."""
        self._slide(now)
        if cause in {"inferred", "health"} and ready - 1 < min_ready:
            return "MinReady"
        if self._bases.is_free(now, key, ready):
            return None
        for scope in self._charged(key, cause):
            budget = self._budget(scope)
            budget.percent, budget.minimum, budget.window = self._limits(scope)  # a source's may have been edited
            if budget.used + 1 > budget.limit(now):
                return "BudgetExceeded"
        return None

    def may_change(self, now: float, key: PublicationKey, instance: str, cause: Cause) -> HoldCause | None:
        """Say why a ready pair may not be rewritten in place; None: it may."""
        if cause in NOT_COUNTED or (key, instance) in self._changed:
            return None
        self._slide(now)
        used = len(self._changed) + self._budget(_CHANGES).used
        return "MassChange" if used + 1 > self._most_changes(now) else None

    # --- spending

    def charge(self, now: float, key: PublicationKey, cause: Cause, ready: int) -> Spent | None:
        """Count a withdrawal that is about to be written; None where it counts for nothing."""
        if self._bases.is_free(now, key, ready):
            return None
        spent = Spent(now, key, self._charged(key, cause))
        self._add(spent)
        return spent

    def refund(self, spent: Spent) -> None:
        """Take back a charge whose withdrawal did not happen."""
        mine = self._by_publication.get(spent.publication)
        if mine is not None and mine.pop(id(spent), None) is not None:
            self._uncount(spent)

    def note_change(self, now: float, key: PublicationKey, instance: str, cause: Cause) -> bool:
        """Count a pair that is about to be rewritten in place; False where that counts for nothing."""
        if cause in NOT_COUNTED:
            return False
        if (former := self._changed.pop((key, instance), None)) is not None:
            self._forget_change(former)
        tenth = int(now / self._grain)
        self._changed[key, instance] = tenth
        self._changes[tenth] = self._changes.get(tenth, 0) + 1
        return True

    # --- across restarts

    def spent(self, now: float) -> list[tuple[float, tuple[Scope, ...], int]]:
        """Return what counts now as (when, scopes, how many), gathered by tenths of the window, for saving.

        It is asked for with every batch that withdraws, so it costs the same however much was spent, and of a large
        budget it is told in hundredths, rounded up, so that not every batch makes it another. All of a tenth counts as
        spent at its tenth's end, which may be to come: never shorter than it must.
        """
        self._slide(now)
        gathered = dict(self._gathered)
        for tenth, count in self._changes.items():
            gathered[tenth, (_CHANGES,)] = gathered.get((tenth, (_CHANGES,)), 0) + count
        found = []
        for (tenth, scopes), count in sorted(gathered.items()):
            unit = self._unit(now, scopes)
            found.append(((tenth + 1) * self._grain, scopes, -(-count // unit) * unit))
        return found

    def restore(self, now: float, spent: Iterable[tuple[float, tuple[Scope, ...], int]]) -> None:
        """Put back what was saved."""
        for ago, scopes, count in sorted(spent, reverse=True):
            self._add(Spent(now - ago, _NOBODY, scopes, count))

    def forget_spent(self) -> None:
        """Count nothing as spent: what counts is about to be put back."""
        for mine in (self._spent, self._by_publication, self._gathered, self._changed, self._changes):
            mine.clear()
        for budget in self.budgets.values():
            budget.used = 0

    def spend_all(self, now: float) -> None:
        """Count the sink's window as spent, but for what always passes.

        Nothing is known of what was withdrawn before.
        """
        budget = self._budget(())
        if (rest := budget.limit(now) - budget.minimum - budget.used) > 0:
            self._add(Spent(now, _NOBODY, ((),), rest))
        if (rest := self._most_changes(now) - self.safety.min_removals - self._budget(_CHANGES).used) > 0:
            self._add(Spent(now, _NOBODY, (_CHANGES,), rest))

    # --- inside

    def _unit(self, now: float, scopes: tuple[Scope, ...]) -> int:
        """Return a hundredth of the smallest of these budgets, 1 at least."""
        limits = (self._most_changes(now) if scope == _CHANGES else self._budget(scope).limit(now) for scope in scopes)
        return max(1, min(limits) // 100)

    @staticmethod
    def _scopes(key: PublicationKey) -> tuple[Scope, ...]:
        return ((), ("source", key.service.source), ("entry", key.registration, key.entry))

    def _charged(self, key: PublicationKey, cause: Cause) -> tuple[Scope, ...]:
        scopes = self._scopes(key)
        if cause == "inferred":
            return scopes
        return (scopes[0], scopes[2]) if cause == "health" else (scopes[0],)

    def _budget(self, scope: Scope) -> Budget:
        budget = self.budgets.get(scope)
        if budget is None:
            budget = self.budgets[scope] = Budget(*self._limits(scope))
        return budget

    def _limits(self, scope: Scope) -> tuple[int, int, float]:
        """Return percent, minimum and window."""
        if scope and scope[0] == "source":
            source = self._source_safety(scope[1])
            return source.max_loss_percent, source.min_loss, source.window_seconds
        return self.safety.max_removal_percent, self.safety.min_removals, self.safety.window_seconds

    def _add(self, spent: Spent) -> None:
        self._spent.append(spent)
        self._by_publication.setdefault(spent.publication, {})[id(spent)] = spent
        place = int(spent.at / self._grain), spent.scopes
        self._gathered[place] = self._gathered.get(place, 0) + spent.count
        for scope in spent.scopes:
            self._budget(scope).used += spent.count

    def _uncount(self, spent: Spent) -> None:
        place = int(spent.at / self._grain), spent.scopes
        self._gathered[place] -= spent.count
        if not self._gathered[place]:
            del self._gathered[place]
        for scope in spent.scopes:
            self._budget(scope).used -= spent.count
        if not self._by_publication.get(spent.publication, True):
            del self._by_publication[spent.publication]

    def _give_back(self, key: PublicationKey) -> bool:
        mine = self._by_publication.get(key)
        if not mine:
            return False
        self._uncount(mine.popitem()[1])
        return True

    def _slide(self, now: float) -> None:
        while self._spent and self._spent[0].at < now - self.safety.window_seconds:
            self.refund(self._spent.popleft())
        first = int((now - self.safety.window_seconds) / self._grain)
        while self._changed and next(iter(self._changed.values())) < first:
            _, tenth = self._changed.popitem(last=False)
            self._forget_change(tenth)

    @property
    def _grain(self) -> float:
        return self.safety.window_seconds / 10

    def _most_changes(self, now: float) -> int:
        return max(self.safety.min_removals, self._budget(()).most(now) * self.safety.max_change_percent // 100)

    def _forget_change(self, tenth: int) -> None:
        self._changes[tenth] -= 1
        if not self._changes[tenth]:
            del self._changes[tenth]
