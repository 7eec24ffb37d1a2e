"""Masters found through a real ZooKeeper, where real masters are elected by libmesos' own code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from testbed.proxy import Proxy
from testbed.servers import MesosCluster, ZooKeeper
from waypost.adapter import PermanentError
from waypost.model import Instance, Service, ServiceKey
from waypost.testing.context import TestContext
from waypost.testing.source_bench import Supervised
from waypost_adapters.mesos import SOURCE
from waypost_adapters.mesos.config import Config

pytestmark = pytest.mark.server("mesos", "zookeeper")

WEB = ServiceKey("m", "marathon", "web")


@asynccontextmanager
async def watching(directory: Path, masters: str, **given: Any) -> AsyncIterator[Supervised]:
    context = TestContext(directory, name="m", **given)
    async with SOURCE.open(Config(masters=masters, poll_seconds=1), context) as source:
        watch = Supervised(source)
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(watch: Supervised, holds: Callable[[Mapping[ServiceKey, Service]], bool], seconds: float = 60) -> None:
    try:
        await watch.recorder.until(holds, seconds)
    except TimeoutError as error:
        raise AssertionError(f"{error}; view: {watch.recorder.view}; raised: {watch.errors[-2:]}") from None


def instances(watch: Supervised) -> dict[str, Instance]:
    service = watch.recorder.view.get(WEB)
    return {instance.id.partition("/")[2]: instance for instance in service.instances} if service else {}


def removed(watch: Supervised) -> list[object]:
    return [event for event in watch.recorder.events if event.kind == "remove"]


async def write(zookeeper: ZooKeeper, *nodes: tuple[str, bytes], acl: Any = None) -> None:
    """Make persistent nodes."""

    def make() -> None:
        client = KazooClient(zookeeper.address, timeout=30)
        client.start(timeout=30)
        for path, content in nodes:
            client.create(path, content, makepath=True, acl=acl)
        client.stop()
        client.close()

    await asyncio.to_thread(make)


async def test_the_leader_is_found_and_followed_when_it_dies(zookeeper: ZooKeeper, tmp_path: Path) -> None:
    where = f"zk://{zookeeper.address}/failover/mesos"
    async with (
        MesosCluster(tmp_path / "mesos", agents=1, zookeeper=where, size=2) as mesos,
        mesos.framework("marathon", checkpoint=True, failover_timeout=600) as marathon,
        watching(tmp_path, where) as watch,
    ):
        ids = {task.id for task in await marathon.launch("web", 2)}
        await until(watch, lambda _: instances(watch).keys() == ids)
        assert not watch.errors
        before = instances(watch)
        await marathon.abandon()
        first, second = mesos.masters
        (agent,) = mesos.agents
        await agent.pause()  # it comes back late, so the second master does not know it at first
        await first.kill9()
        await until(watch, lambda _: watch.recorder.unknown_nodes == {agent.host})
        assert instances(watch) == before
        await agent.resume()
        await mesos.ready()
        assert await mesos.leader() is second
        await until(watch, lambda _: not watch.recorder.unknown_nodes)
        assert instances(watch) == before
        assert not removed(watch)


async def test_a_leader_that_hangs_is_left_for_the_one_elected_in_its_place(
    zookeeper: ZooKeeper, tmp_path: Path
) -> None:
    where = f"zk://{zookeeper.address}/hangs/mesos"
    async with (
        MesosCluster(tmp_path / "mesos", agents=0, zookeeper=where, size=2) as mesos,
        watching(tmp_path, where) as watch,
    ):
        await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        await mesos.master.pause()  # its connections stay open; its session ends after 2 s
        error = await watch.error(60)  # long before two heartbeats of 15 s have failed to come
        assert str(error) == f"{mesos.master.address} leads no longer: another master was elected"
        seen = watch.recorder.count("snapshot")
        await until(watch, lambda _: watch.recorder.count("snapshot") > seen)
        assert await mesos.leader() is mesos.masters[1]
        await mesos.master.kill9()


async def test_without_zookeeper_the_last_known_leader_is_read_on(tmp_path: Path) -> None:
    async with ZooKeeper(tmp_path / "zk") as zookeeper, MesosCluster(tmp_path / "mesos", agents=1) as mesos:
        info = (await mesos.master.call("GET_MASTER"))["get_master"]["master_info"]
        told = f'{{"id":"{info["id"]}","hostname":"127.0.0.1","port":{mesos.master.port}}}'
        # A master elected in ZooKeeper ends itself without it; this one does not know of any, and is told of there.
        await write(zookeeper, ("/mesos/json.info_0000000007", told.encode()))
        async with (
            watching(tmp_path, f"zk://{zookeeper.address}/mesos") as watch,
            mesos.framework("marathon") as marathon,
        ):
            ids = {task.id for task in await marathon.launch("web", 1)}
            await until(watch, lambda _: instances(watch).keys() == ids)
            await zookeeper.kill9()
            ids |= {task.id for task in await marathon.launch("web", 1)}
            await until(watch, lambda _: instances(watch).keys() == ids)
            assert not watch.errors
            await marathon.teardown()  # torn down: a fact, known without ZooKeeper
            await until(watch, lambda view: WEB not in view)
            await mesos.master.restart(kill=True)  # the same address, another id
            seen = watch.recorder.count("snapshot")
            await until(watch, lambda _: watch.recorder.count("snapshot") > seen)
            await zookeeper.start()


async def test_a_zookeeper_that_is_not_there_is_told_and_found_when_it_comes(tmp_path: Path) -> None:
    zookeeper = ZooKeeper(tmp_path / "zk")
    where = f"zk://{zookeeper.address}/mesos"
    async with watching(tmp_path, where) as watch:
        error = await watch.error(60)
        assert str(error) == f"{where}: ZooKeeper cannot be reached"
        assert not watch.recorder.count("snapshot")
        async with zookeeper, MesosCluster(tmp_path / "mesos", agents=0, zookeeper=where):
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)


async def test_what_is_wrong_in_zookeeper_is_told(
    zookeeper: ZooKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waypost_adapters.mesos.zookeeper.FIRST_SECONDS", 1.0)
    await write(
        zookeeper,
        ("/old/info_0000000003", b"\x0a\x01x"),
        ("/empty/log_replicas", b""),
        ("/odd/json.info_0000000001", b"{"),
    )
    for path, expected in (
        ("/old", "info_0000000003 holds protobuf"),
        ("/empty", "no master has registered there"),
        ("/nothing", "no master has registered there"),
        ("/odd", "the node /odd/json.info_0000000001 is no MasterInfo in JSON"),
    ):
        async with watching(tmp_path, f"zk://{zookeeper.address}{path}") as watch:
            error = await watch.error(60)
            assert expected in str(error)
            assert isinstance(error, PermanentError) == (path == "/old")


async def test_a_guarded_node_is_read_with_the_right_password_only(zookeeper: ZooKeeper, tmp_path: Path) -> None:
    acl = [make_digest_acl("mesos", "right-password", read=True)]
    async with MesosCluster(tmp_path / "mesos", agents=0) as mesos:
        info = (await mesos.master.call("GET_MASTER"))["get_master"]["master_info"]
        told = f'{{"id":"{info["id"]}","hostname":"127.0.0.1","port":{mesos.master.port}}}'
        await write(zookeeper, ("/guarded/mesos/json.info_0000000000", told.encode()))
        await guard(zookeeper, "/guarded/mesos", acl)
        where = f"zk://{zookeeper.address}/guarded/mesos"
        right = {"zookeeperUsername": "mesos", "zookeeperPassword": "right-password"}
        async with watching(tmp_path, where, credentials=right) as watch:
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        async with watching(tmp_path, where.replace("//", "//mesos:right-password@")) as watch:
            await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        for given in ({}, {**right, "zookeeperPassword": "wrong-password"}):
            async with watching(tmp_path, where, credentials=given) as watch:
                error = await watch.error(60)
                assert isinstance(error, PermanentError)
                assert "does not permit reading /guarded/mesos" in str(error)
                assert "-password" not in str(error)


async def guard(zookeeper: ZooKeeper, path: str, acl: Any) -> None:
    def change() -> None:
        client = KazooClient(zookeeper.address, timeout=30)
        client.start(timeout=30)
        client.set_acls(path, acl)
        client.stop()
        client.close()

    await asyncio.to_thread(change)


async def test_a_connection_that_hangs_and_heals_loses_no_election(zookeeper: ZooKeeper, tmp_path: Path) -> None:
    where = f"zk://{zookeeper.address}/cut/mesos"
    async with (
        MesosCluster(tmp_path / "mesos", agents=0, zookeeper=where, size=2) as mesos,
        Proxy(f"http://{zookeeper.address}") as proxy,
        watching(tmp_path, f"zk://{proxy.address}/cut/mesos") as watch,
    ):
        await until(watch, lambda _: watch.recorder.count("snapshot") > 0)
        await proxy.hang()
        await mesos.master.kill9()
        await watch.error(60)
        await proxy.drop()
        await proxy.heal()
        seen = watch.recorder.count("snapshot")
        await until(watch, lambda _: watch.recorder.count("snapshot") > seen)
        assert await mesos.leader() is mesos.masters[1]


async def test_the_library_that_is_not_there_and_half_a_password_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = TestContext(tmp_path, credentials={"zookeeperUsername": "mesos"})
    with pytest.raises(PermanentError, match="belong together"):
        async with SOURCE.open(Config(masters="zk://127.0.0.1:1/mesos"), context):
            pass
    with pytest.raises(PermanentError, match="not both"):
        async with SOURCE.open(Config(masters=("zk://127.0.0.1:1/mesos", "http://m")), TestContext(tmp_path)):
            pass
    monkeypatch.setitem(sys.modules, "waypost_adapters.mesos.zookeeper", None)
    with pytest.raises(PermanentError, match=r"pip install 'waypost\[zookeeper\]'"):
        async with SOURCE.open(Config(masters="zk://127.0.0.1:1/mesos"), TestContext(tmp_path)):
            pass
