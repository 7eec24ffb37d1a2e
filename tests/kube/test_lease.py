"""The elector on a Lease passes what every elector promises, against a real API server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from testbed.proxy import Proxy
from testbed.servers import Kubernetes
from waypost.adapter import Elector
from waypost.kit.kubernetes.api import connect
from waypost.kube.lease import lease_elector
from waypost.testing.conformance_elector import ElectorConformance
from waypost.testing.context import TestContext

elections = itertools.count()
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


class TestOnALease(ElectorConformance):
    lease = 3.0
    takeover = 7.0  # a candidate that never saw a change waits for a whole lease
    bound = 4.0
    server: Kubernetes

    @pytest.fixture(autouse=True)
    async def _election(self, kubernetes: Kubernetes) -> AsyncIterator[None]:
        self.server = kubernetes
        self.name = f"e{next(elections)}"
        self.ways: dict[str, Proxy] = {}
        async with AsyncExitStack() as stack:
            for way in "abc":
                self.ways[way] = await stack.enter_async_context(Proxy(kubernetes.url))
            yield

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Elector]:
        url = f"https://127.0.0.1:{self.ways[context.name].port}"
        config = self.server.write_kubeconfig(f"{self.name}-{context.name}", self.server.api.admin, server=url)
        async with (
            connect(config, clock=context.clock) as api,
            lease_elector(api, "default", self.name, context.clock, name=context.name, seconds=3) as elector,
        ):
            yield elector

    async def cut(self, name: str) -> None:
        await self.ways[name].hang()

    async def mend(self, name: str) -> None:
        await self.ways[name].heal()

    async def slow(self, name: str, seconds: float) -> None:
        await self.ways[name].delay(seconds / 2)  # there and back

    async def evict(self) -> None:
        body = '{"spec": {"holderIdentity": "somebody"}}'
        await asyncio.to_thread(self.server.kubectl, "patch", "lease", self.name, "--type=merge", "-p", body)

    async def forget(self) -> None:
        await self.server.call("DELETE", f"{LEASES}/{self.name}")
