"""The adapters in memory pass the conformance suites: on them the engine's tests stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from waypost.adapter import AdapterError, Sink, Source
from waypost.model import Address, Instance, Port, Service
from waypost.testing.conformance_sink import SinkConformance
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost.testing.memory import Fault, MemorySink, MemorySource, SharedTarget


class TestMemorySource(SourceConformance):
    @pytest.fixture(autouse=True)
    def _system(self) -> None:
        self.source = MemorySource()
        self.where: dict[str, str] = {}

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Source]:
        yield self.source

    async def create(self, name: str, count: int) -> Sequence[str]:
        key = self.key(name)
        service = self.source.services.get(key, Service(key))
        made = []
        for _ in range(count):
            number = len(self.where)
            self.where[f"i-{number}"] = name
            made.append(Instance(f"i-{number}", (Address(f"10.0.0.{number}"),), (Port(8000 + number, "http"),)))
        self.source.set(Service(key, service.labels, (*service.instances, *made)))
        return [instance.id for instance in made]

    async def destroy(self, instance: str) -> None:
        service = self.source.services[self.key(self.where[instance])]
        left = tuple(each for each in service.instances if each.id != instance)
        if left:
            self.source.set(Service(service.key, service.labels, left))
        else:
            self.source.delete(service.key)

    async def empty(self) -> None:
        self.source.delete(*self.source.services)

    async def interrupt(self) -> None:
        self.source.fail(AdapterError("connection refused"))

    async def resume(self) -> None:
        self.source.recover()


class TestMemorySink(SinkConformance):
    adapter = "waypost.testing.memory:SINK"
    stalls = True

    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.target = SharedTarget()
        self.sinks: list[MemorySink] = []
        self.away = False

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Sink]:
        sink = MemorySink(self.target, context)
        sink.down = AdapterError("connection refused") if self.away else None
        self.sinks.append(sink)
        yield sink

    async def foreign(self, key: str) -> None:
        self.target.set(key, b'{"address":"10.9.9.9"}')

    async def read(self, key: str) -> bytes | None:
        return self.target.records.get(key)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.away = True
        for sink in self.sinks:
            sink.down = AdapterError("connection refused")
        yield
        self.away = False
        for sink in self.sinks:
            sink.down = None

    @asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        for sink in self.sinks:
            sink.faults.append(Fault("written"))
        yield

    async def lose_stamp(self) -> None:
        self.target.lose(records=False)
