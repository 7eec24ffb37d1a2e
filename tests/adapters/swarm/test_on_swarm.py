"""The source on a real Docker Swarm: each way to publish, updates, drains, nodes that die, managers that hang."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from testbed.servers import SwarmCluster, SwarmNode
from testbed.tls import Authority
from testbed.web import request
from tests.adapters.swarm.watching import STACK, Watch, watching
from waypost.adapter import AdapterError
from waypost.kit.tls import Tls
from waypost.model import Address, Port, ServiceKey

pytestmark = pytest.mark.server("swarm")

HTTP_HOST = [{"Name": "http", "TargetPort": 8080, "PublishMode": "host"}]


class Stack:
    """Services of one test on the shared Swarm."""

    def __init__(self, swarm: SwarmCluster) -> None:
        self.swarm, self.name = swarm, f"t{uuid.uuid4().hex[:8]}"

    async def create(self, name: str, replicas: int | None = 1, *, labels: Any = None, **more: Any) -> str:
        """Create `<stack>_<name>` and return that."""
        full = f"{self.name}_{name}"
        await self.swarm.create(full, replicas, labels={STACK: self.name, **(labels or {})}, **more)
        return full


@pytest_asyncio.fixture
async def stack(swarm: SwarmCluster) -> AsyncIterator[Stack]:
    made = Stack(swarm)
    yield made
    for service in await swarm.call("GET", "/services"):
        if service["Spec"]["Name"].startswith(made.name):
            await swarm.remove(service["ID"])
    await swarm.gone(made.name)
    for network in await swarm.call("GET", "/networks"):
        if network["Name"].startswith(made.name):
            await swarm.call("DELETE", f"/networks/{network['Id']}")


async def test_each_way_to_publish_gives_the_addresses_that_answer(stack: Stack, tmp_path: Path) -> None:
    swarm, name = stack.swarm, stack.name
    await swarm.set_node(swarm.workers[0], Labels={"zone": "z2"})
    net = await swarm.create_network(f"{name}_front")
    on = {"network": net, "labels": {"waypost.ports": "http=8080"}}
    services = {
        "vip": await stack.create("vip", 2, **on),
        "rr": await stack.create("rr", 1, EndpointSpec={"Mode": "dnsrr"}, **on),
        "host": await stack.create("host", 2, ports=HTTP_HOST),
        "fixed": await stack.create("fixed", None, ports=[{**HTTP_HOST[0], "PublishedPort": 18080}]),
        "ingress": await stack.create("ingress", 1, ports=[{"TargetPort": 8080, "PublishedPort": 18081}]),
        "both": await stack.create("both", 1, ports=HTTP_HOST, network=net, labels={"waypost.reach": "container"}),
        "net-host": await stack.create("net-host", 1, labels={"waypost.ports": "18082"}, network="host"),
        "nowhere": await stack.create("nowhere", 1),
    }
    addresses = {node.hostname: node.address for node in swarm.nodes}
    async with watching(tmp_path, *swarm.hosts) as watch:
        for short, full in services.items():
            tasks = await swarm.running(full, {"vip": 2, "host": 2, "fixed": 2}.get(short, 1))
            await watch.until(lambda _, tasks=tasks, short=short: watch.ready(short, name) == {t["ID"] for t in tasks})  # type: ignore[misc]
        vip = (await swarm.call("GET", f"/services/{services['vip']}"))["Endpoint"]["VirtualIPs"][0]["Addr"]
        for task in await swarm.tasks(services["vip"]):
            instance = watch.instances("vip", name)[task["ID"]]
            own = task["NetworksAttachments"][0]["Addresses"][0].partition("/")[0]
            assert instance.addresses == (
                Address(own, "Container", f"{name}_front"),
                Address(vip.partition("/")[0], "ClusterIP", f"{name}_front"),
            )
            assert instance.ports == (Port(8080, "http"),)
        (rr,) = watch.instances("rr", name).values()
        assert [each.type for each in rr.addresses] == ["Container"]
        for instance in (*watch.instances("host", name).values(), *watch.instances("fixed", name).values()):
            assert instance.addresses == (Address(addresses[instance.node], "Node"),)
            assert instance.zone == ("z2" if instance.node == "n2" else "")
            (port,) = instance.ports
            assert port.name == "http"
            answer = await request("GET", f"http://{instance.addresses[0].value}:{port.number}/cgi-bin/h")
            assert answer.status == 200
        assert {each.ports[0].number for each in watch.instances("fixed", name).values()} == {18080}
        (ingress,) = watch.instances("ingress", name).values()
        assert (ingress.addresses[0].value, ingress.ports) == (addresses[ingress.node], (Port(18081),))
        (both,) = watch.instances("both", name).values()
        assert [each.type for each in both.addresses] == ["Container", "ClusterIP"]
        assert both.ports == (Port(8080, "http"),)
        (net_host,) = watch.instances("net-host", name).values()
        assert (net_host.addresses, net_host.ports) == ((Address(addresses[net_host.node], "Node"),), (Port(18082),))
        (nowhere,) = watch.instances("nowhere", name).values()
        assert (nowhere.addresses, nowhere.ports) == ((), ())
        assert not watch.errors
    await swarm.set_node(swarm.workers[0], Labels={})


async def test_what_is_scaled_down_drains_while_it_still_runs_and_a_removed_service_is_a_fact(
    stack: Stack, tmp_path: Path
) -> None:
    swarm, name = stack.swarm, stack.name
    web = await stack.create("web", 2, ports=HTTP_HOST)
    await swarm.running(web, 2)
    async with watching(tmp_path, *swarm.hosts, poll_seconds=60) as watch:  # events alone make it this quick
        await watch.until(lambda _: len(watch.ready("web", name)) == 2)
        snapshots = watch.recorder.count("snapshot")
        await swarm.scale(web, 0)
        await watch.until(lambda _: not watch.ready("web", name), 30)
        assert {each.readiness for each in watch.instances("web", name).values()} == {"draining"}
        async with watching(tmp_path, *swarm.hosts) as polling:
            await polling.until(lambda view: ServiceKey("s", name, "web") in view)
            await polling.until(lambda _: not polling.instances("web", name), 30)
            assert ServiceKey("s", name, "web") in polling.recorder.view
        await swarm.scale(web, 1)
        await swarm.running(web, 1)
        await swarm.remove(web)
        await watch.until(lambda view: ServiceKey("s", name, "web") not in view, 30)
        assert watch.recorder.count("snapshot") == snapshots, "nothing had to be doubted"
        assert not watch.errors


async def test_a_rolling_update_replaces_one_after_the_other(stack: Stack, tmp_path: Path) -> None:
    swarm, name = stack.swarm, stack.name
    web = await stack.create("web", 3, ports=HTTP_HOST, UpdateConfig={"Parallelism": 1, "Order": "stop-first"})
    await swarm.running(web, 3)
    async with watching(tmp_path, *swarm.hosts, poll_seconds=0.5) as watch:
        await watch.until(lambda _: len(watch.ready("web", name)) == 3)
        before, began = watch.ready("web", name), len(watch.said("web"))
        await swarm.update(web, TaskTemplate={"ContainerSpec": {"Labels": {"version": "2"}}})
        await watch.until(lambda _: watch.ready("web", name).isdisjoint(before) and len(watch.ready("web", name)) == 3)
        seen = watch.said("web")[began:]
        assert min(sum(each.readiness == "ready" for each in service.instances) for service in seen) >= 1
        assert {"draining"} <= {each.readiness for service in seen for each in service.instances if each.id in before}
        assert all(
            each.labels == {"version": "2"} for each in watch.instances("web", name).values() if each.id not in before
        )
        assert not watch.errors


async def test_a_drained_node_s_instances_drain_and_come_again_elsewhere(stack: Stack, tmp_path: Path) -> None:
    swarm, name = stack.swarm, stack.name
    web = await stack.create("web", 2, ports=HTTP_HOST, TaskTemplate={"Placement": {"MaxReplicas": 0}})
    await swarm.running(web, 2)
    async with watching(tmp_path, *swarm.hosts) as watch:
        await watch.until(lambda _: {each.node for each in watch.instances("web", name).values()} == {"n1", "n2"})
        gone = {id for id, each in watch.instances("web", name).items() if each.node == "n2"}
        await swarm.set_node(swarm.workers[0], Availability="drain")
        try:
            await watch.until(lambda _: {watch.instances("web", name)[id].readiness for id in gone} == {"draining"})
            await watch.until(lambda _: len(watch.ready("web", name) - gone) == 2)
            assert {watch.instances("web", name)[id].node for id in watch.ready("web", name)} == {"n1"}
        finally:
            await swarm.set_node(swarm.workers[0], Availability="active")


async def test_a_worker_is_told_from_a_manager_and_passed_over(swarm: SwarmCluster, tmp_path: Path) -> None:
    async with watching(tmp_path, swarm.workers[0].host) as watch:
        error = await watch.error(30)
        assert "is not a manager" in str(error)
        assert not watch.recorder.count("begun")
    async with watching(tmp_path, swarm.workers[0].host, *swarm.hosts) as watch:
        await watch.until(lambda _: watch.recorder.count("snapshot") == 1)
        assert not watch.errors


async def test_over_tls_a_client_without_a_certificate_is_refused(swarm: SwarmCluster, tmp_path: Path) -> None:
    assert swarm.tls is not None
    url = swarm.managers[0].url
    for given in ({}, {"ca": swarm.tls.certificate.read_text()}, {"ca": Authority(tmp_path).certificate.read_text()}):
        async with watching(tmp_path, url, credentials=given) as watch:
            error = await watch.error(30)
            assert isinstance(error, AdapterError)
            assert swarm.managers[0].address in str(error)
    mine = swarm.tls.issue("reader")
    given = {"ca": swarm.tls.certificate.read_text()}
    given |= {"clientCert": mine.certificate.read_text(), "clientKey": mine.key.read_text()}
    async with watching(tmp_path, url, credentials=given, tls=Tls(server_name="n1")) as watch:
        await watch.until(lambda _: watch.recorder.count("snapshot") == 1)


async def pinned(swarm: SwarmCluster, name: str, replicas: int, host: str) -> str:
    """Create a service that runs on one node only."""
    placement = {"Constraints": [f"node.hostname=={host}"]}
    await swarm.create(name, replicas, ports=HTTP_HOST, TaskTemplate={"Placement": placement})
    await swarm.running(name, replicas)
    return name


async def quiet(watch: Watch, seconds: float) -> None:
    """Let time pass, and see that nothing went."""
    before = dict(watch.recorder.view)
    await asyncio.sleep(seconds)
    assert watch.recorder.view == before


async def scaled(swarm: SwarmCluster, manager: SwarmNode, name: str, replicas: int) -> None:
    """Scale by this manager, once it knows a leader again."""
    async with asyncio.timeout(60):
        while True:
            try:
                await swarm.scale(name, replicas, at=manager)
            except (OSError, ValueError):
                await asyncio.sleep(0.2)
            else:
                return


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_the_only_manager_gone_for_30_seconds_removes_nothing(tmp_path: Path, how: str) -> None:
    # With a shorter heartbeat a Swarm that was frozen takes its nodes for dead and starts every task anew.
    async with SwarmCluster(tmp_path / "swarm", heartbeat=30) as swarm:
        await pinned(swarm, "web", 3, "n2")
        async with watching(tmp_path, *swarm.hosts) as watch:
            await watch.until(lambda _: len(watch.ready("web")) == 3)
            before = watch.ready("web")
            (manager,) = swarm.managers
            await (manager.pause() if how == "frozen" else manager.kill9())
            await quiet(watch, 30)
            assert watch.errors
            assert all(isinstance(error, AdapterError) for error in watch.errors)
            began = len(watch.recorder.events)
            await (manager.resume() if how == "frozen" else manager.start())
            await watch.until(lambda _: any(e.kind == "snapshot" for e in watch.recorder.events[began:]), 60)
            await watch.until(lambda _: len(watch.ready("web")) >= 3)
            assert not [event for event in watch.recorder.events if event.kind == "remove"]
            assert watch.ready("web") == before


async def test_a_node_that_dies_loses_its_instances_to_others(tmp_path: Path) -> None:
    async with SwarmCluster(tmp_path / "swarm", managers=1, workers=2) as swarm:
        await swarm.create("web", None, ports=HTTP_HOST)
        await swarm.create("api", 4, ports=HTTP_HOST)
        await swarm.running("web", 3)
        await swarm.running("api", 4)
        async with watching(tmp_path, *swarm.hosts) as watch:
            await watch.until(lambda _: len(watch.ready("web")) == 3 and len(watch.ready("api")) == 4)
            await swarm.workers[0].kill9()
            dead = swarm.workers[0].hostname

            def nodes(name: str) -> list[str]:
                return [watch.instances(name)[id].node for id in watch.ready(name)]

            await watch.until(lambda _: dead not in nodes("web") and dead not in nodes("api"))
            left = [each for each in watch.instances("web").values() if each.node == dead]
            assert [each.readiness for each in left] == ["draining"]
            await watch.until(lambda _: len(watch.ready("api")) == 4)
            assert sorted(nodes("web")) == ["n1", "n3"]
            await swarm.workers[0].start()
            await watch.until(lambda _: len(watch.ready("web")) == 3)
            assert not watch.errors


@pytest.mark.timeout(300)
async def test_while_the_quorum_is_lost_all_stays_and_when_it_is_back_all_is_there(tmp_path: Path) -> None:
    async with SwarmCluster(tmp_path / "swarm", managers=3, workers=1, heartbeat=30) as swarm:
        await pinned(swarm, "web", 2, "n4")
        async with watching(tmp_path, *swarm.hosts) as watch:
            await watch.until(lambda _: len(watch.ready("web")) == 2)
            before = watch.recorder.view
            for manager in swarm.managers[1:]:
                await manager.pause()
            await watch.error(90)
            assert isinstance(watch.errors[-1], AdapterError)
            assert watch.recorder.view == before
            began = len(watch.recorder.events)
            await swarm.managers[2].resume()  # one hangs, two manage
            await watch.until(lambda _: any(e.kind == "snapshot" for e in watch.recorder.events[began:]), 120)
            await watch.until(lambda _: len(watch.instances("web")) == 2)
            assert watch.instances("web").keys() == {each.id for each in before[ServiceKey("s", "", "web")].instances}
            assert not [event for event in watch.recorder.events if event.kind == "remove"]


@pytest.mark.timeout(300)
async def test_a_leader_that_hangs_is_passed_over(tmp_path: Path) -> None:
    async with SwarmCluster(tmp_path / "swarm", managers=3, workers=1, heartbeat=30) as swarm:
        await pinned(swarm, "web", 2, "n4")
        async with watching(tmp_path, *swarm.hosts) as watch:
            await watch.until(lambda _: len(watch.ready("web")) == 2)
            before = watch.ready("web")
            await swarm.managers[0].pause()
            await scaled(swarm, swarm.managers[1], "web", 3)
            await watch.until(lambda _: len(watch.instances("web")) == 3, 120)
            assert before <= watch.instances("web").keys()
            assert not [event for event in watch.recorder.events if event.kind == "remove"]
