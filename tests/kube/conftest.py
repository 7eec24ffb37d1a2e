"""A cluster of which each test has its own part, and another that a test may break."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers import Kubernetes
from tests.kube.rig import Cluster, install


@pytest.fixture
async def cluster(kubernetes: Kubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(kubernetes, tmp_path)
    await made.prepare()
    yield made
    await made.clear()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server that tests may stop and empty."""
    server = Kubernetes(tmp_path_factory.mktemp("own"), controllers=False)
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.fixture
async def own(own_server: Kubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster that is a test's alone, with what it has; the next finds the CRDs and nothing else."""
    made = Cluster(own_server, tmp_path)
    await made.prepare()
    yield made
    await install(own_server)
    await made.clear()
