"""Waypost as its chart installs it, looked at and struck from outside: helm, its pods, its Lease, `kubectl waypost`."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.stage import IMAGE
from e2e.steps import StepError, until
from testbed.cache import cache, program
from testbed.command import run
from testbed.servers import KindCluster

CHART = Path(__file__).parents[1] / "charts" / "waypost"
NAMESPACE = RELEASE = "waypost"
ROLLED = 150  # seconds for its pods to be ready


class Release:
    """One release in one cluster."""

    def __init__(self, cluster: KindCluster) -> None:
        """Nothing is installed yet."""
        self.cluster = cluster

    async def install(self) -> None:
        """By helm, which waits until the pods are ready."""
        repository, _, tag = IMAGE.partition(":")
        values = {"image.repository": repository, "image.tag": tag, "kubernetes.source.enabled": "true"}
        given = [f"--set={key}={value}" for key, value in values.items()]
        await self.helm("install", RELEASE, str(CHART), "--create-namespace", *given, *self._waiting())

    async def upgrade(self, **values: str) -> None:
        """By helm, with some values changed: the pods are replaced one by one."""
        given = [f"--set={key.replace('_', '.')}={value}" for key, value in values.items()]
        await self.helm("upgrade", RELEASE, str(CHART), "--reuse-values", *given, *self._waiting())

    def _waiting(self) -> list[str]:
        return ["--wait", f"--timeout={ROLLED}s"]

    async def uninstall(self) -> None:
        """By helm; its custom resources stay."""
        await self.helm("uninstall", RELEASE, *self._waiting())
        await until("no pod of it is left", self.pods, lambda pods: not pods)

    # --- what is seen

    async def holder(self) -> str:
        """Whoever holds the Lease, by the name that is its process's own; "" where nobody does."""
        path = "--output=jsonpath={.spec.holderIdentity}"
        return await self.kubectl("get", "lease", "waypost", "--ignore-not-found", path)

    async def leader(self) -> str:
        """The pod that leads; "" where none does."""
        holder = await self.holder()
        return next((pod for pod in await self.pods() if holder.startswith(f"{pod}-")), "")

    async def pods(self) -> list[str]:
        """Its pods."""
        path = "--output=jsonpath={.items[*].metadata.name}"
        return (await self.kubectl("get", "pods", "--selector=app.kubernetes.io/name=waypost", path)).split()

    async def arguments(self) -> list[str]:
        """What the leader's pod runs Waypost with."""
        leader = await until("somebody leads", self.leader, bool)
        path = "--output=jsonpath={.spec.containers[0].args}"
        found: list[str] = json.loads(await self.kubectl("get", "pod", leader, path))
        return found

    async def ready(self) -> None:
        """Wait until all its pods are ready."""
        await self.kubectl("rollout", "status", "deployment/waypost", "--timeout=100s", timeout=110)

    async def status(self, *options: str) -> str:
        """What `kubectl waypost status` prints, asked with the admin's rights."""
        return await self.kubectl("waypost", "--namespace", NAMESPACE, "status", *options, spaced=False)

    async def report(self) -> Mapping[str, Any]:
        """The same, decoded."""
        found: Mapping[str, Any] = json.loads(await self.status("--output", "json"))
        return found

    # --- what is done to it

    async def delete(self, pod: str) -> None:
        """Delete a pod: its process is asked to end (SIGTERM)."""
        await self.kubectl("delete", "pod", pod, "--wait=false")

    async def kill9(self, pod: str) -> None:
        """End a pod's process as a power cut would; its container is started again."""
        node = f"{self.cluster.name}-control-plane"
        labels = {"pod.name": pod, "container.name": "waypost"}
        wanted = ",".join(f'labels."io.kubernetes.{key}"=={value}' for key, value in labels.items())
        ctr = ("exec", node, "ctr", "--namespace=k8s.io")
        listed = (await self.cluster.docker(*ctr, "containers", "ls", "--quiet", wanted)).split()
        running = (await self.cluster.docker(*ctr, "tasks", "ls", "--quiet")).split()
        tasks = [each for each in listed if each in running]
        if len(tasks) != 1:
            raise StepError(f"{pod}: one process was looked for, these were found: {tasks}")
        await self.cluster.docker(*ctr, "tasks", "kill", "--signal=SIGKILL", tasks[0])

    # --- how

    async def kubectl(self, *arguments: str, timeout: float = 60, spaced: bool = True) -> str:
        """As admin, in its namespace; `kubectl waypost` is found beside the Python that runs this."""
        path = os.pathsep.join((str(cache() / "kube"), str(Path(sys.executable).parent), os.defpath))
        where = [f"--namespace={NAMESPACE}"] if spaced else []
        command = [program("kube", "kubectl"), *arguments, *where]
        return await run(command, env={**self.cluster.environment(), "PATH": path}, timeout=timeout)

    async def helm(self, *arguments: str) -> str:
        """As admin, in its namespace."""
        command = [program("helm", "helm"), *arguments, f"--namespace={NAMESPACE}"]
        return await run(command, env=self.cluster.environment(), timeout=ROLLED + 10)

    async def explain(self) -> str:
        """What a person would look at: what Waypost says, and what it says of the manifests."""
        asked = (
            ("logs", "--selector=app.kubernetes.io/name=waypost", f"--namespace={NAMESPACE}", "--prefix", "--tail=80"),
            ("get", "servicesources,servicesinks,serviceregistrations", "--all-namespaces", "--output=yaml"),
            ("describe", "pods", f"--namespace={NAMESPACE}"),
        )
        said = await asyncio.gather(
            *(self.cluster.kubectl(*each, timeout=20) for each in asked), return_exceptions=True
        )
        return "\n".join(f"--- {' '.join(each)}\n{answer}" for each, answer in zip(asked, said, strict=True))
