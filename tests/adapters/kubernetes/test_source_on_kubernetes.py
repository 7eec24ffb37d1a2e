"""The source on a real control plane: what its controllers make of pods, each way to reach a Service, and faults."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers.kubernetes import Kubernetes
from tests.adapters.kubernetes.services import Place, endpoint, kubeconfig
from waypost.adapter import Examined, PermanentError
from waypost.model import Address, Instance, Port, Readiness, ServiceKey
from waypost.testing.context import TestContext
from waypost.testing.source_bench import Supervised
from waypost_adapters.kubernetes import SOURCE
from waypost_adapters.kubernetes.source_config import SourceConfig

pytestmark = pytest.mark.server("kube", "etcd")

SECONDS = 30.0
PODS = "/pods"


@pytest.fixture
async def place(kubernetes: Kubernetes) -> Place:
    made = Place(kubernetes)
    await made.make()
    return made


@asynccontextmanager
async def watching(
    place: Place, folder: Path, config: SourceConfig | None = None, *, text: str = ""
) -> AsyncIterator[Supervised]:
    context = TestContext(folder, name="k", credentials={"kubeconfig": text or kubeconfig(place.cluster)})
    config = config or SourceConfig(namespaces=(place.name,))
    async with SOURCE.open(config, context) as source:
        watch = Supervised(source)
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            watch.stopping = True
            task.cancel()
            await asyncio.wait([task], timeout=5)


def key(place: Place, name: str = "web") -> ServiceKey:
    return ServiceKey("k", place.name, name)


async def seen(watch: Supervised, key: ServiceKey, *ids: str) -> list[Instance]:
    """Wait until the service has these instances, by id; return them so."""
    try:
        await watch.recorder.until(
            lambda view: key in view and {each.id for each in view[key].instances} == set(ids), SECONDS
        )
    except TimeoutError:
        there = watch.recorder.view.get(key)
        raise AssertionError(f"{ids} not within {SECONDS:g} s, but {there}; {watch.errors[-1:]}") from None
    found = {each.id: each for each in watch.recorder.view[key].instances}
    return [found[id] for id in ids]


async def ready_as(watch: Supervised, key: ServiceKey, **readiness: Readiness) -> None:
    wanted = {id.replace("_", "-"): how for id, how in readiness.items()}
    await watch.recorder.until(
        lambda view: key in view and {each.id: each.readiness for each in view[key].instances} == wanted, SECONDS
    )


async def pod(place: Place, name: str, address: str, node: str, *, ready: bool = True) -> None:
    """Make a pod, bind it to a Node, which must be there, and say how it is, as a scheduler and a kubelet would."""
    spec = {"containers": [{"name": "c", "image": "none", "ports": [{"name": "web", "containerPort": 8080}]}]}
    await place.call(
        "POST", PODS, {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {**spec, "nodeName": node}}
    )
    await pod_status(place, name, address, ready=ready)


async def pod_status(place: Place, name: str, address: str, *, ready: bool) -> None:
    there = await place.call("GET", f"{PODS}/{name}")
    there["status"] = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    await place.call("PUT", f"{PODS}/{name}/status", there)


async def test_pods_become_ready_drain_and_go(place: Place, tmp_path: Path) -> None:
    node = await place.node("10.8.0.9")
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    await place.service("web", {"selector": {"app": "web"}, "ports": ports}, team="a")
    async with watching(place, tmp_path) as watch:
        await pod(place, "web-0", "10.5.0.1", node)
        (found,) = await seen(watch, key(place), "web-0")
        assert found == Instance(
            "web-0", (Address("10.5.0.1", "Container"),), (Port(8080, "http"),), "ready", node=node
        )
        assert watch.recorder.view[key(place)].labels == {"team": "a", "waypost.dev/name": "web"}
        await pod(place, "web-1", "10.5.0.2", node, ready=False)
        await ready_as(watch, key(place), web_0="ready", web_1="not-ready")
        await pod_status(place, "web-1", "10.5.0.2", ready=True)
        await ready_as(watch, key(place), web_0="ready", web_1="ready")
        await place.call("DELETE", f"{PODS}/web-0")  # no kubelet is there to end it: it stays, terminating
        await ready_as(watch, key(place), web_0="draining", web_1="ready")
        await place.cluster.call("DELETE", f"/api/v1/namespaces/{place.name}/pods/web-0?gracePeriodSeconds=0")
        await seen(watch, key(place), "web-1")
        await place.drop_service("web")
        await watch.recorder.until(lambda view: key(place) not in view, SECONDS)
        assert watch.recorder.count("remove") == 1
        assert not watch.errors
    await place.cluster.call("DELETE", f"/api/v1/nodes/{node}")


async def test_each_way_to_reach_a_service(place: Place, tmp_path: Path) -> None:
    node = await place.node("10.8.0.1", **{"topology.kubernetes.io/zone": "z1"})
    await place.service("np", {"type": "NodePort"})
    await place.service("lb", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False})
    await place.service("ext", {"type": "ExternalName", "externalName": "db.example.com"})
    await place.service("headless", {"clusterIP": "None"})
    await place.service("vip", annotations={"waypost.dev/reach": "clusterIP"})
    for name in ("np", "lb", "headless", "vip"):
        await place.slice(f"{name}-a", name, [endpoint("p", "10.5.0.9", node=node)])
    async with watching(place, tmp_path) as watch:
        (found,) = await seen(watch, key(place, "np"), node)
        assert found.addresses == (Address("10.8.0.1", "Node", "internal"),)
        assert found.ports[0].number >= 30000
        assert (found.zone, found.readiness) == ("z1", "ready")
        await seen(watch, key(place, "lb"))
        (found,) = await seen(watch, key(place, "ext"), "db.example.com")
        assert found.addresses == (Address("db.example.com", "Hostname"),)
        (found,) = await seen(watch, key(place, "headless"), "p")
        assert (found.addresses[0], found.ports) == (Address("10.5.0.9", "Container"), (Port(8080, "http"),))
        (found,) = await seen(watch, key(place, "vip"), "cluster-ip")
        assert (found.addresses[0].type, found.ports) == ("ClusterIP", (Port(80, "http"),))
        there = await place.call("GET", "/services/lb")
        there["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}]}}
        await place.call("PUT", "/services/lb/status", there)
        one, two = await seen(watch, key(place, "lb"), "192.0.2.7", "lb.example.com")
        assert (one.addresses[0].type, two.ports) == ("LoadBalancer", (Port(80, "http"),))
        await place.slice("np-a", "np", [])
        await seen(watch, key(place, "np"))
    await place.cluster.call("DELETE", f"/api/v1/nodes/{node}")


async def test_opt_in_and_name_by_annotation(place: Place, tmp_path: Path) -> None:
    await place.service("web")
    await place.service("silent")
    config = SourceConfig(namespaces=(place.name,), opt_in=True)
    async with watching(place, tmp_path, config) as watch:
        await watch.recorder.until(lambda _: watch.recorder.count("snapshot") > 0, SECONDS)
        assert not watch.recorder.view
        await place.annotate("web", {"waypost.dev/publish": "true", "waypost.dev/name": "shop-web"})
        await seen(watch, key(place))
        assert watch.recorder.view[key(place)].labels["waypost.dev/name"] == "shop-web"
        await place.annotate("web", {"waypost.dev/publish": None})
        await watch.recorder.until(lambda view: not view, SECONDS)


async def test_of_other_namespaces_nothing_is_seen_and_of_all_every_one(place: Place, tmp_path: Path) -> None:
    other = Place(place.cluster)
    await other.make()
    await place.service("web")
    await other.service("web")
    async with watching(place, tmp_path) as watch:
        await seen(watch, key(place))
        assert {each.namespace for each in watch.recorder.view} == {place.name}
    async with watching(place, tmp_path, SourceConfig()) as watch:
        await seen(watch, key(place))
        await seen(watch, key(other))


async def test_two_clusters_by_two_kubeconfigs_and_a_rotation_to_another(
    place: Place, uncached: Kubernetes, tmp_path: Path
) -> None:
    far = Place(uncached, place.name)  # the same namespace, elsewhere
    await far.make()
    await place.service("web")
    await far.service("api")
    context = TestContext(tmp_path, name="k", credentials={"kubeconfig": kubeconfig(place.cluster)})
    async with SOURCE.open(SourceConfig(namespaces=(place.name,)), context) as source:
        watch = Supervised(source)
        task = asyncio.create_task(watch.run())
        await seen(watch, key(place))
        context.credentials.set("kubeconfig", kubeconfig(place.cluster))
        context.credentials.set("kubeconfig", kubeconfig(uncached))
        await seen(watch, key(place, "api"))
        assert "connect again" in str(watch.errors[-1])
        watch.stopping = True
        task.cancel()
        await asyncio.wait([task], timeout=5)


# --- faults


@pytest.fixture(scope="module")
def uncached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server that reads etcd for each request: what etcd has forgotten, it cannot answer."""
    cluster = Kubernetes(tmp_path_factory.mktemp("uncached"), controllers=False, flags=["--watch-cache=false"])
    in_a_loop_of_its_own(cluster.start())
    yield cluster
    in_a_loop_of_its_own(cluster.stop())


def put_or_removed(watch: Supervised, since: int) -> list[str]:
    return [event.kind for event in watch.recorder.events[since:] if event.kind in {"put", "remove"}]


async def test_what_was_deleted_during_an_outage_is_absent_from_the_next_view_and_no_fact(
    uncached: Kubernetes, tmp_path: Path
) -> None:
    place = Place(uncached)
    await place.make()
    for name in ("web", "api"):
        await place.service(name)
        await place.slice(f"{name}-a", name, [endpoint(f"{name}-{at}", f"10.5.0.{at}") for at in range(3)])
    async with Proxy(uncached.url) as proxy:
        text = kubeconfig(uncached, server=f"https://{proxy.address}")
        async with watching(place, tmp_path, text=text) as watch:
            await seen(watch, key(place), "web-0", "web-1", "web-2")
            await seen(watch, key(place, "api"), "api-0", "api-1", "api-2")
            await proxy.refuse()
            await watch.error(SECONDS)
            cut = len(watch.recorder.events)
            await place.slice("web-a", "web", [endpoint("web-1", "10.5.0.1")])
            await place.drop_slice("api-a")
            await place.drop_service("api")
            assert {each.name for each in watch.recorder.view} == {"web", "api"}
            await proxy.heal()
            await seen(watch, key(place), "web-1")
            assert key(place, "api") not in watch.recorder.view
            assert not put_or_removed(watch, cut), "nothing was stated gone: the view lacked it"
            assert "snapshot" in {event.kind for event in watch.recorder.events[cut:]}


async def test_a_version_that_expired_while_it_watched_gives_a_view_again(
    uncached: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch of Services is cut and its version compacted away; that of slices goes on."""
    from waypost.kit.kubernetes.informer import Informer

    place = Place(uncached)
    await place.make()
    await place.service("web")
    await place.slice("web-a", "web", [endpoint("web-0", "10.5.0.1")])
    informers: list[Informer[Any]] = []
    follow = Informer.follow

    async def noted(self: Informer[Any], handler: Any) -> None:
        informers.append(self)
        await follow(self, handler)

    monkeypatch.setattr(Informer, "follow", noted)
    async with Proxy(uncached.url) as proxy:
        text = kubeconfig(uncached, server=f"https://{proxy.address}")
        async with watching(place, tmp_path, text=text) as watch:
            await seen(watch, key(place), "web-0")
            await place.service("api")
            await seen(watch, key(place, "api"))
            views = watch.recorder.count("snapshot")
            services = next(each for each in informers if each.resource.plural == "services")
            services.version = "1"  # as one that slept for long
            await uncached_compacted(uncached)
            await proxy.drop()
            await watch.recorder.until(lambda _: watch.recorder.count("snapshot") > views, SECONDS)
            await place.slice("web-a", "web", [endpoint("web-0", "10.5.0.1"), endpoint("web-1", "10.5.0.2")])
            await seen(watch, key(place), "web-0", "web-1")


async def uncached_compacted(cluster: Kubernetes) -> None:
    revision = (await cluster.etcd.call("kv/range", {"key": "AA=="}))["header"]["revision"]
    await cluster.etcd.call("kv/compaction", {"revision": revision, "physical": True})


RULES: Sequence[dict[str, Any]] = (
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
)


async def account(place: Place) -> str:
    """A service account that may read what the README names, and no more; return a kubeconfig of it."""
    await place.call("POST", "/serviceaccounts", {"metadata": {"name": "waypost"}})
    await grant(place, RULES)
    token = await place.cluster.token(place.name, "waypost")
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "waypost"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "waypost"},
        "subjects": [{"kind": "ServiceAccount", "name": "waypost", "namespace": place.name}],
    }
    await place.cluster.call("POST", f"/apis/{rbac}/v1/namespaces/{place.name}/rolebindings", binding)
    return kubeconfig(place.cluster, token=token)


async def grant(place: Place, rules: Sequence[dict[str, Any]]) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "waypost", "namespace": place.name},
        "rules": list(rules),
    }
    await place.cluster.apply(role)


async def test_rights_taken_away_are_an_error_and_delete_nothing(kubernetes: Kubernetes, tmp_path: Path) -> None:
    place = Place(kubernetes)
    await place.make()
    await place.service("web")
    await place.slice("web-a", "web", [endpoint("web-0", "10.5.0.1")])
    direct = await account(place)
    async with Proxy(kubernetes.url) as proxy:
        text = direct.replace(kubernetes.url, f"https://{proxy.address}")
        config = SourceConfig(namespaces=(place.name,), nodes=False)
        async with watching(place, tmp_path, config, text=text) as watch:
            await seen(watch, key(place), "web-0")
            before = len(watch.recorder.events)
            await grant(place, RULES[:1])
            await proxy.drop()  # a watch that is open goes on until it ends
            error = await watch.error(SECONDS)
            while not isinstance(error, PermanentError):
                error = await watch.error(SECONDS)
            assert "endpointslices" in str(error)
            assert key(place) in watch.recorder.view
            assert not put_or_removed(watch, before)
            assert "snapshot" not in {event.kind for event in watch.recorder.events[before:]}
            await grant(place, RULES)
            await place.slice("web-a", "web", [endpoint("web-0", "10.5.0.1"), endpoint("web-1", "10.5.0.2")])
            await seen(watch, key(place), "web-0", "web-1")


async def test_what_it_may_read_is_examined(kubernetes: Kubernetes, tmp_path: Path) -> None:
    place = Place(kubernetes)
    await place.make()
    text = await account(place)
    for config, failed in (
        (SourceConfig(namespaces=(place.name,), nodes=False), []),
        (SourceConfig(namespaces=(place.name,)), ["read nodes"]),
        (SourceConfig(nodes=False), ["read services", "read endpointslices.discovery.k8s.io"]),
    ):
        context = TestContext(tmp_path, credentials={"kubeconfig": text})
        async with SOURCE.open(config, context) as source:
            assert isinstance(source, Examined)
            found = await source.examine()
        assert [each.what for each in found if each.status == "failed"] == failed
        assert "v1.35" in found[0].message


async def test_no_token_is_in_an_error(kubernetes: Kubernetes, tmp_path: Path) -> None:
    token = secrets.token_hex(16)
    place = Place(kubernetes)
    async with watching(place, tmp_path, text=kubeconfig(kubernetes, token=token)) as watch:
        error = await watch.error(SECONDS)
    assert isinstance(error, PermanentError)
    assert "401" in str(error)
    assert token not in repr(error)


@pytest.mark.parametrize(("verb", "said"), [("discover", "1/2"), ("doctor", "may list services in")])
async def test_the_command_line_shows_what_it_sees(
    kubernetes: Kubernetes, tmp_path: Path, verb: str, said: str
) -> None:
    place = Place(kubernetes)
    await place.make()
    await place.service("web")
    await place.slice("web-a", "web", [endpoint("a", "10.5.0.1"), endpoint("b", "10.5.0.2", ready=False)])
    secret = tmp_path / "kubeconfig"
    secret.touch(mode=0o600)
    secret.write_text(kubeconfig(kubernetes))
    manifest = {
        "apiVersion": "waypost.dev/v1alpha1",
        "kind": "ServiceSource",
        "metadata": {"name": "k8s"},
        "spec": {
            "type": "kubernetes",
            "environment": "test",
            "config": {"namespaces": [place.name]},
            "credentials": [{"name": "kubeconfig", "file": str(secret)}],
        },
    }
    (tmp_path / "source.yaml").write_text(json.dumps(manifest))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "waypost", verb, "-f", str(tmp_path / "source.yaml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"XDG_STATE_HOME": str(tmp_path), "WAYPOST_ADMIN": "127.0.0.1:0"},
    )  # fmt: skip
    async with asyncio.timeout(90):
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert said in output
