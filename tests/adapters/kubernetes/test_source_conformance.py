"""What every source promises, of the kubernetes source on a real API server, through a proxy that is cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from testbed.proxy import Proxy
from testbed.servers.kubernetes import Kubernetes
from tests.adapters.kubernetes.services import Place, endpoint, kubeconfig
from waypost.adapter import Source
from waypost.model import ServiceKey
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost_adapters.kubernetes import SOURCE
from waypost_adapters.kubernetes.source_config import SourceConfig


class TestKubernetes(SourceConformance):
    @pytest.fixture(autouse=True)
    async def _system(self, kubernetes: Kubernetes, _state: None) -> AsyncIterator[None]:
        self.place = Place(kubernetes)
        await self.place.make()
        self.made: dict[str, list[str]] = {}
        self.last = 0
        async with Proxy(kubernetes.url) as self.proxy:
            text = kubeconfig(kubernetes, server=f"https://{self.proxy.address}")
            self.context.credentials.set("kubeconfig", text)
            yield

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        return SOURCE.open(SourceConfig(namespaces=(self.place.name,)), context)

    def key(self, name: str) -> ServiceKey:
        return ServiceKey(self.name, self.place.name, name)

    async def create(self, name: str, count: int) -> Sequence[str]:
        if name not in self.made:
            await self.place.service(name)
            self.made[name] = []
        fresh = []
        for _ in range(count):
            self.last += 1
            fresh.append(f"{name}-{self.last}")
        self.made[name] += fresh
        await self._write(name)
        return fresh

    async def destroy(self, instance: str) -> None:
        name = instance.rpartition("-")[0]
        self.made[name].remove(instance)
        await self._write(name)

    async def _write(self, name: str) -> None:
        endpoints = [endpoint(pod, f"10.1.0.{pod.rpartition('-')[2]}") for pod in self.made[name]]
        await self.place.slice(f"{name}-a", name, endpoints)

    async def empty(self) -> None:
        for name in self.made:
            await self.place.drop_service(name)
        self.made.clear()

    async def interrupt(self) -> None:
        await self.proxy.refuse()

    async def resume(self) -> None:
        await self.proxy.heal()
