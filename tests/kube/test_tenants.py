"""Secrets of Waypost's own namespace alone, followed as they rotate; grants, and names that are reserved."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from tests.kube.rig import Cluster, always, until
from tests.rig import service


async def _secret(cluster: Cluster, namespace: str, value: str) -> None:
    data = {"key": base64.b64encode(value.encode()).decode()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "data": data}
    await cluster.kube.apply(body)


def _credentials() -> list[dict[str, Any]]:
    return [{"name": "password", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}]


async def test_a_secret_is_read_at_home_alone_and_followed(cluster: Cluster) -> None:
    await _secret(cluster, cluster.shop, "a stranger's")
    await cluster.sink(credentials=_credentials())
    async with cluster.operator() as operator:

        def value() -> str | None:
            target = operator.engine.reconciler.targets.get("out")
            sink: Any = target.sink if target is not None else None
            return sink.context.credentials.get("password") if sink is not None else "not open yet"

        await until(lambda: value() is None, "there is no such Secret at home")

        async def unresolved() -> bool:
            return (await cluster.conditions("servicesinks", "out")).get("ResolvedRefs", "").startswith("False")

        async def resolved() -> bool:
            return not await unresolved()

        await until(unresolved, "the sink says that it is missing")
        found = await cluster.get("servicesinks", "out")
        assert found is not None
        assert f"{cluster.home}/s" in str(found["status"])
        await _secret(cluster, cluster.home, "first\n")
        await until(lambda: value() == "first", "it is read")
        await until(resolved, "the sink no longer says that it is missing")
        sink: Any = operator.engine.reconciler.targets["out"].sink
        told = asyncio.ensure_future(sink.context.credentials.changed())
        await asyncio.sleep(0)  # it waits from now on
        await _secret(cluster, cluster.home, "second")
        async with asyncio.timeout(30):
            await told
        assert value() == "second", "its rotation is followed, and the adapter is told"
        assert "first" not in str(await cluster.get("servicesinks", "out"))
        await cluster.kube.call("DELETE", f"/api/v1/namespaces/{cluster.home}/secrets/s")
        await until(lambda: value() is None, "what is taken away is used no more")
        await until(unresolved, "and the sink says so")


async def test_without_grants_only_the_own_namespace_reads_and_publishes(cluster: Cluster) -> None:
    cluster.services(service("web", "a"), service("api", "b"))
    await cluster.source(grants=[])
    await cluster.sink(grants=[])
    await cluster.register("web")
    await cluster.register("api", namespace=cluster.home)
    async with cluster.operator():
        await until(lambda: cluster.ready("api", cluster.home), "the own namespace is served")
        assert len(cluster.published()) == 1

        async def refused(by: str) -> bool:
            found = await cluster.get("serviceregistrations", "web", cluster.shop)
            return found is not None and f"no grant of the {by}" in str(found.get("status"))

        await until(lambda: refused("source"), "the other is told why")
        await cluster.source(grants=[{"namespaces": ["shop-*"]}])
        await until(lambda: refused("sink"), "it may read, and not publish")
        assert not any("web" in key for key in cluster.published())
        await cluster.sink(grants=[{"namespaces": ["shop-*"], "names": ["web*"]}])
        await until(lambda: any("web" in key for key in cluster.published()), "a grant lets it pass")


async def test_a_reserved_name_and_one_outside_the_grant_are_refused_and_a_taken_grant_deletes_nothing(
    cluster: Cluster,
) -> None:
    cluster.services(service("web", "a"), service("api", "b"), service("dns", "c"))
    await cluster.source()
    await cluster.sink(grants=[{"namespaces": [cluster.shop], "names": ["web", "kube-dns"]}], reservedNames=["kube-*"])
    await cluster.register("web")
    await cluster.register("api")
    await cluster.register("dns", names=["kube-dns"])
    async with cluster.operator():
        await until(cluster.ready, "what is granted is published")

        async def refused(name: str, why: str) -> bool:
            found = await cluster.get("serviceregistrations", name, cluster.shop)
            return found is not None and why in str(found.get("status"))

        await until(lambda: refused("api", "no grant of the sink lets namespace"), "the other name is refused")
        await until(lambda: refused("dns", "is reserved by the sink"), "the reserved one too")
        assert len(cluster.published()) == 1
        await cluster.sink(grants=[{"namespaces": ["nobody"]}])
        await until(lambda: refused("web", "no grant of the sink"), "the grant is gone")
        await always(lambda: len(cluster.published()) == 1, 1.0, "the record stays")


async def test_what_others_wrote_into_a_name_cannot_break_a_line_of_a_status_nor_drive_a_terminal(
    cluster: Cluster,
) -> None:
    cluster.services(service("web", "a", labels={"n": "web\nReady: True\x1b[2J\u202e"}))
    await cluster.source()
    await cluster.sink(grants=[{"namespaces": [cluster.shop], "names": ["web"]}])
    await cluster.register("web", names=["{label:n}"])
    async with cluster.operator():

        async def told() -> str:
            found = await cluster.get("serviceregistrations", "web", cluster.shop)
            (problem, *_) = ((found or {}).get("status") or {}).get("problems", ()) or ("",)
            return str(problem)

        async def refused() -> bool:
            return "no grant of the sink" in await told()

        await until(refused, "it is refused")
        assert (await told()).endswith(r"publish the name `web\u{a}Ready: True\u{1b}[2J\u{202e}`")
