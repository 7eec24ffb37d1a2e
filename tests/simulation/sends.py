"""What is judged when a batch is sent: then an engine has decided, on what it was told until then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tests.simulation.manifests import BROKEN, GONE
from tests.simulation.model import Shown, publication_of, record_of, service_key, shown
from tests.simulation.progress import WELL_SECONDS
from tests.simulation.schedule import Registered
from tests.simulation.targets import Sending, SimTarget
from waypost.engine.holds import pair_hash
from waypost.model import PublicationKey

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.lives import Life
    from tests.simulation.told import Told, Who
    from waypost.adapter import Change

__all__ = ["Sends"]

APPLIED_SECONDS = 6.0  # settings are in force so soon, also where an adapter does not end when told to


class Sends:
    """The judge of batches."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.approved: set[str] = set()  # hashes of pairs that a person ever let go

    def sent(self, target: SimTarget, life: Life, batch: Sequence[Change]) -> Sending:
        """Judge a batch, and return what is to be remembered of it."""
        self._may_write(target, life)
        pairs = [(change, self._old(target, change.key), self._new(change)) for change in batch]
        puts = frozenset(publication_of(new) for _, _, new in pairs if new is not None)
        touches = puts | {publication_of(old) for _, old, new in pairs if old is not None and new is None}
        for other in target.flying:
            if other.life is life and (both := other.touches & touches):
                self._judge.broken(7, f"two batches in flight touch {min(both)} in {target.name}")
        going = {change.key: old for change, old, new in pairs if new is None and old is not None and old.ready}
        for change, old, new in pairs:
            if old is not None and new is None:
                self._left(target, life, change, old)
            if old is not None and old.ready and (new is None or not new.ready):
                self._withdrawal(target, life, change.key, old, new)
            if new is None and old is not None and old.ready:
                self._order(target, life, change.key, old, puts)
            if new is not None:
                self._put(target, life, change.key, old, new)
        gone = {
            key: old for key, old in going.items() if not self._asked(target, life, old) and not self._approved(old)
        }
        self._judge.refusals.deleted(target, life, gone)
        return Sending(life, self._judge.world.now(), batch, puts, touches)

    def _old(self, target: SimTarget, key: str) -> Shown | None:
        content = target.records.get(key)
        return None if content is None else shown(content)

    @staticmethod
    def _new(change: Change) -> Shown | None:
        return None if change.record is None else shown(change.record.content)

    # --- may it write at all

    def _may_write(self, target: SimTarget, life: Life) -> None:
        now = self._judge.world.now()
        if life.elector is not None and not life.elector.leads(now):
            self._judge.broken(5, f"replica {life.place} wrote to {target.name} without a lease")
        self.may_touch(target, "written to")

    def may_touch(self, target: SimTarget, how: str) -> None:
        """Judge that something is done to a target, by what its manifest says now and said just before."""
        modes = [
            form.get("mode", "Apply") if isinstance(form, dict) else "Apply"
            for form in self._forms(f"sink/{target.name}")
        ]
        if modes and "Apply" not in modes:
            self._judge.broken(12, f"{target.name} was {how}, though its manifest says {modes[0]}")

    def _forms(self, name: str) -> list[object]:
        return self._judge.world.manifests.forms(name, self._seconds())

    def _seconds(self) -> float:
        return APPLIED_SECONDS + (4.0 if self._judge.world.manifests.folder is not None else 0.0)

    # --- withdrawals

    def _withdrawal(self, target: SimTarget, life: Life, key: str, old: Shown, new: Shown | None) -> None:
        """Judge a ready record that is to be ready no more."""
        if self._asked(target, life, old) or self._approved(old):
            return
        who = (service_key(old.service), old.instance)
        source = who[0].source
        told = life.told.get(source)
        if told is not None and (told.may_go(who) or (new is not None and self._is_unsure(target, told, who, key))):
            return
        if who[1] in life.failed_checks and self._is_checked(old):
            return
        where = f"{key} in {target.name} was withdrawn by replica {life.place}"
        name = f"registration/{old.registration}"
        state = self._judge.world.manifests.now.get(name, GONE)
        if state in (BROKEN, GONE) and not self._was_asked(life, name):
            self._judge.broken(11, f"{where}, though its registration was not deleted while it ran")
        elif state in (BROKEN, GONE):
            self._judge.broken(11, f"{where}, though its registration is {state} in a set that is not whole")
        elif self._judge.world.manifests.now.get(f"source/{source}", GONE) == GONE:
            self._judge.broken(12, f"{where}, though no more happened than that its source was deleted")
        elif told is None or told.complete is None:
            self._judge.broken(2, f"{where} before source {source} was seen whole")
        else:
            self._judge.broken(2, f"{where}, though its source never said, or showed for long, that it is gone")

    def _is_unsure(self, target: SimTarget, told: Told, who: Who, key: str) -> bool:
        """Say whether it is as ready as its record, of which the engine may not know that it is there again."""
        known = told.known.get(who)
        unknown = known is not None and known.last is not None and known.last.readiness == "unknown"
        return unknown and self._judge.writes.restored_since(target, key)

    def _is_checked(self, old: Shown) -> bool:
        forms = self._judge.world.manifests.history.get(f"registration/{old.registration}", [])
        return any(isinstance(form, Registered) and form.checked for _, form in forms)

    def _was_asked(self, life: Life, name: str) -> bool:
        return self._judge.world.manifests.was_there(name, life.began)

    def _asked(self, target: SimTarget, life: Life, old: Shown) -> bool:
        """Say whether a person's edit withdraws it."""
        manifests = self._judge.world.manifests
        name = f"registration/{old.registration}"
        return self._was_asked(life, name) and (
            manifests.deleted(name, self._seconds())
            or any(_unwanted(form, target.name, old) for form in self._forms(name))
        )

    def _approved(self, old: Shown) -> bool:
        if not self.approved:
            return False
        key = PublicationKey(f"default/{old.registration}", old.entry, service_key(old.service))
        return pair_hash((key, old.instance), removal=True) in self.approved

    def _left(self, target: SimTarget, life: Life, change: Change, old: Shown) -> None:
        """Judge that what a deleted registration leaves stays where it is to be so, and only there."""
        manifests = self._judge.world.manifests
        where = f"{change.key} of {old.registration} in {target.name}"
        if change.release and old.registration not in manifests.orphans:
            self._judge.broken(1, f"{where} was given up, though nobody said so")
        name = f"registration/{old.registration}"
        since, state = manifests.history.get(name, [(0.0, GONE)])[-1]
        now = self._judge.world.now()
        gone = state == GONE and now - since > self._seconds() and manifests.was_whole(since, now)
        passed_on = manifests.asked_since(since, lambda form: not _unwanted(form, target.name, old), apart_from=name)
        known = life.began < since and gone and not passed_on
        if known and not change.release and old.registration in manifests.orphans and not self._approved(old):
            self._judge.broken(1, f"{where} was deleted, though it was to stay")

    # --- order

    def _order(self, target: SimTarget, life: Life, key: str, old: Shown, puts: Iterable[tuple[str, str]]) -> None:
        """Judge the deletion of a ready record: after the writes beside it, and not before it is marked as draining."""
        publication = publication_of(old)
        flying = {p for other in target.flying if other.life is life for p in other.puts}
        if publication in puts or publication in flying:
            self._judge.broken(7, f"{key} was deleted from {target.name} beside a write of {publication} that may fail")
        told = life.told.get(service_key(old.service).source)
        who = (service_key(old.service), old.instance)
        found = told.may_show(who) if told is not None else None
        if found is None or found[0].readiness != "draining" or self._asked(target, life, old):
            return
        _, known = found
        forms = [form for form in self._forms(f"registration/{old.registration}") if isinstance(form, Registered)]
        since = self._judge.world.now() - known.said
        draining = known.absent is None and since < min((f.drain_seconds for f in forms), default=0) - 0.1
        if draining and not self._approved(old):
            self._judge.broken(7, f"{key} is draining and was deleted from {target.name} while it was ready")

    # --- what is written

    def _put(self, target: SimTarget, life: Life, key: str, old: Shown | None, new: Shown) -> None:
        """Judge a record that is to be written: it must say what was told last, and somebody must have asked for it."""
        service = service_key(new.service)
        told = life.told.get(service.source)
        if told is None:
            return
        found = told.may_show((service, new.instance))
        if found is None:
            self._judge.broken(9, f"{key} was written to {target.name}, though its source had said that it is gone")
            return
        forms = self._forms(f"registration/{new.registration}")
        asked = [form for form in forms if isinstance(form, Registered)]
        if BROKEN in forms:  # what it said before holds
            asked += [
                f
                for _, f in self._judge.world.manifests.history[f"registration/{new.registration}"]
                if isinstance(f, Registered)
            ]
        wants = [form for form in asked if form.wants(service.source, service.name) and target.name in form.sinks]
        if not wants and asked:
            self._judge.broken(9, f"{key} was written to {target.name}, though its registration does not ask for it")
        instance, known = found
        if self._judge.world.now() - known.since < 0.05:
            return  # it may have been planned as it was just before
        possible = [record_of(new.registration, form, new.entry, service, instance) for form in wants]
        if wants and not any(_same(record, new) for record in possible):
            self._judge.broken(9, f"{key} was written to {target.name} as {new}; told last was {possible}")
        if instance.readiness == "unknown" and new.ready and not self._judge.writes.was_ready(target, new):
            self._judge.broken(9, f"{key} was written to {target.name} as ready, which its source never said it is")
        if old is not None and old.registration != new.registration:
            self._taken(target, life, key, old, new)

    def _taken(self, target: SimTarget, life: Life, key: str, old: Shown, new: Shown) -> None:
        """Judge a record that goes over to another registration: its former one let it go since it was written.

        A target that was restored, or that late writes reach, has what nobody wrote; a name may be of both. It is
        where both share their names; where somebody has disturbed the target, what was lost is of who writes it next.
        """
        both = {old.registration, new.registration} <= {*self._judge.world.manifests.sharing}
        shared = both and self._judge.world.now() - target.disturbed < WELL_SECONDS
        if (
            shared
            or self._judge.writes.restored_since(target, key)
            or any(
                record.registration == new.registration and record.name == new.name
                for content in target.records.values()
                if (record := shown(content)) is not None
            )
        ):
            return
        last = self._judge.writes.last(target, key)
        since = self._judge.world.now() - last
        forms = self._judge.world.manifests.forms(f"registration/{old.registration}", max(since, self._seconds()))
        service = service_key(old.service)
        told = life.told.get(service.source)
        if (
            told is not None
            and told.is_ready((service, old.instance), 1.0)
            and not told.was_away(service, last)
            and all(isinstance(form, Registered) and not _unwanted(form, target.name, old) for form in forms)
        ):
            self._judge.broken(1, f"{key} in {target.name} was taken from {old.registration} by {new.registration}")


def _unwanted(form: object, sink: str, old: Shown) -> bool:
    """Say whether a registration in this form does not ask for a record."""
    if not isinstance(form, Registered):
        return False
    service = service_key(old.service)
    asked = form.wants(service.source, service.name) and sink in form.sinks and old.entry == sink
    return not asked or form.names(service.name) != old.name


def _same(record: Shown | None, new: Shown) -> bool:
    """Say whether a record says what it should; one that is not ready may be so for a check's sake."""
    if record is None or record.ready == new.ready:
        return record == new
    return (
        not new.ready
        and record.addresses == new.addresses
        and (record.ports, record.mark, record.name) == (new.ports, new.mark, new.name)
    )
