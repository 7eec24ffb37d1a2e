"""From a source to a real cluster through the whole engine: what hands change, what restarts and resyncs write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.servers import Kubernetes
from tests.adapters.kubernetes.sink_rig import Room
from tests.real_rig import until
from tests.rig import Rig, instance, registration, service
from waypost.adapter import AdapterType, Elector
from waypost.engine.engine import Engine
from waypost.kit.clock import LoopClock
from waypost.settings import Metadata, ServiceSink, SinkSpec
from waypost_adapters.kubernetes import SINK
from waypost_adapters.kubernetes.sink_config import SinkConfig


class ClusterRig(Rig):
    """An engine on a source in memory and one namespace, in real time."""

    def __init__(self, folder: Path, room: Room, *, resync_seconds: float = 300.0) -> None:
        super().__init__(folder, resync_seconds=resync_seconds)
        self.clock = LoopClock()  # type: ignore[assignment]  # a virtual one is not for real servers
        self.room = room
        secret = folder / "kubeconfig"
        secret.touch(mode=0o600)
        secret.write_text(room.kubeconfig())
        body = {
            "type": "kubernetes",
            "environment": "test",
            "ownerID": "me",
            "config": {"namespace": room.namespace},
            "credentials": [{"name": "kubeconfig", "file": str(secret)}],
        }
        config = msgspec.convert(body["config"], SinkConfig)
        self.declare(ServiceSink(Metadata("out"), msgspec.convert(body, SinkSpec), config))

    def _sink_type(self, name: str) -> AdapterType[Any]:
        return SINK

    @asynccontextmanager
    async def running(
        self, elector: Elector | None = None, folder: Path | None = None, **more: Any
    ) -> AsyncIterator[Engine]:
        async with super().running(elector, folder, **more) as engine:
            await until(lambda: engine.settings is not None, "the manifests are in force")
            yield engine

    async def until_addresses(self, *addresses: str, name: str = "web") -> None:
        async def same() -> bool:
            return await self.room.addresses(name) == sorted(addresses)

        await until(same, f"{name} leads to {addresses}")

    async def versions(self) -> Mapping[str, str]:
        """Return what changes with every write of a Service or slice."""
        found = [*await self.room.all("services"), *await self.room.all("endpointslices")]
        return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in found}


@pytest.fixture
async def rig(kubernetes: Kubernetes, tmp_path: Path) -> ClusterRig:
    rig = ClusterRig(tmp_path, await Room(kubernetes).make())
    rig.declare(registration("web", drainSeconds=0))
    rig.memory["mem"].set(web(3))
    return rig


def web(count: int) -> Any:
    return service("web", *[instance(f"web.{n}", host=f"10.0.0.{n}") for n in range(1, count + 1)])


THREE = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


async def test_what_hands_change_is_put_right_at_once_and_a_restart_writes_nothing(rig: ClusterRig) -> None:
    room = rig.room
    async with rig.running():
        await rig.until_addresses(*THREE)
        (found,) = await room.slices()
        began = time.monotonic()
        found["endpoints"][0]["addresses"] = ["10.6.6.6"]
        await room.update("endpointslices", found)
        await rig.until_addresses(*THREE)
        print(f"a changed address: put right after {1000 * (time.monotonic() - began):.0f} ms")
        (found,) = await room.slices()
        found["endpoints"].append({"addresses": ["10.6.6.6"]})
        await room.update("endpointslices", found)
        await rig.until_addresses(*THREE)
        (found,) = await room.slices()
        await room.delete("endpointslices", found["metadata"]["name"])
        await rig.until_addresses(*THREE)
        await room.delete("services", "web")

        async def back() -> bool:
            return await room.get("services", "web") is not None

        await until(back, "the Service is there again")
        rig.memory["mem"].set(web(4))
        await rig.until_addresses(*THREE, "10.0.0.4")
        rig.memory["mem"].set(web(3))
        await rig.until_addresses(*THREE)
    before = await rig.versions()
    async with rig.running() as engine:
        await until(lambda: engine.reconciler.targets["out"].loaded, "all is read")
        rig.memory["mem"].set(web(3), service("other", instance("other.1", host="10.0.1.1")))
        rig.declare(registration("other"))
        await rig.until_addresses("10.0.1.1", name="other")  # so the writer has been there, and wrote nothing else
    after = await rig.versions()
    assert {uid: version for uid, version in after.items() if uid in before} == before
    assert len(after) == len(before) + 2


async def test_a_resync_writes_nothing(kubernetes: Kubernetes, tmp_path: Path) -> None:
    rig = ClusterRig(tmp_path, await Room(kubernetes).make(), resync_seconds=0.2)
    rig.declare(registration("web"))
    rig.memory["mem"].set(web(3))
    async with rig.running() as engine:
        await rig.until_addresses(*THREE)
        target = engine.reconciler.targets["out"]
        await until(lambda: not target.dirty and not target.busy, "all is written")
        looks = 0
        assert target.sink is not None
        real = target.sink.observe

        def observe(keys: Any = None) -> Any:
            nonlocal looks
            looks += 1
            return real(keys)

        target.sink.observe = observe  # type: ignore[method-assign]  # each look is counted
        before, written = await rig.versions(), target.written
        await until(lambda: looks >= 4, "it has looked four times")
        assert await rig.versions() == before
        assert target.written == written


async def test_a_foreign_service_is_a_conflict_that_is_told_and_ends_when_it_goes(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    rig = ClusterRig(tmp_path, await Room(kubernetes).make(), resync_seconds=0.5)
    rig.declare(registration("web"))
    await rig.room.foreign_service("web")
    rig.memory["mem"].set(web(3))
    async with rig.running():
        await until(lambda: any("is not ours" in each for each in rig.problems()), "the conflict is told")
        assert await rig.room.addresses() == []
        await rig.room.delete("services", "web")
        await rig.until_addresses(*THREE)
        rig.withdraw("registrations", "default/web")

        async def gone() -> bool:
            return not await rig.room.slices() and await rig.room.get("services", "web") is None

        await until(gone, "all of it is gone")
