"""What is spent of sinks' budgets, known in each term whoever led before.

In the state folder it outlives this process, beside the elector's lease it outlives the leader; where neither tells it,
all that a sink allows counts as spent. How much that is, and what it lets pass, is the policy's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waypost.engine.budgets import SpentFile

if TYPE_CHECKING:
    from waypost.adapter import Clock
    from waypost.engine.beside import Beside
    from waypost.engine.leadership import Leadership
    from waypost.engine.target import Target

__all__ = ["SinkSpending", "Spending"]


class Spending:
    """Of all sinks; what it knows of a sink outlives that sink's runner."""

    def __init__(self, folder: Path, clock: Clock, leadership: Leadership, beside: Beside) -> None:
        """Nothing is read yet; `folder` has a file a sink."""
        self.folder = folder
        self.clock = clock
        self.leadership = leadership
        self.beside = beside
        self.counted: dict[str, int] = {}  # sink → the term in which what is spent of its budgets was last known

    def of(self, target: Target) -> SinkSpending:
        """Return one sink's, for a runner that begins."""
        return SinkSpending(self, target)

    def files(self) -> list[tuple[str, bytes]]:
        """Return what the state folder has of sinks' budgets, by the names under which the next leader finds it."""
        return [(_kept_as(file.stem), file.read_bytes()) for file in self.folder.glob("*.json")]


class SinkSpending:
    """Of one sink, while its runner lives."""

    def __init__(self, every: Spending, target: Target) -> None:
        """Nothing is read yet."""
        self._every = every
        self._target = target
        self._kept_as = _kept_as(target.name)
        clock = every.clock
        self._file = SpentFile(every.folder / f"{target.name}.json", clock.monotonic, clock.wall)

    def observed(self) -> None:
        """Take note that all that the sink holds is known, and nothing is planned yet."""
        target, now = self._target, self._every.clock.monotonic()
        if target.unsure:
            target.refund_undone()
            self.save()
        first = not target.policy.begun
        target.policy.observed(now, {key: shelf.ready for key, shelf in target.ledger.shelves.items()})
        if not self._know(first=first) and target.ledger.records:
            target.policy.spend_all(now)
        if target.mode == "Apply":
            self.save()

    def save(self) -> None:
        """Keep what is spent now in the state folder."""
        self._file.save(self._target.policy)

    async def may_send(self) -> bool:
        """Have the next leader know what is spent, before it is; say whether that may be done now."""
        every = self._every
        if self._target.mode != "Apply" or not every.beside.active:
            return True
        return await every.beside.kept(self._kept_as, self._file.content) and every.leadership.leads()

    def _know(self, *, first: bool) -> bool:
        """Have what is spent known in this term, whoever led before; say whether it is."""
        every, target = self._every, self._target
        term, former = every.leadership.term, every.counted.get(target.name)
        if every.leadership.elector is None or target.mode != "Apply" or term is None:
            return not first or self._file.load(target.policy)
        every.counted[target.name] = term.number
        if every.beside.active:
            if former == term.number and not first:
                return True
            return self._file.take_up(target.policy, every.beside.value(self._kept_as))
        if first:
            return term.number == 1 and self._file.load(target.policy)
        return former is not None and term.number <= former + 1  # else another may have led


def _kept_as(sink: str) -> str:
    """Return what it is called beside the lease."""
    return f"budget.{sink}"
