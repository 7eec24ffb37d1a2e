"""Platforms that a test has for itself and that are the victims: a Mesos, a Swarm. What runs there comes and goes."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from testbed.process import Server
from testbed.servers import MesosCluster, SwarmCluster
from testbed.servers.framework import Task

STACK = "com.docker.stack.namespace"
WAITS_SECONDS = 45  # that Mesos waits for a silent agent, and the Swarm for three heartbeats
BACK_SECONDS = 150  # until machines have found their head again


class Platform(abc.ABC):
    """What runs on real machines. `services` holds the ids that Waypost gives what runs, by service."""

    kind: str

    def __init__(self) -> None:
        self.services: dict[str, set[str]] = {}

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it is asked, if it is by TCP."""

    @abc.abstractmethod
    def source(self, url: str) -> Mapping[str, Any]:
        """The spec of a ServiceSource that reads it, by way of a proxy at `url`."""

    @abc.abstractmethod
    def chosen(self) -> Mapping[str, Any]:
        """What a registration says of its services."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """End it with all that runs there."""

    @property
    @abc.abstractmethod
    def head(self) -> Server:
        """The master, or the manager."""

    @abc.abstractmethod
    async def add(self, service: str, count: int = 1) -> None:
        """Run more instances; they run when this returns."""

    @abc.abstractmethod
    async def end(self, service: str) -> str:
        """End one instance and return its id; Waypost may not have heard of it yet."""

    @abc.abstractmethod
    async def back(self) -> None:
        """Wait until all of it is there again, and ask it, after its head was away."""


class Mesos(Platform):
    """A master, two agents and a framework."""

    kind = "mesos"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        waits = {"agent_ping_timeout": "15secs", "max_agent_ping_timeouts": WAITS_SECONDS // 15}
        self.cluster = MesosCluster(folder, agents=2, **waits)  # type: ignore[arg-type]
        self.framework = self.cluster.framework("shop", checkpoint=True, failover_timeout=600)
        self.tasks: dict[str, list[Task]] = {}

    @property
    def url(self) -> str:
        return self.cluster.url

    @property
    def head(self) -> Server:
        return self.cluster.master

    def source(self, url: str) -> Mapping[str, Any]:
        return {"type": "mesos", "config": {"masters": [url], "pollSeconds": 1}, "allowedCIDRs": ["127.0.0.0/8"]}

    def chosen(self) -> Mapping[str, Any]:
        return {"selector": {"services": ["s*"]}, "addresses": {"types": ["Host"]}}

    async def start(self) -> None:
        await self.cluster.start()
        await self.framework.start()

    async def stop(self) -> None:
        await self.framework.abandon()
        await self.cluster.kill9()

    async def back(self) -> None:
        await self.framework.abandon()
        await self.cluster.ready(timeout=BACK_SECONDS)
        await self.framework.start()

    async def add(self, service: str, count: int = 1) -> None:
        tasks = await self.framework.launch(service, count)
        self.tasks.setdefault(service, []).extend(tasks)
        self.services.setdefault(service, set()).update(map(self._id, tasks))

    async def end(self, service: str) -> str:
        task = self.tasks[service].pop(0)
        await self.framework.kill(task)
        self.services[service].discard(self._id(task))
        return self._id(task)

    def _id(self, task: Task) -> str:
        return quote(f"{self.framework.id}/{task.id}", safe="")


class Swarm(Platform):
    """One manager, and a worker that all runs on."""

    kind = "swarm"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.cluster = SwarmCluster(folder, heartbeat=WAITS_SECONDS / 3)

    @property
    def url(self) -> str:
        return ""

    @property
    def head(self) -> Server:
        return self.cluster.managers[0]

    def source(self, url: str) -> Mapping[str, Any]:
        return {"type": "swarm", "config": {"hosts": self.cluster.hosts}}

    def chosen(self) -> Mapping[str, Any]:
        return {"selector": {"services": ["s*"]}}

    async def start(self) -> None:
        await self.cluster.start()

    async def stop(self) -> None:
        await self.cluster.stop()

    async def back(self) -> None:
        await self.cluster.ready(timeout=BACK_SECONDS)

    async def add(self, service: str, count: int = 1) -> None:
        had = self.services.get(service, set())
        if had:
            await self.cluster.scale(f"x_{service}", len(had) + count)
        else:
            here = {"Placement": {"Constraints": ["node.hostname==n2"]}}
            ports = [{"TargetPort": 8080, "PublishMode": "host"}]
            await self.cluster.create(f"x_{service}", count, labels={STACK: "x"}, ports=ports, TaskTemplate=here)
        self.services[service] = await self._running(service, len(had) + count)

    async def end(self, service: str) -> str:
        had = self.services[service]
        await self.cluster.scale(f"x_{service}", len(had) - 1)
        self.services[service] = await self._running(service, len(had) - 1)
        (gone,) = had - self.services[service]
        return gone

    async def _running(self, service: str, count: int) -> set[str]:
        return {task["ID"] for task in await self.cluster.running(f"x_{service}", count)}


async def down_for(server: Server, seconds: float) -> None:
    """Kill it, and start it after a while with the state that it has."""
    await server.kill9()
    await asyncio.sleep(seconds)
    await server.start()
