"""The consul sink keeps the contract of every sink, on a real Consul: plain, and with TLS and a minimal ACL token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from testbed.outages import paused, refusing
from testbed.proxy import Proxy
from testbed.pytest_plugin import in_a_loop_of_its_own, need
from testbed.servers import Consul
from testbed.tls import Authority
from waypost.testing.conformance_sink import SinkConformance

NODES = 8


async def wipe(consul: Consul) -> None:
    """Delete every node but the server's own, and every stamp."""
    for node in await consul.call("GET", "/v1/catalog/nodes?consistent"):
        if node["Node"] != "testbed":
            await consul.call("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    await consul.call("DELETE", "/v1/kv/waypost/?recurse")


def policy(owner: str) -> str:
    """Return the rules that README.md gives, for that owner."""
    readme = Path(__file__).parents[3] / "adapters/waypost_adapters/consul/README.md"
    _, _, after = readme.read_text().partition("```hcl\n")
    rules = after.partition("```")[0]
    assert "OWNER" in rules
    return rules.replace("OWNER", owner)


class ConsulBench(SinkConformance):
    adapter = "waypost_adapters.consul:SINK"
    stalls = True
    server: Consul
    proxy: Proxy
    address = "127.0.0.1:1"
    writes = 0

    def config(self) -> Mapping[str, Any]:
        return {"address": self.address, "nodes": NODES}

    async def foreign(self, key: str) -> None:
        node, _, ident = key.partition("/")
        owner = node.removeprefix("waypost-").rpartition("-")[0]
        self.writes += 1  # the same again would be no change to Consul
        service = {"ID": ident, "Service": "web", "Address": "192.0.2.9", "Port": self.writes}
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

    def outage(self) -> AbstractAsyncContextManager[None]:
        return refusing(self.proxy)

    def stall(self) -> AbstractAsyncContextManager[None]:
        return paused(self.server)

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
                self.address = "https://" + self.address.removeprefix("https://")
            yield


class TestConsul(ConsulBench):
    @pytest.fixture(autouse=True)
    async def _server(self, consul: Consul, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        async with self.reached(consul, request.node.name):
            yield


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A Consul that denies by default, speaks TLS and demands client certificates."""
    need("consul")
    folder = tmp_path_factory.mktemp("guarded")
    server = Consul(folder / "consul", acl=True, tls=Authority(folder / "tls"), client_certificates=True)
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.mark.server("consul")
class TestConsulWithAclAndTls(ConsulBench):
    """The same with no more permissions than README.md asks for."""

    @pytest.fixture(autouse=True)
    async def _server(self, guarded: Consul, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        assert guarded.tls is not None
        mine = guarded.tls.issue("waypost")
        self.credentials = {
            "token": await guarded.limited_token(policy("owner-a") + policy("owner-b")),
            "ca": guarded.tls.certificate.read_text(),
            "clientCert": mine.certificate.read_text(),
            "clientKey": mine.key.read_text(),
        }
        async with self.reached(guarded, request.node.name):
            yield
