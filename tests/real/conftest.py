"""Each promise is tried on every kind of target that can prove it: `driver` is one, and then the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from testbed.pytest_plugin import in_a_loop_of_its_own, need
from testbed.servers import Consul, Etcd
from tests.real_rig import ConsulDriver, Driver, EtcdDriver, wipe

TARGETS = [
    pytest.param("etcd", marks=pytest.mark.server("etcd")),
    pytest.param("consul", marks=pytest.mark.server("consul")),
]


async def driver_on(server: Etcd | Consul) -> Driver:
    if isinstance(server, Etcd):
        return await EtcdDriver.made(server)
    await wipe(server)
    return ConsulDriver(server)


@pytest.fixture(params=TARGETS)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    """A place on a server that the whole session shares: it is never stopped here."""
    made = await driver_on(request.getfixturevalue(request.param))
    yield made
    await made.lose()


@pytest.fixture(scope="session")
def fragile_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    need("etcd")
    server = Etcd(tmp_path_factory.mktemp("fragile-etcd"))
    yield server
    in_a_loop_of_its_own(server.kill9())


@pytest.fixture(scope="session")
def fragile_consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    need("consul")
    server = Consul(tmp_path_factory.mktemp("fragile-consul"))
    yield server
    in_a_loop_of_its_own(server.kill9())


@pytest.fixture(params=TARGETS)
async def fragile(request: pytest.FixtureRequest) -> Driver:
    """A place on a server that a test may kill, pause and start again."""
    server: Etcd | Consul = request.getfixturevalue(f"fragile_{request.param}")
    if not server.running:
        await server.start()
    return await driver_on(server)
