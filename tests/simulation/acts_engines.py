"""Steps at the engines and the people beside them: kills, restarts, elections, clocks, holds, health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from tests.simulation.acts import act, some_replica, some_service, some_source
from tests.simulation.budget import WINDOW

if TYPE_CHECKING:
    from tests.simulation.world import World

CALM_SECONDS = 2.1 * WINDOW  # what was there before is what the budget counts from


@act(5, lambda random, schedule: (some_replica(random, schedule), random.choice([0.0, 0.01, 3.0, 60.0])))
async def restart(world: World, place: int, seconds: float) -> None:
    """An engine is killed, and another begins where it was."""
    await world.kill(place)
    await asyncio.sleep(seconds)
    await world.begin(place)


@act(2, lambda random, schedule: (some_replica(random, schedule), random.choice([0.0, 3.0])))
async def restart_fresh(world: World, place: int, seconds: float) -> None:
    """An engine is killed, and another begins without its state."""
    await world.kill(place)
    await asyncio.sleep(seconds)
    for target in world.targets.values():
        world.judge.writes.budget(target).begun_anew()
    await world.begin(place, fresh=True)


@act(3, lambda random, schedule: (some_source(random, schedule),) if schedule.replicas == 1 else None, ordeal=True)
async def losses_over_restarts(world: World, source: str) -> None:
    """After long calm one service after the other is said to have no instances, and the engine is killed in between."""
    at = world.sources[source]
    await asyncio.sleep(CALM_SECONDS)
    for key in list(at.services):
        world.set_service(source, key.name, [])
        at.read_now()
        await asyncio.sleep(5.0)
        await world.kill(0)
        await world.begin(0)
        await asyncio.sleep(20.0)


@act(2, lambda random, schedule: (some_replica(random, schedule),))
async def kill(world: World, place: int) -> None:
    """An engine is killed, and does not come back by itself."""
    await world.kill(place)


@act(4, lambda random, schedule: (some_replica(random, schedule),))
async def begin(world: World, place: int) -> None:
    """An engine begins where none is."""
    await world.begin(place)


@act(
    4,
    lambda random, schedule: (
        (
            some_replica(random, schedule),
            random.choice([5.0, 60.0, 900.0]),
            random.random() < 0.6,
            random.random() < 0.5,
        )
        if schedule.replicas > 1
        else None
    ),
)
def elect(world: World, place: int, seconds: float, told: bool, paused: bool) -> None:
    """A replica wins the lease for so long."""
    world.elect(place, seconds, told=told, paused=paused)


@act(2, lambda random, schedule: (some_replica(random, schedule), random.choice([-3600.0, -30.0, 30.0, 3600.0])))
def clock_jumps(world: World, place: int, seconds: float) -> None:
    """A machine's wall clock is set."""
    world.clocks[place].jump(seconds)
    if seconds > 0:
        for target in world.targets.values():
            world.judge.writes.budget(target).begun_anew()


@act(5, lambda random, schedule: (random.choice(["Approve", "Reject"]), random.choice([5, 900])))
def decide(world: World, decision: Literal["Approve", "Reject"], seconds: int) -> None:
    """A person decides of all that waits."""
    world.decide(decision, seconds)


@act(3, lambda random, schedule: (f"{some_service(random, schedule)[1]}{random.randrange(6)}", random.random() < 0.6))
def health(world: World, name: str, sick: bool) -> None:
    """An instance's checks fail, or pass again."""
    world.set_sick(name, sick=sick)
