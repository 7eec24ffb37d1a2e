"""The API server's etcd is slow, hangs, or is away: nothing is deregistered, and then all goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd, Kubernetes
from tests.kube.rig import Cluster
from tests.kube.stage import OnKubernetes, Stage, stage

pytestmark = [pytest.mark.server("kube", "etcd"), pytest.mark.timeout(300)]
DELAY_SECONDS = 0.1  # for each piece of data, there and back: an idle etcd takes a hundredth of that


@asynccontextmanager
async def _behind(folder: Path) -> AsyncIterator[tuple[Cluster, Proxy]]:
    """Give a cluster, and the way from its API server to its etcd."""
    server = Kubernetes(folder / "slow", controllers=False)
    async with Proxy(server.etcd.endpoint) as way:
        server.api.etcd_endpoint = way.url
        async with server:
            cluster = Cluster(server, folder)
            await cluster.prepare()
            yield cluster, way


async def _is_gone(cluster: Cluster, name: str) -> bool:
    return await cluster.get("serviceregistrations", name, cluster.shop) is None


async def _leads(process: OnKubernetes, *, so: bool) -> bool:
    return bool(await process.leads()) is so


async def _edits_pass(made: Stage, process: OnKubernetes, *instances: str, others: tuple[str, ...] = ()) -> None:
    await made.register("web", instances)
    await made.published([*(f"web/{each}" for each in instances), *others], process)


async def test_an_etcd_that_is_slow_hangs_or_is_away_deregisters_nothing(etcd: Etcd, tmp_path: Path) -> None:
    async with (
        _behind(tmp_path) as (cluster, way),
        stage(cluster, etcd) as made,
        OnKubernetes(tmp_path / "a", cluster, lease=3) as process,
    ):
        await made.declare()
        await made.register("web", "ab")
        await made.register("api", "a")
        await process.start()
        await made.published({"web/a", "web/b", "api/a"}, process)
        first = await made.created()

        await way.delay(DELAY_SECONDS)
        await _edits_pass(made, process, *"abc", others=("api/a",))
        await cluster.delete("serviceregistrations", "api", cluster.shop)
        await made.published({"web/a", "web/b", "web/c"}, process, "what is deleted is withdrawn")
        await process.until(partial(_is_gone, cluster, "api"), "and its object goes")

        await way.hang()
        await process.until(partial(_leads, process, so=False), "its Lease runs out")
        assert set(await made.records()) == {"web/a", "web/b", "web/c"}
        await way.heal()
        await process.until(partial(_leads, process, so=True), "it leads again")
        await _edits_pass(made, process, *"abcd")

        await way.refuse()
        await process.until(partial(_leads, process, so=False), "its Lease runs out")
        assert set(await made.records()) == {"web/a", "web/b", "web/c", "web/d"}
        await way.heal()
        await process.until(partial(_leads, process, so=True), "it leads again")
        await _edits_pass(made, process, *"abcde")

        assert await made.removed() == {"api/a"}
        assert {"web/a", "web/b"} <= await made.lasted(first)
