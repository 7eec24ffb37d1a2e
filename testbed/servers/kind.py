"""A real kind cluster: nodes with kubelets that run pods, in a Docker engine of its own, without a registry.

Only one control-plane node: more would need kind's image of a load balancer. Pods reach the machine at `outside`, the
machine's address on the engine's bridge, and nothing beyond it.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from testbed.cache import cache, program
from testbed.command import run
from testbed.kind_machine import restore, settings
from testbed.servers.docker import Docker

PARTS = ("kind", "node", "kube", "docker", "dockerd", "iptables", "ip", "mount", "nsenter", "tini")
NODE = "waypost-testbed/node"
API_PORT = 6443
RUNC = Path(__file__).parents[1] / "kind" / "runc.sh"
CAP_SYS_RESOURCE = 24
MEMORY_TO_SPARE = 10 << 30  # bytes; images and nodes take some 3 GiB, and are in memory where there is so much
IN_MEMORY = Path("/run/data")  # the script node.sh mounts a tmpfs on /run


class KindEngine(Docker):
    """The Docker engine that the nodes are containers of; it has their image."""

    name: ClassVar[str] = "kind-engine"

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        super().__init__(directory)
        self._settings: dict[str, str] = {}

    def prepare(self) -> None:
        """Have the runtime's wrapper beside it, to be executed; remember what the nodes will change of the machine."""
        super().prepare()
        self._settings = self._settings or settings()
        wrapper = self.directory / "runc"
        wrapper.write_text(RUNC.read_text())
        wrapper.chmod(0o755)

    def _options(self) -> list[str]:
        options = [each for each in super()._options() if not each.startswith("--data-root=")]
        options.append(f"--data-root={images_in(self.data)}")
        if not _may_set_limits():
            options += [f"--add-runtime=own={self.directory / 'runc'}", "--default-runtime=own"]
        return options

    async def stop(self, *, grace: float = 10) -> None:
        """End it and all that it runs, and put back what the nodes changed of the machine."""
        await super().stop(grace=grace)
        restore(self._settings)

    async def provision(self) -> None:
        """Give it the nodes' image, and that of Waypost's base."""
        await super().provision()
        await self.load(cache() / "node" / "node.tar", node_image(), "ENV container=docker", INIT)


INIT = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'


def images_in(disk: Path) -> Path:
    """The folder where an engine keeps images and nodes: in memory where there is enough, else `disk`."""
    return IN_MEMORY if _memory() >= MEMORY_TO_SPARE else disk


def node_image() -> str:
    """The name of the nodes' image, which says the version of Kubernetes."""
    return f"{NODE}:{(cache() / 'node' / 'version').read_text().strip()}"


class KindCluster:
    """One control-plane node and `workers`. `engine` is their Docker engine, `kubeconfig` the admin's."""

    def __init__(self, directory: Path, *, workers: int = 0) -> None:
        """Nothing is started yet."""
        self.directory = directory.resolve()
        self.engine = KindEngine(self.directory)
        self.kubeconfig = self.directory / "kubeconfig"
        self.name = "waypost"
        self._workers = workers
        self._seen = ""

    @property
    def outside(self) -> str:
        """The machine's address, as pods reach it."""
        return f"{self.engine.network.net}.254"

    def environment(self) -> dict[str, str]:
        """For the programs that are run: nothing of the person's own settings is read or written."""
        own = {"HOME": str(self.directory), "DOCKER_HOST": self.engine.host, "KUBECONFIG": str(self.kubeconfig)}
        return {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", **own}

    def _configuration(self) -> Mapping[str, Any]:
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {
                "apiServerAddress": self.engine.address,
                "apiServerPort": API_PORT,
                "disableDefaultCNI": True,
                "kubeProxyMode": "nftables",
            },
            "kubeadmConfigPatches": [
                json.dumps({"kind": "ClusterConfiguration", "imageRepository": "testbed"}),
                json.dumps({"kind": "KubeletConfiguration", "failCgroupV1": False}),
            ],
            "nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in range(self._workers))],
        }

    async def start(self, *, timeout: float = 240) -> Self:
        """Start the engine, unless it runs, and the nodes; raises CommandError or NotReadyError."""
        if not self.engine.running:
            await self.engine.start(timeout=timeout)
        try:
            await self._create(timeout)
        except BaseException as error:
            if isinstance(error, Exception):  # said first: with the engine ends what else is asked of it
                self._seen = f"--- why\n{error}\n{await self.explain()}"
            await self.engine.stop()
            raise
        return self

    async def _create(self, timeout: float) -> None:
        config = self.directory / "kind.json"  # JSON is YAML
        config.write_text(json.dumps(self._configuration(), indent=1))
        where = ["--image", node_image(), "--config", str(config), "--kubeconfig", str(self.kubeconfig), "--retain"]
        await self.kind("create", "cluster", *where, timeout=timeout)
        wait = f"--timeout={timeout:g}s"
        await self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", wait, timeout=timeout + 10)
        await self._route()

    async def _route(self) -> None:
        """Tell every node where the other nodes' pods are; a node that is Ready has its range of addresses."""
        nodes = json.loads(await self.kubectl("get", "nodes", "--output=json"))["items"]
        for node in nodes:
            (address,) = (each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
            for other in nodes:
                if other is not node:
                    route = ("ip", "route", "replace", node["spec"]["podCIDR"], "via", address)
                    await self.docker("exec", other["metadata"]["name"], *route)

    async def stop(self) -> None:
        """End all: with the engine go its containers, mounts and networks."""
        await self.engine.stop()

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    # --- asked and told

    async def kind(self, *arguments: str, timeout: float = 120) -> str:
        """Run kind on this cluster: `kind("load", "docker-image", "waypost:1")`."""
        command = [program("kind", "kind"), *arguments, "--name", self.name]
        return await run(command, env=self.environment(), timeout=timeout)

    async def docker(self, *arguments: str, timeout: float = 120) -> str:
        """Run docker on this cluster's engine; a node is a container of its name."""
        return await run(["docker", *arguments], env=self.environment(), timeout=timeout)

    async def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 120) -> str:
        """Run kubectl as admin; `stdin`: what `-f -` reads."""
        return await run(
            [program("kube", "kubectl"), *arguments], env=self.environment(), stdin=stdin.encode(), timeout=timeout
        )

    async def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as admin, as kubectl does."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        await self.kubectl("apply", "--server-side", "-f", "-", stdin=listed)

    async def explain(self) -> str:
        """What a person would look at when something is not as it should be: nodes, pods, events, kubelets, the engine.

        Of a cluster that did not start, it is what was seen then.
        """
        if self._seen or not self.engine.running:
            return self._seen or f"--- the engine\n{self.engine.log_tail()}"
        kubectl, node = program("kube", "kubectl"), f"{self.name}-control-plane"
        asked: list[Sequence[str]] = []
        if self.kubeconfig.exists():
            asked = [
                (kubectl, "get", "nodes,pods", "--all-namespaces", "--output=wide"),
                (kubectl, "get", "events", "--all-namespaces", "--field-selector=type!=Normal"),
            ]
        asked += [
            ("docker", "ps", "--all"),
            ("docker", "logs", "--tail=15", node),
            ("docker", "exec", node, "sh", "-c", "journalctl -n20 -ukubelet | cut -c1-300"),
            ("docker", "exec", node, "sh", "-c", "tail -n5 /var/log/pods/kube-system_*/*/*.log | cut -c1-300"),
        ]
        said = await asyncio.gather(
            *(run(argv, env=self.environment(), timeout=20) for argv in asked), return_exceptions=True
        )
        told = [f"--- {' '.join(argv)}\n{answer}" for argv, answer in zip(asked, said, strict=True)]
        return "\n".join((*told, f"--- the engine\n{self.engine.log_tail()}"))


def _may_set_limits() -> bool:
    """Whether this process's root may have CAP_SYS_RESOURCE."""
    (bounding,) = (
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapBnd:")
    )
    return bool(bounding >> CAP_SYS_RESOURCE & 1)


def _memory() -> int:
    """Bytes that could be had without swapping."""
    (available,) = (
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    return available << 10
