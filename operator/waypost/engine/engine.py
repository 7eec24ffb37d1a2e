"""The engine put together.

Settings in, sinks kept equal to them, questions answered. The only module that knows all the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost.engine.apart import apart
from waypost.engine.beside import Beside
from waypost.engine.catalog import Loss, SourceView
from waypost.engine.changes import Ring
from waypost.engine.context import AdapterContext, Declared, FileCredentials, Secrets
from waypost.engine.holds import Holds
from waypost.engine.leadership import Leadership
from waypost.engine.observe import RESYNC_SECONDS
from waypost.engine.orders import Orders
from waypost.engine.overlay import HealthOverlay
from waypost.engine.paused import PausedFile
from waypost.engine.policy import Policy, SinkSafety, SourceSafety
from waypost.engine.publish import Far, Near
from waypost.engine.reconcile import Reconciler
from waypost.engine.releases import Releases
from waypost.engine.spending import Spending
from waypost.engine.succession import Succession
from waypost.engine.supervise import SinkRunner, SourceRunner
from waypost.engine.target import Mode, Target
from waypost.engine.timers import Timers
from waypost.engine.writer import Writer
from waypost.kit.cidrs import Allowed
from waypost.kit.metrics import MetricsRegistry
from waypost.kit.shared import Shared

if TYPE_CHECKING:
    from waypost.adapter import AdapterType, Clock, Elector
    from waypost.settings import Credential, ServiceSink, ServiceSource, Settings

__all__ = ["Engine"]

APPLIED_SECONDS = 0.01
STOP_SECONDS = 5.0  # how long an adapter may take to close
RESTART_SECONDS = 30.0  # after what should never happen

log = logging.getLogger(__name__)


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
        self._secrets = secrets
        self._source_type = source_type
        self._sink_type = sink_type
        self._state_dir = state_dir
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
        self.warnings: dict[tuple[str, str], dict[str, str]] = {}  # (kind, name) → reason → message
        self._credentials: dict[tuple[str, str], Secrets] = {}  # (kind, name) → what it names
        self.faults: Mapping[tuple[str, str], list[str]] = {}  # (kind, key) → what is wrong with its manifest
        self.touched: set[str] = set()  # registrations that may stand otherwise than when this was last emptied
        self._declared: dict[str, Declared] = {}
        self._shared = Shared()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
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
            self._tasks.clear()

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
        stopped = [("source", n) for n in before.sources if n not in settings.sources]
        stopped += [("sink", n) for n in before.sinks if n not in settings.sinks]
        stopped += [
            ("source", n) for n, s in settings.sources.items() if n in before.sources and before.sources[n] is not s
        ]
        stopped += [("sink", n) for n, s in settings.sinks.items() if n in before.sinks and before.sinks[n] is not s]
        await self._stop(stopped)
        for kind, name in stopped:
            if name not in (settings.sources if kind == "source" else settings.sinks):
                self._forget(kind, name)
        started = [("sink", n) for n, s in settings.sinks.items() if before.sinks.get(n) is not s]
        for _, name in started:
            self._know_sink(settings.sinks[name])
        sources = [n for n, s in settings.sources.items() if before.sources.get(n) is not s]
        for name in sources:
            self._know_source(settings.sources[name])
        self._apply_registrations(before.registrations, settings)
        if started or any(kind == "sink" for kind, _ in stopped):
            reconciler.reconsider_all()
        for name in sorted({*sources, *(n for kind, n in stopped if kind == "source")}):
            reconciler.reconsider_source(name)
        self._declare(settings)
        for name in sources:
            self._start(group, "source", name)
        for _, name in started:
            self._start(group, "sink", name)

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

    def _know_source(self, source: ServiceSource) -> None:
        spec, name = source.spec, source.name
        loss = Loss(spec.safety.empty_seconds, spec.safety.max_loss_percent, spec.safety.min_loss)
        view = self.reconciler.views.get(name)
        if view is None:
            view = SourceView(name, loss, self.reconciler.changed, self._clock.monotonic)
            view.on_doubt = self._due.set
            self.reconciler.views[name] = view
            for target in self.reconciler.targets.values():
                view.recall(
                    (key.service, i)
                    for key in target.ledger.shelves
                    if key.service.source == name
                    for i in target.ledger.instances(key)
                )
        view.loss = loss
        view.frozen = spec.mode == "Frozen"
        self.reconciler.near[name] = Near(spec.environment, Allowed(spec.allowed_cidrs), spec.grants)

    def _know_sink(self, sink: ServiceSink) -> None:
        spec, name = sink.spec, sink.name
        far = Far(
            environment=spec.environment,
            owner=spec.owner_id,
            accepts=sink.accepted,
            allowed=Allowed(spec.allowed_cidrs),
            restricted=bool(spec.allowed_cidrs),
            grants=spec.grants,
            reserved=spec.reserved_names,
            adopts=spec.adoption == "Identical",
        )
        safety = spec.safety
        limits = SinkSafety(
            safety.max_removal_percent, safety.min_removals, safety.max_change_percent, safety.window_seconds
        )
        target = Target(name, far, self._mode(sink), Policy(limits, self._source_safety), self.touched)
        target.place = (spec.type, spec.owner_id, sink.decoded_config)
        former = self.reconciler.targets.get(name)
        if former is not None and former.place == target.place:
            target.fence = former.fence
            if "DryRun" not in {former.mode, target.mode}:
                target.succeed(former)
        self.reconciler.targets[name] = target

    def _mode(self, sink: ServiceSink) -> Mode:
        if self._dry_run:
            return "DryRun"
        return "Paused" if sink.name in self.orders.paused else sink.spec.mode

    def _source_safety(self, name: str) -> SourceSafety:
        source = self.settings.sources.get(name) if self.settings is not None else None
        if source is None:
            return SourceSafety()
        safety = source.spec.safety
        return SourceSafety(safety.max_loss_percent, safety.min_loss, safety.window_seconds)

    def _declare(self, settings: Settings) -> None:
        """Tell each source what registrations declare under it."""
        declared: dict[str, list[Any]] = {}
        for registration in settings.registrations.values():
            for service in registration.declared:
                declared.setdefault(service.key.source, []).append(service)
        for name in settings.sources:
            self._declared.setdefault(name, Declared()).set(tuple(declared.get(name, ())), complete=settings.complete)

    def _start(self, group: asyncio.TaskGroup, kind: str, name: str) -> None:
        self._tasks[kind, name] = group.create_task(self._guard(kind, name), name=f"{kind} {name}")

    async def _guard(self, kind: str, name: str) -> None:
        """Run one source or sink; whatever breaks in it breaks it alone, and is tried again."""
        while True:
            try:
                await apart(self._run_source(name) if kind == "source" else self._run_sink(name))
            except Exception as error:
                log.exception("%s=%s error='it cannot be run'", kind, name)
                self.warnings.setdefault((kind, name), {})["Broken"] = (
                    f"it cannot be run: {type(error).__name__}: {error}"
                )
                target = self.reconciler.targets.get(name) if kind == "sink" else None
                if target is not None:
                    target.fail("Broken", f"{type(error).__name__}: {error}", self._clock.wall())
            await self._clock.sleep(RESTART_SECONDS)

    async def _stop(self, which: list[tuple[str, str]]) -> None:
        tasks = [task for place in which if (task := self._tasks.pop(place, None)) is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, hanging = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in hanging:
                log.error("task=%r error='the adapter does not end when told to; going on without it'", task.get_name())

    def _forget(self, kind: str, name: str) -> None:
        """Stop knowing a source or sink that is no longer declared. No record goes because of it (promise 12)."""
        self.warnings.pop((kind, name), None)
        self._credentials.pop((kind, name), None)
        if kind == "source":
            self.sources.pop(name, None)
            self.reconciler.near.pop(name, None)
            self.reconciler.views.pop(name, None)
            self.reconciler.reconsider_source(name)
            self._declared.pop(name, None)
        else:
            self.sinks.pop(name, None)
            self.holds.forget_sink(name)
            self.reconciler.forget_target(name)

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
        await self._stop([("sink", sink.name) for sink in sinks])
        for sink in sinks:
            self._know_sink(sink)
        if sinks:
            self.reconciler.reconsider_all()
        for sink in sinks:
            self._start(group, "sink", sink.name)

    async def _run_source(self, name: str) -> None:
        assert self.settings is not None
        source = self.settings.sources[name]
        runner = SourceRunner(self.reconciler.views[name], self._clock, self._random, self.overlay.suspect)
        self.sources[name] = runner
        if source.spec.mode == "Frozen":
            await asyncio.Event().wait()
        kind = self._source_type(source.spec.type)
        await runner.run(kind, source.decoded_config, self._context("source", source, ""))

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
        await runner.run(kind, sink.decoded_config, self._context("sink", sink, sink.spec.owner_id))

    def _context(self, kind: str, resource: ServiceSource | ServiceSink, owner: str) -> AdapterContext:
        name = resource.name
        warnings: dict[str, str] = {}
        self.warnings[kind, name] = warnings
        credentials = self._credentials[kind, name] = self._secrets(resource.spec.credentials)

        def warn(reason: str, message: str) -> None:
            if warnings.get(reason) != message:
                log.warning("%s=%s warning=%s message=%r", kind, name, reason, message)
            warnings[reason] = message

        return AdapterContext(
            kind=kind,
            name=name,
            environment=resource.spec.environment,
            owner=owner,
            clock=self._clock,
            random=self._random,
            metrics=self.metrics.bound(kind=kind, name=name),
            credentials=credentials,
            declared=self._declared.setdefault(name, Declared()),
            state_dir=self._state_dir / "adapters" / f"{kind}-{name}",
            shared=self._shared,
            on_warn=warn,
        )

    # --- questions

    def warned(self, kind: str, name: str) -> dict[str, str]:
        """Return what a source or sink warns of; of credentials those that cannot be had now, which may come and go."""
        found = dict(self.warnings.get((kind, name), {}))
        named = self._credentials.get((kind, name))
        if named is not None and (missing := named.missing()):
            found["CredentialMissing"] = f"cannot be read: {', '.join(missing)}"
        return found

    def is_declared(self, name: str) -> bool:
        """Say whether a source's services are written in registrations: then there is nothing to hear of it."""
        source = self.settings.sources.get(name) if self.settings is not None else None
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


def _faults(settings: Settings) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for problem in settings.problems:
        found.setdefault((problem.kind, problem.name), []).append(str(problem))
    return found
