"""A whole engine on memory adapters and the virtual clock, and words to script it with."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from waypost.adapter import AdapterType, Elector
from waypost.engine.engine import Engine
from waypost.model import Address, Instance, Port, Service, ServiceKey
from waypost.settings import (
    Metadata,
    RegistrationSpec,
    ServiceRegistration,
    ServiceSink,
    ServiceSource,
    Settings,
    SinkSpec,
    SourceSpec,
)
from waypost.testing.memory import MemorySink, MemorySource, SharedTarget, sink_type, source_type
from waypost.testing.virtual import VirtualClock


def instance(name: str, *, host: str = "", port: int = 8080, **more: Any) -> Instance:
    """Return an instance with one address and one port."""
    host = host or f"10.0.{hash_byte(name, 1)}.{hash_byte(name, 2)}"
    return Instance(name, (Address(host),), (Port(port, "http"),) if port else (), **more)


def hash_byte(text: str, salt: int) -> int:
    """Return 1..254 from a text, the same in every process."""
    return random.Random(f"{salt}{text}").randint(1, 254)


def service(
    name: str,
    *instances: Instance | str,
    source: str = "mem",
    namespace: str = "",
    labels: Mapping[str, str] | None = None,
) -> Service:
    """Return a service; a text stands for an instance of that id."""
    made = tuple(instance(i) if isinstance(i, str) else i for i in instances)
    return Service(ServiceKey(source, namespace, name), labels or {}, made)


def source(name: str = "mem", *, environment: str = "test", **spec: Any) -> ServiceSource:
    """Return a source's manifest."""
    body = {"type": "memory", "environment": environment, **spec}
    return ServiceSource(Metadata(name), msgspec.convert(body, SourceSpec))


def sink(name: str = "out", *, environment: str = "test", owner: str = "me", **spec: Any) -> ServiceSink:
    """Return a sink's manifest."""
    body = {"type": "memory", "environment": environment, "ownerID": owner, **spec}
    return ServiceSink(Metadata(name), msgspec.convert(body, SinkSpec))


def registration(
    name: str = "web",
    *,
    services: str | list[str] | None = None,
    sinks: Iterable[str] = ("out",),
    source: str = "mem",
    namespace: str = "default",
    entry: Mapping[str, Any] | None = None,
    **spec: Any,
) -> ServiceRegistration:
    """Return a registration of one service (its own name, unless given) or of a list of globs."""
    chosen: dict[str, Any] = (
        {"selector": {"services": services}} if isinstance(services, list) else {"service": {"name": services or name}}
    )
    body = {
        "sources": [{"name": "all", "sourceRef": {"name": source}, **chosen}],
        "sinks": [{"name": s, "sinkRef": {"name": s}, **(entry or {})} for s in sinks],
        **spec,
    }
    return ServiceRegistration(Metadata(name, namespace), msgspec.convert(body, RegistrationSpec))


class Rig:
    """Sources, targets and one engine that may be restarted; all times are virtual."""

    def __init__(self, folder: Path, *, seed: int = 0, resync_seconds: float = 300.0) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.seed = seed
        self.resync_seconds = resync_seconds
        self.memory: dict[str, MemorySource] = {"mem": MemorySource()}
        self.targets: dict[str, SharedTarget] = {"out": SharedTarget()}
        self.sinks: dict[str, MemorySink] = {}
        self.on_sink: Callable[[MemorySink], None] = lambda _sink: None
        self.settings = Settings()
        self.engine: Engine = None  # type: ignore[assignment]  # there while `running`
        self.declare(source())
        self.declare(sink())

    # --- what is asked for

    def declare(self, *objects: Any, complete: bool = True) -> None:
        """Add or replace manifests."""
        kinds: dict[Any, str] = {ServiceSource: "sources", ServiceSink: "sinks", ServiceRegistration: "registrations"}
        for item in objects:
            field = kinds[type(item)]
            self._with(**{field: {**getattr(self.settings, field), item.key: item}})
            if isinstance(item, ServiceSource):
                self.memory.setdefault(item.name, MemorySource())
            if isinstance(item, ServiceSink):
                self.targets.setdefault(item.name, SharedTarget())
        self._with(complete=complete)

    def withdraw(self, kind: str, key: str) -> None:
        """Take a manifest away: `sources`, `sinks` or `registrations`."""
        self._with(**{kind: {k: v for k, v in getattr(self.settings, kind).items() if k != key}}, complete=True)

    def unreadable(self) -> None:
        """Let a document of the set be unreadable."""
        self._with(complete=False)

    def _with(self, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **changes)
        if self.engine is not None:
            self.engine.put(self.settings)

    # --- running

    @asynccontextmanager
    async def running(
        self, elector: Elector | None = None, folder: Path | None = None, **more: Any
    ) -> AsyncIterator[Engine]:
        """Run an engine; leaving the block kills it, as kill -9 would."""
        engine = Engine(
            source_type=self._source_type,
            sink_type=self._sink_type,
            state_dir=folder or self.folder / "state",
            clock=self.clock,
            rng=random.Random(self.seed),
            elector=elector,
            resync_seconds=self.resync_seconds,
            **more,
        )
        self.engine = engine
        engine.put(self.settings)
        task = asyncio.ensure_future(engine.run())
        try:
            yield engine
        finally:
            failed = task.done() and not task.cancelled() and task.exception()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                if failed:
                    raise failed
                await task

    async def settle(self, seconds: float = 5.0) -> None:
        """Let that much time pass: all that is not waiting for a person, or for belief, is done by then."""
        await asyncio.sleep(seconds)

    def target(self, name: str = "out") -> SharedTarget:
        """Return a sink's target."""
        return self.targets[name]

    def records(self, name: str = "out") -> dict[str, Any]:
        """Return all records of a target, decoded."""
        return {key: msgspec.json.decode(content) for key, content in sorted(self.targets[name].records.items())}

    def found(self, name: str = "out") -> list[str]:
        """Return the keys of a target's records."""
        return sorted(self.targets[name].records)

    def problems(self, name: str = "out") -> list[str]:
        """Return all that is wrong in a sink."""
        found = self.engine.reconciler.targets[name].problems
        return sorted({reason for mine in found.values() for reason in mine.values()})

    def _source_type(self, name: str) -> AdapterType[Any]:
        return _Named(self)

    def _sink_type(self, name: str) -> AdapterType[Any]:
        return _NamedSink(self)


def _Named(rig: Rig) -> AdapterType[Any]:  # noqa: N802
    @asynccontextmanager
    async def opened(config: Any, context: Any) -> AsyncIterator[MemorySource]:
        async with source_type(rig.memory[context.name]).open(config, context) as found:
            yield found

    return msgspec.structs.replace(source_type(rig.memory["mem"]), open=opened)


def _NamedSink(rig: Rig) -> AdapterType[Any]:  # noqa: N802
    @asynccontextmanager
    async def opened(config: Any, context: Any) -> AsyncIterator[MemorySink]:
        def known(made: MemorySink) -> None:
            rig.sinks[context.name] = made
            rig.on_sink(made)

        async with sink_type(rig.targets[context.name], opened=known).open(config, context) as found:
            yield found

    return msgspec.structs.replace(sink_type(rig.targets["out"]), open=opened)
