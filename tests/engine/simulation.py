"""A random life of an engine on memory adapters, with every fault they have, and what must hold all through it.

One seed is one life. What each write did is judged as it is written, by what the test knows itself and not by what the
engine thinks; at the end faults stop, and the sink must equal what a fresh engine would make.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from tests.rig import Rig, instance, registration, service, sink, source
from waypost.adapter import AdapterError, Change, Fence, Limits, Outcome, PermanentError
from waypost.model import Instance, PublicationKey, ServiceKey
from waypost.testing.memory import Fault, MemorySink, ScriptedElector, SharedTarget
from waypost.testing.target import owner_of

SERVICES = ["web", "api", "db"]
OWNER = "me"
WINDOW = 600.0


def _accepts(_: Change) -> Outcome | None:
    return None


def _refuses(part: str) -> Callable[[Change], Outcome | None]:
    return lambda change: Outcome("invalid", "no") if change.record is not None and part in change.key else None


class Judge(SharedTarget):
    """A target that judges each write of ours as it comes."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def set(self, key: str, content: bytes | None, *, by: str = "", fence: Fence | None = None) -> None:
        old = self.records.get(key)
        if by == OWNER and fence is not None:
            self._life.judge(key, old, content, fence)
        super().set(key, content, by=by, fence=fence)


class Watched(MemorySink):
    """A sink that says when two batches in flight touch one publication."""

    life: Life
    touching: Counter[PublicationKey]

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Any:
        keys = {found for change in batch if (found := self._publication(change)) is not None}
        for key in keys:
            self.touching[key] += 1
            if self.touching[key] > 1:
                self.life.violated(f"two batches in flight touch {key}")
        self.life.sent(change.key for change in batch)
        try:
            return await super().apply(batch, fence)
        finally:
            self.touching.subtract(keys)

    def _publication(self, change: Change) -> PublicationKey | None:
        content = change.record.content if change.record is not None else self.target.records.get(change.key)
        whose = owner_of(content) if content is not None else None
        return None if whose is None else PublicationKey(whose.registration, whose.entry, whose.service)


class Errors(logging.Handler):
    """Keeps what only a bug of the engine logs: an exception that no adapter of the test raises."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None and not isinstance(error, AdapterError) and "of the test" not in str(error):
            self.found.append(f"{record.getMessage()}: {error!r}")


class Life:
    """One life."""

    def __init__(self, folder: Path, seed: int, leaders: int = 1) -> None:
        self.random = random.Random(seed)
        self.rigs = [Rig(folder / str(n), seed=seed + n, resync_seconds=120) for n in range(leaders)]
        self.rig = self.rigs[0]
        self.target = Judge(self)
        self.violations: list[str] = []
        self.story: list[str] = []
        self.gone: set[tuple[ServiceKey, str]] = set()  # the source stated, or showed for long, that it is not ready
        self.unready: set[tuple[ServiceKey, str]] = set()
        self.edited: set[str] = set()  # registrations that were ever deleted or renamed
        self.down: set[str] = set()
        self.balance: dict[PublicationKey, list[tuple[float, int]]] = {}
        self.shown: dict[tuple[PublicationKey, str], set[str]] = {}
        self.approved = 0
        self.foreign: dict[str, bytes] = {}
        self.epoch = 0
        self.known: dict[str, set[str]] = {}
        self.names = {name: name for name in SERVICES}
        self.alive: list[AsyncExitStack | None] = [None for _ in self.rigs]
        self.electors: list[ScriptedElector] = []
        self.term = 0
        for rig in self.rigs:
            rig.memory, rig.targets = self.rig.memory, {"out": self.target}
            rig.on_sink = self._prepare
        self.everywhere(source("mem"), source("far"), sink())
        for name in SERVICES:
            self.rig.memory["mem"].set(service(name, *(f"{name}{n}" for n in range(self.random.randint(1, 12)))))
            self.everywhere(self.registered(name))
        self.rig.memory["far"].set(service("web", "f1", "f2", source="far"))
        self.everywhere(registration("far", services=["*"], source="far", names=["far-{service}"]))

    # --- words

    def everywhere(self, *objects: Any) -> None:
        for rig in self.rigs:
            rig.declare(*objects)

    def registered(self, name: str, **more: Any) -> Any:
        return registration(name, services=name, names=[self.names[name]], drainSeconds=20, **more)

    def _prepare(self, made: MemorySink) -> None:
        made.__class__ = Watched
        made.life, made.touching = self, Counter()  # type: ignore[attr-defined]
        made.limits = Limits(records=self.random.choice([1, 3, 64]), bytes=2000, in_flight=self.random.choice([1, 3]))
        made.latency = self.random.choice([0.0, 0.0, 0.05, 2.0])
        if self.down:
            made.down = AdapterError("down")

    def violated(self, what: str) -> None:
        self.violations.append(f"at {asyncio.get_running_loop().time():.3f}: {what}")

    def sinks(self) -> list[MemorySink]:
        return [rig.sinks["out"] for rig in self.rigs if "out" in rig.sinks]

    # --- what each write is judged by

    def judge(self, key: str, old: bytes | None, new: bytes | None, fence: Fence) -> None:
        if fence.epoch < self.epoch:
            self.violated(f"{key} was written in epoch {fence.epoch}, after {self.epoch}")
        self.epoch = max(self.epoch, fence.epoch)
        before, after = self._ready(old), self._ready(new)
        if before != after:  # else it went from one publication to another
            if before and old is not None:
                self._count(key, old, ready=False)
            if after and new is not None:
                self._count(key, new, ready=True)
        if old is None or after or not before:
            return
        whose = owner_of(old)
        assert whose is not None
        registered = self.rig.settings.registrations.get(whose.registration)
        if registered is None or whose.registration in self.edited:
            return
        known = self.rig.memory[whose.service.source].services.get(whose.service)
        said = (whose.service, whose.instance) in self.unready  # a fact of an instance that is there needs no view
        if whose.service.source not in self.known[key] and not said:
            self.violated(f"{key} was withdrawn without a complete view of {whose.service.source}")
        present = known is not None and any(i.id == whose.instance and i.readiness == "ready" for i in known.instances)
        if present and (whose.service, whose.instance) not in self.gone:
            self.violated(f"{key} was withdrawn, though its source never said that it was gone")

    def sent(self, keys: Iterable[str]) -> None:
        """Take note that a write is sent, and of which sources a complete view is had; it may come late."""
        views = [
            view
            for rig in self.rigs
            if hasattr(rig.engine, "reconciler")
            for view in rig.engine.reconciler.views.values()
        ]
        complete = {view.name for view in views if view.complete and not view.frozen}
        self.known.update(dict.fromkeys(keys, complete))

    @staticmethod
    def _ready(content: bytes | None) -> int:
        return 0 if content is None else int(msgspec.json.decode(content)["ready"])

    def _count(self, key: str, content: bytes, *, ready: bool, at: float | None = None) -> None:
        """Count an instance as it becomes ready, by its first record, or stops being it, by its last."""
        whose = owner_of(content)
        assert whose is not None
        place = PublicationKey(whose.registration, whose.entry, whose.service)
        keys = self.shown.setdefault((place, whose.instance), set())
        before = bool(keys)
        (keys.add if ready else keys.discard)(key)
        if (delta := bool(keys) - before) != 0:
            now = asyncio.get_running_loop().time() if at is None else at
            self.balance.setdefault(place, []).append((now, delta))

    def _recount(self) -> None:
        """Count anew what is there: it came by no write of ours."""
        self.balance.clear()
        self.shown.clear()
        for key, content in self.target.owned(OWNER).items():
            if self._ready(content):
                self._count(key, content, ready=True, at=0.0)

    def check(self) -> None:
        """Check what holds at every moment."""
        for key, content in self.foreign.items():
            if self.target.records.get(key) != content:
                self.violated(f"the foreign record {key} was touched")
        now = asyncio.get_running_loop().time()
        lost = owned = 0
        for changes in self.balance.values():
            counts = list(accumulate((delta for _, delta in changes), initial=0))
            times = [0.0, *(at for at, _ in changes)]
            first = max(n for n, at in enumerate(times) if at <= max(0.0, now - 2 * WINDOW))
            # what grew within a window may fall back within it: the least of the window before is what counts
            base = min(
                count
                for at, count in zip(times[first:], counts[first:], strict=True)
                if at <= now - WINDOW or at == times[first]
            )
            lost += max(0, base - counts[-1])
            owned += max(counts)
        allowed = max(5, owned * 30 // 100) + self.approved + 3  # in a handover two hold what one will
        if len(self.rigs) == 1 and lost > allowed:
            self.violated(f"{lost} were withdrawn within the window; {allowed} may be")
        assert not self.violations, "\n".join([*self.violations, *self.story[-40:]])

    # --- what may happen

    def _some(self, far: bool = False) -> ServiceKey | None:
        keys = sorted(key for key in self.rig.memory["mem"].services if far or key.source == "mem")
        return self.random.choice(keys) if keys else None

    def _lost(self, key: ServiceKey, kept: Sequence[Instance] = ()) -> None:
        known = self.rig.memory[key.source].services.get(key)
        ready = {i.id for i in kept if i.readiness == "ready"}
        self.gone.update((key, i.id) for i in (known.instances if known else ()) if i.id not in ready)

    def _altered(self) -> Any:
        name = self.random.choice(SERVICES)
        key = ServiceKey("mem", "", name)
        known = self.rig.memory["mem"].services.get(key)
        instances = {i.id: i for i in (known.instances if known else ())}
        for _ in range(self.random.choice([1, 1, 3, 10])):
            chosen = f"{name}{self.random.randrange(14)}"
            what = self.random.choice(["gone", "new", "port", "not-ready", "draining", "unknown"])
            if what == "gone":
                instances.pop(chosen, None)
            elif what == "port":
                instances[chosen] = instance(chosen, port=self.random.randint(1000, 1010))
            else:
                instances[chosen] = instance(chosen, readiness="ready" if what == "new" else what)
        self._lost(key, tuple(instances.values()))
        for i in instances.values():
            if i.readiness != "ready":
                self.gone.add((key, i.id))
                self.unready.add((key, i.id))
        return service(name, *instances.values())

    def fact(self) -> None:
        self.rig.memory["mem"].set(self._altered())

    def quietly(self) -> None:
        self.rig.memory["mem"].set_quietly(self._altered())
        self.rig.memory["mem"].snapshot_now()

    def removed(self) -> None:
        if (key := self._some()) is not None:
            self._lost(key)
            how = self.random.choice([self.rig.memory["mem"].delete, self.rig.memory["mem"].delete_quietly])
            how(key)

    def read(self) -> None:
        self.random.choice([self.rig.memory["mem"].snapshot_now, self.rig.memory["mem"].current])()

    async def lies(self) -> None:
        """Show an empty view for a while that is too short to be believed."""
        memory = self.rig.memory["mem"]
        if memory.silent or not memory._readable.is_set() or memory._partial is not None or self.down:
            return
        truth = dict(memory.services)
        memory.services.clear()
        for _ in range(self.random.randint(1, 5)):
            memory.snapshot_now()
            await asyncio.sleep(self.random.uniform(0, 40))
        memory.services.update(truth)
        memory.snapshot_now()
        await asyncio.sleep(5)

    def source_fault(self) -> None:
        memory = self.rig.memory[self.random.choice(["mem", "far"])]
        memory.read_seconds = self.random.choice([0.0, 0.5, 20.0])
        what = self.random.choice(["fail", "bug", "hang", "partial", "recover", "recover"])
        self.story.append(f"    {what}")
        if what == "fail":
            memory.fail(self.random.choice([AdapterError("down"), PermanentError("refused")]))
        elif what == "bug":
            memory.fail(RuntimeError("a bug of the test"))
        elif what == "hang":
            memory.hang()
        elif what == "partial":
            memory.partial(self.random.randint(0, 2))
            memory.snapshot_now()
        else:
            memory.recover()
            memory.snapshot_now()

    def edit(self) -> None:
        name = self.random.choice(SERVICES)
        if self.random.random() < 0.3:
            self.edited.add(f"default/{name}")
            self.names[name] = self.random.choice([name, f"{name}-b", f"{name}-c"])
        self.everywhere(self.registered(name, metadata={"n": str(self.random.randrange(3))}))

    def handover(self) -> None:
        """Give a registration another name of its own, or take it away: what it published is another's then."""
        name = self.random.choice(SERVICES)
        for key in (f"default/{name}", f"default/new-{name}"):
            self.edited.add(key)
        new = registration(f"new-{name}", services=name, names=[self.names[name]], drainSeconds=20)
        for rig in self.rigs:
            if self.random.random() < 0.7:
                rig.declare(new)
            rig.withdraw("registrations", f"default/{name}")

    def unhandover(self) -> None:
        name = self.random.choice(SERVICES)
        for rig in self.rigs:
            rig.declare(self.registered(name))
            rig.withdraw("registrations", f"default/new-{name}")

    def unreadable(self) -> None:
        for rig in self.rigs:
            rig.unreadable()

    def source_edit(self) -> None:
        what = self.random.choice(["Frozen", "Watch", "gone", "back"])
        self.story.append(f"    {what}")
        for rig in self.rigs:
            if what == "gone":
                rig.withdraw("sources", "mem")
            else:
                rig.declare(source(mode="Frozen" if what == "Frozen" else "Watch"))

    def sink_edit(self) -> None:
        what = self.random.choice(["Apply", "Apply", "DryRun", "Paused", "gone", "safety"])
        self.story.append(f"    {what}")
        for rig in self.rigs:
            if what == "gone":
                rig.withdraw("sinks", "out")
            elif what == "safety":
                rig.declare(sink(safety={"maxChangePercent": self.random.randint(1, 100)}))
            else:
                rig.declare(sink(mode=what))

    def sink_fault(self) -> None:
        for made in self.sinks():
            kind = self.random.choice(["error", "hang", "written", "lost", "late"])
            error = self.random.choice([AdapterError("503"), PermanentError("refused")])
            seconds = self.random.uniform(0, 60)
            self.story.append(f"    {kind}")
            made.faults.extend([Fault(kind, error, seconds)] * self.random.choice([1, 1, 4]))  # type: ignore[arg-type]

    def sink_down(self) -> None:
        self.down ^= {"out"}
        for made in self.sinks():
            made.down = AdapterError("down") if self.down else None

    def sink_odd(self) -> None:
        for made in self.sinks():
            what = self.random.choice(["breaks", "refuses", "well", "slow", "cut"])
            self.story.append(f"    {what}")
            made.observe_breaks = 2 if what == "breaks" else None
            bad = self.random.choice(SERVICES)
            made.refuse = _refuses(f"/{bad}1") if what == "refuses" else _accepts
            made.latency = self.random.choice([0.5, 3.0]) if what == "slow" else 0.0
            if what == "cut":
                made.cut_drift()

    def accident(self) -> None:
        what = self.random.choice(["lost", "altered", "all", "stamps", "restored", "foreign", "taken"])
        ours = sorted(self.target.owned(OWNER))
        self.story.append(f"    {what}")
        if what == "all":
            self.foreign.clear()
            self.target.lose()
        elif what == "stamps":
            self.target.lose(records=False)
            self.epoch = 0
        elif what == "restored" and self.target.backup is not None:  # type: ignore[attr-defined]
            records, stamps = self.target.backup  # type: ignore[attr-defined]
            if (
                not self.target.stamps
                or stamps.get(OWNER, self.target.stamps[OWNER]).fence > self.target.stamps[OWNER].fence
            ):
                stamps = self.target.stamps  # an epoch that is newer than ours would be another installation's
            self.target.restore((records, stamps))
            self._recount()
            self.foreign = {k: c for k, c in self.target.records.items() if owner_of(c) is None}
            self.epoch = 0
        elif what == "foreign":
            name = self.random.choice(SERVICES)
            key = f"{name}/{name}{self.random.randrange(14)}"
            if key not in self.target.records:
                self.foreign[key] = b'{"by": "hand"}'
                self.target.set(key, self.foreign[key])
        elif what == "taken" and ours:
            key = self.random.choice(ours)
            self.foreign[key] = b'{"by": "hand"}'
            self.target.set(key, self.foreign[key])
        elif what == "lost" and ours:
            self.target.set(self.random.choice(ours), None)
        elif what == "altered" and ours:
            key = self.random.choice(ours)
            self.target.set(key, self.target.records[key].replace(b"8080", b"1"), by=OWNER)
        if self.random.random() < 0.3:
            self.target.backup = self.target.save()  # type: ignore[attr-defined]
        if what == "all":
            self.epoch = 0

    def decide(self) -> None:
        for rig in self.rigs:
            if rig.engine is None:
                continue
            for name, hold in list(rig.engine.holds.holds.items()):
                if not hold.decision:
                    decision = self.random.choice(["Approve", "Reject"])
                    if hold.cause == "SourceEmpty":
                        decision = "Reject"  # else what the source never said goes, for a person said it
                    if decision == "Approve":
                        self.approved += hold.removals + hold.changes
                    rig.engine.decide(name, decision, "so be it", self.random.choice([5, 900]))

    async def restart(self) -> None:
        n = self.random.randrange(len(self.rigs))
        await self._kill(n)
        await asyncio.sleep(self.random.choice([0, 0.01, 40]))
        await self._begin(n)

    def election(self) -> None:
        if not self.electors:
            return
        n = self.random.randrange(len(self.electors))
        self.term += 1
        for other, elector in enumerate(self.electors):
            if other != n and self.random.random() < 0.7:
                elector.lose()
            elif other != n and self.random.random() < 0.5:
                elector.pause()
        self.electors[n].go_on()
        self.electors[n].win(self.random.choice([5, 100, 1000]), number=self.term)

    # --- running

    async def _begin(self, n: int) -> None:
        stack = self.alive[n] = AsyncExitStack()
        elector = None
        if len(self.rigs) > 1:
            elector = ScriptedElector(self.rigs[n].clock, self.term)
            self.electors[n : n + 1] = [elector]
        await stack.enter_async_context(self.rigs[n].running(elector))

    async def _kill(self, n: int) -> None:
        stack, self.alive[n] = self.alive[n], None
        if stack is not None:
            await stack.aclose()
        self.rigs[n].engine = None  # type: ignore[assignment]

    async def live(self, steps: int) -> None:
        errors = Errors()
        log = logging.getLogger("waypost")
        log.addHandler(errors)
        log.propagate = False  # thousands of errors, all of them meant
        self.target.backup = None  # type: ignore[attr-defined]
        actions: list[tuple[int, Callable[[], Any]]] = [
            (12, self.fact), (8, self.quietly), (3, self.removed), (6, self.read), (2, self.lies),
            (4, self.source_fault), (4, self.edit), (2, self.handover), (2, self.unhandover), (1, self.unreadable),
            (2, self.source_edit), (2, self.sink_edit), (6, self.sink_fault), (2, self.sink_down), (3, self.sink_odd),
            (5, self.accident), (3, self.decide), (3, self.restart), (3 if len(self.rigs) > 1 else 0, self.election),
        ]  # fmt: skip
        weights = [weight for weight, _ in actions]
        try:
            for n in range(len(self.rigs)):
                await self._begin(n)
            self.election()
            await asyncio.sleep(10)
            for _ in range(steps):
                (act,) = self.random.choices([act for _, act in actions], weights)
                self.story.append(f"{asyncio.get_running_loop().time():.3f} {act.__name__}")
                done = act()
                if asyncio.iscoroutine(done):
                    await done
                await asyncio.sleep(self.random.choice([0, 0.003, 0.01, 0.3, 3, 30, 400]))
                self.check()
            await self._end()
            assert not errors.found, "\n".join([*errors.found, *self.story])
        finally:
            log.removeHandler(errors)
            log.propagate = True
            for n in range(len(self.rigs)):
                await self._kill(n)

    async def _end(self) -> None:
        """Stop all faults, let a person approve everything, and compare with what a fresh engine makes."""
        self.story.append("--- faults stop")
        self._end_faults()
        self._end_settings()
        for _ in range(8):
            for _ in range(4):
                for memory in self.rig.memory.values():
                    memory.snapshot_now()
                await asyncio.sleep(100)
                self.check()
                for hold in list(self.rig.engine.holds.holds.values()):
                    if hold.decision != "Approve":
                        self.approved += hold.removals + hold.changes
                        self.rig.engine.decide(hold.name, "Approve", "the end", 10_000)
        await asyncio.sleep(15)
        self.check()
        wanted = await self._wanted()
        story = "\n".join(self.story)
        kept = {key.partition("/")[2] for key in self.target.owned(OWNER).keys() - wanted.keys()}  # instances
        refused = sum(map(len, self.rig.engine.reconciler.targets["out"].failed.values()))
        assert len(kept) <= refused, f"{kept} stay for {refused} writes that were refused\n{story}"
        foreign, self.foreign = self.foreign, {}
        for key in foreign:
            self.target.set(key, None)
        await asyncio.sleep(300)
        wanted = await self._wanted()
        found = self.target.owned(OWNER)
        problems = self.rig.problems()
        assert sorted(found) == sorted(wanted), f"{problems}\n{story}"
        assert found == wanted, story
        assert not [hold for hold in self.rig.engine.holds.holds.values() if not hold.decision], story
        assert self.rig.engine.settled(), story
        written = len(self.target.log)
        await asyncio.sleep(2000)
        assert len(self.target.log) == written, f"idle, it writes\n{self.target.log[written:][:4]}\n{story}"

    async def _wanted(self) -> dict[str, bytes]:
        fresh = Rig(self.rig.folder / "fresh")
        fresh.memory, fresh.settings = self.rig.memory, self.rig.settings
        fresh.targets = {"out": SharedTarget()}
        fresh.targets["out"].records.update(self.foreign)
        async with fresh.running():
            await fresh.settle(60)
        return fresh.target().owned(OWNER)

    def _end_faults(self) -> None:
        for memory in self.rig.memory.values():
            memory.recover()
            memory.read_seconds = 0
            memory.snapshot_now()
        for key, known in list(self.rig.memory["mem"].services.items()):
            ready = tuple(i for i in known.instances if i.readiness not in {"unknown", "draining"})
            self._lost(key, ready)
            self.rig.memory["mem"].set(msgspec.structs.replace(known, instances=ready))
        self.down.clear()
        for made in self.sinks():
            made.down, made.observe_breaks, made.latency, made.refuse = None, None, 0.0, _accepts
            made.faults.clear()

    def _end_settings(self) -> None:
        self.everywhere(source("mem"), sink())
        for name in SERVICES:
            self.edited.add(f"default/new-{name}")
            for rig in self.rigs:
                rig.declare(self.registered(name))
                rig.withdraw("registrations", f"default/new-{name}")
        for elector in self.electors:
            elector.go_on()
        for elector in self.electors[1:]:
            elector.lose()
        if self.electors:
            self.term += 1
            self.electors[0].win(1e9, number=self.term)
