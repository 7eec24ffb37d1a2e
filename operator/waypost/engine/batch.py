"""Plans what goes into a sink's next batch: from what is dirty, as policy and people let it pass.

Writes go first. Deletions go when no write is under way, waiting or refused in their publication or under its names; as
many stay as writes were refused. Nothing here is sent, and nothing awaits but to let others run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from waypost.adapter import Change
from waypost.engine import accounts
from waypost.engine.marks import Marks
from waypost.engine.plan import World, plan
from waypost.engine.slices import Slices
from waypost.engine.step import Step
from waypost.engine.target import Planned
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.adapter import Clock, Limits, Sink
    from waypost.engine.holds import Holds
    from waypost.engine.policy import HoldCause, Spent
    from waypost.engine.target import Target

__all__ = ["Batcher", "Item", "Room"]

PLANNED_AT_MOST = 200_000
_NONE = Marks()


class Item(msgspec.Struct):
    """One change of a batch and whose it is. `leads`: it stands for the whole step in the accounts."""

    change: Change
    step: Step
    leads: bool = False
    spent: Spent | None = None


class Room:
    """What still fits into a batch: one record at least, however large; no key twice, and none that is under way."""

    def __init__(self, limits: Limits, flying: Collection[str] = ()) -> None:
        self.records = limits.records
        self.bytes = limits.bytes
        self._flying = flying
        self._keys: set[str] = set()
        self._over = False  # something was too large to go in beside the others

    @property
    def full(self) -> bool:
        """Whether to look no further for what might fit: else all that is dirty is planned anew for each batch."""
        return self.records <= 0 or self.bytes <= 0 or self._over

    def fits(self, change: Change) -> bool:
        """Say whether one more change may go in."""
        size = len(change.record.content) if change.record is not None else 0
        if self.records <= 0 or change.key in self._keys or change.key in self._flying:
            return False
        if size <= self.bytes or not self._keys:
            return True
        self._over = True
        return False

    def take(self, changes: Sequence[Change]) -> list[Change]:
        """Take as many of the changes, from the first on, as fit."""
        taken = []
        for change in changes:
            if not self.fits(change):
                break
            self.records -= 1
            self.bytes -= len(change.record.content) if change.record is not None else 0
            self._keys.add(change.key)
            taken.append(change)
        return taken


class Batcher:
    """Makes the batches of one target."""

    def __init__(
        self,
        target: Target,
        world: World,
        holds: Holds,
        clock: Clock,
        *,
        on_spent: Callable[[], None] = lambda: None,
        on_hold: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_spent` is called before a batch that spends is handed out, `on_hold` when a step waits."""
        self._target = target
        self._world = world
        self._holds = holds
        self._clock = clock
        self._on_spent = on_spent
        self._on_hold = on_hold
        self._slices = Slices(clock)
        self._counted = False  # a rewriting was counted that is not kept yet

    @property
    def _sink(self) -> Sink:
        sink = self._target.sink
        assert sink is not None
        return sink

    async def next(self) -> list[Item]:
        """Plan dirty publications until a batch is full or nothing more can go now."""
        target = self._target
        room = Room(self._sink.limits, target.flying)
        items: list[Item] = []
        for key in list(target.dirty):
            if key in target.busy or key not in target.dirty:
                continue
            if room.full:
                break
            took = await self._fill(key, room)
            if took:
                target.busy.add(key)
                target.flying.update(item.change.key for item in took)
                items.extend(took)
            else:
                target.note_complete(key)
            await self._slices.rest()
        if self._counted or any(item.spent for item in items):
            self._counted = False
            self._on_spent()
        return items

    async def _fill(self, key: PublicationKey, room: Room) -> list[Item]:
        """Plan one publication, a batch's worth at a time, until something is to do or nothing is dirty.

        Others run only while nothing is on its way into the batch.
        """
        target = self._target
        while key in target.dirty and not room.full:
            names = self._take(key, room.records)
            rest = len(target.dirty.get(key) or ())
            took = self._choose(key, names, plan(self._world, target, key, names), room)
            if took or len(target.dirty.get(key) or ()) > rest:
                return took
            await self._slices.rest()
        return []

    def _take(self, key: PublicationKey, room: int) -> list[str]:
        """Take at most `room` dirty instances of a publication; the rest stays dirty, behind the others."""
        target = self._target
        marked = target.dirty.pop(key)
        if marked is None:
            marked = Marks(self._world.all_instances(key) | set(target.ledger.instances(key)))
        names = marked.take(room, lambda name: self._world.instance(key, name) is None)
        if marked:
            target.dirty[key] = marked
        return names

    def _choose(self, key: PublicationKey, names: list[str], steps: list[Step], room: Room) -> list[Item]:
        """Let policy pass or hold each step; return the changes that can go now.

        Writes first; what deletes waits for them.
        """
        target = self._target
        if target.mode != "Apply":
            self._note_planned(key, names, steps)
            return []
        if (back := target.kept_back.get(key)) is not None:
            back.difference_update(names)  # whether they stay is decided anew
        idle = set(names)
        items: list[Item] = []
        later: set[str] = set()
        removing: list[Step] = []
        for wanted in steps:
            idle.discard(wanted.instance)
            step = self._without_twins(wanted)
            if not step.puts:
                removing += [step] if not wanted.puts else []
            elif not room.fits(step.puts[0]):
                later.add(step.instance)
            elif self._passes(step):
                fitting = room.take(step.puts)
                items.extend(self._items(step, fitting))
                if len(fitting) < len(step.puts) and step.instance not in target.failed.get(key, ()):
                    later.add(step.instance)  # what it removes comes up again when a write of it is acknowledged
            self._wait_for_twins(wanted)
        for name in idle:
            self._holds.release(target.name, (key, name))
        if items or later:
            later.update(step.instance for step in removing)
        elif removing:
            items = self._removals(key, removing, room)
        if later:
            target.mark(key, later)
        return items

    def _removals(self, key: PublicationKey, steps: list[Step], room: Room) -> list[Item]:
        """Let deletions go when no write is outstanding beside them; keep as many back as writes were refused."""
        target = self._target
        if self._rest_may_write(key) or self._others_write(target.names.beside(key)):
            target.waiting.setdefault(key, set()).update(step.instance for step in steps)
            return []
        sharing = target.names.sharing(key)
        beside = (key, *target.names.heirs(key))
        refused = sum(not target.ledger.is_ready(p, i) for p in beside for i in target.failed.get(p, ()))
        missing = refused - sum(len(target.kept_back.get(p, ())) for p in beside)
        items: list[Item] = []
        for step in sorted(steps, key=lambda s: s.instance):
            if missing > 0 and not step.hold and not step.release:
                missing -= 1
                target.kept_back.setdefault(key, set()).add(step.instance)
                target.set_problem(key, step.instance, "its record stays: a write beside it was refused")
                continue
            moved = {k.key for other in sharing for k in target.ledger.kept(other, step.instance)}
            for gone in moved.intersection(step.removals):  # another publication has taken the record over
                accounts.drop(target, self._clock.monotonic(), key, step.instance, gone)
            changes = [Change(k, release=step.release) for k in step.removals if k not in moved]
            if not changes:
                continue
            if not room.fits(changes[0]):
                target.mark(key, (step.instance,))
            elif self._passes(step):
                fitting = room.take(changes)
                items.extend(self._items(step, fitting))
                if len(fitting) < len(changes):
                    target.mark(key, (step.instance,))
        return items

    def _items(self, step: Step, changes: Sequence[Change]) -> list[Item]:
        """Make a step's items, the first of which carries what it costs."""
        target, now = self._target, self._clock.monotonic()
        spent = None
        if step.withdraws:
            ready = target.ledger.count_ready(step.key) - target.leaving.get(step.key, 0)
            target.leaving[step.key] = target.leaving.get(step.key, 0) + 1
            spent = target.policy.charge(now, step.key, step.cause, ready)
        elif step.changes:
            self._counted |= target.policy.note_change(now, step.key, step.instance, step.cause)
        return [Item(change, step, n == 0, spent if n == 0 else None) for n, change in enumerate(changes)]

    def _rest_may_write(self, key: PublicationKey) -> bool:
        """Say whether what is dirty of the publication and did not fit beside these may have something to write."""
        rest = self._target.dirty.get(key, _NONE)
        return rest is None or not rest.only_gone()

    def _others_write(self, beside: Collection[PublicationKey]) -> bool:
        """Say whether any publication beside this one has a write under way or waiting."""
        target = self._target
        if any(other in target.busy for other in beside):
            return True
        for other in beside:
            if other in target.dirty:
                marked = target.dirty[other]
                names = self._world.all_instances(other) if marked is None else marked
                if any(step.puts for step in plan(self._world, target, other, list(names))):
                    return True
        return False

    # --- policy

    def _passes(self, step: Step) -> bool:
        """Ask policy and people; what may not pass is noted as waiting."""
        target = self._target
        pair = (step.key, step.instance)
        if step.release:  # consumers see no change
            self._holds.release(target.name, pair)
            return True
        cause = self._hold_cause(step)
        removal = step.withdraws or not step.puts
        decision = self._holds.decision(target.name, pair, removal=removal)
        if decision == "Approve" or (cause is None and decision != "Reject"):
            self._holds.release(target.name, pair)
            return True
        self._holds.wait(target.name, cause or "BudgetExceeded", pair, removal=removal)
        self._on_hold()
        return False

    def _may_take(self, step: Step) -> bool:
        pair = (step.key, step.instance)
        return self._holds.decision(self._target.name, pair, removal=False, takeover=True) == "Approve"

    def _without_twins(self, step: Step) -> Step:
        """Leave out what would take a record over, unless a person has approved it."""
        if not any(put.adopt == "take" for put in step.puts) or self._may_take(step):
            return step
        return msgspec.structs.replace(step, puts=tuple(put for put in step.puts if put.adopt != "take"))

    def _wait_for_twins(self, step: Step) -> None:
        """Let an instance wait for a person as long as a record of it is there and nobody's."""
        where = self._target.twin(step.key, step.instance) if step.puts else ""
        if where and not self._may_take(step):
            pair = (step.key, step.instance)
            self._holds.wait(self._target.name, "Takeover", pair, removal=False, about=where)
            self._on_hold()

    def _hold_cause(self, step: Step) -> HoldCause | None:
        target, now = self._target, self._clock.monotonic()
        if step.hold is not None:
            return step.hold
        if step.withdraws:
            ready = target.ledger.count_ready(step.key) - target.leaving.get(step.key, 0)
            showing = self._world.showing(target.name, step.key)
            min_ready = showing.compiled.min_ready if showing is not None else 0
            return target.policy.may_withdraw(now, step.key, step.cause, ready, min_ready)
        if step.changes:
            return target.policy.may_change(now, step.key, step.instance, step.cause)
        return None

    def _note_planned(self, key: PublicationKey, names: list[str], steps: list[Step]) -> None:
        """Where nothing is written, keep what would be done, and account for it as if it were."""
        target = self._target
        before = {name: target.planned.pop((key, name), None) for name in names}
        for step in steps:
            was = before[step.instance]
            hold = was.hold if was is not None and was.step == step else self._hold_cause(step)
            if hold is None and was is None:
                self._items(step, ())
            if len(target.planned) < PLANNED_AT_MOST:
                target.planned[key, step.instance] = Planned(step, hold)
