"""The elector on a real etcd passes what every elector promises; and what etcd may do to it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd
from waypost.adapter import AdapterError, Elector, Keeping, PermanentError, Term
from waypost.testing.conformance_elector import ElectorConformance
from waypost.testing.context import TestContext
from waypost_adapters.etcd import ELECTOR, ElectorConfig
from waypost_adapters.etcd.elector import EtcdElector

elections = itertools.count()


class OnEtcd(ElectorConformance):
    lease = 2.0
    takeover = 5.0  # etcd looks for leases that ran out twice a second, and revokes them by its log
    server: Etcd
    seconds = 2

    @pytest.fixture(autouse=True)
    async def _election(self, etcd: Etcd, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        self.server = etcd
        self.direct = "tasks" in request.node.name  # a proxy has some of its own
        self.name = f"e{next(elections)}"
        self.ways: dict[str, Proxy] = {}
        async with AsyncExitStack() as self.stack:
            for way in "abc":
                self.ways[way] = await self.stack.enter_async_context(Proxy(etcd.endpoint))
            yield

    def config(self, way: str) -> ElectorConfig:
        url = self.server.endpoint if self.direct else self.ways[way].url
        return ElectorConfig(endpoints=(url,), election=self.name, ttl_seconds=self.seconds)

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Elector]:
        async with ELECTOR.open(self.config(context.name), context) as elector:
            yield elector

    async def cut(self, name: str) -> None:
        await self.ways[name].hang()

    async def mend(self, name: str) -> None:
        await self.ways[name].heal()

    async def slow(self, name: str, seconds: float) -> None:
        await self.ways[name].delay(seconds / 4)  # there and back, and two questions a renewal

    async def evict(self) -> None:
        await self.server.delete(f"/waypost-election/{self.name}/leader")

    async def forget(self) -> None:
        await self.server.delete(f"/waypost-election/{self.name}/")


class TestOnEtcd(OnEtcd):
    pass


@pytest.mark.server("etcd")
class TestWithUsers:
    """The same with no more permissions than README.md asks for."""

    async def test_a_user_of_its_prefix_is_enough_and_no_secret_is_shown(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with Etcd(tmp_path / "etcd", unsafe_no_fsync=True, auth=True) as server:
            await server.add_user("elector-7f", "7c-correct-horse", "/waypost-election/prod-eu/")
            secrets = {"username": "elector-7f", "password": "7c-correct-horse"}
            config = ElectorConfig(endpoints=(server.endpoint,), election="prod-eu", ttl_seconds=60)
            for number in (1, 2):
                context = TestContext(tmp_path, seed=number, credentials=secrets)
                async with ELECTOR.open(config, context) as elector, aclosing(elector.terms()) as terms:  # type: ignore[type-var]
                    term = await anext(terms)
                    assert isinstance(term, Term)
                    assert term.number == number
                    assert isinstance(elector, Keeping)
                    await elector.keep(f"n{number}", b"1")
                    assert len(await elector.recall()) == number
            other = ElectorConfig(endpoints=(server.endpoint,), election="others", ttl_seconds=60)
            async with ELECTOR.open(other, TestContext(tmp_path, credentials=secrets)) as elector:
                with pytest.raises(PermanentError, match="permission denied"):
                    await anext(elector.terms())
        assert "correct-horse" not in caplog.text


@pytest.mark.server("etcd")
@pytest.mark.timeout(120)
async def test_an_etcd_restored_from_an_older_copy_in_which_another_leads_locks_nobody_out(tmp_path: Path) -> None:
    async with Etcd(tmp_path / "etcd", unsafe_no_fsync=True) as server, AsyncExitStack() as stack:
        config = ElectorConfig(endpoints=(server.endpoint,), election="restored", ttl_seconds=2)
        lives = await stack.enter_async_context(ELECTOR.open(config, TestContext(tmp_path, name="lives", seed=1)))
        gone = await stack.enter_async_context(ELECTOR.open(config, TestContext(tmp_path, name="gone", seed=2)))
        assert await won(gone) == 1
        await server.kill9()
        shutil.copytree(server.data, tmp_path / "copy")
        await server.start()
        assert isinstance(gone, EtcdElector)
        assert isinstance(lives, EtcdElector)
        await gone.close()  # its process is no more
        for number in (2, 3, 4):
            assert await won(lives) == number
            await lives.close()
        await server.kill9()
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "copy", server.data)  # here `gone` leads, in term 1
        await server.start()
        assert await won(lives) == 5, "a number that was there already"
        fresh = await stack.enter_async_context(ELECTOR.open(config, TestContext(tmp_path, name="fresh", seed=3)))
        await lives.close()
        assert await won(fresh) == 6


async def won(elector: Elector) -> int:
    """Return the number of the term that an elector wins, asked again when it cannot reach etcd yet."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with aclosing(elector.terms()) as terms:  # type: ignore[type-var]
                    async for event in terms:
                        if isinstance(event, Term):
                            return event.number
            except AdapterError:
                await asyncio.sleep(0.1)
