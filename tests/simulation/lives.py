"""One engine's life, from its start to its end by kill, and what it was told in it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulation.manifests import GONE, OWNER, Feed, Handed
from tests.simulation.model import Shown, service_key, shown
from tests.simulation.targets import SimSink, SimTarget
from tests.simulation.told import Told, Who
from waypost.adapter import AdapterType, Limits, Term
from waypost.engine.engine import Engine
from waypost.engine.overlay import HealthOverlay
from waypost.health.check import PASSED, Outcome, failed
from waypost.kit.metrics import MetricsRegistry
from waypost.testing.memory import MemoryConfig, ScriptedElector
from waypost.testing.virtual import VirtualClock

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Life", "SimElector"]

RESYNC_SECONDS = 120.0


class SimElector(ScriptedElector):
    """An elector of which the test knows what it has said last."""

    last: Any = None
    lost = -1.0  # when it last said so

    async def terms(self) -> AsyncIterator[Any]:
        async for said in super().terms():
            self.last = said
            if not isinstance(said, Term):
                self.lost = asyncio.get_running_loop().time()
            yield said

    def leads(self, now: float) -> bool:
        """Say whether what was last said is a term that still runs."""
        return isinstance(self.last, Term) and now < self.last.until

    @property
    def number(self) -> int:
        """The term that was last said; 0 where none is held."""
        return self.last.number if isinstance(self.last, Term) else 0


class Life:
    """One engine's life. `place` is which replica it is, `state` its folder."""

    def __init__(self, world: World, place: int, state: Path, clock: VirtualClock, elector: SimElector | None) -> None:
        self.world = world
        self.place = place
        self.clock = clock
        self.elector = elector
        self.began = world.now()
        self.told: dict[str, Told] = {}
        self.sinks: dict[str, SimSink] = {}
        self.loaded: set[str] = set()  # sinks that it has looked at as a whole
        self.refused: dict[str, dict[str, Shown]] = {}  # sink → key → the record that it refused last
        self.looked: dict[str, float] = {}  # sink → when a look at all of it last ended
        self.failed_checks: dict[str, float] = {}  # address → when a check of it last failed
        self.fenced: dict[str, int] = {}  # sink → the term in which a newer epoch was met
        self.feed: Feed | Handed = (Handed if world.manifests.folder is None else Feed)(world.manifests)
        self._wake: asyncio.TimerHandle | None = None
        self._settings: Any = None
        seed = random.Random(world.schedule.seed * 31 + place)
        overlay = HealthOverlay(clock, seed, MetricsRegistry().bound(), probe=self._probe, most=64)
        self.engine = Engine(
            source_type=lambda _: AdapterType("memory", MemoryConfig, self._open_source),
            sink_type=lambda _: AdapterType("memory", MemoryConfig, self._open_sink, releases=True, adopts=True),
            state_dir=state,
            clock=clock,
            rng=seed,
            elector=elector,
            overlay=overlay,
            resync_seconds=RESYNC_SECONDS,
        )
        self.look()
        self._task = asyncio.ensure_future(self.engine.run())

    async def end(self) -> None:
        """Kill it."""
        if self._wake is not None:
            self._wake.cancel()
        failed_with = self._task.done() and not self._task.cancelled() and self._task.exception()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if failed_with:
                raise failed_with
            await self._task

    def look(self) -> None:
        """Read the manifests."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        now = self.world.now()
        settings = self.feed.read(now, self.clock.wall())
        if settings is not self._settings:
            self._settings = settings
            for name, told in self.told.items():
                self._declare(name, told)
            self.engine.put(settings)
        if (wake := self.feed.wake) is not None:
            self._wake = asyncio.get_running_loop().call_later(max(0.02, wake - now), self.look)

    def _declare(self, name: str, told: Told) -> None:
        """Let it be known what a source's manifest says; one that is gone from a set not whole stays."""
        manifests = self.world.manifests
        form = manifests.now.get(f"source/{name}", GONE)
        if form != GONE or manifests.deleted(f"source/{name}", 0.0):
            told.declare(form)

    @asynccontextmanager
    async def _open_source(self, _config: Any, context: Any) -> AsyncIterator[Any]:
        told = self.told.get(context.name)
        if told is None or told.forgotten is not None:
            told = self.told[context.name] = told.heir() if told is not None else Told(self.world.now)
            for name in self.loaded:
                told.recalled(who for who in _named(self.world.targets[name]) if who[0].source == context.name)
        yield self.world.sources[context.name].reader(told)

    def recalled(self, sink: str, records: Collection[Who]) -> None:
        """Take note of what it finds in a sink that it begins to write to."""
        self.loaded.add(sink)
        for name, told in self.told.items():
            told.recalled(who for who in records if who[0].source == name)

    @asynccontextmanager
    async def _open_sink(self, _config: Any, context: Any) -> AsyncIterator[Any]:
        outlet = self.world.outlets[context.name]
        limits = Limits(records=outlet.records, bytes=20_000, in_flight=outlet.in_flight)
        sink = SimSink(self.world.targets[context.name], context, limits=limits, fenced=outlet.fenced)
        sink.begin(self)
        self.sinks[context.name] = sink
        yield sink

    async def _probe(self, target: Any) -> Outcome:
        await asyncio.sleep(0)
        if target.address in self.world.sick:
            self.failed_checks[target.instance] = self.world.now()
            return failed("sick")
        return PASSED


def _named(target: SimTarget) -> Iterator[Who]:
    for content in target.owned(OWNER).values():
        if (record := shown(content)) is not None:
            yield service_key(record.service), record.instance
