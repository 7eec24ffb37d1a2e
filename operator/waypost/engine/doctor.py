"""Tries each source and sink and the elector once, step by step, and says how each step is. Claims, writes nothing.

Every adapter is tried by what the contract has anyway: opened, and read (a source until its first whole view, a sink by
a look for others' records, an elector by what is kept beside its lease). What an adapter tells beyond that
(adapter.Placed, adapter.Examined) comes in between.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from waypost.adapter import (
    AdapterError,
    AdapterType,
    Clock,
    Elector,
    Examined,
    Finding,
    Keeping,
    PermanentError,
    Placed,
    Sink,
    Source,
)
from waypost.engine.apart import apart, first_of
from waypost.engine.context import AdapterContext, Declared, FileCredentials
from waypost.engine.credential import credential_finding
from waypost.kit.metrics import MetricsRegistry
from waypost.kit.reach import reach
from waypost.kit.shared import Shared
from waypost.model import Service, ServiceKey
from waypost.settings import Credential, ServiceSink, ServiceSource, Settings

__all__ = ["Candidate", "Doctor", "Line"]

NAME = "waypost-doctor"  # nobody's: only whether the question may be asked counts
Resource = ServiceSource | ServiceSink
Kind = Literal["source", "sink"]
GROUPS: Mapping[Kind, Literal["sources", "sinks"]] = {"source": "sources", "sink": "sinks"}


class Candidate(msgspec.Struct, frozen=True):
    """An elector that is to be tried: its type's name, its type, and what its file says."""

    type: str
    kind: AdapterType[Any]
    config: Any
    credentials: Sequence[Credential]


class _Patient(msgspec.Struct, frozen=True):
    """What one look needs: the adapter, its config, how it is read, and the context that it is opened with."""

    find: Callable[[], AdapterType[Any]]
    config: Any
    read: Callable[[Any], Awaitable[str]]
    context: AdapterContext


class Line(msgspec.Struct, frozen=True):
    """A finding and what it is about: `source NAME`, `sink NAME`, `elector TYPE`."""

    about: str
    finding: Finding


class Doctor:
    """Looks at all that manifests name. `seconds` is how long each step of an adapter may take."""

    def __init__(
        self,
        settings: Settings,
        find: Callable[[Literal["sources", "sinks"], str], AdapterType[Any]],
        state_dir: Path,
        clock: Clock,
        rng: random.Random,
        seconds: float,
        *,
        runs: bool = False,
        elector: Candidate | None = None,
    ) -> None:
        """`find` gives the adapter's type by group (`sources`, `sinks`) and name; `state_dir` may be thrown away.

        `runs`: a process keeps these sources and sinks now.
        """
        self._elector = elector
        self._settings, self._find, self._state_dir = settings, find, state_dir
        self._clock, self._random, self._seconds, self._runs = clock, rng, seconds, runs
        self._shared = Shared()
        self._metrics = MetricsRegistry()

    async def run(self, tell: Callable[[Line], None]) -> None:
        """Tell all findings, resource by resource in the order of their names; all are looked at at once."""
        resources: list[tuple[Kind, Resource]] = [
            *(("source", source) for _, source in sorted(self._settings.sources.items())),
            *(("sink", sink) for _, sink in sorted(self._settings.sinks.items())),
        ]
        async with asyncio.TaskGroup() as group:
            looks = [
                (f"{kind} {resource.name}", group.create_task(self._look(kind, resource)))
                for kind, resource in resources
            ]
            if self._elector is not None:
                about = f"elector {self._elector.type}"
                looks.append((about, group.create_task(self._look_at_elector(self._elector))))
            for about, task in looks:
                for finding in await task:
                    tell(Line(about, finding))

    async def _look(self, kind: Kind, resource: Resource) -> Sequence[Finding]:
        spec = resource.spec
        found = [Finding("config", "ok", f"type {spec.type}, environment {spec.environment}, mode {spec.mode}")]
        found += [looked for credential in spec.credentials if (looked := credential_finding(credential)) is not None]
        if spec.mode == "Frozen":
            return [*found, Finding("read", "ok", "not tried: it is frozen")]
        read: Any = self._read_source if isinstance(resource, ServiceSource) else self._read_sink
        context = self._context(kind, resource, found)
        patient = _Patient(lambda: self._find(GROUPS[kind], spec.type), resource.decoded_config, read, context)
        return await self._try(patient, found)

    async def _look_at_elector(self, elector: Candidate) -> Sequence[Finding]:
        """Try it without standing for election."""
        found = [Finding("config", "ok", f"type {elector.type}")]
        found += [looked for each in elector.credentials if (looked := credential_finding(each)) is not None]
        context = self._context_of("elector", elector.type, elector.credentials, found)
        return await self._try(_Patient(lambda: elector.kind, elector.config, self._read_elector, context), found)

    async def _try(self, patient: _Patient, found: list[Finding]) -> Sequence[Finding]:
        try:
            await apart(self._opened(patient, found))
        except AdapterError as error:
            own = self._runs and not isinstance(error, PermanentError)  # what listens can do so once
            remedy = "a waypost runs on this state folder: `waypost status` tells how this one is" if own else ""
            found.append(
                Finding("open", "warning" if own else "failed", str(error).removesuffix(". Tried again"), remedy)
            )
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is told as its own
            cause = first_of(error)
            found.append(Finding("open", "failed", f"the adapter failed: {type(cause).__name__}: {cause}"))
        return found

    async def _opened(self, patient: _Patient, found: list[Finding]) -> None:
        async with patient.find().open(patient.config, patient.context) as adapter:
            if isinstance(adapter, Placed) and not await self._reach(adapter, patient.context, found):
                return  # the rest would tell the same once more
            found.append(await self._step("read", patient.read(adapter)))
            if isinstance(adapter, Examined) and found[-1].status != "failed":
                try:
                    async with asyncio.timeout(self._seconds):
                        found += await adapter.examine()
                except AdapterError as error:
                    found.append(Finding("examine", "failed", str(error)))
                except TimeoutError:
                    found.append(Finding("examine", "failed", f"no answer within {self._seconds:g} s"))

    async def _reach(self, adapter: Placed, context: AdapterContext, found: list[Finding]) -> bool:
        """Try all places; say whether one of them was reached. The others are then no more than a warning."""
        now = self._clock.wall()
        all_of_it = await asyncio.gather(
            *(reach(place, context.credentials, now, self._seconds) for place in adapter.places())
        )
        reached = [findings[-1].status != "failed" for findings in all_of_it]
        for findings in all_of_it:
            for finding in findings:
                spared = finding.status == "failed" and any(reached)
                found.append(msgspec.structs.replace(finding, status="warning") if spared else finding)
        return any(reached) or not reached

    async def _step(self, what: str, work: Any) -> Finding:
        try:
            async with asyncio.timeout(self._seconds):
                return Finding(what, "ok", await apart(work))
        except AdapterError as error:
            return Finding(what, "failed", str(error))
        except TimeoutError:
            return Finding(what, "failed", f"no whole answer within {self._seconds:g} s", "--timeout gives it longer")
        except Exception as error:  # noqa: BLE001 - as above
            cause = first_of(error)
            return Finding(what, "failed", f"the adapter failed: {type(cause).__name__}: {cause}")

    async def _read_source(self, source: Source) -> str:
        """Watch until the first whole view."""
        first = _FirstView()
        watch = asyncio.ensure_future(source.watch(first))
        seen = asyncio.ensure_future(first.whole.wait())
        try:
            await asyncio.wait([watch, seen], return_when=asyncio.FIRST_COMPLETED)
            if not first.whole.is_set():
                await watch
                raise AdapterError("the adapter's watch ended, which it must not")
        finally:
            for task in (watch, seen):
                task.cancel()
            await asyncio.wait([watch, seen])
            with suppress(asyncio.CancelledError):
                watch.exception()  # heard: what it says after the view is no matter here
        return f"{len(first.sizes)} services, {sum(first.sizes.values())} instances"

    async def _read_sink(self, sink: Sink) -> str:
        await sink.inspect([NAME])
        return "it answers"

    async def _read_elector(self, elector: Elector) -> str:
        """Read what can be read without standing for election."""
        if not isinstance(elector, Keeping):
            return "it opens"
        kept = await elector.recall()
        return f"it answers; {len(kept)} values are kept for the next leader"

    def _context(self, kind: Kind, resource: Resource, found: list[Finding]) -> AdapterContext:
        declared = Declared()
        registrations = self._settings.registrations.values()
        mine = tuple(s for r in registrations for s in r.declared if s.key.source == resource.name)
        declared.set(mine, complete=self._settings.complete)
        owner = resource.spec.owner_id if isinstance(resource, ServiceSink) else ""
        about = (kind, resource.name, resource.spec.credentials)
        return self._context_of(*about, found, resource.spec.environment, owner, declared)

    def _context_of(
        self,
        kind: str,
        name: str,
        credentials: Sequence[Credential],
        found: list[Finding],
        environment: str = "",
        owner: str = "",
        declared: Declared | None = None,
    ) -> AdapterContext:
        return AdapterContext(
            kind=kind,
            name=name,
            environment=environment,
            owner=owner,
            clock=self._clock,
            random=self._random,
            metrics=self._metrics.bound(kind=kind, name=name),
            credentials=FileCredentials(credentials),
            declared=declared or Declared(),
            state_dir=self._state_dir / "adapters" / f"{kind}-{name}",
            shared=self._shared,
            on_warn=lambda reason, message: found.append(Finding("warning", "warning", f"{reason}: {message}")),
        )


class _FirstView:
    """What a source is given (adapter.Changes): `whole` once a view has been read to its end, `sizes` what is in it."""

    def __init__(self) -> None:
        self.whole = asyncio.Event()
        self.sizes: dict[ServiceKey, int] = {}

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_FirstView]:
        yield self
        self.whole.set()

    def put(self, service: Service) -> None:
        self.sizes[service.key] = len(service.instances)

    def remove(self, key: ServiceKey) -> None:
        self.sizes.pop(key, None)

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        """See adapter.Changes: it comes after the first view."""

    def unknown_nodes(self, nodes: Collection[str]) -> None:
        """See adapter.Snapshot."""

    def resumed(self) -> None:
        """See adapter.Changes."""

    def current(self) -> None:
        """See adapter.Changes."""

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        """See adapter.Changes."""
