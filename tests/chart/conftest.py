"""A cluster with what the chart makes by default."""

from collections.abc import Iterator

import pytest

from testbed.servers import Kubernetes
from tests.chart.rendering import ROOT


@pytest.fixture(scope="session")
def cluster(kubernetes: Kubernetes) -> Iterator[Kubernetes]:
    """A cluster with the plain manifests, and a namespace `tenants`."""
    kubernetes.kubectl("create", "namespace", "tenants")
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "charts/waypost.yaml"))
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    yield kubernetes
    kubernetes.kubectl("delete", "deployment", "--namespace=waypost", "waypost", "--wait=false")
