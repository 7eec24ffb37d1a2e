"""A small Mesos framework: launches tasks and kills them through the scheduler's HTTP API, over asyncio streams alone.

One task object per instance; `launch` returns when all of them run. What cannot be said by its arguments goes into
`info`, a TaskInfo that is merged over the rest. In every text of it `$PORT0`, `$PORT1`, … become ports of the offer and
`$HOST` the agent's address.
"""

import asyncio
import contextlib
import getpass
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

PATH = "/api/v1/scheduler"
SLEEP = "exec sleep 100000"
HTTP_SERVER = f"exec {getattr(sys, '_base_executable', sys.executable)} -m http.server --bind $HOST $PORT0"
RUNNING = "TASK_RUNNING"
ENDED = frozenset(
    f"TASK_{end}" for end in ("FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR")
)


class LaunchError(Exception):
    """A task ended instead of running, or the framework's connection did."""


@dataclass
class Task:
    """One task as its framework knows it. `host`, `ports` and `agent_id` are known once it is placed."""

    id: str
    name: str
    info: dict[str, Any]
    agent: str | None = None  # where it may go
    agent_id: str = ""
    host: str = ""
    ports: tuple[int, ...] = ()
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The last state, `TASK_STAGING` before the first."""
        return str(self.statuses[-1]["state"]) if self.statuses else "TASK_STAGING"

    @property
    def healthy(self) -> bool | None:
        """What its health check said last."""
        return self.statuses[-1].get("healthy") if self.statuses else None


def task_info(
    name: str,
    *,
    command: str = SLEEP,
    ports: Sequence[str] = ("http",),
    labels: Mapping[str, str] | None = None,
    discovery: Mapping[str, Any] | bool = True,
    health_check: Mapping[str, Any] | None = None,
    port_mappings: Sequence[Mapping[str, Any]] = (),
    addresses: Sequence[str] = (),
    info: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A TaskInfo without task and agent id.

    `ports`: a name for each port taken from the offer. `discovery`: a DiscoveryInfo, or True for one with the task's
    name and its ports, or False for none. `health_check`: a HealthCheck, e.g. `{"type": "HTTP", "http": {"port":
    "$PORT0"}}`; it runs every 0.2 s, counts from 2 s on, and does not kill the task unless it says otherwise.
    `port_mappings`: a docker container's (the task then has a ContainerInfo of type MESOS with a docker part that only
    tells). `addresses`: what the task reports as its own addresses, as with a network of containers.
    """
    made: dict[str, Any] = {"name": name, "command": {"value": command}}
    if discovery is True:
        named = [{"number": f"$PORT{n}", "name": port, "protocol": "tcp"} for n, port in enumerate(ports)]
        made["discovery"] = {"visibility": "CLUSTER", "name": name, "ports": {"ports": named}}
    elif discovery:
        made["discovery"] = dict(discovery)
    all_labels = {**(labels or {}), **({"test.ip": ",".join(addresses)} if addresses else {})}
    if all_labels:
        made["labels"] = {"labels": [{"key": key, "value": value} for key, value in all_labels.items()]}
    if health_check:
        quick = {"delay_seconds": 0, "interval_seconds": 0.2, "timeout_seconds": 2, "grace_period_seconds": 2}
        made["health_check"] = {**quick, "consecutive_failures": 1_000_000, **health_check}
    if port_mappings:
        docker = {"image": "none", "network": "BRIDGE", "port_mappings": [dict(mapping) for mapping in port_mappings]}
        made["container"] = {"type": "MESOS", "docker": docker}
    made["ports"] = len(ports)
    return {**made, **(info or {})}


class Framework:
    """A connected framework; an async context manager that tears the framework down (its tasks end) when left."""

    def __init__(
        self,
        master: str,
        name: str = "testbed",
        *,
        checkpoint: bool = False,
        failover_timeout: float = 0,
        partition_aware: bool = True,
    ) -> None:
        """Take the master's HOST:PORT; connect with `start`.

        `failover_timeout`: seconds that the tasks live on after `abandon`.
        """
        self.name = name
        self.id = ""
        self.tasks: dict[str, Task] = {}
        self._host, self._port = master.split(":")
        capabilities = [{"type": "MULTI_ROLE"}, *([{"type": "PARTITION_AWARE"}] if partition_aware else [])]
        self._info: dict[str, Any] = {
            "user": getpass.getuser(),
            "name": name,
            "roles": ["*"],
            "capabilities": capabilities,
            "checkpoint": checkpoint,
            "failover_timeout": failover_timeout,
        }
        self._waiting: list[Task] = []
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._stream_id = ""
        self._number = 0
        self._error: BaseException | None = None

    async def start(self) -> Self:
        """Subscribe (again, with the same id, after `abandon`)."""
        known = {"id": {"value": self.id}} if self.id else {}
        body: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {**self._info, **known}}}
        if self.id:
            body["framework_id"] = {"value": self.id}
        self._error = None
        self._stream = await asyncio.open_connection(self._host, int(self._port), limit=1 << 24)
        status, headers = await _post(*self._stream, self._host, body, {})
        if status != 200:
            said = await self._stream[0].read(500)
            await self.abandon()
            msg = f"{self.name}: subscribing was answered with {status}: {said.decode(errors='replace')}"
            raise LaunchError(msg)
        self._stream_id = headers.get("mesos-stream-id", "")
        events = _records(self._stream[0])
        first = await anext(events)
        self.id = first["subscribed"]["framework_id"]["value"]
        self._reader = asyncio.create_task(self._read(events), name=f"framework {self.name}")
        return self

    async def launch(
        self,
        name: str,
        count: int = 1,
        *,
        agent: str | None = None,
        wait: bool = True,
        timeout: float = 60,
        **options: Any,
    ) -> list[Task]:
        """Launch `count` tasks (on the agent with this address, if given) and wait until they run; see `task_info`.

        Raises LaunchError when one ends instead, TimeoutError after `timeout` seconds.
        """
        launched = []
        for _ in range(count):
            self._number += 1
            task = Task(f"{name}.{self._number}", name, task_info(name, **options), agent)
            launched.append(task)
            self.tasks[task.id] = task
        self._waiting += launched
        await self._call("REVIVE")
        if wait:
            await self.wait(launched, RUNNING, timeout=timeout)
        return launched

    async def kill(self, *tasks: Task | str, wait: bool = True, timeout: float = 60) -> None:
        """Kill tasks and wait until their framework knows that they have ended."""
        killed = [self.tasks[task] if isinstance(task, str) else task for task in tasks]
        for task in killed:
            await self._call("KILL", {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}})
        if wait:
            await self.wait(killed, *ENDED, timeout=timeout)

    async def wait(self, tasks: Sequence[Task], *states: str, timeout: float = 60) -> None:
        """Wait until each of these tasks has one of these states; LaunchError when it ends in none of them."""
        async with asyncio.timeout(timeout):
            for task in tasks:
                while task.state not in states:
                    if self._error:
                        msg = f"{self.name}: the connection ended: {self._error!r}"
                        raise LaunchError(msg) from self._error
                    if task.state in ENDED and not ENDED.intersection(states):
                        msg = f"{task.id}: {task.statuses[-1]}"
                        raise LaunchError(msg)
                    self._changed.clear()
                    await self._changed.wait()

    async def wait_healthy(self, *tasks: Task, healthy: bool = True, timeout: float = 60) -> None:
        """Wait until the health check of each of these tasks says so."""
        async with asyncio.timeout(timeout):
            for task in tasks:
                while task.healthy is not healthy:
                    self._changed.clear()
                    await self._changed.wait()

    async def teardown(self) -> None:
        """End the framework and all its tasks."""
        await self._call("TEARDOWN")
        await self.abandon()

    async def abandon(self) -> None:
        """Cut the connection without a word, as a crashed scheduler does."""
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._stream:
            self._stream[1].transport.abort()
            self._stream = None

    async def __aenter__(self) -> Self:
        """Subscribe."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Tear the framework down, if there still is one."""
        with contextlib.suppress(OSError, LaunchError, EOFError):
            if self._reader and not self._reader.done():
                await self.teardown()
        await self.abandon()

    # How

    async def _read(self, events: AsyncIterator[dict[str, Any]]) -> None:
        try:
            async for event in events:
                match event["type"]:
                    case "OFFERS":
                        await self._place(event["offers"]["offers"])
                    case "UPDATE":
                        await self._update(event["update"]["status"])
                    case "ERROR":
                        raise LaunchError(event["error"]["message"])
            msg = "the master closed the stream"
            raise ConnectionError(msg)
        except (OSError, EOFError, ValueError, LaunchError) as error:
            self._error = error
            self._changed.set()

    async def _place(self, offers: Sequence[dict[str, Any]]) -> None:
        """Deal the waiting tasks to the agents in turn; one call for each offer."""
        free = {offer["hostname"]: _ports(offer) for offer in offers}
        placed: dict[str, list[dict[str, Any]]] = {host: [] for host in free}
        for task in list(self._waiting):
            needed = int(task.info["ports"])
            fitting = [host for host in free if task.agent in (None, host) and len(free[host]) >= needed]
            if not fitting:
                continue
            host = min(fitting, key=lambda host: len(placed[host]))
            offer = next(offer for offer in offers if offer["hostname"] == host)
            task.ports, free[host] = tuple(free[host][:needed]), free[host][needed:]
            task.agent_id, task.host = offer["agent_id"]["value"], host
            self._waiting.remove(task)
            placed[host].append(_filled(task))
        for offer in offers:
            await self._answer(offer, placed[offer["hostname"]])
        if not self._waiting:
            await self._call("SUPPRESS")

    async def _answer(self, offer: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
        answer: dict[str, Any] = {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.1}}
        if tasks:
            answer["operations"] = [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]
        await self._call("ACCEPT" if tasks else "DECLINE", answer)

    async def _update(self, status: dict[str, Any]) -> None:
        if "uuid" in status:
            await self._call("ACKNOWLEDGE", {key: status[key] for key in ("agent_id", "task_id", "uuid")})
        task = self.tasks.get(status["task_id"]["value"])
        if task:
            task.statuses.append(status)
        self._changed.set()

    async def _call(self, kind: str, body: Mapping[str, Any] | None = None) -> None:
        """One call on a connection of its own; the master accepts (202) or refuses it."""
        call: dict[str, Any] = {"framework_id": {"value": self.id}, "type": kind}
        if body:
            call[kind.lower()] = body
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            status, _ = await _post(reader, writer, self._host, call, {"Mesos-Stream-Id": self._stream_id})
            if status != 202:
                said = (await reader.read(500)).decode(errors="replace")
                msg = f"{self.name}: {kind} was answered with {status}: {said}"
                raise LaunchError(msg)
        finally:
            writer.close()


def _ports(offer: dict[str, Any]) -> list[int]:
    """All ports of an offer."""
    return [
        port
        for resource in offer["resources"]
        if resource["name"] == "ports"
        for span in resource["ranges"]["range"]
        for port in range(span["begin"], span["end"] + 1)
    ]


def _filled(task: Task) -> dict[str, Any]:
    """The TaskInfo of a placed task: ids, resources, and ports and address in place of their names."""

    def value(found: re.Match[str]) -> str:
        return task.host if found[1] == "HOST" else str(task.ports[int(found[2])])

    info = {key: part for key, part in task.info.items() if key != "ports"}
    text = re.sub(r'"\$PORT(\d+)"', lambda found: str(task.ports[int(found[1])]), json.dumps(info))
    text = re.sub(r"\$(HOST|PORT(\d+))", value, text)
    resources: list[dict[str, Any]] = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.01}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}},
    ]
    if task.ports:
        ranges = [{"begin": port, "end": port} for port in task.ports]
        resources.append({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}})
    ids = {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}
    return {"resources": resources, **json.loads(text), **ids}


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, body: object, headers: Mapping[str, str]
) -> tuple[int, dict[str, str]]:
    """Send a POST; the status and headers of the answer, whose body is still to be read."""
    payload = json.dumps(body).encode()
    sent = {
        "Host": urlsplit(f"//{host}").netloc,
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Content-Length": str(len(payload)),
        **headers,
    }
    head = "".join(f"{key}: {value}\r\n" for key, value in sent.items())
    writer.write(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + payload)
    await writer.drain()
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {key.lower(): value.strip() for key, _, value in pairs}


async def _records(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON records (RecordIO) of a chunked answer, until it ends."""
    pending = b""
    while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
        pending += await reader.readexactly(size)
        await reader.readexactly(2)
        while b"\n" in pending:
            length, rest = pending.split(b"\n", 1)
            if len(rest) < int(length):
                break
            yield json.loads(rest[: int(length)])
            pending = rest[int(length) :]
