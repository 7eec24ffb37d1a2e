"""From a real Swarm to a sink through the whole engine: what is scaled to nothing is gone within two seconds."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.servers import SwarmCluster
from tests.adapters.swarm.watching import STACK
from tests.real_rig import until
from tests.rig import Rig, registration
from waypost.adapter import AdapterType
from waypost.kit.clock import LoopClock
from waypost.settings import Metadata, ServiceSource, SourceSpec
from waypost_adapters.swarm import SOURCE, Config

pytestmark = pytest.mark.server("swarm")


class SwarmRig(Rig):
    """An engine on a Swarm and one sink in memory, in real time."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        super().__init__(folder)
        self.clock = LoopClock()  # type: ignore[assignment]  # a virtual one is not for real servers
        spec = msgspec.convert({"type": "swarm", "environment": "test", "config": {"hosts": hosts}}, SourceSpec)
        self.declare(ServiceSource(Metadata("swarm"), spec, Config(hosts)))

    def _source_type(self, name: str) -> AdapterType[Any]:
        return SOURCE if name == "swarm" else super()._source_type(name)

    async def until_records(self, count: int, *, ready: bool = True, seconds: float = 30) -> None:
        """Wait until the sink has so many records that are ready, or in all."""

        def there() -> bool:
            return bool(sum(record["ready"] or not ready for record in self.records().values()) == count)

        await until(there, f"{count} records", seconds)


def web(stack: str, **more: Any) -> Any:
    chosen = {"name": "all", "sourceRef": {"name": "swarm"}, "service": {"namespace": stack, "name": "web"}}
    return registration("web", sources=[chosen], **more)


async def test_a_service_scaled_to_nothing_leaves_the_sink_within_two_seconds(
    swarm: SwarmCluster, tmp_path: Path
) -> None:
    stack = f"t{uuid.uuid4().hex[:8]}"
    name = f"{stack}_web"
    await swarm.create(name, 3, labels={STACK: stack}, ports=[{"TargetPort": 8080, "PublishMode": "host"}])
    rig = SwarmRig(tmp_path, *swarm.hosts)
    rig.declare(web(stack, drainSeconds=0))
    took = []
    async with rig.running():
        for _ in range(3):  # the best of three: the machine is busy with other things too
            await swarm.running(name, 3)
            await rig.until_records(3)
            await swarm.scale(name, 0)
            began = time.monotonic()
            await rig.until_records(0, ready=False)
            took.append(time.monotonic() - began)
            if took[-1] < 2:
                break
            await swarm.scale(name, 3)
    assert min(took) < 2, took
    await swarm.remove(name)
    await swarm.gone(stack)


@pytest.mark.timeout(300)
async def test_the_only_manager_killed_for_30_seconds_costs_no_record_and_no_write(tmp_path: Path) -> None:
    async with SwarmCluster(tmp_path / "swarm", heartbeat=30) as swarm:
        placement = {"Placement": {"Constraints": ["node.hostname==n2"]}}
        ports = [{"TargetPort": 8080, "PublishMode": "host"}]
        await swarm.create("s_web", 3, labels={STACK: "s"}, ports=ports, TaskTemplate=placement)
        await swarm.running("s_web", 3)
        rig = SwarmRig(tmp_path, *swarm.hosts)
        rig.declare(web("s"))
        async with rig.running() as engine:
            await rig.until_records(3)
            writes, records = len(rig.target().log), rig.records()
            await swarm.managers[0].kill9()
            with pytest.raises(AssertionError, match="not within 30 s"):
                await until(lambda: len(rig.target().log) != writes, "something is written", 30)
            assert not engine.sources["swarm"].condition.ok
            await swarm.managers[0].start()
            await until(lambda: engine.sources["swarm"].condition.ok, "it is read again", 90)
            assert rig.records() == records
            assert len(rig.target().log) == writes
