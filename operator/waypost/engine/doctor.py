"""Tries each source and sink once, step by step, and says of each step how it is. Claims and writes nothing.

Every adapter is tried by what the contract has anyway: opened, and read (a source until its first whole view, a sink by
a look for others' records). What an adapter tells beyond that (adapter.Placed, adapter.Examined) comes in between.
"""

from __future__ import annotations

import asyncio
import os
import random
import stat
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from waypost.adapter import AdapterError, AdapterType, Clock, Examined, Finding, PermanentError, Placed, Sink, Source
from waypost.engine.apart import apart, first_of
from waypost.engine.context import AdapterContext, Declared, FileCredentials
from waypost.kit.metrics import MetricsRegistry
from waypost.kit.reach import reach
from waypost.kit.shared import Shared
from waypost.model import Service, ServiceKey
from waypost.settings import Credential, ServiceSink, ServiceSource, Settings

__all__ = ["Doctor", "Line"]

NAME = "waypost-doctor"  # nobody's: only whether the question may be asked counts
Resource = ServiceSource | ServiceSink
Kind = Literal["source", "sink"]
GROUPS: Mapping[Kind, Literal["sources", "sinks"]] = {"source": "sources", "sink": "sinks"}


class Line(msgspec.Struct, frozen=True):
    """A finding and what it is about: `source NAME`, `sink NAME`."""

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
    ) -> None:
        """`find` gives the adapter's type by group (`sources`, `sinks`) and name; `state_dir` may be thrown away.

        `runs`: a process keeps these sources and sinks now.
        """
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
            tasks = [group.create_task(self._look(kind, resource)) for kind, resource in resources]
            for (kind, resource), task in zip(resources, tasks, strict=True):
                for finding in await task:
                    tell(Line(f"{kind} {resource.name}", finding))

    async def _look(self, kind: Kind, resource: Resource) -> Sequence[Finding]:
        spec = resource.spec
        found = [Finding("config", "ok", f"type {spec.type}, environment {spec.environment}, mode {spec.mode}")]
        found += [looked for credential in spec.credentials if (looked := credential_finding(credential)) is not None]
        if spec.mode == "Frozen":
            return [*found, Finding("read", "ok", "not tried: it is frozen")]
        context = self._context(kind, resource, found)
        try:
            await apart(self._opened(self._find(GROUPS[kind], spec.type), resource, context, found))
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

    async def _opened(
        self, kind: AdapterType[Any], resource: Resource, context: AdapterContext, found: list[Finding]
    ) -> None:
        async with kind.open(resource.decoded_config, context) as adapter:
            if isinstance(adapter, Placed) and not await self._reach(adapter, context, found):
                return  # the rest would tell the same once more
            read = self._read_source if isinstance(resource, ServiceSource) else self._read_sink
            found.append(await self._step("read", read(adapter)))
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

    def _context(self, kind: str, resource: Resource, found: list[Finding]) -> AdapterContext:
        declared = Declared()
        registrations = self._settings.registrations.values()
        mine = tuple(s for r in registrations for s in r.declared if s.key.source == resource.name)
        declared.set(mine, complete=self._settings.complete)
        return AdapterContext(
            kind=kind,
            name=resource.name,
            environment=resource.spec.environment,
            owner=resource.spec.owner_id if isinstance(resource, ServiceSink) else "",
            clock=self._clock,
            random=self._random,
            metrics=self._metrics.bound(kind=kind, name=resource.name),
            credentials=FileCredentials(resource.spec.credentials),
            declared=declared,
            state_dir=self._state_dir / "adapters" / f"{kind}-{resource.name}",
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


def credential_finding(credential: Credential) -> Finding | None:
    """Say whether a secret can be had, and whether others could have it; None for a Secret of Kubernetes'."""
    what = "credential"
    if credential.env is not None:
        if os.environ.get(credential.env):
            return Finding(what, "ok", f"{credential.name}: variable {credential.env}")
        return Finding(
            what, "failed", f"{credential.name}: variable {credential.env} is not set here", "set it where Waypost runs"
        )
    if credential.file is None:
        return None
    path = Path(credential.file)
    told = f"{credential.name}: file {path}"
    try:
        with path.open("rb") as file:
            empty, mode = not file.read(1), os.fstat(file.fileno()).st_mode
    except OSError as error:
        remedy = "let the user that Waypost runs as read it, or correct the path"
        return Finding(what, "failed", f"{told}: {error.strerror}", remedy)
    if empty:
        return Finding(what, "failed", f"{told} is empty", "put the secret into it")
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        return Finding(what, "warning", f"{told} has mode {stat.S_IMODE(mode):04o}: others may use it", "chmod 600")
    return Finding(what, "ok", told)
