"""What should change for some instances of one publication in one sink.

Desired against the ledger. Pure but for the notes it takes.

Nothing here writes, waits or decides whether a step may be taken: that is for policy and writer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from waypost.adapter import Change, InvalidRecord, Record, fingerprint
from waypost.engine.publish import Withheld, present
from waypost.engine.step import Step
from waypost.model import PublicationKey, PublishedInstance

if TYPE_CHECKING:
    from waypost.engine.ledger import Kept
    from waypost.engine.policy import Cause, HoldCause
    from waypost.engine.publish import Showing
    from waypost.engine.target import Target
    from waypost.model import Instance

__all__ = ["World", "diff", "plan"]


class World:
    """What a plan asks of the engine; see reconcile.Reconciler, which is one."""

    def showing(self, target: str, key: PublicationKey) -> Showing | None:
        """Return how a publication shows in a sink; None where nothing asks for it."""
        raise NotImplementedError

    def instance(self, key: PublicationKey, instance: str) -> Instance | None:
        """Return an instance as the catalog has it."""
        raise NotImplementedError

    def all_instances(self, key: PublicationKey) -> set[str]:
        """Return the ids of all instances of the publication's service, as the catalog has them."""
        raise NotImplementedError

    only_releases = False  # nothing is written or deleted: what is released loses its mark, and no more

    def released(self, target: str, key: PublicationKey) -> str:
        """Say why all that a publication has in a sink is to be left there, ours no more; "" where it is not."""
        return ""

    def released_names(self, target: str, key: PublicationKey) -> Collection[str]:
        """Return the names, in the sink's form, of which a person released what a publication has in a sink."""
        return ()

    def fate(self, target: str, key: PublicationKey, instance: str) -> tuple[Cause | None, HoldCause | None, str]:
        """Say for a record that nothing asks for.

        On whose account it goes, or which hold it needs, or (None, None) it stays; why.
        """
        raise NotImplementedError

    def verdict(self, showing: Showing, instance: Instance) -> bool | None:
        """Return the health verdict; True where no check is asked for, None where there is none yet."""
        raise NotImplementedError

    def draining_seconds(self, key: PublicationKey, instance: str) -> float | None:
        """Return for how long an instance has been draining; while its source is frozen no time passes."""
        raise NotImplementedError

    def ready_count(self, showing: Showing) -> int:
        """Return the ready instances of the showing's source entry."""
        raise NotImplementedError


def plan(world: World, target: Target, key: PublicationKey, instances: Collection[str]) -> list[Step]:
    """Return the steps for these instances, and note in the target what is wrong with them."""
    if reason := world.released(target.name, key):
        return _released(target, key, instances, reason, shown=world.showing(target.name, key) is not None)
    freed = world.released_names(target.name, key) if target.releases else ()
    if world.only_releases and not freed:
        return []
    steps = _planned(world, target, key, instances)
    if freed and set(target.names.left.get(key, ())) <= set(freed):  # it has no other name: what would go stays as well
        steps = [s if s.puts else _release(key, s.instance, s.removals, "a person released the name") for s in steps]
    return [step for step in steps if step.release] if world.only_releases else steps


def _planned(world: World, target: Target, key: PublicationKey, instances: Collection[str]) -> list[Step]:
    showing = world.showing(target.name, key)
    if showing is not None:
        if showing.refused:
            target.set_problem(key, "", showing.refused)
            return _gone(world, target, key, instances)
        target.clear_problem(key, "")
    steps: list[Step] = []
    shown: list[PublishedInstance] = []
    heirs = target.names.sharing(key) if showing is not None else ()
    for name in instances:
        instance = world.instance(key, name) if showing is not None else None
        kept = target.ledger.kept(key, name)
        if showing is None or instance is None:
            target.clear_problem(key, name)
            target.clear_failed(key, name)
            target.clear_twins(key, name)
            if kept and (step := _leftover(world, target, key, name, kept)) is not None:
                steps.append(step)
            continue
        there = kept or _inherited(target, key, name, heirs)
        found = present(
            showing,
            instance,
            verdict=world.verdict(showing, instance),
            was_there=bool(there),
            was_ready=any(k.ready for k in there),
            draining_seconds=world.draining_seconds(key, name) if instance.readiness == "draining" else None,
            ready_count=world.ready_count(showing) if showing.weighted else 0,
        )
        if isinstance(found, PublishedInstance):
            shown.append(found)
            continue
        target.clear_failed(key, name)
        target.clear_twins(key, name)
        if found.problem:
            target.set_problem(key, name, found.reason)
        else:
            target.clear_problem(key, name)
        if kept and not found.keeps:
            if showing.compiled.deletes:
                steps.append(_withdrawal(key, name, kept, found))
            else:
                target.set_problem(key, name, f"its record stays: {found.reason}, and its syncPolicy never deletes")
    if showing is not None and shown:
        steps.extend(_show(world, target, showing, shown))
    return steps


def _released(
    target: Target, key: PublicationKey, instances: Collection[str], reason: str, *, shown: bool
) -> list[Step]:
    """Return the steps that leave in the sink what there is of these instances, ours no more."""
    if shown:
        target.set_problem(key, "", f"nothing of it is written: {reason}")
    steps = []
    for name in instances:
        target.clear_problem(key, name)
        target.clear_failed(key, name)
        target.clear_twins(key, name)
        if not (kept := target.ledger.kept(key, name)):
            continue
        if target.releases:
            steps.append(_release(key, name, (k.key for k in kept), reason))
        else:
            target.set_problem(key, name, f"its record stays: {reason}, and this sink keeps none that is not ours")
    return steps


def _release(key: PublicationKey, name: str, keys: Iterable[str], reason: str) -> Step:
    return Step(key, name, (), tuple(keys), withdraws=False, changes=False, cause="edit", release=True, reason=reason)


def _freed(key: PublicationKey, name: str, kept: Iterable[Kept], loose: Collection[str]) -> Iterable[Step]:
    """Yield the step that leaves those records of an instance that stand under a released name."""
    if left := [k.key for k in kept if k.key in loose]:
        yield _release(key, name, left, "a person released the name")


def _inherited(target: Target, key: PublicationKey, instance: str, sharing: Iterable[PublicationKey]) -> list[Kept]:
    """Return what stands of an instance under the publication's names for others: its registration was renamed."""
    others = (other for other in sharing if other.service == key.service)
    return [kept for other in others for kept in target.ledger.kept(other, instance)]


def _gone(world: World, target: Target, key: PublicationKey, instances: Collection[str]) -> list[Step]:
    """Return the steps for instances that are no more; all others of a publication that is refused stay as they are."""
    steps = []
    for name in instances:
        kept = target.ledger.kept(key, name)
        if kept and world.instance(key, name) is None and (step := _leftover(world, target, key, name, kept)):
            steps.append(step)
    return steps


def _leftover(world: World, target: Target, key: PublicationKey, name: str, kept: Sequence[Kept]) -> Step | None:
    cause, hold, reason = world.fate(target.name, key, name)
    if cause is None and hold is None:
        target.set_problem(key, name, f"its record stays: {reason}")
        return None
    keys = tuple(k.key for k in kept)
    return Step(
        key, name, (), keys, any(k.ready for k in kept), changes=False, cause=cause or "edit", hold=hold, reason=reason
    )


def _withdrawal(key: PublicationKey, name: str, kept: Sequence[Kept], why: Withheld) -> Step:
    keys = tuple(k.key for k in kept)
    return Step(key, name, (), keys, any(k.ready for k in kept), changes=False, cause=why.cause, reason=why.reason)


def _show(world: World, target: Target, showing: Showing, shown: Sequence[PublishedInstance]) -> Iterable[Step]:
    """Render, note what is invalid, leave out what another registration holds, and compare with the ledger."""
    key = showing.publication.key
    records, invalid = _render(target, showing, shown)
    conflicts = {
        name.name: reason for name in showing.publication.names if (reason := target.names.conflict(key, name.name))
    }
    sharing = target.names.sharing(key)
    freed = world.released_names(target.name, key) if target.releases else ()
    for instance in shown:
        name = instance.id
        kept = target.ledger.kept(key, name)
        mine = [record for record in records.get(name, ()) if record.name not in conflicts]
        if freed:
            loose = {record.key for record in mine if target.names.canonical(record.name) in freed}
            yield from _freed(key, name, kept, loose)
            kept = tuple(k for k in kept if k.key not in loose)
            mine = [record for record in mine if record.key not in loose]
        taken = _taken(world, target, sharing, name, mine) if sharing else {}
        clash = next(iter(taken.values()), None)
        if name in invalid:
            target.set_problem(key, name, invalid[name])
            target.failed.setdefault(key, {})[name] = invalid[name]
        elif clash:
            target.set_problem(key, name, f"its record would be the same as that of {_other(clash, key)}")
            mine = [record for record in mine if record.key not in taken]
        elif conflicts:
            target.set_problem(key, name, next(iter(conflicts.values())))
        elif name not in target.failed.get(key, ()):
            target.clear_problem(key, name)
        may_remove = not conflicts and name not in invalid
        spec = showing.compiled.registration.spec
        step = diff(key, name, kept, mine, may_remove=may_remove and showing.compiled.deletes)
        if step is not None and spec.sync_policy == "CreateOnly":
            created = tuple(put for put in step.puts if put.create)
            step = msgspec.structs.replace(step, puts=created, withdraws=False, changes=False)
        if name not in invalid and (step is None or not step.puts):  # it is as it should be, whatever was refused
            target.clear_failed(key, name)
            target.clear_twins(key, name)
            if not conflicts and not clash:
                target.clear_problem(key, name)
        if step is not None and showing.entry.adopts and showing.far.adopts and target.adopts:
            step = msgspec.structs.replace(step, puts=tuple(_adopting(target, key, put) for put in step.puts))
        if step is not None and (step.puts or step.removals):
            yield msgspec.structs.replace(step, cause=target.account.get((key, name), step.cause))
        else:
            target.account.pop((key, name), None)


def _adopting(target: Target, key: PublicationKey, put: Change) -> Change:
    """Let a record that is to be created ask for the same that is nobody's; where that is there, take it over."""
    if not put.create:
        return put
    known = put.key in target.twins.get(key, ()) and (key, put.key) not in target.asking
    return msgspec.structs.replace(put, adopt="take" if known else "ask")


def _taken(
    world: World, target: Target, sharing: Collection[PublicationKey], instance: str, records: Sequence[Record]
) -> dict[str, PublicationKey]:
    """Return those keys of the records that another live publication has, for an instance of the same id.

    What stands under a name that the other no longer wants, or has lost, is there to be taken over.
    """
    names = {record.key: record.name for record in records}
    return {
        kept.key: other
        for other in sharing
        for kept in target.ledger.kept(other, instance)
        if target.names.holds(other, names.get(kept.key, ""))
        and world.showing(target.name, other) is not None
        and world.instance(other, instance) is not None
    }


def _other(other: PublicationKey, key: PublicationKey) -> str:
    """Name another publication; one of another namespace is not named to a registration."""
    near = other.registration.partition("/")[0] == key.registration.partition("/")[0]
    return str(other) if near else "another registration"


def _render(
    target: Target, showing: Showing, shown: Sequence[PublishedInstance]
) -> tuple[dict[str, list[Record]], dict[str, str]]:
    records: dict[str, list[Record]] = {}
    invalid: dict[str, str] = {}
    sink = target.sink
    assert sink is not None

    def take(rendered: Iterable[Record | InvalidRecord]) -> None:
        for item in rendered:
            if isinstance(item, InvalidRecord):
                invalid[item.instance] = str(item)
            else:
                records.setdefault(item.instance, []).append(item)

    _guarded(lambda some: take(sink.render(showing.publication, some)), shown, records, invalid)
    return records, invalid


def _guarded(
    render: Callable[[Sequence[PublishedInstance]], None],
    shown: Sequence[PublishedInstance],
    records: dict[str, list[Record]],
    invalid: dict[str, str],
) -> None:
    """Render all at once; if that fails, one by one, so that one bad instance fails alone."""
    try:
        render(shown)
    except Exception as error:  # noqa: BLE001 - an adapter's bug in one record must not stop the others (promise 8)
        if len(shown) == 1:
            name = shown[0].id
            records.pop(name, None)
            invalid[name] = str(error) if isinstance(error, InvalidRecord) else f"the sink cannot render it: {error!r}"
            return
        records.clear()
        invalid.clear()
        for one in shown:
            _guarded(render, [one], records, invalid)


def diff(
    key: PublicationKey, instance: str, kept: Sequence[Kept], records: Sequence[Record], *, may_remove: bool = True
) -> Step | None:
    """Compare what the sink holds of one instance with what it should hold; None where nothing is to do."""
    have = {k.key: k for k in kept}
    puts = []
    changes = False
    for record in records:
        found = have.pop(record.key, None)
        if found is None:
            puts.append(Change(record.key, record, create=True))
        elif found.fingerprint != fingerprint(record.content):
            puts.append(Change(record.key, record))
            changes = changes or (found.ready and record.ready)
    removals = tuple(have) if may_remove else ()
    if not puts and not removals:
        return None
    stays = any(record.ready for record in records) or (not may_remove and any(k.ready for k in have.values()))
    withdraws = any(k.ready for k in kept) and not stays
    return Step(key, instance, tuple(puts), removals, withdraws, changes)
