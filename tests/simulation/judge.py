"""Finds what breaks a promise, from what the test knows itself.

`sends` judges a batch as it is sent, `writes` a record as it is written, `progress` what is there after each step.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from tests.simulation.progress import check_progress
from tests.simulation.refusals import Refusals
from tests.simulation.sends import Sends
from tests.simulation.writes import Writes

if TYPE_CHECKING:
    from tests.simulation.targets import SimTarget
    from tests.simulation.world import World

__all__ = ["PROMISES", "Judge", "Violation"]

PROMISES = {
    0: "the engine has no bugs of its own",
    1: "never changes or deletes a record it does not own",
    2: "without a complete view nothing is deleted; emptiness needs time and agreeing reads",
    3: "when faults stop, the sink equals the plan",
    4: "withdrawals and mass changes beyond a budget wait in a Hold",
    5: "a leader whose epoch or lease is past writes nothing",
    6: "a restart with unchanged inputs deregisters nothing and writes no record",
    7: "deletions come after writes are acknowledged; a draining instance stops being ready first",
    8: "one bad record, service, registration, adapter or sink fails alone",
    9: "what was removed is never brought back by a late answer or a late write",
    10: "idle costs nothing: no writes when nothing changed",
    11: "a manifest that cannot be read is not gone",
    12: "deleting or breaking a source or a sink deletes no record",
    13: "nothing is written under another environment's stamp; who was fenced off does not claim again",
}


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, when and how."""

    promise: int
    at: float
    what: str

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"at {self.at:.3f} s, promise {self.promise} ({PROMISES[self.promise]}): {self.what}"


class Judge:
    """Collects violations."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.refusals = Refusals(self)
        self.sends = Sends(self)
        self.writes = Writes(self)

    def unsure(self, target: SimTarget, keys: Collection[str]) -> None:
        """Judge a batch that is sent while what became of former writes is not known."""
        self.broken(9, f"{target.name} is sent more, though what became of {', '.join(sorted(keys))} is not known")

    def broken(self, promise: int, what: str) -> None:
        """Say that a promise is broken."""
        self.violations.append(Violation(promise, self.world.now(), what))

    def check(self) -> None:
        """Check what holds at every moment."""
        for target in self.world.targets.values():
            for key, content in target.foreign.items():
                if target.records.get(key) != content:
                    self.broken(1, f"the record {key} of somebody else was touched in {target.name}")
        check_progress(self)
