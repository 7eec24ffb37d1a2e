"""The consul sink keeps the contract of every sink, on a real Consul: plain, and with TLS and a minimal ACL token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from testbed.proxy import Proxy
from testbed.servers import Consul
from waypost.testing.conformance_sink import SinkConformance

NODES = 8


async def wipe(consul: Consul) -> None:
    """Delete every node but the server's own, and every stamp."""
    for node in await consul.call("GET", "/v1/catalog/nodes?consistent"):
        if node["Node"] != "testbed":
            await consul.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    await consul.call("DELETE", "/v1/kv/waypost/?recurse")


class ConsulBench(SinkConformance):
    adapter = "waypost_adapters.consul:SINK"
    stalls = True
    server: Consul
    proxy: Proxy
    address = "127.0.0.1:1"

    def config(self) -> Mapping[str, Any]:
        return {"address": self.address, "nodes": NODES}

    async def foreign(self, key: str) -> None:
        node, _, ident = key.partition("/")
        owner = node.removeprefix("waypost-").rpartition("-")[0]
        service = {"ID": ident, "Service": "web", "Address": "192.0.2.9", "Port": 9}
        meta = {"waypost-owner": owner}
        body = {"Node": node, "Address": "127.0.0.1", "NodeMeta": meta, "Service": service}
        await self.server.call("PUT", "/v1/catalog/register", body)

    async def read(self, key: str) -> bytes | None:
        node, _, ident = key.partition("/")
        found = await self.server.call("GET", f"/v1/catalog/node-services/{quote(node)}?consistent")
        checks = await self.server.call("GET", f"/v1/health/node/{quote(node)}?consistent")
        service = next((each for each in found["Services"] or () if each["ID"] == ident), None)
        shown = [service, *(each for each in checks if each["ServiceID"] == ident)]
        return None if service is None else json.dumps(shown).encode()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        await self.proxy.refuse()
        try:
            yield
        finally:
            await self.proxy.heal()

    @asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        await self.server.pause()
        try:
            yield
        finally:
            await self.server.resume()

    async def lose_stamp(self) -> None:
        await self.server.call("DELETE", "/v1/kv/waypost/?recurse")

    @asynccontextmanager
    async def reached(self, server: Consul, test: str) -> AsyncIterator[None]:
        """Let the sink reach the server through a proxy, which has tasks: so not where the test counts those."""
        self.server = server
        await wipe(server)
        async with Proxy(server.address) as self.proxy:
            plain = "tasks" in test or "drift" in test
            self.address = server.address if plain else self.proxy.address
            if server.tls:
                self.address = self.address.replace("http:", "https:")
            yield


class TestConsul(ConsulBench):
    @pytest.fixture(autouse=True)
    async def _server(self, consul: Consul, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        async with self.reached(consul, request.node.name):
            yield
