"""The elector on a real Consul passes what every elector promises, with no more permissions than README.md asks for."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from testbed.proxy import Proxy
from testbed.pytest_plugin import in_a_loop_of_its_own, need
from testbed.servers import Consul
from waypost.adapter import Elector
from waypost.testing.conformance_elector import ElectorConformance
from waypost.testing.context import TestContext
from waypost_adapters.consul import ELECTOR
from waypost_adapters.consul.elector import ElectorConfig

elections = itertools.count()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A Consul that denies by default, and takes sessions of two seconds."""
    need("consul")
    server = Consul(tmp_path_factory.mktemp("hasty"), acl=True, settings={"session_ttl_min": "1s"})
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


def policy(election: str) -> str:
    """Return the rules that README.md gives, for that election."""
    readme = Path(__file__).parents[3] / "adapters/waypost_adapters/consul/README.md"
    rules = readme.read_text().partition("## ELECTOR")[2].partition("```hcl\n")[2].partition("```")[0]
    assert "prod-eu" in rules
    return rules.replace("prod-eu", election)


@pytest.mark.server("consul")
class TestOnConsul(ElectorConformance):
    lease = 2.0
    takeover = 8.0  # Consul ends a session after twice its TTL
    server: Consul

    @pytest.fixture(autouse=True)
    async def _election(self, hasty: Consul, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        self.server = hasty
        self.direct = "tasks" in request.node.name  # a proxy has some of its own
        self.name = f"e{next(elections)}"
        self.credentials = {"token": await hasty.limited_token(policy(self.name))}
        self.ways: dict[str, Proxy] = {}
        async with AsyncExitStack() as self.stack:
            for way in "abc":
                self.ways[way] = await self.stack.enter_async_context(Proxy(hasty.address))
            yield

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Elector]:
        address = self.server.address if self.direct else self.ways[context.name].url
        config = ElectorConfig(address=address, election=self.name, ttl_seconds=2)
        async with ELECTOR.open(config, context) as elector:
            yield elector

    async def cut(self, name: str) -> None:
        await self.ways[name].hang()

    async def mend(self, name: str) -> None:
        await self.ways[name].heal()

    async def slow(self, name: str, seconds: float) -> None:
        await self.ways[name].delay(seconds / 4)  # there and back, and two questions a renewal

    async def evict(self) -> None:
        await self.server.call("DELETE", f"/v1/kv/waypost-election/{self.name}/leader")

    async def forget(self) -> None:
        await self.server.call("DELETE", f"/v1/kv/waypost-election/{self.name}/?recurse")
