"""What befalls the API server and its objects deletes no record: promises 11 and 12, for custom resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.servers import Kubernetes
from tests.kube.rig import Cluster, always, install, until
from tests.rig import service
from waypost.kube.rights import EVERYWHERE
from waypost.settings.schema import NAMES

pytestmark = pytest.mark.server("kube", "etcd")


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An API server that these tests may stop and empty."""
    from testbed.pytest_plugin import in_a_loop_of_its_own

    server = Kubernetes(tmp_path_factory.mktemp("own"), controllers=False)
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


@pytest.fixture
async def own(own_server: Kubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(own_server, tmp_path)
    await made.prepare()
    yield made
    await install(own_server)
    await made.clear()


async def _begin(cluster: Cluster, *names: str) -> None:
    cluster.services(*(service(name, f"{name}-1", f"{name}-2") for name in (*names, "later")))
    await cluster.source()
    await cluster.sink()
    for name in names:
        await cluster.register(name)


async def _published(cluster: Cluster, count: int) -> None:
    await until(lambda: len(cluster.published()) == count, f"{count} records are published")


async def _follows(cluster: Cluster, records: int) -> None:
    """See that what is applied now is published."""
    await cluster.register("later")
    await _published(cluster, records + 2)


async def test_a_deleted_source_sink_or_both_delete_no_record(own: Cluster) -> None:
    await _begin(own, "web")
    async with own.operator() as operator:
        await _published(own, 2)
        await own.delete("servicesources", "mem")
        await until(lambda: "mem" not in operator.settings[-1].sources, "the source is forgotten")
        await until(partial(_says, own, "ResolvedRefs", "False"), "the registration says so")
        await own.delete("servicesinks", "out")
        await until(lambda: "out" not in operator.settings[-1].sinks, "the sink is forgotten")
        await always(lambda: len(own.published()) == 2, 1.0, "the records stay")
        await own.source()
        await own.sink()
        await until(own.ready, "it is ready again")
        assert not [write for write in own.targets["out"].log if write.new is None]


async def _says(cluster: Cluster, kind: str, status: str) -> bool:
    found = await cluster.conditions("serviceregistrations", "web", cluster.shop)
    return found.get(kind, "").startswith(status)


async def test_rights_that_are_taken_away_change_nothing_and_given_back_all_goes_on(own: Cluster) -> None:
    await _begin(own, "web")
    async with own.operator() as operator:
        await _published(own, 2)
        await own.allow([])
        await own.kube.api.restart(kill=True)  # ends the watches, which were let in before
        await until(lambda: operator.shell.failures, "the kinds cannot be listed any more")
        await own.delete("servicesources", "mem")
        await always(lambda: len(own.published()) == 2, 2.0, "the records stay")
        await own.source()
        await own.allow()
        await _follows(own, 2)
        await until(lambda: not operator.shell.failures, "the kinds are followed again")
    await own.allow([])
    async with own.operator():  # it starts without rights
        await always(lambda: len(own.published()) == 4, 3.0, "the records stay")
        await own.allow()
    await own.allow(EVERYWHERE)


async def test_the_watches_are_cut_and_the_api_server_is_restarted(own: Cluster) -> None:
    await _begin(own, "web", "api")
    async with Proxy(own.kube.url) as proxy:
        token = await own.kube.token(own.home, "waypost")
        config = own.kube.write_kubeconfig("cut", token, server=f"https://127.0.0.1:{proxy.port}")
        async with own.operator(kubeconfig=config):
            await _published(own, 4)
            await proxy.refuse()
            await own.register("web", names=["other"])
            await proxy.heal()
            await until(lambda: any("other" in key for key in own.published()), "the edit is heard after the cut")
            await own.kube.api.kill9()
            await asyncio.sleep(0.5)
            await own.kube.api.start(timeout=120)
            await _follows(own, 4)
            await own.delete("serviceregistrations", "api", own.shop)
            await _published(own, 4)


async def test_a_deleted_crd_deletes_no_record_and_does_not_hang(own: Cluster) -> None:
    await _begin(own, "web", "api")
    async with own.operator() as operator:
        await _published(own, 4)
        await until(partial(_says, own, "Ready", "True"), "it says that it is ready")
        for kind in ("ServiceRegistration", "ServiceSink", "ServiceSource"):
            await own.kube.call(
                "DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAMES[kind][0]}.waypost.dev"
            )

        async def gone() -> bool:
            plural = NAMES["ServiceRegistration"][0]
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.waypost.dev"
            return (await own.kube.api.call("GET", path)).status == 404

        await until(gone, "the CRD is gone, though its objects had finalizers")
        await always(lambda: len(own.published()) == 4, 2.0, "the records stay")
        assert set(operator.settings[-1].registrations) == {f"{own.shop}/web", f"{own.shop}/api"}
        own.services(service("web", "web-1", "web-2", "web-3"), service("api", "api-1", "api-2"))
        await _published(own, 5)  # what stays in force follows its source
        await install(own.kube)
        await own.source()
        await own.sink()
        await own.register("web")
        await until(partial(_says, own, "Ready", "True"), "what is applied again is ready")
        await always(lambda: len(own.published()) == 5, 1.0, "the records stay")
    async with own.operator() as second:  # which never heard of the other
        await until(lambda: second.engine.holds.holds, "what is not applied again waits for a person")
        (hold,) = second.engine.holds.holds.values()
        assert hold.cause == "UnknownRegistration"
        assert hold.removals == 2
        assert len(own.published()) == 5


async def test_an_api_server_that_lost_its_data_deletes_no_record(own: Cluster) -> None:
    await _begin(own, "web", "api")
    async with own.operator(kubeconfig=own.kube.kubeconfig) as operator:  # an admin, whom the server still knows
        await _published(own, 4)
        await own.kube.api.kill9()
        await own.kube.etcd.restart(keep_state=False, kill=True)
        await own.kube.api.start(timeout=120)
        await install(own.kube)
        await always(lambda: len(own.published()) == 4, 5.0, "the records stay")
        await until(lambda: not operator.shell.failures, "all kinds are listed, and empty")
        await always(lambda: len(own.published()) == 4, 2.0, "the records stay")
        assert len(operator.settings[-1].registrations) == 2
        await own.kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": own.home}})  # … of its Lease
        own.services(service("web", "web-1"), service("api", "api-1", "api-2"))
        await _published(own, 3)  # what stays in force follows its source
