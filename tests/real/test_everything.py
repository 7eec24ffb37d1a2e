"""Mesos and Swarm as they are, five targets at once, one folder of manifests, one process.

All agree, read back by others' programs.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from testbed import witness
from testbed.ports import free_port
from testbed.servers import Bind, Consul, Etcd, MesosCluster, SwarmCluster
from testbed.servers.framework import Task
from testbed.web import request
from tests.real.process import Waypost, document
from tests.real_rig import ENVIRONMENT, ConsulDriver, EtcdDriver, wipe

Places = set[tuple[str, int]]


STACK = "com.docker.stack.namespace"


class Everything:
    """The five targets, and what each says about a name."""

    def __init__(self, etcd: EtcdDriver, consul: ConsulDriver, bind: Bind, waypost: Waypost) -> None:
        self.etcd, self.consul, self.bind = etcd, consul, bind
        self.waypost = waypost
        self.stack = f"t{uuid.uuid4().hex[:8]}"
        self.registry_port, self.dns_port = free_port(), free_port()

    def declare(self, mesos: MesosCluster, swarm: SwarmCluster) -> None:
        """Write the manifests."""
        common = {"environment": ENVIRONMENT}
        key = self.waypost.manifests.parent / "tsig"
        key.write_text(self.bind.key)
        source = {
            "type": "mesos",
            "config": {"masters": [mesos.url], "pollSeconds": 1},
            "allowedCIDRs": ["127.0.0.0/8"],
        }
        sinks: dict[str, dict[str, Any]] = {
            "etcd": {"config": self.etcd.config(), "ownerID": self.etcd.owner()},
            "consul": {"config": self.consul.config(), "ownerID": self.consul.owner()},
            "registry": {"config": {"listen": f"127.0.0.1:{self.registry_port}"}, "ownerID": "all"},
            "dns_server": {"config": {"listen": f"127.0.0.1:{self.dns_port}"}, "ownerID": "all"},
            "dns": {
                "config": {"server": self.bind.address, "zone": self.bind.zones[0]},
                "credentials": [{"name": "tsigKey", "file": str(key)}],
                "ownerID": "all",
            },
        }
        self.waypost.write(
            "sources.yaml",
            document("ServiceSource", "mesos", **source, **common),
            document("ServiceSource", "swarm", type="swarm", config={"hosts": swarm.hosts}, **common),
        )
        self.waypost.write(
            "sinks.yaml",
            *(
                document("ServiceSink", kind.replace("_", "-"), type=kind, **spec, **common)
                for kind, spec in sinks.items()
            ),
        )
        names = {name.replace("_", "-"): "{service}" for name in sinks}
        names["consul"] = names["etcd"] = f"{{service}}{self.consul.suffix}"
        entries = [{"name": name, "sinkRef": {"name": name}, "names": [given]} for name, given in names.items()]
        chosen = {"name": "all", "sourceRef": {"name": "mesos"}, "selector": {"services": ["web", "api"]}}
        more: dict[str, Any] = {"ports": [{"name": "http", "match": {"index": 0}}], "metadata": {"v": "{label:v|'1'}"}}
        chosen["addresses"] = {"types": ["Host"]}
        registration = document("ServiceRegistration", "shop", "shop", sources=[chosen], sinks=entries, **more)
        self.waypost.write("shop.yaml", registration)
        there = {"name": "all", "sourceRef": {"name": "swarm"}, "service": {"namespace": self.stack, "name": "cart"}}
        self.waypost.write(
            "cart.yaml",
            document("ServiceRegistration", "cart", "shop", sources=[there], sinks=entries, metadata=more["metadata"]),
        )

    async def told(self, name: str) -> dict[str, Places]:
        """What others' programs read about a name in each target."""
        suffixed = name + self.consul.suffix
        found = await witness.consul_services(self.consul.server.address, name=suffixed)
        in_etcd = await self.etcd.witness()
        answer = await witness.dig(
            "127.0.0.1", self.dns_port, f"_http._tcp.{name}.shop.{ENVIRONMENT}.waypost.test.", "SRV", tcp=True
        )
        return {
            "consul": {(each["address"], each["port"]) for each in found.get(suffixed, [])},
            "etcd": {place for key, place in in_etcd.items() if key.startswith(f"{suffixed}/")},
            "registry": await self.registry(name),
            "dns_server": {await self.resolved(line, self.dns_port) for line in answer.data},
            "dns": await self.in_zone(name),
        }

    async def in_zone(self, name: str) -> Places:
        asked = f"_http._tcp.{name}.{self.bind.zones[0]}."
        answer = await witness.dig("127.0.0.1", self.bind.port, asked, "SRV", tcp=True)
        return {await self.resolved(line, self.bind.port) for line in answer.data}

    async def registry(self, name: str) -> Places:
        url = f"http://127.0.0.1:{self.registry_port}/services/{name}?namespace=shop&environment={ENVIRONMENT}"
        answer = await request("GET", url)
        if answer.status in {404, 503}:  # not there, or not known yet
            return set()
        return {(each["Host"], int(each["Port"])) for each in answer.expect().json()["Instances"]}

    async def resolved(self, srv: str, server: int) -> tuple[str, int]:
        """Where a line of SRV leads."""
        _, _, port, target = srv.split()
        answer = await witness.dig("127.0.0.1", server, target, "A")
        (address,) = answer.data
        return address, int(port)

    async def agree(self, name: str, tasks: list[Task]) -> None:
        """Wait until every target says exactly these tasks."""
        await self.agree_on(name, {(task.host, task.ports[0]) for task in tasks})

    async def agree_on(self, name: str, wanted: Places) -> None:
        """Wait until every target says exactly these places."""

        async def right() -> bool:
            try:
                return await self.registry(name) == wanted  # the quick one first
            except ConnectionRefusedError:
                return False  # it does not listen yet

        await self.waypost.until(right, f"{name} is {wanted}")
        seen: dict[str, Places] = {}

        async def all_right() -> bool:
            seen.update(await self.told(name))
            return all(places == wanted for places in seen.values())

        try:
            await self.waypost.until(all_right, "all targets agree")
        except AssertionError as error:
            raise AssertionError(f"wanted {wanted}, told {seen}; {error}") from None


async def published(swarm: SwarmCluster, name: str) -> Places:
    """Where the Swarm itself says that a service's tasks answer."""
    nodes = {node["ID"]: node["Status"]["Addr"] for node in await swarm.call("GET", "/nodes")}
    return {
        (nodes[task["NodeID"]], task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"])
        for task in await swarm.tasks(name)
        if task["Status"]["State"] == task["DesiredState"] == "running"
    }


@pytest.mark.timeout(300)
@pytest.mark.server("mesos", "swarm", "etcd", "consul", "bind", "witness", "dig")
async def test_five_targets_follow_a_mesos_and_a_swarm(
    mesos: MesosCluster, swarm: SwarmCluster, etcd: Etcd, consul: Consul, bind: Bind, tmp_path: Path
) -> None:
    await wipe(consul)
    async with (
        Waypost(tmp_path) as waypost,
        mesos.framework("alpha") as alpha,
        mesos.framework("beta") as beta,
    ):
        everything = Everything(await EtcdDriver.made(etcd), ConsulDriver(consul), bind, waypost)
        everything.etcd.suffix = ""
        everything.declare(mesos, swarm)
        cart = f"{everything.stack}_cart"
        http = [{"Name": "http", "TargetPort": 8080, "PublishMode": "host"}]
        await swarm.create(cart, 2, labels={STACK: everything.stack}, ports=http)
        await swarm.running(cart, 2)
        one, two = (agent.host for agent in mesos.agents[:2])
        web = await alpha.launch("web", 3, agent=one)
        other = await beta.launch("web", 2, agent=two, labels={"v": "2"})  # the same name in another framework
        api = await beta.launch("api", 1, agent=two)
        await waypost.start()
        await everything.agree("web", web + other)
        await everything.agree("api", api)
        await everything.agree_on("cart", await published(swarm, cart))
        tasks = await witness.mesos_tasks(mesos.address)
        running = [task for task in tasks if task["state"] == "TASK_RUNNING"]
        assert len([task for task in running if task["name"] == "web"]) == 5, "Mesos itself says so"

        await alpha.kill(web[0])
        await everything.agree("web", web[1:] + other)
        before, serial = await everything.consul.revision(), await bind.serial()
        created = {kept.key: kept.created for kept in await everything.etcd.records()}
        await waypost.kill9()
        await waypost.start()
        await waypost.settled()
        assert await everything.consul.revision() == before, "a restart writes nothing"
        assert await bind.serial() == serial + 1, "but its claim"
        assert {kept.key: kept.created for kept in await everything.etcd.records()} == created

        web += await alpha.launch("web", 1, agent=one)
        await beta.kill(other[0])
        await everything.agree("web", web[1:] + other[1:])
        await everything.agree("api", api)
        await swarm.scale(cart, 1)
        await swarm.running(cart, 1)
        await everything.agree_on("cart", await published(swarm, cart))
        status = await waypost.status()
        assert not status["holds"]
        seen = {source["name"]: (source["type"], source["condition"]["reason"]) for source in status["sources"]}
        assert seen == {"mesos": ("mesos", "Watching"), "swarm": ("swarm", "Watching")}, "one model of both"
        ready = {each["key"]: each["status"]["readyInstances"] for each in status["registrations"]}
        assert ready == {"shop/shop": 5, "shop/cart": 1}
        assert all(sink["condition"]["ok"] and not sink["failed"] for sink in status["sinks"])
        await waypost.stop()
        left = await everything.etcd.witness()
        assert len(left) == 6, "what is registered stays when Waypost ends"
    await everything.etcd.lose()
    await everything.consul.lose()
    await swarm.remove(cart)
    await swarm.gone(everything.stack)
