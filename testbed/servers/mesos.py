"""A real Mesos 1.11: masters, each with its registry in memory, and agents on 127.0.0.2, 127.0.0.3 and so on.

One master stands alone; several are elected by libmesos' own code in a ZooKeeper.

The programs are in `testbed/mesos/program`; libmesos is in the cache. What differs from a production master is in
`testbed/README.md`.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from testbed.cache import cache
from testbed.ports import free_block, free_port
from testbed.process import Server
from testbed.servers.framework import Framework
from testbed.web import request

PROGRAMS = Path(__file__).parents[1] / "mesos" / "program"
PYTHON = getattr(sys, "_base_executable", sys.executable)  # tasks outlive no environment, but do not need one either
TASK_PORTS = 200


def _command(program: str) -> list[str]:
    """A program of libmesos: our Python without site packages, the script, the folder of the library."""
    return [PYTHON, "-B", "-E", "-s", "-S", str(PROGRAMS / f"{program}.py"), str(cache() / "mesos")]


class MesosMaster(Server):
    """The master. `url` is where its HTTP API is, `address` the same as HOST:PORT."""

    name: ClassVar[str] = "mesos-master"

    def __init__(self, directory: Path, *, credentials: tuple[str, str] | None, flags: Mapping[str, str]) -> None:
        """Choose a port. `credentials`: user and password of HTTP basic authentication, demanded of operators."""
        super().__init__(directory)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.credentials = credentials
        self.flags = dict(flags)

    @property
    def headers(self) -> dict[str, str]:
        """What a request of the operator API needs: empty, or basic authentication."""
        if self.credentials is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode()}

    def command(self) -> Sequence[str]:
        """The master's program."""
        return _command("master")

    def prepare(self) -> None:
        """Write the credentials."""
        if self.credentials:
            principal, secret = self.credentials
            written = json.dumps({"credentials": [{"principal": principal, "secret": secret}]})
            (self.directory / "credentials.json").write_text(written)

    def environment(self) -> Mapping[str, str]:
        """Flags that make a master quick to notice: offers every 200 ms, a silent agent lost after 2 s."""
        made = {
            "LIBPROCESS_IP": "127.0.0.1",
            "LIBPROCESS_PORT": str(self.port),
            "TMPDIR": str(self.data),
            "MESOS_HOSTNAME": "127.0.0.1",
            "MESOS_REGISTRY": "in_memory",
            "MESOS_ALLOCATION_INTERVAL": "200ms",
            "MESOS_AGENT_PING_TIMEOUT": "1secs",
            "MESOS_MAX_AGENT_PING_TIMEOUTS": "2",
        }
        if self.credentials:
            made |= {
                "MESOS_CREDENTIALS": f"file://{self.directory / 'credentials.json'}",
                "MESOS_AUTHENTICATE_HTTP_READONLY": "true",
                "MESOS_AUTHENTICATE_HTTP_READWRITE": "true",
            }
        return {**_inherited(), **made, **{f"MESOS_{key.upper()}": value for key, value in self.flags.items()}}

    async def probe(self) -> None:
        """It answers the operator API as the leader."""
        await self.call("GET_VERSION", timeout=2)

    async def call(self, kind: str, body: Mapping[str, object] | None = None, *, timeout: float = 10) -> Any:
        """A call of the operator API, decoded: `await master.call("GET_TASKS")`; raises ValueError for a refusal."""
        sent = {"type": kind, **({kind.lower(): body} if body else {})}
        headers = {"Accept": "application/json", **self.headers}
        answer = await request("POST", f"{self.url}/api/v1", sent, headers=headers, timeout=timeout)
        answer.expect(200, 202)
        return answer.json() if answer.body else {}


class MesosAgent(Server):
    """An agent on an address of its own, with 200 ports for tasks. `host` is that address."""

    name: ClassVar[str] = "mesos-agent"

    def __init__(
        self,
        directory: Path,
        number: int,
        masters: Sequence[MesosMaster],
        zookeeper: str | None,
        flags: Mapping[str, str],
    ) -> None:
        """Choose ports; `number` is the last part of its address."""
        super().__init__(directory)
        self.number = number
        self.host = f"127.0.0.{number}"
        self.port = free_port(self.host)
        self.task_ports = free_block(TASK_PORTS, self.host)
        self.masters = masters
        self.zookeeper = zookeeper
        self.flags = dict(flags)

    def command(self) -> Sequence[str]:
        """The agent's program."""
        return _command("agent")

    def prepare(self) -> None:
        """Write the two programs that an agent starts from its launcher folder."""
        launcher = self.directory / "launcher"
        launcher.mkdir(exist_ok=True)
        for name, program in (("mesos-containerizer", "containerizer"), ("mesos-executor", "executor")):
            quoted = " ".join(f"'{word}'" for word in _command(program))
            script = launcher / name
            script.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
            script.chmod(0o755)

    def environment(self) -> Mapping[str, str]:
        """Flags of an agent without containers: a process a task, measured but not limited."""
        last = self.task_ports + TASK_PORTS - 1
        made = {
            "LIBPROCESS_IP": self.host,
            "LIBPROCESS_PORT": str(self.port),
            "MESOS_HOSTNAME": self.host,
            "MESOS_MASTER": self.zookeeper or self.masters[0].address,
            "MESOS_WORK_DIR": str(self.data),
            "MESOS_RUNTIME_DIR": str(self.data / "run"),
            "MESOS_REGISTRATION_BACKOFF_FACTOR": "50ms",
            "MESOS_LAUNCHER": "posix",
            "MESOS_ISOLATION": "posix/cpu,posix/mem",
            "MESOS_CONTAINERIZERS": "mesos",
            "MESOS_LAUNCHER_DIR": str(self.directory / "launcher"),
            "MESOS_SYSTEMD_ENABLE_SUPPORT": "false",
            "MESOS_RESOURCES": f"cpus:64;mem:65536;disk:65536;ports:[{self.task_ports}-{last}]",
            "MESOS_ATTRIBUTES": f"rack:r{self.number};zone:z1",
        }
        return {**_inherited(), **made, **{f"MESOS_{key.upper()}": value for key, value in self.flags.items()}}

    async def probe(self) -> None:
        """The leading master lists it as active, with the process that runs now."""
        known = await (await leading(self.masters)).call("GET_AGENTS", timeout=2)
        mine = f"@{self.host}:{self.port}"
        agents = [agent for agent in known["get_agents"].get("agents", []) if agent["pid"].endswith(mine)]
        if not any(agent.get("active") for agent in agents):
            msg = f"{mine} is not registered"
            raise LookupError(msg)
        await request("GET", f"http://{self.host}:{self.port}/health", timeout=2)


async def leading(masters: Sequence[MesosMaster]) -> MesosMaster:
    """The master that leads now; LookupError where none does."""
    for master in masters:
        if master.running:
            with contextlib.suppress(OSError, ValueError):
                await master.call("GET_MASTER", timeout=2)
                return master
    msg = "no master leads"
    raise LookupError(msg)


class MesosCluster:
    """Masters and agents, each a server of its own (`masters`, `agents`): kill, pause and restart those one by one.

    `zookeeper`: the `zk://host:port/path` where `size` masters are elected, and the agents find them; without it there
    is one master, and `master` is the first one anyway.

    `credentials`: HTTP basic authentication of the operator API. `agent_ping_timeout` times `max_agent_ping_timeouts`
    is how long a silent agent is waited for; `agent_reregister_timeout` how long one is after a failover (Mesos takes
    no less than 10mins). `master_flags` and `agent_flags` are flags of Mesos without `MESOS_`, in lower case.
    """

    def __init__(
        self,
        directory: Path,
        *,
        agents: int = 2,
        zookeeper: str | None = None,
        size: int = 1,
        credentials: tuple[str, str] | None = None,
        agent_ping_timeout: str = "1secs",
        max_agent_ping_timeouts: int = 2,
        agent_reregister_timeout: str | None = None,
        master_flags: Mapping[str, str] | None = None,
        agent_flags: Mapping[str, str] | None = None,
    ) -> None:
        """Choose ports; nothing is started yet."""
        self.directory = directory.resolve()
        flags = {"agent_ping_timeout": agent_ping_timeout, "max_agent_ping_timeouts": str(max_agent_ping_timeouts)}
        if agent_reregister_timeout is not None:
            flags["agent_reregister_timeout"] = agent_reregister_timeout
        flags |= master_flags or {}
        if zookeeper:
            flags |= {"zk": zookeeper, "quorum": "1"}
        self.zookeeper = zookeeper
        self.masters = [
            MesosMaster(self.directory / f"master{number or ''}", credentials=credentials, flags=flags)
            for number in range(size)
        ]
        self.master = self.masters[0]
        self.agents: list[MesosAgent] = []
        self._agent_flags = dict(agent_flags or {})
        for _ in range(agents):
            self._plan_agent()

    @property
    def address(self) -> str:
        """The master's HOST:PORT."""
        return self.master.address

    @property
    def url(self) -> str:
        """The master's URL."""
        return self.master.url

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of what runs: `master`, and agents by their address."""
        servers: dict[str, Server] = {"master": self.master, **{agent.host: agent for agent in self.agents}}
        return {name: server.pid for name, server in servers.items() if server.running}

    async def start(self, *, timeout: float = 60) -> Self:
        """Start the masters, then all agents at once; ready when all are registered."""
        try:
            await self.master.start(timeout=timeout)  # so the first one leads
            for master in self.masters[1:]:
                master.launch()
            await asyncio.gather(*(agent.start(timeout=timeout) for agent in self.agents))
        except BaseException:
            await self.kill9()
            raise
        return self

    async def ready(self, *, timeout: float = 60) -> None:
        """Wait until the master and every running agent serve (again)."""
        if not self.zookeeper:
            await self.master.ready(timeout=timeout)
        await asyncio.gather(*(agent.ready(timeout=timeout) for agent in self.agents if agent.running))

    async def add_agent(self, *, flags: Mapping[str, str] | None = None) -> MesosAgent:
        """Start one more agent and wait until it is registered."""
        return await self._plan_agent(flags).start()

    async def stop(self) -> None:
        """Stop the agents with their tasks, then the masters."""
        await asyncio.gather(*(agent.stop() for agent in self.agents))
        await asyncio.gather(*(master.stop() for master in self.masters))

    async def kill9(self) -> None:
        """The same by force."""
        servers: list[Server] = [*self.masters, *self.agents]
        await asyncio.gather(*(server.kill9() for server in servers))

    async def leader(self) -> MesosMaster:
        """The master that leads now; LookupError where none does."""
        return await leading(self.masters)

    def framework(
        self,
        name: str = "testbed",
        *,
        checkpoint: bool = False,
        failover_timeout: float = 0,
        partition_aware: bool = True,
    ) -> Framework:
        """A framework that launches tasks here: `async with cluster.framework("marathon") as framework: …`."""
        return Framework(
            self.address,
            name,
            checkpoint=checkpoint,
            failover_timeout=failover_timeout,
            partition_aware=partition_aware,
        )

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    def _plan_agent(self, flags: Mapping[str, str] | None = None) -> MesosAgent:
        number = len(self.agents) + 2
        agent = MesosAgent(
            self.directory / f"agent{number}",
            number,
            self.masters,
            self.zookeeper,
            {**self._agent_flags, **(flags or {})},
        )
        self.agents.append(agent)
        return agent


def _inherited() -> dict[str, str]:
    """The test's environment without what would be read as flags of Mesos."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MESOS_", "LIBPROCESS_"))}
