"""Sends one sink's batches, within the sink's limits, and takes what their outcomes mean.

There is no queue of writes: a batch is planned from the newest state when there is room for it, so that the latest
wins. At most one batch in flight touches a publication. Deletions go when no write is under way, waiting or refused in
their publication or under its names. After an unknown outcome nothing is sent until the batches in flight are back, the
generation is advanced and the keys are looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING

from waypost.adapter import AdapterError, Fenced, NotClaimed, Outcome, PermanentError, fingerprint
from waypost.engine import accounts
from waypost.engine.batch import Batcher, Item
from waypost.engine.ledger import Kept
from waypost.engine.plan import World
from waypost.kit.backoff import Backoff
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from random import Random

    from waypost.adapter import Clock, Sink
    from waypost.engine.changes import Ring
    from waypost.engine.holds import Holds
    from waypost.engine.target import Target

__all__ = ["Writer"]

WINDOW_SECONDS = 0.005  # how long marks gather before they are planned; fixed, never begun again
APPLY_SECONDS = 30.0  # after that long a batch's outcome is unknown, whatever the adapter does

_UNKNOWN = Outcome("unknown", "no outcome")

log = logging.getLogger(__name__)


async def _at_once() -> bool:
    return True


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
        may_send: Callable[[], Awaitable[bool]] = _at_once,
    ) -> None:
        """`may_write` says whether the term still holds.

        `on_spent` is called before a batch that spends is sent, `on_hold` when a step waits. `may_send` is awaited
        before each batch; where it says no, the batch is given back and planned again.
        """
        self._target = target
        self._holds = holds
        self._batcher = Batcher(target, world, holds, clock, on_spent=on_spent, on_hold=on_hold)
        self._ring = ring
        self._clock = clock
        self._may_write = may_write
        self._may_send = may_send
        self._in_flight = 0
        self._uncertain: dict[str, tuple[PublicationKey, str]] = {}
        self._refused: AdapterError | None = None
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
                    items = await self._batcher.next()
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

    # --- sending

    async def _send(self, items: list[Item]) -> None:
        target = self._target
        batch = [item.change for item in items]
        outcomes: Mapping[str, Outcome] = {}
        try:
            if not await self._may_send():
                outcomes = dict.fromkeys((change.key for change in batch), Outcome("superseded"))
                self._hesitate = self._hesitation.failed()
                return
            if self._uncertain:  # since this was planned: it is planned again when what is there is known
                outcomes = dict.fromkeys((change.key for change in batch), Outcome("superseded"))
                return
            async with asyncio.timeout(APPLY_SECONDS):
                outcomes = await self._sink.apply(batch, target.fence)
            self._backoff.reset()
            target.recover(self._clock.wall())
            if any(outcome.status in {"superseded", "unknown"} for outcome in outcomes.values()):
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
            self._hesitate = self._hesitation.failed()
            log.exception(
                "sink=%s error='the adapter failed; the outcome of %d changes is unknown'", target.name, len(batch)
            )
        finally:
            self._in_flight -= 1
            target.busy.difference_update(item.step.key for item in items)
            target.flying.difference_update(item.change.key for item in items)
            self._settle(items, outcomes)
            uncertain = {key for key, _ in self._uncertain.values()}
            for key in {item.step.key for item in items} - uncertain:
                target.note_complete(key)
            target.stir()
            target.wake.set()

    def _settle(self, items: list[Item], outcomes: Mapping[str, Outcome]) -> None:
        target, now = self._target, self._clock.monotonic()
        found = [(item, outcomes.get(item.change.key, _UNKNOWN)) for item in items]
        sharing: dict[PublicationKey, Collection[PublicationKey]] = {}
        found.sort(key=lambda pair: pair[1].status != "applied")  # what was refused has the last word on an instance
        for item, outcome in found:
            step, change = item.step, item.change
            if item.leads and step.withdraws:
                self._leave_done(step.key)
            if outcome.status == "applied":
                if (beside := sharing.get(step.key)) is None:
                    beside = sharing[step.key] = target.names.sharing(step.key)
                self._settle_applied(item, now, beside)
                continue
            if item.spent is not None:
                if outcome.status == "unknown":
                    target.unsure.append(((step.key, step.instance), item.spent))
                else:
                    target.policy.refund(item.spent)
            if outcome.status == "superseded":
                target.mark(step.key, (step.instance,))
            elif outcome.status == "identical":
                target.twins.setdefault(step.key, {})[change.key] = step.instance, outcome.reason
                target.asking.discard((step.key, change.key))
                target.mark(step.key, (step.instance,))
            elif outcome.status == "unknown":
                self._uncertain[change.key] = (step.key, step.instance)
            else:
                reason = f"{outcome.status}: {outcome.reason}"
                if outcome.status == "conflict":
                    accounts.drop(target, now, step.key, step.instance, change.key)  # whatever it was, it is not ours
                target.clear_twin(step.key, change.key)
                if change.record is not None:
                    target.failed.setdefault(step.key, {})[step.instance] = reason
                target.set_problem(step.key, step.instance, reason)
                self._ring.refused(target.name, step, change.key, outcome)

    def _settle_applied(self, item: Item, now: float, sharing: Collection[PublicationKey]) -> None:
        target, step, change = self._target, item.step, item.change
        if change.record is not None:
            for other in sharing:
                if any(k.key == change.key for k in target.ledger.kept(other, step.instance)):
                    accounts.drop(target, now, other, step.instance, change.key)  # taken over, and never counted twice
                    target.mark(other, (step.instance,))
            kept = Kept(change.key, fingerprint(change.record.content), change.record.ready)
            accounts.own(target, now, step.key, target.ledger.put(step.key, step.instance, kept))
            target.names.found(step.key, change.record.name)
            target.clear_failed(step.key, step.instance)
            known = target.clear_twin(step.key, change.key)
            if known and not target.twin(step.key, step.instance):
                self._holds.taken_over(target.name, (step.key, step.instance))
            if known or step.removals:
                target.mark(step.key, (step.instance,))
        else:
            accounts.drop(target, now, step.key, step.instance, change.key)
            for other in sharing:  # the place is free: who shows the same instance under the name may have it
                target.mark(other, (step.instance,))
        if (step.withdraws or change.record is None) and not target.ledger.is_ready(step.key, step.instance):
            self._holds.withdrawn(target.name, (step.key, step.instance))
        target.account.pop((step.key, step.instance), None)
        target.written += 1
        self._ring.applied(target.name, step, change)

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
        now = self._clock.monotonic()
        for key, (publication, instance) in uncertain.items():
            seen = found.get(key)
            whose = seen.publication if seen is not None else publication
            if seen is None or whose != publication:  # not written, or it is another's by now
                accounts.drop(target, now, publication, instance, key)
                for other in target.names.sharing(publication):
                    target.mark(other, (instance,))
            if seen is not None:
                kept = Kept(key, seen.fingerprint, seen.ready)
                accounts.own(target, now, whose, target.ledger.put(whose, seen.instance, kept))
                target.names.found(whose, seen.name)
                target.mark(whose, (seen.instance,))
            target.mark(publication, (instance,))
        target.refund_undone()
        self._uncertain = {}
