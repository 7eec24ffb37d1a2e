"""Each promise is tried on every kind of target that can prove it: `driver` is one, and then the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from testbed.pytest_plugin import in_a_loop_of_its_own, need
from testbed.servers import Bind, Consul, Etcd
from tests.real.bind_driver import BindDriver
from tests.real_rig import ConsulDriver, Driver, EtcdDriver, wipe

TARGETS = [
    pytest.param("etcd", marks=pytest.mark.server("etcd")),
    pytest.param("consul", marks=pytest.mark.server("consul")),
    pytest.param("named", marks=pytest.mark.server("bind", "dig"), id="bind"),
]

# DNS keeps no metadata, and shows no port that has no name
RECORDS_OF_ANY_KIND = pytest.mark.parametrize("driver", TARGETS[:2], indirect=True)


async def driver_on(server: Etcd | Consul | Bind) -> Driver:
    if isinstance(server, Bind):
        if not server.running:
            await server.start()
        return BindDriver(server)
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


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Bind]:
    """A BIND of the test's own, not started yet, whose journal tells everything from the beginning."""
    server = Bind(tmp_path / "named", settings={"max-journal-size": "500M", "max-ixfr-ratio": "unlimited"})
    yield server
    in_a_loop_of_its_own(server.kill9())


@pytest.fixture
def fragile_named(named: Bind) -> Bind:
    return named


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
    server: Etcd | Consul | Bind = request.getfixturevalue(f"fragile_{request.param}")
    if not server.running:
        await server.start()
    return await driver_on(server)
