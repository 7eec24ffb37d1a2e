"""How many ready instances a target has lost within the window, as a person would count them from its records."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

from tests.simulation.model import Publication, Shown, publication_of, shown

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.targets import Sending, SimTarget

__all__ = ["Budget"]

WINDOW = 600.0
ALWAYS = 5
PERCENT = 30
SLACK = 3  # in a handover two hold what one will

Place = str  # a service: who publishes it, and as what, makes no difference to those who ask for it


class Budget:
    """The count of one target. A window that nobody knows of (no state, another replica) may be spent anew."""

    def __init__(self, judge: Judge, target: SimTarget) -> None:
        self._judge = judge
        self._target = target
        self._shown: dict[tuple[Place, str], set[str]] = {}
        self._publications: dict[str, Publication] = {}  # of each key with a ready record
        self._changes: dict[Place, list[tuple[float, int]]] = {}
        self._unwritten: Counter[Publication] | None = None  # what was there before a recount, until we write again
        self._approved = 0
        self._anew: list[float] = []  # when a budget was begun anew

    def begun_anew(self) -> None:
        """Take note that an engine knows nothing of what was spent."""
        self._anew.append(self._judge.world.now())

    def written(self, sending: Sending, key: str, old: bytes | None, new: bytes | None) -> None:
        """Count a write."""
        self._unwritten = None
        before, after = _ready(old), _ready(new)
        if before is not None and (after is None or _place(after) != _place(before)):
            self._count(key, before, ready=False)
            approved = self._judge.sends._approved(before)
            self._approved += approved
            if after is None and not approved:
                self._check(key)
        if after is not None:
            self._count(key, after, ready=True)
            self._publications[key] = publication_of(after)
        else:
            self._publications.pop(key, None)

    def recount(self) -> None:
        """Count anew what is there: it came by no write of ours, and what came so may go without being a loss.

        What a publication gained may go, though the service had as many before, of a registration whose records
        were lost by the same. Of two such changes with no write of ours between, what the first brought came so too.
        """
        before = Counter(self._publications.values())
        if self._unwritten is not None:
            before &= self._unwritten
        self._unwritten = Counter(before)
        self._shown.clear()
        self._changes.clear()
        self._publications.clear()
        for key, content in sorted(self._target.records.items()):
            if (record := _ready(content)) is not None:
                publication = self._publications[key] = publication_of(record)
                had = before[publication] > 0
                before[publication] -= had
                self._count(key, record, ready=True, at=0.0 if had else None)

    def _count(self, key: str, record: Shown, *, ready: bool, at: float | None = None) -> None:
        keys = self._shown.setdefault((_place(record), record.instance), set())
        before = bool(keys)
        (keys.add if ready else keys.discard)(key)
        if (delta := bool(keys) - before) != 0:
            now = self._judge.world.now() if at is None else at
            self._changes.setdefault(_place(record), []).append((now, delta))

    def _check(self, key: str) -> None:
        """Judge the loss: of each publication, what it had all through the window before, and has no more."""
        now = self._judge.world.now()
        lost = owned = 0
        for changes in self._changes.values():
            counts = list(accumulate((delta for _, delta in changes), initial=0))
            times = [0.0, *(at for at, _ in changes)]
            first = max(n for n, at in enumerate(times) if at <= max(0.0, now - 2 * WINDOW))
            base = min(
                count
                for at, count in zip(times[first:], counts[first:], strict=True)
                if at <= now - WINDOW or at == times[first]
            )
            lost += max(0, base - counts[-1])
            owned += max(counts)
        limit = max(ALWAYS, owned * PERCENT // 100)
        anew = sum(now - WINDOW <= at for at in self._anew)
        allowed = limit * (1 + anew) + self._approved + SLACK
        if lost > allowed:
            self._judge.broken(
                4, f"{key} was withdrawn from {self._target.name}: {lost} within the window, {allowed} may be"
            )


def _ready(content: bytes | None) -> Shown | None:
    record = None if content is None else shown(content)
    return record if record is not None and record.ready else None


def _place(record: Shown) -> Place:
    return record.service
