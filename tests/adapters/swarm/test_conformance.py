"""The source `swarm` keeps the promises of every source, on a real Swarm through TLS; once more through its socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from testbed.proxy import Proxy
from testbed.servers import SwarmCluster
from waypost.adapter import Source
from waypost.kit.tls import Tls
from waypost.model import ServiceKey
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost_adapters.swarm import SOURCE, Config

STACK = "com.docker.stack.namespace"


@pytest.mark.server("swarm")
class TestSwarm(SourceConformance):
    """Through TLS, with a client's certificate."""

    bound = 30.0  # an instance that leaves drains for some three seconds first
    proxied = True

    @pytest_asyncio.fixture(autouse=True)
    async def _system(self, swarm: SwarmCluster, tmp_path: Path) -> AsyncIterator[None]:
        self.swarm, self.stack = swarm, f"t{uuid.uuid4().hex[:8]}"
        self.network = await swarm.create_network(self.stack)
        self.replicas: dict[str, int] = {}
        self.context = TestContext(tmp_path, name=self.name, credentials=self.given())
        async with Proxy(swarm.managers[0].url.replace("tcp:", "https:")) as self.proxy:
            yield
        await self.empty()
        await swarm.gone(self.stack)
        await swarm.call("DELETE", f"/networks/{self.network}")

    def given(self) -> dict[str, str]:
        authority = self.swarm.tls
        assert authority is not None
        mine = authority.issue("waypost")
        files = {"ca": authority.certificate, "clientCert": mine.certificate, "clientKey": mine.key}
        return {name: path.read_text() for name, path in files.items()}

    def config(self) -> Config:
        manager = self.swarm.managers[0]
        host = f"tcp://{self.proxy.address}" if self.proxied else manager.url
        return Config((host,), tls=Tls(server_name=manager.address))

    async def test_cancelled_it_ends_soon_and_leaves_no_tasks(self) -> None:
        self.proxied = False  # the proxy runs in this loop and has tasks of its own
        await super().test_cancelled_it_ends_soon_and_leaves_no_tasks()

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        return SOURCE.open(self.config(), context)

    async def create(self, name: str, count: int) -> Sequence[str]:
        former = self.replicas.get(name, 0)
        self.replicas[name] = former + count
        if former:
            await self.swarm.scale(f"{self.stack}_{name}", former + count)
        else:
            labels = {STACK: self.stack}
            await self.swarm.create(f"{self.stack}_{name}", count, network=self.network, labels=labels)
        await self.swarm.running(f"{self.stack}_{name}", former + count)
        return [name] * count

    async def destroy(self, instance: str) -> None:
        self.replicas[instance] -= 1
        if self.replicas[instance]:
            await self.swarm.scale(f"{self.stack}_{instance}", self.replicas[instance])
        else:
            await self.swarm.remove(f"{self.stack}_{instance}")

    async def empty(self) -> None:
        for name, count in self.replicas.items():
            if count:
                await self.swarm.remove(f"{self.stack}_{name}")
        self.replicas.clear()

    async def interrupt(self) -> None:
        await self.proxy.refuse()

    async def resume(self) -> None:
        await self.proxy.heal()

    def key(self, name: str) -> ServiceKey:
        return ServiceKey(self.name, self.stack, name)


class TestSwarmBySocket(TestSwarm):
    """Through the Unix socket, which is there or not as a file is."""

    def given(self) -> dict[str, str]:
        return {}

    def config(self) -> Config:
        return Config((self.swarm.managers[0].host,))

    async def interrupt(self) -> None:
        await self.swarm.managers[0].pause()

    async def resume(self) -> None:
        await self.swarm.managers[0].resume()
        await asyncio.sleep(0)
