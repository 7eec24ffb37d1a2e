"""Steps at a source: changes, stated or merely shown; views that are late, partial, stale or empty; outages."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from tests.simulation.acts import act, some_service, some_sink, some_source
from tests.simulation.schedule import Schedule
from tests.simulation.world import World, instance
from waypost.adapter import AdapterError
from waypost.model import ServiceKey

READINESS = ["ready", "ready", "not-ready", "draining", "unknown"]


def _changes(random: Random, schedule: Schedule) -> tuple[Any, ...]:
    """Draw a service and what becomes of some of its instances: gone, or there with a port and a readiness."""
    source, name = some_service(random, schedule)
    changes: list[tuple[Any, ...]] = []
    for _ in range(random.choice([1, 1, 1, 2, 4, 8])):
        one = f"{name}{random.randrange(9)}"
        if random.random() < 0.35:
            changes.append((one, "gone"))
        else:
            changes.append((one, random.choice(READINESS), random.choice([8080, 8080, 8080, 9090])))
    return source, name, tuple(changes)


def _set(world: World, source: str, name: str, changes: Any) -> None:
    known = world.sources[source].services.get(ServiceKey(source, "", name))
    instances = {each.id: each for each in (known.instances if known is not None else ())}
    for one, what, *port in changes:
        if what == "gone":
            instances.pop(one, None)
        else:
            instances[one] = instance(one, port=port[0], readiness=what)
    world.set_service(source, name, list(instances.values()))


@act(30, _changes)
def change(world: World, source: str, name: str, changes: Any) -> None:
    """Instances come, go and change."""
    _set(world, source, name, changes)


@act(6, _changes)
def change_unheard(world: World, source: str, name: str, changes: Any) -> None:
    """The same, but nobody is told; a view shows it."""
    deaf, world.sources[source].deaf = world.sources[source].deaf, True
    _set(world, source, name, changes)
    world.sources[source].deaf = deaf
    if not deaf:
        world.sources[source].read_now()


@act(5, lambda random, schedule: (*some_service(random, schedule), random.random() < 0.5))
def remove_service(world: World, source: str, name: str, told: bool) -> None:
    """A service goes as a whole, and is said to be gone or is only not there any more."""
    at = world.sources[source]
    deaf, at.deaf = at.deaf, at.deaf or not told
    at.delete(ServiceKey(source, "", name))
    at.deaf = deaf
    if not told:
        at.read_now()


@act(8, lambda random, schedule: (some_source(random, schedule),))
def read(world: World, source: str) -> None:
    """The source is read now."""
    world.sources[source].read_now()


@act(3, lambda random, schedule: (some_source(random, schedule),))
def current(world: World, source: str) -> None:
    """The source says that nothing has changed."""
    world.sources[source].current()


@act(5, lambda random, schedule: (some_source(random, schedule), random.random() < 0.2))
def source_down(world: World, source: str, permanent: bool) -> None:
    """The source is down until it recovers."""
    world.sources[source].fail(permanent)


@act(10, lambda random, schedule: (some_source(random, schedule),))
def source_recovers(world: World, source: str) -> None:
    """All is well with the source again."""
    world.sources[source].recover()


@act(3, lambda random, schedule: (some_source(random, schedule),))
def source_hangs(world: World, source: str) -> None:
    """Views that are asked for do not come."""
    world.sources[source].hung = True


@act(4, lambda random, schedule: (some_source(random, schedule), random.choice([0.5, 5.0, 40.0])))
def source_slow(world: World, source: str, seconds: float) -> None:
    """Views show what was when they were asked for, and come late."""
    world.sources[source].read_seconds = seconds
    world.sources[source].read_now()


@act(5, lambda random, schedule: (some_source(random, schedule), random.randrange(3)))
def source_partial(world: World, source: str, services: int) -> None:
    """Views break off after some services."""
    world.sources[source].partial = services
    world.sources[source].read_now()


@act(6, lambda random, schedule: (some_source(random, schedule), random.randrange(3)))
def source_empties(world: World, source: str, services: int) -> None:
    """The source shows few services, or none, in views that seem complete (a master without its agents)."""
    at = world.sources[source]
    at.shows = dict(list(at.services.items())[:services])
    at.read_now()


@act(3, lambda random, schedule: (some_source(random, schedule),))
def source_stale(world: World, source: str) -> None:
    """From now on views show what is now: a replica that is cut off."""
    at = world.sources[source]
    at.shows = dict(at.services)


@act(2, lambda random, schedule: (some_source(random, schedule),))
def source_deaf(world: World, source: str) -> None:
    """The connection is dead and nobody knows it."""
    world.sources[source].deaf = True


@act(
    4,
    lambda random, schedule: (
        *_changes(random, schedule),
        some_sink(random, schedule),
        random.choice([0.0, 0.0, 30.0, 100.0]),
    ),
    ordeal=True,
)
async def source_frozen(world: World, source: str, name: str, changes: Any, sink: str, clings: float) -> None:
    """While a sink is down instances change, and their source is frozen; a watch that clings says more all the same."""
    at = world.sources[source]
    at.clings = clings
    down = world.down.get(sink)
    world.set_down(sink, AdapterError("down"))
    _set(world, source, name, changes)
    at.read_now()
    await asyncio.sleep(0.1)
    world.manifest(f"source/{source}", {"mode": "Frozen"})
    await asyncio.sleep(20.0)
    world.set_down(sink, down)
    for key, known in list(at.services.items()):
        if clings and key.name != name:
            world.set_service(source, key.name, list(known.instances[1:]))


@act(1, lambda random, schedule: (some_source(random, schedule),))
def source_log_cut(world: World, source: str) -> None:
    """The log is compacted."""
    world.sources[source].compact()
