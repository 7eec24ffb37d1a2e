"""Deletion: what was published is withdrawn before the object goes, and nothing blocks for ever."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from tests.kube.rig import Cluster, always, until
from tests.rig import service
from waypost.adapter import AdapterError
from waypost.kube.finalizers import FINALIZER


async def _begin(cluster: Cluster, *names: str) -> None:
    cluster.services(*(service(name, f"{name}-1") for name in names))
    await cluster.source()
    await cluster.sink()
    for name in names:
        await cluster.register(name)


async def _finalizers(cluster: Cluster, name: str = "web") -> list[str]:
    found = await cluster.get("serviceregistrations", name, cluster.shop)
    return found["metadata"].get("finalizers", []) if found is not None else []


async def _is_gone(cluster: Cluster, name: str = "web") -> bool:
    return await cluster.get("serviceregistrations", name, cluster.shop) is None


async def _has_ours(cluster: Cluster, name: str = "web") -> bool:
    return FINALIZER in await _finalizers(cluster, name)


async def test_a_deleted_registration_goes_when_its_records_have_gone(cluster: Cluster) -> None:
    await _begin(cluster, "web", "api")
    async with cluster.operator() as operator:
        await until(lambda: _has_ours(cluster), "it has the finalizer")
        await until(lambda: len(cluster.published()) == 2, "both are published")
        sink: Any = operator.engine.reconciler.targets["out"].sink
        sink.down = AdapterError("unplugged")
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await always(lambda: _has_ours(cluster), 1.5, "it waits for its record")
        sink.down = None
        await until(lambda: _is_gone(cluster), "the object is gone")
        assert [key for key in cluster.published() if "web" in key] == []
        assert len(cluster.published()) == 1


async def test_what_is_deleted_while_nobody_runs_is_withdrawn_later(cluster: Cluster) -> None:
    await _begin(cluster, "web", "api")
    async with cluster.operator():
        await until(lambda: _has_ours(cluster), "it has the finalizer")
        await until(lambda: len(cluster.published()) == 2, "both are published")
    await cluster.delete("serviceregistrations", "web", cluster.shop)
    await asyncio.sleep(0.5)
    assert not await _is_gone(cluster)
    async with cluster.operator() as operator:
        await until(lambda: _is_gone(cluster), "the object is gone")
        assert len(cluster.published()) == 1
        assert not operator.engine.holds.holds


async def test_a_sink_that_is_down_blocks_a_deletion_for_a_bounded_time(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    async with cluster.operator(bound=3.0) as operator:
        await until(lambda: _has_ours(cluster), "it has the finalizer")
        await until(lambda: len(cluster.published()) == 1, "it is published")
        sink: Any = operator.engine.reconciler.targets["out"].sink
        sink.down = AdapterError("unplugged")
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await always(lambda: _has_ours(cluster), 1.5, "it waits for the sink")
        await until(lambda: _is_gone(cluster), "it goes in spite of the sink")
        assert len(cluster.published()) == 1
        sink.down = None
        await until(lambda: not cluster.published(), "the record goes once the sink is back")


async def test_without_the_policy_there_is_no_finalizer(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    async with cluster.operator():
        await until(lambda: _has_ours(cluster), "it has the finalizer")
        await cluster.register("web", deletionPolicy="Orphan")
        await until(lambda: _without(cluster), "the finalizer is taken off")


async def _without(cluster: Cluster) -> bool:
    return not await _finalizers(cluster)


async def test_a_namespace_is_deleted_with_all_that_is_in_it(cluster: Cluster) -> None:
    names = [f"web{number}" for number in range(5)]
    await _begin(cluster, *names)
    async with cluster.operator():
        for name in names:
            await until(partial(_has_ours, cluster, name), f"{name} has the finalizer")
        await until(lambda: len(cluster.published()) == 5, "all are published")
        await cluster.kube.call("DELETE", f"/api/v1/namespaces/{cluster.shop}")

        async def gone() -> bool:
            return (await cluster.kube.api.call("GET", f"/api/v1/namespaces/{cluster.shop}")).status == 404

        await until(gone, "the namespace is gone")
        assert cluster.published() == []
