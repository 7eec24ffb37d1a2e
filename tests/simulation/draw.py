"""A schedule from a seed."""

from __future__ import annotations

from random import Random

import msgspec

from tests.simulation import acts_engines, acts_manifests, acts_sinks, acts_sources  # noqa: F401 - they register
from tests.simulation.acts import ACTS
from tests.simulation.schedule import Origin, Outlet, Registered, Schedule, Step

__all__ = ["drawn"]

WAITS = [0.0, 0.003, 0.006, 0.05, 0.3, 1.0, 3.0, 8.0, 30.0, 30.0, 130.0, 400.0]
ORDEALS = 0.35
HANDING = 0.25
NAMES = ["web", "api", "db", "mail"]


def drawn(seed: int) -> Schedule:
    """Return the schedule of a seed, the same in every process."""
    random = Random(seed)
    blank = _world(random, seed)
    count = random.choice([8, 12, 15, 20, 25, 30]) if random.random() < 0.9 else random.randint(40, 80)
    chosen = _chosen(random)
    weights = [ACTS[name].weight for name in chosen]
    steps: list[Step] = []
    while len(steps) < count:
        (name,) = random.choices(chosen, weights)
        args = ACTS[name].draw(random, blank)
        if args is not None:
            steps.append(Step(random.choice(WAITS), name, args))
    _beset(Random(f"ordeals of {seed}"), blank, steps)
    return _handing(Random(f"handing of {seed}"), msgspec.structs.replace(blank, steps=tuple(steps)))


def _handing(random: Random, schedule: Schedule) -> Schedule:
    """Let registrations of a quarter of the schedules share names, and leave their records; drawn apart as well."""
    if random.random() >= HANDING:
        return schedule
    names = sorted({*(name for name, _ in schedule.registrations), *"xyz"})
    sharing = tuple(name for name in names if random.random() < 0.7)
    orphans = tuple(name for name in names if random.random() < 0.3)
    return msgspec.structs.replace(schedule, sharing=sharing, orphans=orphans)


def _beset(random: Random, schedule: Schedule, steps: list[Step]) -> None:
    """Put ordeals into a third of the schedules; drawn apart, so that all else in a schedule is as it was."""
    if random.random() >= ORDEALS:
        return
    names = sorted(name for name in ACTS if ACTS[name].ordeal)
    for name in random.choices(names, [ACTS[name].weight for name in names], k=random.choice([1, 2, 3])):
        if (args := ACTS[name].draw(random, schedule)) is not None:
            steps.insert(random.randint(0, len(steps)), Step(random.choice(WAITS), name, args))


def _chosen(random: Random) -> list[str]:
    """Draw which acts there are: fewer kinds together go deeper."""
    names = sorted(name for name in ACTS if not ACTS[name].ordeal)
    if random.random() < 0.4:
        return names
    return [name for name in names if ACTS[name].weight >= 8 or random.random() < 0.4]


def _world(random: Random, seed: int) -> Schedule:
    origins = [Origin("mem", random.choice(["facts", "facts", "snapshots", "resumes"]), random.choice([20.0, 60.0]))]
    if random.random() < 0.4:
        origins.append(Origin("far", random.choice(["facts", "snapshots", "resumes"])))
    outlets = [_outlet(random, "out")]
    if random.random() < 0.35:
        outlets.append(_outlet(random, "too"))
    services = [
        (random.choice(origins).name, name, random.choice([1, 2, 3, 4, 6, 8]))
        for name in NAMES[: random.choice([1, 2, 2, 3, 4])]
    ]
    checked = random.random() < 0.12
    blank = Schedule(
        seed=seed,
        origins=tuple(origins),
        outlets=tuple(outlets),
        services=tuple(services),
        registrations=tuple(
            (name, Registered(source, name, name, tuple(o.name for o in outlets), checked=checked))
            for source, name, _ in services
        ),
        steps=(),
        replicas=random.choice([1, 1, 1, 1, 1, 2, 2, 3]),
        files=random.random() < 0.25,
    )
    drawn = [(name, acts_manifests.drawn_registration(random, blank)) for name, _ in blank.registrations]
    kept = tuple(made if random.random() < 0.3 else old for old, made in zip(blank.registrations, drawn, strict=True))
    return msgspec.structs.replace(blank, registrations=kept)


def _outlet(random: Random, name: str) -> Outlet:
    return Outlet(
        name,
        records=random.choice([1, 3, 64, 64]),
        in_flight=random.choice([1, 3, 4]),
        latency=random.choice([0.0, 0.0, 0.02, 0.3]),
        fenced=random.random() < 0.85,
    )
