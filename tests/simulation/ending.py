"""The end of a schedule: faults stop, a person lets everything pass, and what is there must be what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tests.simulation.manifests import BROKEN, GONE, OWNER
from tests.simulation.model import Shown, shown, wanted
from tests.simulation.schedule import Registered
from waypost.model import Service

if TYPE_CHECKING:
    from tests.simulation.targets import SimTarget
    from tests.simulation.world import World

__all__ = ["end"]

ROUNDS = 30
ROUND_SECONDS = 100.0
SETTLED_AFTER = 4  # rounds: by then what is doubted is believed, also what has no name of its own
IDLE_SECONDS = 700.0


async def end(world: World, over: Callable[[], bool]) -> None:
    """Let everything be well, and judge promises 3, 6 and 10."""
    world.note("--- faults stop")
    await _well(world)
    wrong = ""
    for number in range(1, ROUNDS + 1):
        for source in world.sources.values():
            source.read_now()
        await asyncio.sleep(ROUND_SECONDS)
        world.decide("Approve", 10_000)
        if over():
            return
        wrong = _difference(world)
        if not wrong and number >= SETTLED_AFTER:
            break
    else:
        world.judge.broken(3, f"{ROUNDS * ROUND_SECONDS:g} s after all faults stopped: {wrong}")
        return
    await asyncio.sleep(ROUND_SECONDS)
    if over() or not await _idles(world, "idle", 10):
        return
    aside = _aside(world)
    for place in range(world.schedule.replicas):
        await world.kill(place)
        await world.begin(place)
    world.elect(0, 1e9, told=True, paused=False)
    await _idles(world, "after a restart with nothing changed", 6, aside)


async def _idles(world: World, when: str, promise: int, aside: Collection[tuple[str, str, str]] = ()) -> bool:
    """Judge that nothing is written; what was left aside is nobody's fault (see `_aside`)."""
    logs = {name: len(target.log) for name, target in world.targets.items()}
    await asyncio.sleep(IDLE_SECONDS if promise == 10 else 30.0)
    for name, target in world.targets.items():
        writes = target.log[logs[name] :]
        if promise == 6:
            contested = {
                _whose(write) for write in writes if _is_contested(world, name, write) or _was_aside(aside, name, write)
            }
            writes = [write for write in writes if _whose(write) not in contested]
        if writes:
            write = writes[0]
            world.judge.broken(
                promise, f"{when}, {name} is written to: {write.key} from {write.old!r} to {write.new!r}"
            )
            return False
    return True


def _whose(write: Any) -> str:
    record = shown(write.old if write.new is None else write.new)
    return "" if record is None else record.registration


def _is_contested(world: World, sink: str, write: Any) -> bool:
    """Say whether a record is made under a name that several want and nobody had: another may be first now."""
    record = shown(write.new) if write.new is not None and write.old is None else None
    forms = [form for form in world.manifests.now.values() if isinstance(form, Registered) and sink in form.sinks]
    return record is not None and sum("{" in form.name or form.name == record.name for form in forms) > 1


def _aside(world: World) -> set[tuple[str, str, str]]:
    """Return who stands aside in a conflict with records under the name all the same: (sink, name, registration).

    An engine that begins knows from records alone who had a name. Where others have some under it, it may be theirs
    then, and those of them that it asks for otherwise are made right. Names that all of them share have no conflict.
    """
    found = set()
    for sink, target in world.targets.items():
        for published, claimants, there in _names_in(world, sink, target):
            if len(claimants) > 1 and not claimants.keys() <= {*world.manifests.sharing}:
                for holder, mine in claimants.items():
                    stand = {key: record for key, record in there.items() if record.registration == holder}
                    if stand and stand != mine:
                        found.add((sink, published, holder))
    return found


def _was_aside(aside: Collection[tuple[str, str, str]], sink: str, write: Any) -> bool:
    record = shown(write.new) if write.new is not None else None
    return record is not None and (sink, record.name, record.registration) in aside


async def _well(world: World) -> None:
    """End all faults, then all else that is wrong."""
    for name, source in world.sources.items():
        source.recover()
        for key, known in list(source.services.items()):
            stay = [each for each in known.instances if each.readiness not in {"unknown", "draining"}]
            world.set_service(name, key.name, stay)
    world.sick.clear()
    world.down.clear()
    for name, target in world.targets.items():
        world.disturb(name)
        if "other" in target.stamps:
            target.restore(({}, {}))
            target.foreign.clear()
        target.refused_parts.clear()
        target.unrenderable.clear()
        for taken in list(target.foreign):
            del target.foreign[taken]
            target.set(taken, None)
        for sink in world.sinks(name):
            sink.faults.clear()
            sink.observe_breaks = None
            sink.latency = world.outlets[name].latency
            world.dress(sink)
    await _mended(world)


async def _mended(world: World) -> None:
    """Mend all manifests, and start what is down."""
    for name in world.sources:
        world.manifest(f"source/{name}", world.sources[name].origin)
    for name in world.targets:
        world.manifest(f"sink/{name}", world.outlets[name])
    for name, form in list(world.manifests.now.items()):
        if form == BROKEN:
            former = [f for _, f in world.manifests.history[name] if f not in (BROKEN, GONE)]
            world.manifest(name, former[-1] if former else GONE)
    for place in range(world.schedule.replicas):
        if world.rivals:  # who was fenced off stays so until it is started again
            await world.kill(place)
        await world.begin(place)
    world.elect(0, 1e9, told=True, paused=False)


def _difference(world: World) -> str:
    """Say in what a target differs from what should be there; "" where in nothing.

    A name that several registrations ask for is one's, whichever. Who may not have its name keeps what it had. Where a
    record stands that was left to nobody meanwhile, there is a conflict.
    """
    for name, target in world.targets.items():
        names = list(_names_in(world, name, target))
        contested = {holder for _, claimants, _ in names if len(claimants) > 1 for holder in claimants}
        for published, claimants, there in names:
            found = {
                key: record
                for key, record in there.items()
                if record.registration in claimants or record.registration not in contested
            }
            shared = {holder for holder in claimants if holder in world.manifests.sharing}
            stands = any(_stands(found, claimants, holder) for holder in claimants.keys() - shared)
            if not stands and not _stand(found, claimants, shared) and (claimants or found):
                said = " or ".join(map(_said, claimants.values())) or "nothing"
                return f"{name} has under {published} {_said(found)}; asked for is {said}"
    return ""


def _names_in(
    world: World, sink: str, target: SimTarget
) -> Iterator[tuple[str, Mapping[str, Mapping[str, Shown]], Mapping[str, Shown]]]:
    """Yield each name of a sink, what each registration asks for under it, and the records of ours that are there."""
    forms = {k.partition("/")[2]: f for k, f in sorted(world.manifests.now.items()) if isinstance(f, Registered)}
    asked: dict[str, dict[str, Mapping[str, Shown]]] = {}  # name → registration → its records
    for registration, form in forms.items():
        services = list(world.sources[form.source].services.values())
        for published in _names(form, sink, services):
            records = wanted(registration, form, sink, services)
            mine = {
                key: record for key, record in records.items() if record.name == published and key not in target.foreign
            }
            asked.setdefault(published, {})[registration] = mine
    there: dict[str, dict[str, Shown]] = {}
    for key, content in target.owned(OWNER).items():
        if (record := shown(content)) is not None:
            there.setdefault(record.name, {})[key] = record
    for published in sorted({*asked, *there}):
        yield published, asked.get(published, {}), there.get(published, {})


def _stands(found: Mapping[str, Shown], claimants: Mapping[str, Mapping[str, Shown]], holder: str) -> bool:
    """Say whether a name is as it should be if this claimant has it: its records, and what others were left with."""
    return {key: record for key, record in found.items() if record.registration == holder} == claimants[holder] and all(
        record.registration in claimants for record in found.values()
    )


def _stand(found: Mapping[str, Shown], claimants: Mapping[str, Mapping[str, Shown]], holders: set[str]) -> bool:
    """Say whether a name is as it should be if these hold it together: of one instance that several show, once."""
    wanted: dict[str, list[Shown]] = {}
    for holder in holders:
        for key, record in claimants[holder].items():
            wanted.setdefault(key, []).append(record)
    theirs = {key: record for key, record in found.items() if record.registration in holders}
    return (
        bool(holders)
        and theirs.keys() == wanted.keys()
        and all(record in wanted[key] for key, record in theirs.items())
        and all(record.registration in claimants for record in found.values())
    )


def _names(form: Registered, sink: str, services: list[Service]) -> set[str]:
    return {
        form.names(service.key.name)
        for service in services
        if sink in form.sinks and form.wants(service.key.source, service.key.name)
    }


def _said(records: Mapping[str, Shown]) -> str:
    return "{" + "; ".join(f"{key} {record}" for key, record in sorted(records.items())) + "}"
