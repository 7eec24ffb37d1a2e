"""The sink on a real API server, with and without its admission policy, passes what every sink promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from testbed.outages import hanging, refusing
from testbed.servers import Kubernetes
from tests.adapters.kubernetes.sink_rig import ApartProxy, Room
from waypost.adapter import Examined
from waypost.testing.conformance_sink import SinkConformance
from waypost.testing.sink_bench import SinkBench
from waypost.testing.sink_fencing import FencingConformance


class OnCluster(SinkBench):
    adapter = "waypost_adapters.kubernetes:SINK"
    together = True
    stalls = True
    under_policy = False
    bound = 20.0
    room: Room
    proxy: ApartProxy

    def config(self) -> Mapping[str, Any]:
        return {"namespace": self.room.namespace, "timeoutSeconds": 3}

    async def foreign(self, key: str) -> None:
        await self.room.foreign_service(key.split("/")[1])

    async def read(self, key: str) -> bytes | None:
        _, service, label = key.split("/")
        front = await self.room.get("services", service)
        if front is not None and "waypost.dev/owner" not in front["metadata"].get("labels", {}):
            return json.dumps(front).encode()
        found: list[Any] = []
        for each in await self.room.slices(service):
            row = json.loads(each["metadata"]["annotations"]["waypost.dev/records"])["instances"].get(label)
            seats = [seat for seat in each["endpoints"] or () if seat["hostname"] == label]
            if row or seats:
                found += [row, seats, each["ports"], each["metadata"]["labels"]]
        if front is not None:
            records = json.loads(front["metadata"]["annotations"].get("waypost.dev/records", "{}"))
            found += [row for at, row in records.get("instances", {}).items() if at == label]
        return json.dumps(found).encode() if found else None

    def outage(self) -> AbstractAsyncContextManager[None]:
        return refusing(self.proxy)

    def stall(self) -> AbstractAsyncContextManager[None]:
        return hanging(self.proxy)

    async def lose_stamp(self) -> None:
        for each in await self.room.all("configmaps"):
            if "waypost.dev/stamp" in each["metadata"].get("labels", {}):
                await self.room.delete("configmaps", each["metadata"]["name"])

    @pytest.fixture(autouse=True)
    async def _room(self, kubernetes: Kubernetes) -> AsyncIterator[None]:
        self.room = await Room(kubernetes, fenced=self.under_policy).make()
        with ApartProxy(kubernetes.url) as self.proxy:
            self.credentials = {"kubeconfig": self.room.kubeconfig(self.proxy.url)}
            yield


class TestSink(OnCluster, SinkConformance):
    many = 300


@pytest.mark.usefixtures("fenced")
class TestUnderTheAdmissionPolicy(OnCluster, FencingConformance):
    """What fences promise, where the API server compares them itself."""

    under_policy = True

    async def test_the_api_server_itself_refuses_what_carries_another_fence(self) -> None:
        async with self.one() as ours:
            await ours.put(self.record(ours.sink))
            assert isinstance(ours.sink, Examined)
            (found,) = [each for each in await ours.sink.examine() if each.what == "fence"]
            assert "compares epochs in each write" in found.message
