"""Servers for tests: fixtures (FIXTURES, below), and the marker `server("NAME")` for what a test starts itself.

Where a server is not there, a test that needs it is skipped with the reason; with CI=true in the environment it fails,
unless it is for root alone and this is not root.
The servers live as long as the session (a worker of pytest-xdist has its own), start at first use, and are shared: a
test keeps to keys, names and frameworks of its own, and leaves the server running. One that kills or pauses a server
starts its own.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from testbed.parts import MissingError, NotRootError, require
from testbed.servers import Bind, Consul, Etcd, Knot, Kubernetes, MesosCluster, SwarmCluster, ZooKeeper
from testbed.tls import Authority

ServerT = TypeVar("ServerT", Etcd, Consul, MesosCluster, SwarmCluster, ZooKeeper, Bind, Knot, Kubernetes)
FIXTURES = {  # fixture → the parts it needs
    **{name: (name,) for name in ("etcd", "consul", "mesos", "swarm", "zookeeper", "bind", "knot")},
    "kubernetes": ("kube", "etcd"),
}


def need(name: str) -> None:
    """Skip the test, or fail it where CI=true, when this server is not there."""
    try:
        require(name)
    except MissingError as error:
        if os.environ.get("CI") == "true" and not isinstance(error, NotRootError):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "server(*names): needs these real servers of the testbed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server's fixture, so that `-m "not server"` leaves them out."""
    for item in items:
        for name, parts in FIXTURES.items():
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.server(*parts))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the servers before any fixture is made."""
    for mark in item.iter_markers("server"):
        for name in mark.args:
            need(name)


def in_a_loop_of_its_own(work: Coroutine[Any, Any, object]) -> None:
    """Run it to the end in another thread, whether or not a loop runs in this one."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 (raised again below)
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _running(server: ServerT) -> Iterator[ServerT]:
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A plain etcd, shared; it does not fsync."""
    yield from _running(Etcd(tmp_path_factory.mktemp("etcd"), unsafe_no_fsync=True))


@pytest.fixture(scope="session")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A plain Consul server, shared."""
    yield from _running(Consul(tmp_path_factory.mktemp("consul")))


@pytest.fixture(scope="session")
def mesos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MesosCluster]:
    """A Mesos master with two agents, shared; a test brings its own framework."""
    yield from _running(MesosCluster(tmp_path_factory.mktemp("mesos")))


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmCluster]:
    """A Docker Swarm of one manager and one worker, also over TLS, shared; a test brings its own services."""
    directory = tmp_path_factory.mktemp("swarm")
    yield from _running(SwarmCluster(directory, tls=Authority(directory / "tls")))


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    """A plain ZooKeeper, shared."""
    yield from _running(ZooKeeper(tmp_path_factory.mktemp("zookeeper")))


@pytest.fixture(scope="session")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """A BIND with one zone, shared."""
    yield from _running(Bind(tmp_path_factory.mktemp("bind")))


@pytest.fixture(scope="session")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    """A Knot DNS with one zone, shared."""
    yield from _running(Knot(tmp_path_factory.mktemp("knot")))


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A Kubernetes control plane with its controllers and without nodes, shared; a test brings its own namespaces."""
    yield from _running(Kubernetes(tmp_path_factory.mktemp("kubernetes")))
