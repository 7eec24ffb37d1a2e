"""All that there is in one run: sources, targets, manifests, engines, and the clock of each."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any, Literal

from tests.simulation.judge import Judge
from tests.simulation.lives import Life, SimElector
from tests.simulation.manifests import OWNER, Manifests
from tests.simulation.schedule import Outlet, Schedule
from tests.simulation.sources import SimSource
from tests.simulation.targets import SimSink, SimTarget
from waypost.adapter import AdapterError, Outcome
from waypost.model import Address, Instance, Port, Service, ServiceKey
from waypost.testing.virtual import VirtualClock

__all__ = ["World", "instance"]


def instance(name: str, *, port: int = 8080, readiness: str = "ready") -> Instance:
    """Return an instance; its address follows from its name."""
    number = Random(name).randrange(1, 60_000)
    address = Address(f"10.1.{number // 250}.{number % 250 + 1}")
    return Instance(name, (address,), (Port(port, "http"),), readiness=readiness)  # type: ignore[arg-type]


class World:
    """The world of one schedule."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self.schedule = schedule
        self.folder = folder
        self.trace: list[str] = []
        self.manifests = Manifests(
            self.now, folder / "manifests" if schedule.files else None, schedule.sharing, schedule.orphans
        )
        self.judge = Judge(self)
        self.sources = {origin.name: SimSource(origin) for origin in schedule.origins}
        self.outlets = {outlet.name: outlet for outlet in schedule.outlets}
        self.targets = {outlet.name: SimTarget(outlet.name, self.judge) for outlet in schedule.outlets}
        self.clocks = [VirtualClock() for _ in range(schedule.replicas)]
        self.lives: list[Life | None] = [None] * schedule.replicas
        self.electors: list[SimElector | None] = [None] * schedule.replicas
        self.folders = [folder / f"state-{place}-0" for place in range(schedule.replicas)]
        self.term = 0
        self.steady = 0.0  # since when no engine was begun or lost its lease
        self.sick: set[str] = set()  # addresses whose checks fail
        self.down: dict[str, AdapterError] = {}
        self.rivals = False  # another installation has claimed a target
        for source, name, count in schedule.services:
            self.set_service(source, name, [instance(f"{name}{n}") for n in range(count)])
        for origin in schedule.origins:
            self.manifests.put(f"source/{origin.name}", origin)
        for outlet in schedule.outlets:
            self.manifests.put(f"sink/{outlet.name}", outlet)
        for name, form in schedule.registrations:
            self.manifests.put(f"registration/{name}", form)

    def now(self) -> float:
        """Return the virtual time, in seconds since the start."""
        return asyncio.get_running_loop().time()

    def note(self, what: str) -> None:
        """Keep what happened: two runs of one schedule must be the same, line by line."""
        self.trace.append(f"{self.now():.6f} {what}")

    # --- words for acts

    def set_service(self, source: str, name: str, instances: list[Instance]) -> None:
        """Set a service at its source."""
        key = ServiceKey(source, "", name)
        self.sources[source].set(Service(key, {}, tuple(instances)))

    def manifest(self, name: str, form: Any) -> None:
        """Write, break or delete a manifest, and let every engine look."""
        self.manifests.put(name, form)
        if name.startswith("sink/"):
            self.targets[name.partition("/")[2]].disturbed = self.now()
        for life in self.lives:
            if life is not None:
                life.look()

    def sinks(self, name: str) -> list[SimSink]:
        """Return the open sinks on a target, one an engine."""
        return [life.sinks[name] for life in self.lives if life is not None and name in life.sinks]

    def set_down(self, name: str, error: AdapterError | None) -> None:
        """Let a target answer nothing but an error; None: let it answer again."""
        self.disturb(name)
        if error is None:
            self.down.pop(name, None)
        else:
            self.down[name] = error
        for made in self.sinks(name):
            made.down = error

    def disturb(self, name: str) -> SimTarget:
        """Return a target to which something is about to happen."""
        target = self.targets[name]
        target.disturbed = self.now()
        return target

    def dress(self, sink: SimSink) -> None:
        """Give a sink that is opened the faults that last."""
        name = sink.context.name
        sink.down = self.down.get(name)
        parts = self.targets[name].refused_parts
        sink.refuse = refusing(parts)

    def is_well(self, target: SimTarget, life: Life) -> bool:
        """Say whether nothing is wrong with a target now."""
        sink = life.sinks.get(target.name)
        return (
            sink is not None
            and not sink.faults
            and sink.down is None
            and sink.observe_breaks is None
            and not target.refused_parts
            and sink.latency < 1.0
            and target.name not in life.fenced
            and isinstance(self.manifests.last_good(f"sink/{target.name}"), Outlet)
            and all(stamp.owner == OWNER for stamp in target.stamps.values())
        )

    def set_sick(self, name: str, *, sick: bool) -> None:
        """Let an instance's checks fail, or pass."""
        address = instance(name).addresses[0].value
        (self.sick.add if sick else self.sick.discard)(address)

    def decide(self, decision: Literal["Approve", "Reject"], seconds: int) -> None:
        """Let a person decide of all that waits, in every engine."""
        for life in self.lives:
            if life is None:
                continue
            for name, hold in list(life.engine.holds.holds.items()):
                if hold.decision and not (decision == "Approve" and hold.decision == "Reject"):
                    continue
                if decision == "Approve":
                    self.judge.sends.approved.update(hold.pairs)
                life.engine.orders.decide(name, decision, "so be it", seconds)
                self.note(f"{decision} {name} {hold.cause} {hold.sample}")

    # --- engines

    def leader(self) -> Life | None:
        """Return the engine that may write now."""
        lives = [life for life in self.lives if life is not None]
        leading = [life for life in lives if life.elector is None or life.elector.leads(self.now())]
        return leading[0] if len(leading) == 1 else None

    async def begin(self, place: int, *, fresh: bool = False) -> None:
        """Start an engine; `fresh`: it has lost its state."""
        if self.lives[place] is not None:
            return
        self.steady = self.now()
        if fresh:
            self.folders[place] = self.folder / f"state-{place}-{len(self.trace)}"
        elector = None
        if self.schedule.replicas > 1:
            elector = self.electors[place] = SimElector(self.clocks[place], self.term)
        self.lives[place] = Life(self, place, self.folders[place], self.clocks[place], elector)
        self.note(f"replica {place} begins")

    async def kill(self, place: int) -> None:
        """Kill an engine, in the middle of whatever it does."""
        life, self.lives[place] = self.lives[place], None
        self.steady = self.now()
        if life is not None:
            self.note(f"replica {place} ends")
            await life.end()
        if (elector := self.electors[place]) is not None:
            elector.last = None

    def elect(self, place: int, seconds: float, *, told: bool, paused: bool) -> None:
        """Let a replica win; the others are told that they lost, or know nothing of it."""
        self.steady = self.now()
        self.term += 1
        for other, elector in enumerate(self.electors):
            if elector is None or self.lives[other] is None:
                continue
            if other == place:
                elector.go_on()
                elector.win(seconds, number=self.term)
            elif told:
                elector.lose()
            elif paused:
                elector.pause()
        if self.schedule.replicas > 1:  # another has the budget now, and knows nothing of what was spent
            for target in self.targets.values():
                self.judge.writes.budget(target).begun_anew()


def refusing(parts: set[str]) -> Any:
    """Return what refuses every write of a key that ends in one of these."""

    def refuse(change: Any) -> Any:
        refused = change.record is not None and change.key.endswith(tuple(parts)) if parts else False
        return Outcome("invalid", "refused") if refused else None

    return refuse
