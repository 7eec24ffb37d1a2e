"""The main path: what is applied is published, and its status says so."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial

from tests.kube.rig import Cluster, always, until
from tests.rig import service

WRITES = re.compile(
    r'^apiserver_request_total\{.*group="waypost.dev".*verb="(?:APPLY|PATCH|PUT|POST)".*\} (\d+)$', re.MULTILINE
)


async def test_what_is_applied_is_published_and_says_so(cluster: Cluster) -> None:
    cluster.services(service("web", "a", "b"))
    await cluster.source()
    await cluster.sink()
    async with cluster.operator():
        await cluster.register()
        await until(lambda: len(cluster.published()) == 2, "both instances are published")
        await until(cluster.ready, "the registration says that it is ready")
        told = json.loads(
            await asyncio.to_thread(
                lambda: cluster.kube.kubectl("get", "sreg", "-n", cluster.shop, "web", "-o", "json").stdout
            )
        )
        assert {each["type"]: each["status"] for each in told["status"]["conditions"]} == {
            "Accepted": "True",
            "ResolvedRefs": "True",
            "Programmed": "True",
            "Ready": "True",
        }
        assert told["status"]["observedGeneration"] == told["metadata"]["generation"] == 1
        assert told["status"]["readyInstances"] == 2
        for plural, name in (("servicesources", "mem"), ("servicesinks", "out")):
            await until(partial(_is_ready, cluster, plural, name), f"{name} says that it is ready")


async def test_an_edit_and_its_status(cluster: Cluster) -> None:
    cluster.services(service("web", "a"), service("api", "b"))
    await cluster.source()
    await cluster.sink()
    await cluster.register()
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
        await cluster.register(names=["other"])
        await until(cluster.ready, "it is ready in its new generation")
        assert all("other" in key for key in cluster.published()), cluster.published()


async def test_what_the_api_server_cannot_know_is_refused_in_the_status(cluster: Cluster) -> None:
    cluster.services(service("web", "a"), service("bad", "b"))
    await cluster.source()
    await cluster.sink()
    async with cluster.operator():
        await cluster.register("web")
        entry = {"name": "out", "sinkRef": {"name": "out"}, "options": {"colour": "red"}}
        await cluster.register("bad", sinks=[entry])
        await cluster.source("odd", type="unheard_of")

        async def refused() -> bool:
            bad = await cluster.conditions("serviceregistrations", "bad", cluster.shop)
            odd = await cluster.conditions("servicesources", "odd")
            return bad.get("Accepted") == odd.get("Accepted") == "False Invalid"

        await until(refused, "both are refused")
        await until(cluster.ready, "the good one is not held up")
        found = await cluster.get("serviceregistrations", "bad", cluster.shop)
        assert found is not None
        assert "spec.sinks[0].options" in found["status"]["problems"][0]
        assert len(cluster.published()) == 1
        await cluster.register("bad")  # … and the fix is taken
        await until(lambda: cluster.ready("bad"), "it is ready once it is put right")


async def test_a_status_that_says_what_is_so_is_not_written_again(cluster: Cluster) -> None:
    cluster.services(service("web", "a"))
    await cluster.source()
    await cluster.sink()
    await cluster.register()
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
        await asyncio.sleep(1)
        before, asked = await _versions(cluster), await _writes(cluster)
    async with cluster.operator() as second:
        await until(second.engine.settled, "the second has settled")
        await always(lambda: _unchanged(cluster, before), 4.0, "no object was written after a restart")
    assert await _writes(cluster) == asked, "and nobody tried"


async def _writes(cluster: Cluster) -> int:
    """How many writes of Waypost's kinds the API server has counted until now, those that changed nothing too."""
    told = (await cluster.kube.api.call("GET", "/metrics")).expect().body.decode()
    return sum(int(count) for count in WRITES.findall(told))


async def _versions(cluster: Cluster) -> dict[str, str]:
    found = {}
    for plural in ("servicesources", "servicesinks", "serviceregistrations"):
        listed = await cluster.kube.call("GET", cluster.path(plural))
        found.update(
            {f"{plural}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in listed["items"]}
        )
    return found


async def _unchanged(cluster: Cluster, before: dict[str, str]) -> bool:
    return await _versions(cluster) == before


async def _is_ready(cluster: Cluster, plural: str, name: str) -> bool:
    return (await cluster.conditions(plural, name)).get("Ready", "").startswith("True")
