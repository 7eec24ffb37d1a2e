"""The source on a real Mesos: agents that die or leave, masters that restart or do not lead, passwords, TLS."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed import witness
from testbed.proxy import Follower, Proxy
from testbed.servers import MesosCluster
from testbed.tls import Authority
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.tls import Tls
from waypost.model import Address, Instance, Service, ServiceKey
from waypost.testing.context import TestContext
from waypost.testing.source_bench import Supervised
from waypost_adapters.mesos import SOURCE
from waypost_adapters.mesos.config import Config

pytestmark = pytest.mark.server("mesos")


def key(name: str, namespace: str = "marathon") -> ServiceKey:
    return ServiceKey("m", namespace, name)


@asynccontextmanager
async def watching(
    directory: Path, *masters: str, credentials: Mapping[str, str] | None = None, **config: Any
) -> AsyncIterator[Supervised]:
    context = TestContext(directory, name="m", credentials=credentials)
    async with SOURCE.open(Config(masters=masters, **{"poll_seconds": 1, **config}), context) as source:
        watch = Supervised(source)
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(watch: Supervised, holds: Callable[[Mapping[ServiceKey, Service]], bool], seconds: float = 30) -> None:
    try:
        await watch.recorder.until(holds, seconds)
    except TimeoutError as error:
        raise AssertionError(f"{error}; view: {watch.recorder.view}; raised: {watch.errors[-2:]}") from None


def instances(watch: Supervised, name: str, namespace: str = "marathon") -> dict[str, Instance]:
    service = watch.recorder.view.get(key(name, namespace))
    return {instance.id.partition("/")[2]: instance for instance in service.instances} if service else {}


async def raised(watch: Supervised, seconds: float = 30) -> Exception:
    return watch.errors[-1] if watch.errors else await watch.error(seconds)


async def test_it_lists_what_an_independent_client_lists(mesos: MesosCluster, tmp_path: Path) -> None:
    async with mesos.framework("marathon") as marathon:
        await marathon.launch("web", 3, labels={"version": "2"}, ports=["http", "admin"])
        await marathon.launch("net", 1, addresses=["10.1.2.3", "FD00::3"])
        await marathon.launch("plain", 1, discovery=False, ports=["a", "b"])
        async with watching(tmp_path, mesos.url) as watch:
            await until(watch, lambda view: {key("web"), key("net"), key("plain")} <= view.keys())
            told = [task for task in await witness.mesos_tasks(mesos.address) if task["state"] == "TASK_RUNNING"]
            ours = {instance.id: instance for each in watch.recorder.view.values() for instance in each.instances}
            assert {f"{task['framework_id']['value']}/{task['task_id']['value']}" for task in told} == ours.keys()
            for task in told:
                instance = ours[f"{task['framework_id']['value']}/{task['task_id']['value']}"]
                resources = next(each for each in task["resources"] if each["name"] == "ports")
                numbers = [
                    number for span in resources["ranges"]["range"] for number in range(span["begin"], span["end"] + 1)
                ]
                assert sorted(port.number for port in instance.ports) == sorted(numbers)
                assert instance.addresses[-1].value == instance.node
                assert instance.zone == "z1"
            service = watch.recorder.view[key("web")]
            assert service.labels == {"version": "2"}
            assert [port.name for port in service.instances[0].ports] == ["http", "admin"]
            (net,) = watch.recorder.view[key("net")].instances
            expected = (Address("10.1.2.3", "Container", "cni0"), Address("fd00::3", "Container", "cni0"))
            assert net.addresses[:2] == expected


async def test_tasks_of_one_name_in_two_frameworks_are_two_services(mesos: MesosCluster, tmp_path: Path) -> None:
    async with (
        mesos.framework("marathon") as marathon,
        mesos.framework("batch") as batch,
        watching(tmp_path, mesos.url) as watch,
    ):
        await marathon.launch("web", 1, agent=mesos.agents[0].host)
        await batch.launch("web", 1, agent=mesos.agents[1].host)
        await until(watch, lambda view: {key("web"), key("web", "batch")} <= view.keys())
        await batch.teardown()
        await until(watch, lambda view: key("web", "batch") not in view)
        assert len(instances(watch, "web")) == 1


async def test_a_health_check_makes_an_instance_ready_or_not(mesos: MesosCluster, tmp_path: Path) -> None:
    flag = tmp_path / "well"
    check = {"type": "COMMAND", "command": {"value": f"test -e {flag}"}}
    async with mesos.framework("marathon") as marathon, watching(tmp_path, mesos.url) as watch:
        await marathon.launch("web", 1, health_check=check)
        await until(watch, lambda _: [each.readiness for each in instances(watch, "web").values()] == ["not-ready"])
        flag.touch()
        await until(watch, lambda _: [each.readiness for each in instances(watch, "web").values()] == ["ready"])


@pytest.mark.parametrize("aware", [True, False])
async def test_an_agent_that_dies_leaves_what_mesos_says_of_its_tasks(tmp_path: Path, aware: bool) -> None:
    async with (
        MesosCluster(tmp_path / "mesos", agents=2) as mesos,
        mesos.framework("marathon", partition_aware=aware, checkpoint=aware) as marathon,
        watching(tmp_path, mesos.url) as watch,
    ):
        stays = (await marathon.launch("web", 1, agent=mesos.agents[0].host))[0].id
        goes = (await marathon.launch("web", 1, agent=mesos.agents[1].host))[0].id
        await until(watch, lambda _: instances(watch, "web").keys() == {stays, goes})
        node = instances(watch, "web")[goes].node
        await mesos.agents[1].kill9()
        if aware:  # Mesos does not know whether they live on, so they stay, and are doubted
            await until(watch, lambda _: instances(watch, "web")[goes].readiness == "unknown")
            assert instances(watch, "web")[goes].node == node
            assert any(event.kind == "suspect" and event.instance.endswith(goes) for event in watch.recorder.events)
            before = watch.recorder.count("snapshot")
            await until(watch, lambda _: watch.recorder.count("snapshot") > before)  # a poll notices the agent's death
            assert instances(watch, "web")[goes].readiness == "unknown"
            async with watching(tmp_path, mesos.url) as fresh:  # one that never knew the agent
                await until(fresh, lambda _: instances(fresh, "web").keys() == {stays, goes})
                assert instances(fresh, "web")[goes].addresses == (Address(node),)
        else:
            await until(watch, lambda _: instances(watch, "web").keys() == {stays})
        assert instances(watch, "web")[stays].readiness == "ready"
        assert not watch.errors


async def test_an_agent_that_leaves_in_good_order_takes_its_tasks_along(tmp_path: Path) -> None:
    async with (
        MesosCluster(tmp_path / "mesos", agents=2) as mesos,
        mesos.framework("marathon") as marathon,
        watching(tmp_path, mesos.url) as watch,
    ):
        stays = (await marathon.launch("web", 1, agent=mesos.agents[0].host))[0].id
        await marathon.launch("web", 1, agent=mesos.agents[1].host)
        await until(watch, lambda _: len(instances(watch, "web")) == 2)
        os.kill(mesos.agents[1].pid, signal.SIGUSR1)
        await until(watch, lambda _: instances(watch, "web").keys() == {stays})
        assert not watch.errors


async def test_a_master_killed_and_started_again_loses_nothing(tmp_path: Path) -> None:
    async with (
        MesosCluster(tmp_path / "mesos", agents=2) as mesos,
        mesos.framework("marathon", checkpoint=True, failover_timeout=600) as marathon,
        watching(tmp_path, mesos.url) as watch,
    ):
        here, there = mesos.agents
        kept = {task.id for task in await marathon.launch("web", 2, agent=here.host)}
        late = (await marathon.launch("web", 1, agent=there.host))[0].id
        await until(watch, lambda _: instances(watch, "web").keys() == {*kept, late})
        before = instances(watch, "web")
        began = len(watch.recorder.events)
        await marathon.abandon()
        await there.pause()  # it comes back late
        await mesos.master.restart(kill=True)
        await here.ready()
        await until(watch, lambda _: watch.recorder.unknown_nodes == {there.host})
        assert instances(watch, "web") == before
        await there.resume()
        await there.ready()
        await until(watch, lambda _: not watch.recorder.unknown_nodes)
        assert instances(watch, "web") == before
        removed = [event for event in watch.recorder.events[began:] if event.kind == "remove"]
        assert not removed, "a service was removed in between"
        await marathon.start()
        await marathon.kill(late)
        await until(watch, lambda _: instances(watch, "web").keys() == kept)


async def test_a_follower_leads_to_the_leader_and_a_silent_one_is_passed_over(
    mesos: MesosCluster, tmp_path: Path
) -> None:
    async with (
        Follower(mesos.url) as follower,
        Follower(None) as electing,
        mesos.framework("marathon") as marathon,
        watching(tmp_path, electing.url, follower.url) as watch,
    ):
        await marathon.launch("web", 1)
        await until(watch, lambda _: len(instances(watch, "web")) == 1)
        assert "/api/v1" in electing.requests
        assert not watch.errors


async def test_no_master_that_leads_is_told_with_the_reason_for_each(tmp_path: Path) -> None:
    async with Follower(None) as electing, watching(tmp_path, electing.url, "http://127.0.0.1:1") as watch:
        error = await raised(watch)
        assert not isinstance(error, PermanentError)
        assert f"{electing.address}: no leader is elected" in str(error)
        assert "127.0.0.1:1: " in str(error)
        assert not watch.recorder.count("snapshot")


async def test_the_right_password_opens_and_a_wrong_one_waits_for_a_person(tmp_path: Path) -> None:
    async with MesosCluster(tmp_path / "mesos", agents=1, credentials=("reader", "right-password")) as mesos:
        right = {"username": "reader", "password": "right-password"}
        async with watching(tmp_path, mesos.url, credentials=right) as watch:
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        for given, expected in (
            ({"username": "reader", "password": "wrong-password"}, "refuses the credentials"),
            ({}, "demands the credentials"),
            ({"username": "reader"}, "belong together"),
        ):
            async with watching(tmp_path, mesos.url, credentials=given) as watch:
                error = await raised(watch)
                assert isinstance(error, PermanentError)
                assert expected in str(error)
                assert "password" not in str(error).replace("`password`", "")
        async with (
            Proxy(mesos.url, host="127.0.0.9") as elsewhere,
            Follower(elsewhere.url) as follower,
            watching(tmp_path, follower.url, credentials=right) as watch,
        ):
            error = await raised(watch)
            assert isinstance(error, PermanentError)
            assert f"{elsewhere.address} leads and demands credentials (HTTP 401), but is not one of" in str(error)


async def test_tls_needs_the_right_authority_and_name(mesos: MesosCluster, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "tls"), Authority(tmp_path / "other")
    given = {"ca": authority.certificate.read_text()}
    tls = authority.server_context(authority.issue("mesos", hosts=["mesos.test"]))
    async with Proxy(mesos.url, tls=tls) as proxy:
        async with watching(tmp_path, proxy.url, credentials=given, tls=Tls(server_name="mesos.test")) as watch:
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        async with watching(tmp_path, proxy.url, credentials=given) as watch:
            assert "certificate" in str(await raised(watch))
        wrong = {"ca": other.certificate.read_text()}
        async with watching(tmp_path, proxy.url, credentials=wrong, tls=Tls(server_name="mesos.test")) as watch:
            assert "certificate" in str(await raised(watch))


async def test_a_client_certificate_is_shown(mesos: MesosCluster, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    tls = authority.server_context(authority.issue("mesos"), client_certificates=True)
    mine = authority.issue("waypost")
    given = {
        "ca": authority.certificate.read_text(),
        "clientCert": mine.certificate.read_text(),
        "clientKey": mine.key.read_text(),
    }
    async with Proxy(mesos.url, tls=tls) as proxy:
        async with watching(tmp_path, proxy.url, credentials=given) as watch:
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        async with watching(tmp_path, proxy.url, credentials={"ca": given["ca"]}) as watch:
            assert isinstance(await raised(watch), AdapterError)


async def test_a_connection_cut_within_the_first_record_leaves_no_half_view(
    mesos: MesosCluster, tmp_path: Path
) -> None:
    async with (
        mesos.framework("marathon") as marathon,
        Proxy(mesos.url) as proxy,
    ):
        await marathon.launch("web", 2)
        async with watching(tmp_path, proxy.url) as watch:
            await until(watch, lambda _: len(instances(watch, "web")) == 2)
            await proxy.cut(4000)  # enough for the short calls, not for the first record
            await proxy.drop()
            for _ in range(3):
                assert isinstance(await watch.error(30), AdapterError)
            assert len(instances(watch, "web")) == 2
            assert watch.recorder.count("snapshot") + watch.recorder.count("dropped") == watch.recorder.count("begun")
            await proxy.heal()
            seen = watch.recorder.count("snapshot")
            await until(watch, lambda _: watch.recorder.count("snapshot") > seen)
            assert len(instances(watch, "web")) == 2


@pytest.mark.parametrize("content", [b"\x00\xff not a protocol \r\n\r\n", b"", None])
async def test_garbage_is_an_error_and_no_view(mesos: MesosCluster, tmp_path: Path, content: bytes | None) -> None:
    async with Proxy(mesos.url) as proxy:
        if content is None:
            await proxy.answer(200, b"<html>a portal</html>", {"Content-Type": "text/html"})
        else:
            await proxy.garbage(content)
        async with watching(tmp_path, proxy.url) as watch:
            error = await raised(watch)
            assert isinstance(error, AdapterError)
            assert "portal" not in str(error)
            assert not watch.recorder.count("snapshot")


async def test_a_stream_that_hangs_is_noticed_by_its_heartbeat(tmp_path: Path) -> None:
    async with (
        MesosCluster(tmp_path / "mesos", agents=1) as mesos,
        Proxy(mesos.url) as proxy,
        watching(tmp_path, proxy.url, poll_seconds=3600) as watch,
    ):
        await until(watch, lambda _: watch.recorder.count("current") > 0)
        began = asyncio.get_running_loop().time()
        await proxy.hang()
        error = await watch.error(60)
        assert "not even a heartbeat" in str(error)
        assert 15 < asyncio.get_running_loop().time() - began < 45  # two of Mesos' intervals of 15 s
