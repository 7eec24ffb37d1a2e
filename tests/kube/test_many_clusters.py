"""docs/kubernetes.md: one Waypost for many clusters, and many Wayposts on one zone; two real API servers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.servers import Bind, Etcd
from tests.kube.rig import Cluster, until
from tests.kube.stage import OnKubernetes, stage
from waypost.kube.rights import EVERYWHERE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kubernetes.md").read_text()
READS = [
    {"apiGroups": [""], "resources": ["services", "nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
]

pytestmark = [pytest.mark.server("kube", "etcd"), pytest.mark.timeout(240)]


def _manifests(text: str, shop: str) -> list[dict[str, Any]]:
    """Return manifests of a page or an example, for another namespace than `shop`."""
    text = text.replace("namespace: shop", f"namespace: {shop}").replace("[shop]", f"[{shop}]")
    found = list(yaml.safe_load_all(text))
    assert found
    return found


async def _run_there(cluster: Cluster, shop: str, *addresses: str) -> None:
    """Let a Service `web` have these endpoints; what its pods are is not looked at."""
    labels = {"kubernetes.io/service-name": "web"}
    service = {"spec": {"ports": [{"name": "http", "port": 80}]}}
    slice_ = {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
    }
    meta = {"name": "web", "namespace": shop}
    await cluster.kube.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, **service},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": labels},
            **slice_,
        },
    )


async def _secret(cluster: Cluster, name: str, key: str, value: str) -> None:
    body = {"metadata": {"name": name}, "stringData": {key: value}}
    await cluster.kube.call("POST", f"/api/v1/namespaces/{cluster.home}/secrets", body)


async def _kubeconfig(cluster: Cluster) -> str:
    """Return how a stranger gets in who may read Services, and nothing else: a text that names no file."""
    await cluster.allow(READS)
    written = json.loads(cluster.kubeconfig.read_text())
    entry = written["clusters"][0]["cluster"]
    authority = Path(entry.pop("certificate-authority")).read_bytes()
    entry["certificate-authority-data"] = base64.b64encode(authority).decode()
    return json.dumps(written)


async def test_one_waypost_publishes_what_runs_in_two_clusters_side_by_side(
    cluster: Cluster, own: Cluster, etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = cluster.shop
    if own.shop != shop:
        await own.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": shop}})
    section = PAGE.partition("## One Waypost for many clusters")[2].partition("\n## ")[0]
    written = section.partition("```yaml\n")[2].partition("```")[0]
    await _run_there(cluster, shop, "10.244.0.1")
    await _run_there(own, shop, "10.245.0.1")
    await cluster.allow([*EVERYWHERE, *READS])
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    await _secret(cluster, "cluster-b", "kubeconfig", await _kubeconfig(own))
    async with stage(cluster, etcd) as made, OnKubernetes(tmp_path / "a", cluster) as process:
        admin = _manifests((ROOT / "examples/kubernetes/admin.yaml").read_text(), shop)
        for each in admin:
            if each["kind"] == "ServiceSink":
                each["spec"]["config"] = made.driver.config()
        await cluster.kube.apply(*admin, *_manifests(written, shop))
        await process.start()

        async def hosts() -> dict[str, int]:
            return {each.host: each.weight for each in await made.driver.records()}

        async def both() -> bool:
            return set(await hosts()) == {"10.244.0.1", "10.245.0.1"}

        await process.until(both, "both are published")
        shares = await hosts()
        assert shares["10.244.0.1"] == 9 * shares["10.245.0.1"]
        first = await made.created()

        await own.kube.api.kill9()
        try:
            await _run_there(cluster, shop, "10.244.0.1", "10.244.0.2")

            async def more() -> bool:
                return len(await hosts()) == 3

            await process.until(more, "the cluster that is there is followed")
            assert await made.lasted(first) == set(first), "what is known of the other does not stay"
        finally:
            await own.kube.api.start(timeout=120)
        await _run_there(own, shop, "10.245.0.1", "10.245.0.2")

        async def all_of_them() -> bool:
            return len(await hosts()) == 4

        await process.until(all_of_them, "the other is followed again")
        assert not await made.removed()


@pytest.mark.server("bind")
async def test_two_wayposts_keep_one_name_of_one_zone_and_touch_only_their_own(
    cluster: Cluster, own: Cluster, bind: Bind, tmp_path: Path
) -> None:
    assert "an `ownerID` of its own" in PAGE.partition("## Many Wayposts on one zone")[2].partition("\n## ")[0]
    name, both = f"web-{cluster.home}", (cluster, own)
    for number, each in enumerate(both):
        await _secret(each, "bind", "tsig", bind.key)
        await each.source("machines", type="static")
        await each.sink(
            "dns",
            type="dns",
            ownerID=f"{cluster.home}-{number}",
            config={"server": bind.address, "zone": bind.zones[0], "pollSeconds": 1},
            credentials=[{"name": "tsigKey", "valueFrom": {"secretKeyRef": {"name": "bind", "key": "tsig"}}}],
        )
        machine = {"id": "vm", "addresses": [f"10.6.{number}.1"], "ports": [{"name": "http", "number": 80}]}
        await each.register(
            "web",
            sources=[{"name": "all", "sourceRef": {"name": "machines"}, "instances": [machine]}],
            sinks=[{"name": "dns", "sinkRef": {"name": "dns"}}],
            names=[name],
        )

    async def says(*addresses: str) -> bool:
        return sorted(await bind.ask(f"{name}.{bind.zones[0]}", "A")) == sorted(addresses)

    async with OnKubernetes(tmp_path / "a", cluster) as one, OnKubernetes(tmp_path / "b", own) as other:
        await one.start()
        await other.start()
        await one.until(lambda: says("10.6.0.1", "10.6.1.1"), "each has added its own")
        await other.kill9()
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await one.until(
            lambda: says("10.6.1.1"), "one has taken its own away, and the other's stays, though it is gone"
        )
        await other.start()
        await until(own.ready, "it says that it is ready")
        await own.delete("serviceregistrations", "web", own.shop)
        await other.until(says, "nothing is left")
