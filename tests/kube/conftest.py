"""A cluster of which each test has its own part."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.servers import Kubernetes
from tests.kube.rig import Cluster


@pytest.fixture
async def cluster(kubernetes: Kubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(kubernetes, tmp_path)
    await made.prepare()
    yield made
    await made.clear()
