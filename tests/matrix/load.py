"""The changes that go on: instances come and go in manifests, all the time, and a log says what was really removed.

Each change replaces an instance, or adds or removes one, in one of a few services; each service is a file of its own,
written at once. Before an instance is removed, the target itself is asked where its log stands.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

from tests.matrix.judge import Log, Place, Position
from tests.matrix.target import Target

PACE_SECONDS = 0.15  # between two changes
FEWEST, FIRST, MOST = (
    28,
    30,
    32,
)  # instances of a service: what is replaced during an outage is less than maxLossPercent


class Load:
    """What runs, by service. `write` declares a service's instances."""

    def __init__(self, target: Target, services: int, write: Callable[[str, list[str]], None]) -> None:
        self.log = Log()
        self.changes = 0
        self._target = target
        self._write = write
        self._numbers = itertools.count()
        self._random = random.Random(7)
        self._known: Position = (0, 0)
        self._acknowledged: set[Place] = set()
        self.services: dict[str, list[str]] = {f"s{n}": [] for n in range(services)}
        for name in self.services:
            for _ in range(FIRST):
                self._add(name)
            self._declare(name)

    def _add(self, name: str) -> None:
        instance = f"i{next(self._numbers):04}"
        self.services[name].append(instance)
        self.log.declared.add(f"{name}/{instance}")

    def _declare(self, name: str) -> None:
        self._write(name, self.services[name])

    async def change(self, name: str) -> None:
        """Replace an instance, or add or remove one."""
        had = self.services[name]
        kind = self._random.choice(["replace", "replace", "add", "remove"])
        removes = kind != "add" if len(had) > FEWEST else False
        adds = kind != "remove" if len(had) < MOST else False
        if removes:
            await self._remove(name, self._random.choice(had))
        if adds or not removes:
            self._add(name)
        self._declare(name)
        self.changes += 1

    async def _remove(self, name: str, instance: str) -> None:
        """Note where the target stands, then let the instance go. What it has acknowledged must still be there."""
        life = self._known[0]
        try:
            self._known, there = await self._target.look()
        except (OSError, ValueError, LookupError):  # it is down or frozen: nothing happens there
            pass
        else:
            if self._known[0] != life:
                self._acknowledged = set()  # it has lost its state: that is nobody's fault
            removed = self.log.removed.keys()
            lost = (self._acknowledged & self.log.running) - there
            self.log.early += [f"{place}: lives, and is not there at {self._known}" for place in sorted(lost)]
            self._acknowledged = there - removed
        self.services[name].remove(instance)
        self.log.removed[f"{name}/{instance}"] = self._known

    async def run(self) -> None:
        """Change one after the other, until cancelled."""
        for name in itertools.cycle(self.services):
            await self.change(name)
            await asyncio.sleep(PACE_SECONDS)  # the pace of what happens, not a wait
