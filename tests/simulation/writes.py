"""What is judged when a record is written, whenever that is: an answer may be late, and a write may be later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.budget import Budget
from tests.simulation.manifests import ENVIRONMENT
from tests.simulation.model import Shown, shown

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.lives import Life
    from tests.simulation.targets import Sending, SimTarget
    from waypost.adapter import Fence

__all__ = ["Writes"]


class Writes:
    """The judge of writes."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._epochs: dict[str, int] = {}  # of each target, the highest that wrote
        self._deleted: dict[tuple[str, str], float] = {}  # (target, key) → when we deleted it
        self._written: dict[tuple[str, str], float] = {}  # (target, key) → when we last wrote or deleted it
        self._restored: dict[str, float] = {}  # target → when it got what nobody wrote then
        self._ready: set[tuple[str, str, str]] = set()  # target, service, instance that a ready record was ever of
        self.budgets: dict[str, Budget] = {}

    def budget(self, target: SimTarget) -> Budget:
        """Return the count of what a target has lost."""
        if (found := self.budgets.get(target.name)) is None:
            found = self.budgets[target.name] = Budget(self._judge, target)
        return found

    def written(
        self, target: SimTarget, sending: Sending, key: str, old: bytes | None, new: bytes | None, fence: Fence | None
    ) -> None:
        """Judge a record that is being written or deleted."""
        broken = self._judge.broken
        if old is not None and shown(old) is None:
            broken(1, f"{key} of somebody else was overwritten in {target.name}")
        if fence is not None and any(stamp.environment != ENVIRONMENT for stamp in target.stamps.values()):
            broken(13, f"{key} was written into {target.name}, whose stamp says another environment")
        if fence is not None:
            if fence.epoch < self._epochs.get(target.name, 0):
                broken(5, f"{key} was written in epoch {fence.epoch}, after {self._epochs[target.name]}")
            self._epochs[target.name] = max(self._epochs.get(target.name, 0), fence.epoch)
        if new is not None and shown(new) is None:
            target.foreign[key] = new  # given up: from now on it is somebody else's
            self.budget(target).begun_anew()
        if new is None:
            self._deleted[target.name, key] = self._judge.world.now()
        elif fence is not None and old is None and self._deleted.get((target.name, key), -1.0) > sending.at:
            broken(9, f"{key} was deleted from {target.name}, and came back by a write that was sent before")
        now = self._judge.world.now()
        since = self._written.get((target.name, key), -1.0)  # one that was sent before, or meanwhile, is no second one
        if new is not None and new == old and now - target.disturbed > 400 and since < sending.at:
            broken(10, f"{key} was written to {target.name} as it was")
        self._written[target.name, key] = now
        if (record := shown(new) if new is not None else None) is not None and record.ready:
            self._ready.add((target.name, record.service, record.instance))
        if now - sending.at > 1.0 and fence is None:  # a late one of a target that cannot refuse it
            self._restored[target.name] = now
        self._judge.world.note(
            f"{target.name} {key} {'deleted' if new is None else shown(new)} by {sending.life.place}"
        )
        self.budget(target).written(sending, key, old, new)

    def was_ready(self, target: SimTarget, record: Shown) -> bool:
        """Say whether a target ever had a ready record of the same instance, whoever registered it."""
        return (target.name, record.service, record.instance) in self._ready

    def last(self, target: SimTarget, key: str) -> float:
        """Return when a record was last written or deleted by anybody of ours."""
        return self._written.get((target.name, key), 0.0)

    def restored_at(self, target: SimTarget) -> float:
        """Return when a target last got what nobody wrote then."""
        return self._restored.get(target.name, -1.0)

    def restored_since(self, target: SimTarget, key: str) -> bool:
        """Say whether what a target has under a key may be there by no write that was made last."""
        return self.restored_at(target) >= self.last(target, key)

    def claims(self, target: SimTarget, life: Life) -> None:
        """Judge a claim as it is sent."""
        self._judge.sends.may_touch(target, "claimed")
        now = self._judge.world.now()
        term = life.elector.number if life.elector is not None else 1
        if life.fenced.get(target.name) == term:
            self._judge.broken(13, f"{target.name} was claimed again by replica {life.place}, which was fenced off it")
        if life.elector is not None and not life.elector.leads(now) and life.elector.lost != now:
            self._judge.broken(5, f"replica {life.place} claimed {target.name} without a lease")

    def fenced(self, target: SimTarget, life: Life) -> None:
        """Take note that an engine was told of a newer epoch."""
        life.fenced[target.name] = life.elector.number if life.elector is not None else 1

    def restored(self, target: SimTarget) -> None:
        """Take note that a target is not what it was: what it holds now came by no write."""
        self._epochs.pop(target.name, None)
        self._restored[target.name] = self._judge.world.now()
        self.budget(target).recount()
