"""Steps at a target: answers lost and late, outages, refusals; records lost, altered or taken by others; its stamps."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.acts import act, some_service, some_sink
from tests.simulation.manifests import OWNER
from tests.simulation.model import shown
from tests.simulation.world import World, instance, refusing
from waypost.adapter import AdapterError, Fence, PermanentError
from waypost.model import ServiceKey
from waypost.testing.memory import Fault, Stamp

HAND = b'{"by": "hand"}'


@act(
    14,
    lambda random, schedule: (
        some_sink(random, schedule),
        random.choice(["error", "refused", "hang", "written", "lost", "late", "late"]),
        random.choice([1, 1, 2, 4]),
        round(random.uniform(0, 40), 3),
    ),
)
def sink_fault(world: World, sink: str, kind: str, times: int, seconds: float) -> None:
    """The next batches fail, or their answers are lost, or they are written later."""
    world.disturb(sink)
    error = PermanentError("refused") if kind == "refused" else AdapterError("503")
    kind = "error" if kind == "refused" else kind
    for made in world.sinks(sink):
        made.faults.extend([Fault(kind, error, seconds)] * times)  # type: ignore[arg-type]


@act(4, lambda random, schedule: (some_sink(random, schedule), random.random() < 0.2))
def sink_down(world: World, sink: str, permanent: bool) -> None:
    """The target answers nothing until it is up."""
    world.set_down(sink, PermanentError("refused") if permanent else AdapterError("down"))


@act(7, lambda random, schedule: (some_sink(random, schedule),))
def sink_up(world: World, sink: str) -> None:
    """All is well with the target again."""
    world.disturb(sink)
    world.down.pop(sink, None)
    world.targets[sink].refused_parts.clear()
    world.targets[sink].unrenderable.clear()
    for made in world.sinks(sink):
        made.down, made.observe_breaks, made.latency = None, None, world.outlets[sink].latency
        world.dress(made)


@act(3, lambda random, schedule: (some_sink(random, schedule), random.choice([0.3, 3.0, 20.0])))
def sink_slow(world: World, sink: str, seconds: float) -> None:
    """Each answer takes that long."""
    world.disturb(sink)
    for made in world.sinks(sink):
        made.latency = seconds


@act(
    4,
    lambda random, schedule: (some_sink(random, schedule), f"{some_service(random, schedule)[1]}{random.randrange(6)}"),
)
def sink_refuses(world: World, sink: str, part: str) -> None:
    """The target refuses every record of one instance."""
    world.disturb(sink).refused_parts.add(part)
    for made in world.sinks(sink):
        made.refuse = refusing(world.targets[sink].refused_parts)


@act(
    4,
    lambda random, schedule: (some_sink(random, schedule), *some_service(random, schedule), random.randrange(6, 9)),
    ordeal=True,
)
def refused_successor(world: World, sink: str, source: str, name: str, number: int) -> None:
    """An instance is replaced by one whose record the target refuses."""
    sink_refuses(world, sink, f"{name}{number}")
    known = world.sources[source].services.get(ServiceKey(source, "", name))
    stay = known.instances[1:] if known is not None else ()
    new = [] if any(each.id == f"{name}{number}" for each in stay) else [instance(f"{name}{number}")]
    world.set_service(source, name, [*stay, *new])


@act(
    4,
    lambda random, schedule: (
        some_sink(random, schedule),
        *some_service(random, schedule),
        random.randrange(9),
        random.random() < 0.6,
        random.choice([0.0, 260.0, 260.0]),
    ),
    ordeal=True,
)
async def sink_cannot_render(
    world: World, sink: str, source: str, name: str, number: int, raises: bool, seconds: float
) -> None:
    """The adapter cannot make a record of one of two new instances: it says so, or has a bug and raises."""
    one, other = f"{name}{number}", f"{name}{(number + 4) % 9}"
    world.targets[sink].unrenderable[one] = raises
    known = world.sources[source].services.get(ServiceKey(source, "", name))
    stay = [each for each in (known.instances if known is not None else ()) if each.id not in (one, other)]
    world.set_service(source, name, [*stay, instance(one), instance(other)])
    await asyncio.sleep(seconds)


@act(3, lambda random, schedule: (some_sink(random, schedule), random.randrange(4)))
def look_breaks(world: World, sink: str, records: int) -> None:
    """Looking at what is there breaks off after some records."""
    world.disturb(sink)
    for made in world.sinks(sink):
        made.observe_breaks = records


@act(3, lambda random, schedule: (some_sink(random, schedule),))
def drift_cut(world: World, sink: str) -> None:
    """The watch on the target is cut."""
    world.disturb(sink)
    for made in world.sinks(sink):
        made.cut_drift()


def _nth(world: World, sink: str, nth: int) -> str | None:
    ours = sorted(world.targets[sink].owned(OWNER))
    return ours[nth % len(ours)] if ours else None


@act(4, lambda random, schedule: (some_sink(random, schedule), random.randrange(50)))
def record_lost(world: World, sink: str, nth: int) -> None:
    """Somebody deletes a record of ours."""
    if (key := _nth(world, sink, nth)) is not None:
        world.disturb(sink).set(key, None)


@act(4, lambda random, schedule: (some_sink(random, schedule), random.randrange(50)))
def record_altered(world: World, sink: str, nth: int) -> None:
    """Somebody changes a record of ours."""
    if (key := _nth(world, sink, nth)) is not None:
        target = world.disturb(sink)
        target.set(key, target.records[key].replace(b"8080", b"1"))


@act(3, lambda random, schedule: (some_sink(random, schedule), random.randrange(50)))
def record_taken(world: World, sink: str, nth: int) -> None:
    """Somebody puts a record of theirs in place of ours."""
    if (key := _nth(world, sink, nth)) is not None:
        target = world.disturb(sink)
        target.foreign[key] = HAND
        target.set(key, HAND)


@act(4, lambda random, schedule: (some_sink(random, schedule), some_service(random, schedule)[1], random.randrange(9)))
def record_of_others(world: World, sink: str, name: str, number: int) -> None:
    """Somebody makes a record where one of ours might be."""
    key = f"{name}/{name}{number}"
    if key not in world.targets[sink].records:
        target = world.disturb(sink)
        target.foreign[key] = HAND
        target.set(key, HAND)


@act(4, lambda random, schedule: (some_sink(random, schedule), random.randrange(9)))
def record_of_others_gone(world: World, sink: str, nth: int) -> None:
    """Somebody takes a record of theirs away."""
    target = world.disturb(sink)
    if target.foreign:
        key = sorted(target.foreign)[nth % len(target.foreign)]
        del target.foreign[key]
        target.set(key, None)


def _anew(world: World, target: Any) -> None:
    target.foreign = {key: content for key, content in target.records.items() if shown(content) is None}
    world.judge.writes.restored(target)


@act(3, lambda random, schedule: (some_sink(random, schedule), random.random() < 0.6, random.random() < 0.6))
def target_loses(world: World, sink: str, records: bool, stamps: bool) -> None:
    """The target comes back without its records, its stamps, or both."""
    target = world.disturb(sink)
    target.lose(records=records, stamps=stamps)
    _anew(world, target)


@act(3, lambda random, schedule: (some_sink(random, schedule),))
def target_saved(world: World, sink: str) -> None:
    """A backup is taken."""
    world.targets[sink].backup = world.targets[sink].save()


@act(5, lambda random, schedule: (some_sink(random, schedule),))
def target_restored(world: World, sink: str) -> None:
    """The target goes back to its backup; a stamp that is newer than what is there would be another installation's."""
    target = world.disturb(sink)
    if target.backup is None:
        return
    records, stamps = target.backup
    there, kept = target.stamps.get(OWNER), stamps.get(OWNER)
    if there is None or (kept is not None and kept.fence > there.fence):
        stamps = target.stamps
    target.restore((records, stamps))
    _anew(world, target)


@act(2, lambda random, schedule: (some_sink(random, schedule),))
def rival(world: World, sink: str) -> None:
    """Another installation with our ownerID claims the target."""
    target = world.disturb(sink)
    if OWNER in target.stamps:
        target.claim(target.stamps[OWNER].environment, OWNER, 0)
        world.rivals = True


@act(2, lambda random, schedule: (some_sink(random, schedule),))
def target_exchanged(world: World, sink: str) -> None:
    """At its address another environment's target answers."""
    target = world.disturb(sink)
    if "other" not in target.stamps:
        target.exchanged = (dict(target.records), dict(target.stamps), dict(target.foreign))
        target.restore(({"web/theirs": HAND}, {"other": Stamp("elsewhere", "other", Fence(3))}))
        _anew(world, target)


@act(4, lambda random, schedule: (some_sink(random, schedule),))
def target_back(world: World, sink: str) -> None:
    """At its address the right target answers again."""
    target = world.disturb(sink)
    if "other" in target.stamps and target.exchanged is not None:
        records, stamps, _ = target.exchanged
        target.restore((records, stamps))
        _anew(world, target)
