"""What one custom resource says: read as files are, but for what an object of the cluster may not say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from waypost.kube.objects import Item, Maker
from waypost.settings import ServiceSource, TypesOf
from waypost_adapters.swarm import SOURCE


def item(config: dict[str, Any]) -> Item:
    spec = {"type": "swarm", "environment": "test", "config": config}
    metadata = {"name": "s", "uid": "1", "generation": 1}
    return Maker(ServiceSource.kind, TypesOf({"swarm": SOURCE}, {}), "home")(
        msgspec.json.encode({"metadata": metadata, "spec": spec})
    )


@pytest.mark.parametrize("host", ["unix:///var/run/docker.sock", "UNIX:/var/run/docker.sock"])
def test_a_socket_of_the_machine_is_none_of_a_custom_resources(host: str) -> None:
    found = item({"hosts": ["tcp://m1:2376", host]}).document
    assert found.decoded.object is None
    (problem,) = found.problems
    assert problem.field == "spec.config.hosts[1]"
    assert "no path of Waypost's own machine" in problem.message


def test_an_address_is_taken() -> None:
    found = item({"hosts": ["tcp://unix:2376"]}).document
    assert not found.problems
    assert isinstance(found.decoded.object, ServiceSource)
