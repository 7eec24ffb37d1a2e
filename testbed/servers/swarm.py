"""A real Docker Swarm: engines in network namespaces of their own, on one bridge, with what they run and mount.

All of it lives in namespaces that end with the processes that the keeper watches, so nothing is left of it. The nodes
have no way out; the machine reaches them, and the ports that they publish, at their addresses.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from testbed.cache import cache
from testbed.process import Server
from testbed.servers.docker_api import DockerApi
from testbed.tls import Authority

SCRIPTS = Path(__file__).parents[1] / "swarm"
IMAGE = "waypost-testbed/web"
CGROUPS = Path("/sys/fs/cgroup")
OLD_SECONDS = 900
ORDERLY_SECONDS = 30  # an engine gives what it runs ten of them
TLS_PORT, SWARM_PORT = 2376, 2377


class SwarmNetwork(Server):
    """The bridge that the nodes are attached to; `net` is the first three bytes of its addresses."""

    name: ClassVar[str] = "swarm-network"

    def __init__(self, directory: Path) -> None:
        """Nothing is made yet."""
        super().__init__(directory)
        self._said = self.directory / "net"

    @property
    def net(self) -> str:
        """The first three bytes, `10.77.4`."""
        return self._said.read_text().strip()

    def prepare(self) -> None:
        """Forget the former network's addresses."""
        self._said.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        """A process that holds the namespace."""
        return ["unshare", "-n", "sh", str(SCRIPTS / "network.sh"), str(self._said)]

    async def kill9(self) -> None:
        """End it; the kernel takes its time to remove the cable, so that is done by name."""
        await super().kill9()
        if self._said.exists():
            number = self.net.rpartition(".")[2]
            await asyncio.to_thread(
                subprocess.run, ["ip", "link", "del", f"wpsw{number}"], capture_output=True, check=False
            )
            self._said.unlink()

    async def probe(self) -> None:
        """Its addresses are chosen."""
        if not self._said.exists():
            raise LookupError("no network yet")


class SwarmNode(Server):
    """One Docker engine. `host` is what the source is given: `unix://…`; `address` where it publishes ports.

    With `tls`, `url` is its API over TCP, which demands a client certificate of that authority. Without, it has none:
    an engine that is to listen on plain TCP waits 15 s first, so that a person may read its warning.
    """

    name: ClassVar[str] = "swarm-node"

    def __init__(self, directory: Path, number: int, network: SwarmNetwork, tls: Authority | None) -> None:
        """`number` is the last byte of its address, and its name is `n` and that."""
        super().__init__(directory)
        self.number, self.network, self.tls = number, network, tls
        # A socket's path may have 107 bytes. Made at the start, so that a node that never starts leaves nothing.
        self._sockets = Path(tempfile.gettempdir()) / f"wpsw-{secrets.token_hex(8)}"
        self.socket = self._sockets / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.api = DockerApi(self.socket)
        self.cgroup = f"waypost-testbed-{os.getpid()}-{self._sockets.name}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"{self.network.net}.{self.number}"

    @property
    def url(self) -> str:
        """Its API over TLS."""
        return f"tcp://{self.address}:{TLS_PORT}"

    @property
    def hostname(self) -> str:
        """Its name in the Swarm."""
        return f"n{self.number}"

    def command(self) -> Sequence[str]:
        """The namespaces, and dockerd in them."""
        what = [self.network.pid, self.number, self.address, f"/{self.cgroup}", self.hostname]
        return ["unshare", "-n", "sh", str(SCRIPTS / "node.sh"), *map(str, what), *self._options()]

    def _options(self) -> list[str]:
        options = [
            f"--config-file={self.directory / 'daemon.json'}",
            f"--data-root={self.data}",
            f"--host=unix://{self.socket}",
            "--userland-proxy=false",
        ]
        if self.tls:
            mine = self.tls.issue(f"swarm-{self.address}", hosts=[self.address, self.hostname])
            options += [f"--host={self.url}", "--tlsverify", f"--tlscacert={self.tls.certificate}"]
            options += [f"--tlscert={mine.certificate}", f"--tlskey={mine.key}"]
        return options

    def environment(self) -> Mapping[str, str]:
        """Images are where they were imported: no registry is asked."""
        return {**os.environ, "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"}

    def prepare(self) -> None:
        """Write an empty configuration, so that the machine's own is not read; clear away what a killed one left."""
        clear_after_the_killed()
        (self.directory / "daemon.json").write_text("{}")
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)

    async def probe(self) -> None:
        """It answers."""
        (await self.api.request("GET", "/_ping", timeout=2)).expect()

    async def provision(self) -> None:
        """Give it the image."""
        image = (cache() / "swarm" / "image.tar").read_bytes()
        await self.api.request(
            "POST", "/images/create", image, fromSrc="-", repo=IMAGE, tag="1", changes='CMD ["/run.sh"]'
        )

    async def stop(self, *, grace: float = 10) -> None:
        """End it and all that it runs, and forget its state: a Swarm does not come back under other addresses."""
        await self.kill9()
        await asyncio.to_thread(self._clear_cgroups)
        for folder in (self._sockets, self.data):
            shutil.rmtree(folder, ignore_errors=True)

    async def restart(self, *, keep_state: bool = True, kill: bool = False, timeout: float = 60) -> Self:
        """Restart it with its state, in good order or by a kill; without its state it would be another node."""
        if not keep_state:
            raise ValueError("a node without its state is not the one that it was; start another")
        if not kill:
            os.kill(self.engine(), signal.SIGTERM)
            await self._ended(ORDERLY_SECONDS)
        await self.kill9()
        return await self.start(timeout=timeout)

    async def pause(self) -> None:
        """Freeze the engine (SIGSTOP); what it runs goes on."""
        os.kill(self.engine(), signal.SIGSTOP)

    async def resume(self) -> None:
        """Let a paused engine go on."""
        os.kill(self.engine(), signal.SIGCONT)

    def engine(self) -> int:
        """The process id of dockerd."""
        for parent in _children(self.pid):
            for child in _children(parent):
                if Path(f"/proc/{child}/comm").read_text() == "dockerd\n":
                    return child
        raise RuntimeError(f"{self.hostname}: dockerd does not run")

    def _clear_cgroups(self) -> None:
        """Remove the groups that its containers were in: of all this makes, they alone outlive the processes."""
        deadline = time.monotonic() + 30  # of a busy machine; it takes a moment
        while left := _groups(self.cgroup):
            _remove(left)
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)


def _groups(name: str) -> list[Path]:
    """The groups of this name (a pattern), in every hierarchy."""
    return [path for top in (CGROUPS, *CGROUPS.glob("*/")) for path in top.glob(name) if path.is_dir()]


def _remove(groups: Sequence[Path]) -> None:
    for path in groups:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):  # a process in it is not yet gone
                Path(folder).rmdir()


def clear_after_the_killed() -> None:
    """Remove the groups that a test left which was killed: its process, whose number is in their name, is gone.

    Not the newest: a process may be there, in a namespace that is not seen from here.
    """
    for path in _groups("waypost-testbed-*-*"):
        with contextlib.suppress(OSError):  # another process removes it, too
            old = path.stat().st_mtime < time.time() - OLD_SECONDS
            if old and not Path(f"/proc/{path.name.split('-')[2]}").exists():
                _remove([path])


class SwarmCluster:
    """A Swarm of `managers` and `workers`; `nodes` are servers of their own, managers first: kill and pause those.

    `heartbeat`: seconds; a node that is silent for three of them is down. `tls`: see SwarmNode.
    """

    def __init__(
        self,
        directory: Path,
        *,
        managers: int = 1,
        workers: int = 1,
        heartbeat: float = 1,
        tls: Authority | None = None,
    ) -> None:
        """Nothing is started yet."""
        self.directory = directory.resolve()
        self.network = SwarmNetwork(self.directory / "network")
        self._heartbeat = heartbeat
        self.tls = tls
        self._managers = managers
        self.nodes = [
            SwarmNode(self.directory / f"n{number}", number, self.network, tls)
            for number in range(1, managers + workers + 1)
        ]

    @property
    def managers(self) -> list[SwarmNode]:
        """The nodes that manage."""
        return self.nodes[: self._managers]

    @property
    def workers(self) -> list[SwarmNode]:
        """The nodes that do not."""
        return self.nodes[self._managers :]

    @property
    def hosts(self) -> list[str]:
        """What the source is given: the managers' sockets."""
        return [node.host for node in self.managers]

    async def call(
        self, method: str, path: str, body: object = None, *, timeout: float = 30, **query: str | int
    ) -> Any:
        """A call of the API at the first manager that runs, decoded."""
        node = next(node for node in self.managers if node.running)
        return await node.api.call(method, path, body, timeout=timeout, **query)

    async def start(self, *, timeout: float = 60) -> Self:
        """Start all nodes, then make them a Swarm; ready when every node is."""
        _remove_stale_groups()
        try:
            await self.network.start(timeout=timeout)
            await asyncio.gather(*(node.start(timeout=timeout) for node in self.nodes))
            await self._join()
            await self.ready(timeout=timeout)
        except BaseException:
            await self.stop()
            raise
        return self

    async def _join(self) -> None:
        first, *others = self.nodes
        spec = {"Dispatcher": {"HeartbeatPeriod": int(self._heartbeat * 1e9)}}
        where = {"ListenAddr": f"0.0.0.0:{SWARM_PORT}", "AdvertiseAddr": first.address}
        await first.api.call("POST", "/swarm/init", {**where, "Spec": spec})
        tokens = (await first.api.call("GET", "/swarm"))["JoinTokens"]
        for node in others:  # one after the other: each manager that joins changes the quorum
            token = tokens["Manager" if node in self.managers else "Worker"]
            to = {"JoinToken": token, "RemoteAddrs": [f"{first.address}:{SWARM_PORT}"]}
            await node.api.call("POST", "/swarm/join", {**where, "AdvertiseAddr": node.address, **to}, timeout=60)

    async def ready(self, *, timeout: float = 60) -> None:
        """Wait until every node that runs is ready."""
        wanted = {node.hostname for node in self.nodes if node.running}
        async with asyncio.timeout(timeout):
            while True:
                with contextlib.suppress(OSError, ValueError):
                    known = await self.call("GET", "/nodes", timeout=5)
                    if wanted <= {
                        node["Description"]["Hostname"] for node in known if node["Status"]["State"] == "ready"
                    }:
                        return
                await asyncio.sleep(0.1)

    async def create(
        self,
        name: str,
        replicas: int | None = 1,
        *,
        network: str | None = None,
        ports: Sequence[Mapping[str, object]] = (),
        labels: Mapping[str, str] | None = None,
        **more: Any,
    ) -> str:
        """Create a service and return its id, without waiting for its tasks. `replicas` None: one on each node.

        `more` is merged over its specification: a mapping's entries, whatever else whole.
        """
        mode = {"Global": {}} if replicas is None else {"Replicated": {"Replicas": replicas}}
        spec: dict[str, Any] = {
            "Name": name,
            "Labels": dict(labels or {}),
            "Mode": mode,
            "TaskTemplate": {
                "ContainerSpec": {"Image": f"{IMAGE}:1", "StopGracePeriod": int(2e9)},
                "RestartPolicy": {"Delay": int(5e8)},
                "Networks": [{"Target": network}] if network else [],
            },
            "EndpointSpec": {"Ports": list(ports)},
        }
        return str((await self.call("POST", "/services/create", _merged(spec, more)))["ID"])

    async def update(self, service: str, *, at: SwarmNode | None = None, **changes: Any) -> None:
        """Merge `changes` into a service's specification; `at` is the manager to ask."""
        node = at or next(node for node in self.managers if node.running)
        for _ in range(20):
            known = await node.api.call("GET", f"/services/{service}")
            version = known["Version"]["Index"]
            answer = await node.api.request(
                "POST", f"/services/{service}/update", _merged(known["Spec"], changes), version=version
            )
            if b"out of sequence" not in answer.body:  # the Swarm itself changed it meanwhile
                answer.expect()
                return
        raise ValueError(f"{service}: it changes all the time")

    async def scale(self, service: str, replicas: int, *, at: SwarmNode | None = None) -> None:
        """Change how many replicas a service has; does not wait."""
        await self.update(service, at=at, Mode={"Replicated": {"Replicas": replicas}})

    async def remove(self, service: str) -> None:
        """Remove a service; does not wait."""
        await self.call("DELETE", f"/services/{service}")

    async def create_network(self, name: str) -> str:
        """Make an overlay network and return its id."""
        body = {"Name": name, "Driver": "overlay", "Attachable": True, "CheckDuplicate": True}
        return str((await self.call("POST", "/networks/create", body))["Id"])

    async def set_node(self, node: SwarmNode, **changes: Any) -> None:
        """Merge `changes` (Availability, Labels, Role) into a node's specification."""
        known = await self.call("GET", f"/nodes/{node.hostname}")
        body = _merged(known["Spec"], changes)
        await self.call("POST", f"/nodes/{known['ID']}/update", body, version=known["Version"]["Index"])

    async def tasks(self, service: str) -> list[Any]:
        """A service's tasks as the API has them."""
        found: list[Any] = await self.call("GET", "/tasks", filters=f'{{"service":["{service}"]}}')
        return found

    async def running(self, service: str, count: int, *, timeout: float = 60) -> list[Any]:
        """Wait until so many tasks run and are to run, and return those."""
        async with asyncio.timeout(timeout):
            while True:
                found = [
                    task
                    for task in await self.tasks(service)
                    if task["DesiredState"] == task["Status"]["State"] == "running"
                ]
                if len(found) == count:
                    return found
                await asyncio.sleep(0.1)

    async def gone(self, prefix: str, *, timeout: float = 60) -> None:
        """Wait until no container of services whose names begin so is left on any node that runs."""
        named = f'{{"name":["^{prefix}"]}}'
        async with asyncio.timeout(timeout):
            while True:
                running = [
                    node.api.call("GET", "/containers/json", filters=named) for node in self.nodes if node.running
                ]
                if not any(await asyncio.gather(*running)):
                    return
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End all nodes and the network."""
        await asyncio.gather(*(node.stop() for node in self.nodes))
        await self.network.kill9()

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        await self.stop()


def _merged(into: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(into)
    for key, value in more.items():
        former = merged.get(key)
        merged[key] = _merged(former, value) if isinstance(former, dict) and isinstance(value, dict) else value
    return merged


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _remove_stale_groups() -> None:
    """Remove the groups of a test process that was killed; those in use cannot be removed."""
    for top in (CGROUPS, *CGROUPS.glob("*/")):
        for path in top.glob("waypost-testbed-*"):
            if Path(f"/proc/{path.name.split('-')[2]}").exists():
                continue
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
