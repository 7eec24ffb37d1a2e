"""Carries one sink's plan out: batches of what is dirty, within the sink's limits, and what their outcomes mean.

There is no queue of writes: a batch is planned from the newest state when there is room for it, so that the latest
wins. At most one batch in flight touches a publication. Deletions go when no write is under way, waiting or refused in
their publication or under its names. After an unknown outcome nothing is sent until the batches in flight are back, the
generation is advanced and the keys are looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from waypost.adapter import AdapterError, Change, Fenced, NotClaimed, Outcome, PermanentError, fingerprint
from waypost.engine.ledger import Kept
from waypost.engine.plan import Step, World, plan
from waypost.engine.target import Planned
from waypost.kit.backoff import Backoff
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock, Limits, Sink
    from waypost.engine.changes import Ring
    from waypost.engine.holds import Holds
    from waypost.engine.policy import HoldCause, Spent
    from waypost.engine.target import Target

__all__ = ["Writer"]

WINDOW_SECONDS = 0.005  # how long marks gather before they are planned; fixed, never begun again
SLICE_SECONDS = 0.002  # how long a pass may run before it lets others run
APPLY_SECONDS = 30.0  # after that long a batch's outcome is unknown, whatever the adapter does
PLANNED_AT_MOST = 200_000

_UNKNOWN = Outcome("unknown", "no outcome")

log = logging.getLogger(__name__)


class _Item(msgspec.Struct):
    """One change of a batch and whose it is. `leads`: it stands for the whole step in the accounts."""

    change: Change
    step: Step
    leads: bool = False
    spent: Spent | None = None


class _Room:
    """What still fits into a batch: one record at least, however large; no key twice."""

    def __init__(self, limits: Limits) -> None:
        self.records = limits.records
        self.bytes = limits.bytes
        self._keys: set[str] = set()

    def fits(self, change: Change) -> bool:
        size = len(change.record.content) if change.record is not None else 0
        return self.records > 0 and change.key not in self._keys and (size <= self.bytes or not self._keys)

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


class Writer:
    """The writer of one target."""

    def __init__(
        self,
        target: Target,
        world: World,
        holds: Holds,
        ring: Ring,
        clock: Clock,
        random: Random,
        *,
        may_write: Callable[[], bool] = lambda: True,
        on_spent: Callable[[], None] = lambda: None,
        on_hold: Callable[[], None] = lambda: None,
    ) -> None:
        """`may_write` says whether the term still holds.

        `on_spent` is called before a batch that spends is sent, `on_hold` when a step waits.
        """
        self._target = target
        self._world = world
        self._holds = holds
        self._ring = ring
        self._clock = clock
        self._may_write = may_write
        self._on_spent = on_spent
        self._on_hold = on_hold
        self._in_flight = 0
        self._uncertain: dict[str, tuple[PublicationKey, str]] = {}
        self._refused: AdapterError | None = None
        self._counted = False  # a rewriting was counted that is not kept yet
        self._backoff = Backoff(random, first=0.2, limit=30.0)
        self._hesitation = Backoff(random, first=0.01, limit=1.0)
        self._hesitate = 0.0  # seconds before the next batch: the target did not write, and asked to be sent it again

    async def run(self) -> None:
        """Write until cancelled.

        Raises what ends the session: Fenced, NotClaimed, or an AdapterError of `observe` and `advance`.
        """
        target = self._target
        async with asyncio.TaskGroup() as group:
            while True:
                await target.wake.wait()
                target.wake.clear()
                await self._clock.sleep(WINDOW_SECONDS)
                if self._hesitate:
                    delay, self._hesitate = self._hesitate, 0.0
                    await self._clock.sleep(delay)
                while self._may_write() and not self._refused and not self._hesitate:
                    if self._uncertain:
                        if self._in_flight:
                            break  # a batch that returns wakes us
                        await self._make_certain()
                    if self._in_flight >= self._sink.limits.in_flight:
                        break
                    items = await self._next_batch()
                    if items:
                        self._in_flight += 1
                        group.create_task(self._send(items))
                    elif self._in_flight or not target.waiting:
                        break
                    else:
                        target.stir()  # nothing is under way: what waits has nothing to wait for
                if self._refused and not self._in_flight:
                    await self._pause()

    async def _pause(self) -> None:
        """Wait before trying again what the target refused as a whole (it is down, or does not let us)."""
        error, self._refused = self._refused, None
        permanent = isinstance(error, PermanentError)
        delay = self._backoff.failed()
        news = self._target.fail("Refused" if permanent else "Unreachable", str(error), self._clock.wall())
        level = logging.WARNING if news else logging.DEBUG
        log.log(level, "sink=%s error=%r retry_seconds=%.1f", self._target.name, str(error), delay)
        await self._clock.sleep(delay)
        self._target.wake.set()

    @property
    def _sink(self) -> Sink:
        sink = self._target.sink
        assert sink is not None
        return sink

    # --- planning

    async def _next_batch(self) -> list[_Item]:
        """Plan dirty publications until a batch is full or nothing more can go now."""
        target = self._target
        room = _Room(self._sink.limits)
        items: list[_Item] = []
        began = self._clock.monotonic()
        for key in list(target.dirty):
            if key in target.busy or key not in target.dirty:
                continue
            if room.records <= 0 or room.bytes <= 0:
                break
            took = self._fill(key, room)
            if took:
                target.busy.add(key)
                items.extend(took)
            elif key not in target.dirty and key not in target.waiting and key not in target.failed:
                shelf = target.ledger.shelves.get(key)
                if shelf is not None:
                    shelf.settled = True
            if self._clock.monotonic() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = self._clock.monotonic()
        if self._counted or any(item.spent for item in items):
            self._counted = False
            self._on_spent()
        return items

    def _fill(self, key: PublicationKey, room: _Room) -> list[_Item]:
        """Plan one publication, a batch's worth at a time, until something is to do or nothing is dirty."""
        target = self._target
        while key in target.dirty and room.records > 0:
            names = self._take(key, room.records)
            rest = len(target.dirty.get(key) or ())
            took = self._choose(key, names, plan(self._world, target, key, names), room)
            if took or len(target.dirty.get(key) or ()) > rest:
                return took
        return []

    def _take(self, key: PublicationKey, room: int) -> list[str]:
        """Take at most `room` dirty instances of a publication; the rest stays dirty, behind the others."""
        target = self._target
        marked = target.dirty.pop(key)
        names = (
            list(self._world.all_instances(key) | set(target.ledger.instances(key))) if marked is None else list(marked)
        )
        if marked is None:
            names.sort()
        if len(names) > room:
            target.dirty[key] = set(names[room:])
        return names[:room]

    def _choose(self, key: PublicationKey, names: list[str], steps: list[Step], room: _Room) -> list[_Item]:
        """Let policy pass or hold each step; return the changes that can go now.

        Writes first; what deletes waits for them.
        """
        target = self._target
        if target.mode != "Apply":
            self._note_planned(key, names, steps)
            return []
        idle = set(names)
        items: list[_Item] = []
        later: set[str] = set()
        removing: list[Step] = []
        for step in steps:
            idle.discard(step.instance)
            if not step.puts:
                removing.append(step)
            elif not room.fits(step.puts[0]):
                later.add(step.instance)
            elif self._passes(step):
                fitting = room.take(step.puts)
                items.extend(self._items(step, fitting))
                if step.removals or len(fitting) < len(step.puts):
                    later.add(step.instance)
        for name in idle:
            self._holds.release(target.name, (key, name))
        if items or later:
            later.update(step.instance for step in removing)
        elif removing:
            items = self._removals(key, removing, room)
        if later:
            target.mark(key, later)
        return items

    def _removals(self, key: PublicationKey, steps: list[Step], room: _Room) -> list[_Item]:
        """Let deletions go when no write is outstanding beside them; keep as many back as writes were refused."""
        target = self._target
        sharing = target.names.sharing(key)
        if self._others_write(sharing):
            target.waiting.setdefault(key, set()).update(step.instance for step in steps)
            return []
        missing = sum(len(target.failed.get(other, ())) for other in (key, *sharing))
        items: list[_Item] = []
        for step in sorted(steps, key=lambda s: s.instance):
            if missing > 0 and not step.hold:
                missing -= 1
                target.kept_back.setdefault(key, set()).add(step.instance)
                target.set_problem(key, step.instance, "its record stays: a write beside it was refused")
                continue
            moved = {k.key for other in sharing for k in target.ledger.kept(other, step.instance)}
            for gone in moved.intersection(step.removals):  # another publication has taken the record over
                self._settle_drop(key, step.instance, gone)
            changes = [Change(k) for k in step.removals if k not in moved]
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

    def _items(self, step: Step, changes: Sequence[Change]) -> list[_Item]:
        """Make a step's items, the first of which carries what it costs."""
        target, now = self._target, self._clock.monotonic()
        spent = None
        if step.withdraws:
            ready = target.ledger.count_ready(step.key) - target.leaving.get(step.key, 0)
            target.leaving[step.key] = target.leaving.get(step.key, 0) + 1
            spent = target.policy.charge(now, step.key, step.cause, ready)
        elif step.changes:
            self._counted |= target.policy.note_change(now, step.key, step.instance, step.cause)
        return [_Item(change, step, n == 0, spent if n == 0 else None) for n, change in enumerate(changes)]

    def _others_write(self, sharing: set[PublicationKey]) -> bool:
        """Say whether any publication that shares a name has a write under way or waiting."""
        target = self._target
        if any(other in target.busy for other in sharing):
            return True
        for other in sharing:
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
        cause = self._hold_cause(step)
        removal = step.withdraws or not step.puts
        decision = self._holds.decision(target.name, pair, removal=removal)
        if decision == "Approve" or (cause is None and decision != "Reject"):
            self._holds.release(target.name, pair)
            return True
        self._holds.wait(target.name, cause or "BudgetExceeded", pair, removal=removal)
        self._on_hold()
        return False

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

    # --- sending

    async def _send(self, items: list[_Item]) -> None:
        target = self._target
        batch = [item.change for item in items]
        outcomes: Mapping[str, Outcome] = {}
        try:
            async with asyncio.timeout(APPLY_SECONDS):
                outcomes = await self._sink.apply(batch, target.fence)
            self._backoff.reset()
            target.recover(self._clock.wall())
            if any(outcome.status == "superseded" for outcome in outcomes.values()):
                self._hesitate = self._hesitation.failed()
            else:
                self._hesitation.reset()
        except (Fenced, NotClaimed):
            outcomes = dict.fromkeys((change.key for change in batch), Outcome("superseded"))
            raise
        except AdapterError as error:  # nothing was sent
            outcomes = dict.fromkeys((change.key for change in batch), Outcome("superseded"))
            self._refused = error
        except TimeoutError:
            log.warning("sink=%s error='no answer within %.0f s' changes=%d", target.name, APPLY_SECONDS, len(batch))
        except Exception:
            log.exception(
                "sink=%s error='the adapter failed; the outcome of %d changes is unknown'", target.name, len(batch)
            )
        finally:
            self._in_flight -= 1
            target.busy.difference_update(item.step.key for item in items)
            self._settle(items, outcomes)
            target.stir()
            target.wake.set()

    def _settle(self, items: list[_Item], outcomes: Mapping[str, Outcome]) -> None:
        target = self._target
        for item in items:
            step, change = item.step, item.change
            outcome = outcomes.get(change.key, _UNKNOWN)
            if item.leads and step.withdraws:
                self._leave_done(step.key)
            if outcome.status == "applied":
                self._settle_applied(item)
                continue
            if item.spent is not None:
                if outcome.status == "unknown":
                    target.unsure.append(((step.key, step.instance), item.spent))
                else:
                    target.policy.refund(item.spent)
            if outcome.status == "superseded":
                target.mark(step.key, (step.instance,))
            elif outcome.status == "unknown":
                self._uncertain[change.key] = (step.key, step.instance)
            else:
                reason = f"{outcome.status}: {outcome.reason}"
                if outcome.status == "conflict":
                    self._settle_drop(step.key, step.instance, change.key)  # whatever it was, it is not ours
                if change.record is not None:
                    target.failed.setdefault(step.key, {})[step.instance] = reason
                target.set_problem(step.key, step.instance, reason)
                self._ring.refused(target.name, step, change.key, outcome)

    def _settle_applied(self, item: _Item) -> None:
        target, step, change = self._target, item.step, item.change
        if change.record is not None:
            kept = Kept(change.key, fingerprint(change.record.content), change.record.ready)
            self._own(step.key, target.ledger.put(step.key, step.instance, kept))
            target.names.found(step.key, change.record.name)
            target.clear_failed(step.key, step.instance)
            for other in target.names.sharing(step.key):
                if any(k.key == change.key for k in target.ledger.kept(other, step.instance)):
                    self._settle_drop(other, step.instance, change.key)  # taken over
                    target.mark(other, (step.instance,))
        else:
            self._settle_drop(step.key, step.instance, change.key)
        if (step.withdraws or change.record is None) and not target.ledger.is_ready(step.key, step.instance):
            self._holds.withdrawn(target.name, (step.key, step.instance))
        target.account.pop((step.key, step.instance), None)
        target.written += 1
        self._ring.applied(target.name, step, change)

    def _settle_drop(self, key: PublicationKey, instance: str, record: str) -> None:
        target = self._target
        self._own(key, target.ledger.drop(key, instance, record))
        if key not in target.ledger.shelves:
            for other in target.names.emptied(key):
                target.mark(other, None)

    def _own(self, key: PublicationKey, delta: int) -> None:
        if delta:
            target = self._target
            shelf = target.ledger.shelves.get(key)
            ready = shelf.ready if shelf is not None else 0
            settled = shelf.settled if shelf is not None else True
            target.policy.own(self._clock.monotonic(), key, ready - delta, delta, settled=settled)

    def _leave_done(self, key: PublicationKey) -> None:
        left = self._target.leaving.get(key, 0) - 1
        if left > 0:
            self._target.leaving[key] = left
        else:
            self._target.leaving.pop(key, None)

    async def _make_certain(self) -> None:
        """After unknown outcomes: make late writes fail, then look at what is there."""
        target = self._target
        uncertain = self._uncertain
        if target.fence is not None:
            target.fence = await self._sink.advance(target.fence)
        found = {}
        async for observed in self._sink.observe(list(uncertain)):
            found[observed.key] = observed
        for key, (publication, instance) in uncertain.items():
            seen = found.get(key)
            if seen is None:
                self._settle_drop(publication, instance, key)
            else:
                self._own(
                    publication, target.ledger.put(publication, instance, Kept(key, seen.fingerprint, seen.ready))
                )
            target.mark(publication, (instance,))
        target.refund_undone()
        self._uncertain = {}
