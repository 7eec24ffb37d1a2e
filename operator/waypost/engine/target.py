"""One sink as the engine knows it.

What is dirty, what it holds, who has which name, what is wrong. Data only; the writer moves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from waypost.engine.ledger import Ledger
from waypost.engine.marks import Marks
from waypost.engine.names import Names
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from waypost.adapter import Fence, Sink
    from waypost.engine.policy import Cause, HoldCause, Policy, Spent
    from waypost.engine.publish import Far
    from waypost.engine.step import Step

__all__ = ["Condition", "Planned", "Target"]

Pair = tuple[PublicationKey, str]
Mode = Literal["Apply", "DryRun", "Paused"]


class Condition(msgspec.Struct, frozen=True):
    """How it stands: a CamelCase reason and a sentence for people; `since` in wall seconds."""

    ok: bool
    reason: str
    message: str = ""
    since: float = 0.0


class Planned(msgspec.Struct, frozen=True):
    """A step that is not taken, because the sink is not written to, and the hold that it would wait in."""

    step: Step
    hold: HoldCause | None = None


class Target:
    """The state of one sink.

    `dirty[key]` is which instances to look at again, or None for all of the publication.
    """

    def __init__(self, name: str, far: Far, mode: Mode, policy: Policy, touched: set[str] | None = None) -> None:
        """`touched` takes the registrations of which something is done, or to be done, here."""
        self.touched = set() if touched is None else touched
        self.name = name
        self.far = far
        self.mode = mode
        self.policy = policy
        self.place: object = None  # type, ownerID and config: two sinks of one place find the same records
        self.sink: Sink | None = None
        self.fence: Fence | None = None
        self.releases = False  # it can leave records behind that are nobody's
        self.adopts = False  # it can take over records that are nobody's
        self.loaded = False  # observed in whole, in this term
        self.ledger = Ledger()
        self.names = Names(lambda _: ())
        self.dirty: dict[PublicationKey, Marks | None] = {}
        self.waiting: dict[PublicationKey, set[str]] = {}  # removals that wait for writes under way
        self.busy: set[PublicationKey] = set()  # a batch in flight touches them
        self.flying: set[str] = set()  # the record keys in those batches: one may go from a publication to another
        self.failed: dict[PublicationKey, dict[str, str]] = {}  # writes that the target refused: instance → reason
        # records that are there already, the same and nobody's: publication → key → instance, and where
        self.twins: dict[PublicationKey, dict[str, tuple[str, str]]] = {}
        self.asking: set[tuple[PublicationKey, str]] = set()  # … that are asked for again, by publication and key
        self.kept_back: dict[PublicationKey, set[str]] = {}  # removals that stay because of those
        self.problems: dict[
            PublicationKey, dict[str, str]
        ] = {}  # what a person should know: instance ("" for all) → reason
        self.account: dict[Pair, Cause] = {}  # whose a rewrite is, where not the source's: an edit, the target's loss
        self.leaving: dict[PublicationKey, int] = {}  # ready pairs whose withdrawal is on its way
        self.unsure: list[tuple[Pair, Spent]] = []  # what was counted for withdrawals whose outcome is unknown
        self.planned: dict[Pair, Planned] = {}  # in DryRun and Paused: what would be done
        self.condition = Condition(ok=False, reason="Starting")
        self.wake = asyncio.Event()
        self.look_due = asyncio.Event()
        self.written = 0

    def mark(self, key: PublicationKey, instances: Collection[str] | None) -> None:
        """Look again at these instances of a publication; None: at all of them."""
        self.touched.add(key.registration)
        if instances is None:
            self.dirty[key] = None
        else:
            present = self.dirty.setdefault(key, Marks())
            if present is None:
                return
            present.add(instances)
        self.wake.set()

    def mark_pairs(self, pairs: Iterable[Pair]) -> None:
        """Look again at these pairs."""
        for key, instance in pairs:
            self.mark(key, (instance,))

    def stir(self) -> None:
        """Look again at what waited for writes under way."""
        waiting, self.waiting = self.waiting, {}
        for key, instances in waiting.items():
            self.mark(key, instances)

    def set_problem(self, key: PublicationKey, instance: str, reason: str) -> None:
        """Say what is wrong with one instance, or with the publication as a whole ("")."""
        self.problems.setdefault(key, {})[instance] = reason

    def clear_problem(self, key: PublicationKey, instance: str) -> None:
        """Say that nothing is wrong with it any more."""
        if (mine := self.problems.get(key)) is not None and mine.pop(instance, None) is not None and not mine:
            del self.problems[key]

    def clear_failed(self, key: PublicationKey, instance: str) -> None:
        """Say that no write of this instance stands refused."""
        if (mine := self.failed.get(key)) is None or mine.pop(instance, None) is None:
            return
        if not mine:
            del self.failed[key]
        back, self.kept_back = self.kept_back, {}
        for other, instances in back.items():
            self.mark(other, instances)

    def twin(self, key: PublicationKey, instance: str) -> str:
        """Return where the same record is for an instance, and nobody's; "" where none is known."""
        twins = self.twins.get(key)
        return next((where for name, where in twins.values() if name == instance), "") if twins else ""

    def clear_twins(self, key: PublicationKey, instance: str) -> None:
        """Forget what is known of records that are the same as this instance's."""
        if (twins := self.twins.get(key)) is not None:
            for record in [record for record, (name, _) in twins.items() if name == instance]:
                self.clear_twin(key, record)

    def clear_twin(self, key: PublicationKey, record: str) -> bool:
        """Forget that the same as a record is there; say whether it was known."""
        self.asking.discard((key, record))
        if (twins := self.twins.get(key)) is None or twins.pop(record, None) is None:
            return False
        if not twins:
            del self.twins[key]
        return True

    def ask_again(self) -> None:
        """Look anew whether what waits to be taken over is there, and the same."""
        for key, twins in self.twins.items():
            self.asking.update((key, record) for record in twins)
            self.mark(key, {name for name, _ in twins.values()})

    def note_complete(self, key: PublicationKey) -> None:
        """Tell the policy that a publication is as wanted, where nothing of it is left to do, under way or refused."""
        self.touched.add(key.registration)
        if not any(key in left for left in (self.dirty, self.busy, self.waiting, self.failed)):
            self.policy.complete(key)

    def succeed(self, former: Target) -> None:
        """Go on from a former form of this sink that wrote to the same place: what was counted stays counted."""
        former.policy.follow(self.policy.safety)
        self.policy = former.policy
        self.unsure = former.unsure
        self.account = former.account

    def refund_undone(self) -> None:
        """Take back what withdrawals cost that did not happen; called when the ledger knows what became of them."""
        for pair, spent in self.unsure:
            if self.ledger.is_ready(*pair):
                self.policy.refund(spent)
        self.unsure.clear()

    def fail(self, reason: str, message: str, wall: float) -> bool:
        """Say that the sink cannot be read or written, and why; return whether that is news."""
        if not self.condition.ok and self.condition.reason == reason and self.condition.message == message:
            return False
        since = wall if self.condition.ok else self.condition.since
        self.condition = Condition(ok=False, reason=reason, message=message, since=since)
        return True

    def well(self, wall: float) -> Condition:
        """Return the condition of a sink that is read, and written where its mode says so."""
        return Condition(ok=True, reason="Writing" if self.mode == "Apply" else self.mode, since=wall)

    def recover(self, wall: float) -> None:
        """Say that the sink is written to again; a look at all of it is due after an outage."""
        if not self.condition.ok:
            self.look_due.set()
            self.condition = Condition(ok=True, reason="Writing", since=wall)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: nothing dirty, nothing under way."""
        return self.loaded and not self.dirty and not self.busy and not self.waiting
