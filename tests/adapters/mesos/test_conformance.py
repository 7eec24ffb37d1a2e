"""The source `mesos` keeps the promises of every source, on a real Mesos; once more with a password, through TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from testbed.proxy import Proxy
from testbed.pytest_plugin import in_a_loop_of_its_own, need
from testbed.servers import MesosCluster
from testbed.tls import Authority
from waypost.adapter import Source
from waypost.kit.tls import Tls
from waypost.model import ServiceKey
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost_adapters.mesos import SOURCE
from waypost_adapters.mesos.config import Config


class TestMesos(SourceConformance):
    direct = ""

    @pytest_asyncio.fixture(autouse=True)
    async def _system(self, mesos: MesosCluster) -> AsyncIterator[None]:
        async with Proxy(mesos.url) as self.proxy, mesos.framework("marathon") as self.framework:
            yield

    def config(self) -> Config:
        return Config(masters=(self.direct or self.proxy.url,), poll_seconds=1)

    async def test_cancelled_it_ends_soon_and_leaves_no_tasks(self) -> None:
        self.direct = self.proxy.target  # the proxy runs in this loop and has tasks of its own
        await super().test_cancelled_it_ends_soon_and_leaves_no_tasks()

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        return SOURCE.open(self.config(), context)

    async def create(self, name: str, count: int) -> Sequence[str]:
        return [task.id for task in await self.framework.launch(name, count)]

    async def destroy(self, instance: str) -> None:
        await self.framework.kill(instance)

    async def empty(self) -> None:
        living = [task for task in self.framework.tasks.values() if task.state == "TASK_RUNNING"]
        await self.framework.kill(*living)

    async def interrupt(self) -> None:
        await self.proxy.refuse()

    async def resume(self) -> None:
        await self.proxy.heal()

    def key(self, name: str) -> ServiceKey:
        return ServiceKey(self.name, "marathon", name)


USER, PASSWORD = "reader-of-the-test", "s3cret-of-the-test"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MesosCluster]:
    need("mesos")
    cluster = MesosCluster(tmp_path_factory.mktemp("guarded"), agents=1, credentials=(USER, PASSWORD))
    in_a_loop_of_its_own(cluster.start())
    yield cluster
    in_a_loop_of_its_own(cluster.stop())


@pytest.mark.server("mesos")
class TestMesosWithPasswordAndTls(TestMesos):
    """A secret is nowhere, and all else is the same."""

    @pytest_asyncio.fixture(autouse=True)
    async def _system(self, guarded: MesosCluster, tmp_path: Path) -> AsyncIterator[None]:  # type: ignore[override]
        authority = Authority(tmp_path / "tls")
        given = {"username": USER, "password": PASSWORD, "ca": authority.certificate.read_text()}
        self.context = TestContext(tmp_path, name=self.name, credentials=given)
        tls = authority.server_context(authority.issue("mesos", hosts=["mesos.test"]))
        async with Proxy(guarded.url, tls=tls) as self.proxy, guarded.framework("marathon") as self.framework:
            yield

    def config(self) -> Config:
        server_name = "" if self.direct else "mesos.test"
        return Config(masters=(self.direct or self.proxy.url,), poll_seconds=1, tls=Tls(server_name=server_name))
