"""A handler that keeps what it is told, ConfigMaps to be told of, and an informer that runs beside the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import msgspec

from testbed.servers.kubernetes import Kubernetes
from waypost.adapter import AdapterError
from waypost.kit.kubernetes.informer import Handler, Informer, Key
from waypost.kit.kubernetes.resource import Meta, Resource
from waypost.testing.context import Signal

SECONDS = 30.0


class Data(msgspec.Struct, frozen=True):
    n: Literal["0", "1", "2", "3"] = "0"


class Config(msgspec.Struct, frozen=True):
    """A ConfigMap as these tests read it: any other `n` than those cannot be read."""

    metadata: Meta
    data: Data = Data()


class Told(Handler[Config]):
    """`events` in their order: ("replaced", names, gone), ("put", name, n, n before), ("deleted", name), and so on."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.objects: Mapping[Key, Config] = {}
        self._said = Signal()

    async def replaced(self, objects: Mapping[Key, Config], gone: Sequence[Config]) -> None:
        self.objects = objects
        self._say("replaced", sorted(name for _, name in objects), sorted(each.metadata.name for each in gone))

    def put(self, now: Config, before: Config | None) -> None:
        self._say("put", now.metadata.name, now.data.n, before.data.n if before else None)

    def deleted(self, last: Config) -> None:
        self._say("deleted", last.metadata.name)

    def alive(self) -> None:
        self._say("alive")

    def unreadable(self, key: Key, reason: str) -> None:
        self._say("unreadable", key[1])

    def failing(self, error: AdapterError, seconds: float) -> None:
        self._say("failing", error)

    def _say(self, *event: Any) -> None:
        self.events.append(event)
        self._said.give()

    def all(self, kind: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] == kind]

    async def until(self, holds: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                while not holds():
                    await self._said.wait()
        except TimeoutError:
            raise AssertionError(f"not within {SECONDS:g} s; told: {self.events[-20:]}") from None

    async def told(self, *event: Any) -> None:
        await self.until(lambda: event in self.events)


class Shelf:
    """ConfigMaps of one namespace, written beside the informer."""

    def __init__(self, cluster: Kubernetes, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.resource = Resource("", "v1", "configmaps", namespace)

    async def make(self) -> None:
        await self.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    async def put(self, name: str, n: str = "0", *, padding: int = 0) -> None:
        data = {"n": n, **({"padding": "x" * padding} if padding else {})}
        body = {"metadata": {"name": name, "labels": {"test": "yes"}}, "data": data}
        await self.cluster.call("POST", self.resource.path(), body)

    async def change(self, name: str, n: str) -> None:
        body = {"metadata": {"name": name, "labels": {"test": "yes"}}, "data": {"n": n}}
        await self.cluster.call("PUT", self.resource.path(name), body)

    async def delete(self, name: str) -> None:
        await self.cluster.call("DELETE", self.resource.path(name))


@asynccontextmanager
async def running(informer: Informer[Config], told: Told) -> AsyncIterator[asyncio.Task[None]]:
    """The informer's `run`, until the block ends."""
    task = asyncio.create_task(informer.run(told))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
