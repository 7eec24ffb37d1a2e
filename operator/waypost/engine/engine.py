"""The engine put together.

Settings in, sinks kept equal to them, questions answered. The only module that knows all the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost.engine.beside import Beside
from waypost.engine.changes import Ring
from waypost.engine.context import FileCredentials, Secrets
from waypost.engine.contexts import Contexts
from waypost.engine.holds import Holds
from waypost.engine.leadership import Leadership
from waypost.engine.observe import RESYNC_SECONDS
from waypost.engine.orders import Orders
from waypost.engine.overlay import HealthOverlay
from waypost.engine.parts import Part, Parts
from waypost.engine.paused import PausedFile
from waypost.engine.reconcile import Reconciler
from waypost.engine.releases import Releases
from waypost.engine.roster import Roster
from waypost.engine.spending import Spending
from waypost.engine.succession import Succession
from waypost.engine.supervise import SinkRunner, SourceRunner
from waypost.engine.target import Mode
from waypost.engine.timers import Timers
from waypost.engine.writer import Writer
from waypost.kit.metrics import MetricsRegistry

if TYPE_CHECKING:
    from waypost.adapter import AdapterType, Clock, Elector
    from waypost.settings import Credential, ServiceSink, ServiceSource, Settings

__all__ = ["Engine"]

APPLIED_SECONDS = 0.01  # how often who waits for sinks to begin anew looks whether they do


class Engine:
    """Runs until cancelled. `source_type` and `sink_type` find adapters by their name (see waypost.plugins)."""

    def __init__(
        self,
        *,
        source_type: Callable[[str], AdapterType[Any]],
        sink_type: Callable[[str], AdapterType[Any]],
        state_dir: Path,
        clock: Clock,
        rng: random.Random,
        elector: Elector | None = None,
        overlay: HealthOverlay | None = None,
        resync_seconds: float = RESYNC_SECONDS,
        dry_run: bool = False,
        only_releases: bool = False,
        secrets: Callable[[Iterable[Credential]], Secrets] = FileCredentials,
        metrics: MetricsRegistry | None = None,
    ) -> None:
        """Nothing runs yet. Raises OSError or MsgspecError where what a person released cannot be read.

        `dry_run`: no sink is written to, whatever its manifest says. `only_releases`: what a person released loses its
        mark, and nothing else is written. `overlay` stands in for the real health checks, in tests. `secrets` finds
        what a resource names as its credentials.
        """
        self._source_type = source_type
        self._sink_type = sink_type
        self._clock = clock
        self._random = rng
        self._resync_seconds = resync_seconds
        self._dry_run = dry_run
        self.metrics = metrics or MetricsRegistry()
        self.ring = Ring(clock.wall)
        self.holds = Holds(state_dir / "holds", clock.wall)
        self.beside = Beside(elector)
        self.leadership = Leadership(elector, clock, rng, prepare=lambda _: self.succession.take_up())
        self.overlay = overlay or HealthOverlay(clock, rng, self.metrics.bound())
        self.releases = Releases(state_dir)
        self._due = asyncio.Event()  # something may be due sooner than the timers know
        self.reconciler = Reconciler(clock.monotonic, self.overlay, self._due.set, self.releases)
        self.reconciler.only_releases = only_releases
        self.overlay.attach(self.reconciler)
        self.settings: Settings | None = None
        self.sources: dict[str, SourceRunner] = {}
        self.sinks: dict[str, SinkRunner] = {}
        self.contexts = Contexts(secrets, self.metrics, clock, rng, state_dir / "adapters")
        self.faults: Mapping[tuple[str, str], list[str]] = {}  # (kind, key) → what is wrong with its manifest
        self.touched: set[str] = set()  # registrations that may stand otherwise than when this was last emptied
        self._roster = Roster(
            self.reconciler, clock.monotonic, on_doubt=self._due.set, source=self._source, touched=self.touched
        )
        self._parts = Parts(self._run_part, self._on_broken, clock)
        self._fenced: dict[str, int] = {}  # sink → the term in which another installation claimed it
        self._again: set[str] = set()  # sinks whose runner begins anew
        self._applying = False  # what was asked for is on its way into the parts
        self._changed = asyncio.Event()
        self._pending: Settings | None = None
        self.orders = Orders(
            self.holds,
            self.releases,
            PausedFile(state_dir),
            self.reconciler,
            sinks=lambda: self.settings.sinks if self.settings is not None else (),
            begin_anew=self._begin_anew,
            begun_anew=self._begun_anew,
            on_decision=self._due.set,
        )
        self._spending = Spending(state_dir / "budgets", clock, self.leadership, self.beside)
        self.succession = Succession(self.beside, self.orders, self._spending.files, self.leadership.leads)
        self._timers = Timers(self.reconciler, self.holds, clock, self._due, self.succession.forget_decisions)

    # --- running

    def put(self, settings: Settings) -> None:
        """Take new settings; they are in force as soon as the engine runs on."""
        self._pending = settings
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled. Nothing is deregistered at the end: what is published stays."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.leadership.run(), name="leadership")
                group.create_task(self.overlay.run(), name="health")
                group.create_task(self._timers.run(), name="timers")
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    self._applying = True
                    if self._pending is not None:
                        settings, self._pending = self._pending, None
                        await self._apply(settings, group)
                    if self._again:
                        again, self._again = self._again, set()
                        await self._restart(again, group)
                    self._applying = False
        finally:
            self._parts.clear()

    async def _apply(self, settings: Settings, group: asyncio.TaskGroup) -> None:
        """Bring everything in line with the settings; equal objects are the same object and cost nothing."""
        former, self.settings = self.settings, settings
        self.faults = _faults(settings)
        reconciler = self.reconciler
        if reconciler.complete != settings.complete:
            reconciler.complete = settings.complete
            for target in reconciler.targets.values():
                target.mark_pairs(self.holds.waiting(target.name))
        before = former or type(settings)()
        old = {"source": before.sources, "sink": before.sinks}
        new = {"source": settings.sources, "sink": settings.sinks}
        stopped = [(kind, n) for kind in new for n, part in old[kind].items() if new[kind].get(n) is not part]
        started = [(kind, n) for kind in new for n, part in new[kind].items() if old[kind].get(n) is not part]
        await self._parts.stop(stopped)
        for kind, name in stopped:
            if name not in new[kind]:
                self._forget(kind, name)
        for name in _of("sink", started):
            self._know_sink(settings.sinks[name])
        for name in _of("source", started):
            self._roster.know_source(settings.sources[name])
        self._apply_registrations(before.registrations, settings)
        if _of("sink", stopped + started):
            reconciler.reconsider_all()
        for name in sorted(set(_of("source", stopped + started))):
            reconciler.reconsider_source(name)
        self.contexts.declare(settings)
        for kind, name in started:
            self._parts.start(group, kind, name)

    def _apply_registrations(self, before: Mapping[str, Any], settings: Settings) -> None:
        after = settings.registrations
        for key, registration in after.items():
            if before.get(key) is not registration:
                self.reconciler.put_registration(registration)
        for key in [key for key in before if key not in after]:
            self.reconciler.delete_registration(key, vanished=key in settings.vanished)
        for key, policy in settings.deleted.items():  # of which some were deleted while nobody ran
            if key not in after and key not in self.reconciler.deleted:
                self.reconciler.delete_registration(key, orphan=policy == "Orphan")

    # --- sources and sinks

    def _know_sink(self, sink: ServiceSink) -> None:
        self._roster.know_sink(sink, self._mode(sink))

    def _mode(self, sink: ServiceSink) -> Mode:
        if self._dry_run:
            return "DryRun"
        return "Paused" if sink.name in self.orders.paused else sink.spec.mode

    def _on_broken(self, kind: str, name: str, error: Exception) -> None:
        """Show what nobody should ever see."""
        what = f"{type(error).__name__}: {error}"
        self.contexts.warnings.setdefault((kind, name), {})["Broken"] = f"it cannot be run: {what}"
        target = self.reconciler.targets.get(name) if kind == "sink" else None
        if target is not None:
            target.fail("Broken", what, self._clock.wall())

    def _forget(self, kind: str, name: str) -> None:
        """Stop knowing a source or sink that is no longer declared."""
        self.contexts.forget(kind, name)
        if kind == "source":
            self.sources.pop(name, None)
            self._roster.forget_source(name)
        else:
            self.sinks.pop(name, None)
            self.holds.forget_sink(name)
            self._roster.forget_sink(name)

    def _begin_anew(self, sinks: Collection[str]) -> None:
        self._again.update(sinks)
        self._changed.set()

    async def _begun_anew(self) -> None:
        while self._again or self._applying:
            await self._clock.sleep(APPLIED_SECONDS)

    async def _restart(self, names: Collection[str], group: asyncio.TaskGroup) -> None:
        """Begin these sinks anew, as their mode is now."""
        known = self.settings.sinks if self.settings is not None else {}
        sinks = [known[name] for name in sorted(names) if name in known]
        await self._parts.stop([("sink", sink.name) for sink in sinks])
        for sink in sinks:
            self._know_sink(sink)
        if sinks:
            self.reconciler.reconsider_all()
        for sink in sinks:
            self._parts.start(group, "sink", sink.name)

    async def _run_part(self, kind: str, name: str) -> None:
        await (self._run_source(name) if kind == "source" else self._run_sink(name))

    async def _run_source(self, name: str) -> None:
        assert self.settings is not None
        source = self.settings.sources[name]
        runner = SourceRunner(self.reconciler.views[name], self._clock, self._random, self.overlay.suspect)
        self.sources[name] = runner
        if source.spec.mode == "Frozen":
            await asyncio.Event().wait()
        kind = self._source_type(source.spec.type)
        await runner.run(kind, source.decoded_config, self.contexts.make("source", source, ""))

    async def _run_sink(self, name: str) -> None:
        assert self.settings is not None
        sink = self.settings.sinks[name]
        target = self.reconciler.targets[name]
        spending = self._spending.of(target)

        def writer() -> Writer:
            return Writer(
                target,
                self.reconciler,
                self.holds,
                self.ring,
                self._clock,
                self._random,
                may_write=lambda: target.mode != "Apply" or self.leadership.leads(),
                on_spent=spending.save,
                on_hold=self._due.set,
                may_send=spending.may_send,
            )

        runner = SinkRunner(
            target,
            self.reconciler,
            self.leadership,
            writer,
            self._clock,
            self._random,
            resync_seconds=self._resync_seconds,
            on_loaded=spending.observed,
            on_fenced=lambda term: self._fenced.update({name: term}),
            fenced_term=self._fenced.get(name, 0),
        )
        self.sinks[name] = runner
        if target.mode == "Paused":
            target.fail("Paused", "a person or the manifest paused it; nothing is read or written", self._clock.wall())
            await asyncio.Event().wait()
        kind = self._sink_type(sink.spec.type)
        await runner.run(kind, sink.decoded_config, self.contexts.make("sink", sink, sink.spec.owner_id))

    # --- questions

    def _source(self, name: str) -> ServiceSource | None:
        return self.settings.sources.get(name) if self.settings is not None else None

    def is_declared(self, name: str) -> bool:
        """Say whether a source's services are written in registrations: then there is nothing to hear of it."""
        source = self._source(name)
        return source is not None and self._source_type(source.spec.type).declares

    def settled(self) -> bool:
        """Say whether all sources have been read and all sinks are as wanted, as far as they may be written."""
        return (
            self.settings is not None
            and self._pending is None
            and not self._again
            and not self._applying
            and all(view.complete or view.frozen for view in self.reconciler.views.values())
            and all(target.settled for target in self.reconciler.targets.values() if target.mode != "Paused")
        )


def _of(kind: str, parts: list[Part]) -> list[str]:
    return [name for each, name in parts if each == kind]


def _faults(settings: Settings) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for problem in settings.problems:
        found.setdefault((problem.kind, problem.name), []).append(str(problem))
    return found
