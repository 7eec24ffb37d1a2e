"""What befalls the API server and its objects deletes no record: promises 11 and 12, for custom resources."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd
from tests.kube.rig import Cluster, always, install, until
from tests.kube.stage import OnKubernetes, stage
from tests.rig import service
from waypost.kube.rights import EVERYWHERE
from waypost.settings.schema import NAMES

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

pytestmark = pytest.mark.server("kube", "etcd")


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


async def test_a_watch_that_cannot_be_resumed_finds_what_was_deleted_meanwhile(
    own: Cluster, etcd: Etcd, tmp_path: Path
) -> None:
    token = await own.kube.token(own.home, "waypost")
    async with Proxy(own.kube.url) as way, stage(own, etcd) as made:
        config = own.kube.write_kubeconfig("expired", token, server=f"https://127.0.0.1:{way.port}")
        async with OnKubernetes(tmp_path / "a", own, kubeconfig=config) as process:
            await made.declare()
            for name in ("web", "api", "old"):
                await made.register(name, "ab")
            await process.start()
            await made.published((f"{name}/{each}" for name in ("web", "api", "old") for each in "ab"), process)
            await process.until(partial(made.have_finalizers, "web", "api", "old"), "they have the finalizer")
            first = await made.created()

            await way.refuse()
            path = own.path("serviceregistrations")
            last = (await own.kube.call("GET", path))["metadata"]["resourceVersion"]
            await own.delete("serviceregistrations", "old", own.shop)  # its finalizer keeps it, for it to be seen
            await own.patch("serviceregistrations", "api", {"metadata": {"finalizers": None}}, own.shop)
            await own.delete("serviceregistrations", "api", own.shop)  # and nobody tells of this one
            await made.register("new", "a")
            await made.register("web", "bc")
            revision = (await own.kube.etcd.call("kv/range", {"key": "AA=="}))["header"]["revision"]
            await own.kube.etcd.call("kv/compaction", {"revision": revision, "physical": True})
            await own.kube.api.restart(kill=True, timeout=120)  # for it remembers what its etcd no longer has
            await until(
                partial(_refuses, own, f"{path}?watch=1&timeoutSeconds=1&resourceVersion={last}"), "it says 410"
            )
            await way.heal()

            there = {"web/b", "web/c", "new/a", "api/a", "api/b"}
            await made.published(there, process, "what was asked for meanwhile is so")
            await process.until(partial(made.holds, "UnknownRegistration"), "what vanished is held")
            (hold,) = await made.holds()
            assert hold["status"]["removals"] == 2
            assert await made.removed() == {"web/a", "old/a", "old/b"}
            assert await made.lasted(first) == {"web/b", "api/a", "api/b"}


async def test_a_deleted_crd_deletes_no_record_and_does_not_hang(own: Cluster) -> None:
    await _begin(own, "web", "api")
    async with own.operator() as operator:
        await _published(own, 4)
        await until(partial(_says, own, "Ready", "True"), "it says that it is ready")
        for kind in ("ServiceRegistration", "ServiceSink", "ServiceSource"):
            await own.kube.call("DELETE", f"{DEFINITIONS}/{NAMES[kind][0]}.waypost.dev")
        await until(partial(_without_crd, own), "the CRD is gone, though its objects had finalizers")
        await always(lambda: len(own.published()) == 4, 2.0, "the records stay")
        assert set(operator.settings[-1].registrations) == {f"{own.shop}/web", f"{own.shop}/api"}
        assert "no longer: 0" in await _let_go(own)  # who uninstalls it now need not wait
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


async def test_a_crd_that_waits_for_an_operator_that_is_gone_is_let_go(own: Cluster) -> None:
    await _begin(own, "web", "api")
    async with own.operator():
        await _published(own, 4)
        await until(partial(_all, own, "finalizers"), "they have the finalizer")
    await own.kube.call("DELETE", f"{DEFINITIONS}/{NAMES['ServiceRegistration'][0]}.waypost.dev")
    await until(partial(_all, own, "deletionTimestamp"), "their deletion waits")
    assert "no longer: 2" in await _let_go(own)
    await until(partial(_without_crd, own), "the CRD is gone")
    assert len(own.published()) == 4
    await install(own.kube)
    await own.register("web")
    async with own.operator() as second:
        await until(lambda: second.engine.holds.holds, "what is not applied again waits for a person")
        assert len(own.published()) == 4


async def _refuses(own: Cluster, watch: str) -> bool:
    answer = await own.kube.api.call("GET", watch)
    if answer.status != 200:
        assert answer.status in {410, 429}, answer  # 429: it has only just begun
        return answer.status == 410
    told = json.loads(answer.body.splitlines()[0])  # the first event
    assert told["object"].get("code") == 410, told
    return True


async def _all(own: Cluster, field: str) -> bool:
    """Say whether all registrations have this in their metadata."""
    found = await own.kube.call("GET", own.path("serviceregistrations"))
    return all(each["metadata"].get(field) for each in found["items"])


async def _without_crd(own: Cluster) -> bool:
    path = f"{DEFINITIONS}/{NAMES['ServiceRegistration'][0]}.waypost.dev"
    return (await own.kube.api.call("GET", path)).status == 404


async def _let_go(own: Cluster) -> str:
    """Do what the chart does before it is uninstalled."""
    command = ("release", "--finalizers", "--yes", "--kubernetes", "--kubeconfig", str(own.kubeconfig))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waypost", *command, "--namespace", own.home),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


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
