"""What the tests of the adapter share."""

from __future__ import annotations

import pytest

from testbed.servers import Kubernetes
from tests.adapters.kubernetes.sink_rig import let_the_policy_stand


@pytest.fixture(scope="session")
def fenced(kubernetes: Kubernetes) -> None:
    """Let the sink's admission policy stand from now on: once gone it does not work again (see fence.yaml)."""
    let_the_policy_stand(kubernetes)
