"""Waypost as an operator: installed by its chart, it registers, fails over, is uninstalled and installed again."""

import asyncio
from pathlib import Path

from e2e.objects import SHOP, manifests, workload
from e2e.steps import StepError, step, until
from testbed.cache import program
from testbed.command import run
from testbed.servers import Etcd, KindCluster

CHART = Path(__file__).parents[1] / "charts" / "waypost"
IMAGE = "waypost:e2e"
NAMESPACE = RELEASE = "waypost"
PREFIX = "/waypost/prod/"


class Scenario:
    """Waypost installed by its chart, tried, and uninstalled."""

    def __init__(self, cluster: KindCluster, etcd: Etcd, endpoint: str) -> None:
        self.cluster, self.etcd, self.endpoint = cluster, etcd, endpoint

    async def play(self) -> None:
        """All of it, in order."""
        async with step("Waypost installed, its pods ready", 150):
            await self.install()
        async with step("what is to be registered runs", 90):
            await self.cluster.apply(*workload(2, await self.waiting_image()))
            await self.kubectl("rollout", "status", "deployment/web", f"--namespace={SHOP}", "--timeout=80s")
        async with step("the first registration, Ready and in etcd", 60):
            await self.cluster.apply(*manifests(self.endpoint))
            await self.kubectl("wait", "--for=condition=Ready", "sreg/web", f"--namespace={SHOP}", "--timeout=50s")
            first = await self.records(2)
        async with step("the leader's pod deleted, another leads and nothing is deregistered", 90):
            await self.lose_the_leader(first)
        async with step("uninstalled: registrations and records are there still", 90):
            await self.uninstall()
        before = await self.etcd.modified(PREFIX)
        async with step("installed again", 150):
            await self.install()
        async with step("it goes on, and of the records that are right none is written", 90):
            await self.go_on(before)

    async def install(self) -> None:
        """By helm, which waits until the pods are ready."""
        repository, _, tag = IMAGE.partition(":")
        values = {"image.repository": repository, "image.tag": tag, "kubernetes.source.enabled": "true"}
        given = [f"--set={key}={value}" for key, value in values.items()]
        where = ["--create-namespace", "--wait", "--timeout=140s", *given]
        await self.helm("install", RELEASE, str(CHART), *where, timeout=145)

    async def lose_the_leader(self, first: dict[str, int]) -> None:
        """Delete the pod that leads while the workload grows: the other one registers what came, and keeps the rest."""
        before = await until("somebody leads", self.leader, bool)
        await self.kubectl("delete", "pod", before, f"--namespace={NAMESPACE}", "--wait=false")
        await self.kubectl("scale", "deployment/web", f"--namespace={SHOP}", "--replicas=3")
        await until("another leads", self.leader, lambda pod: pod not in ("", before))
        self.unharmed(first, await self.records(3))
        await self.ready()

    async def uninstall(self) -> None:
        """By helm; the custom resources stay, and so does what is registered."""
        before = await self.etcd.created(PREFIX)
        await self.helm("uninstall", RELEASE, "--wait", "--timeout=80s", timeout=85)
        await until("no pod of it is left", self.pods, lambda pods: not pods)
        left = await self.kubectl("get", "sreg", f"--namespace={SHOP}", "--output=name")
        if left.split() != ["serviceregistration.waypost.dev/web"]:
            raise StepError(f"the registration is not there any more: {left!r}")
        self.unharmed(before, await self.etcd.created(PREFIX), alone=True)

    async def go_on(self, before: dict[str, int]) -> None:
        """It finds its registration and its records as it left them: `before`, when each was written."""
        await until("somebody leads", self.leader, bool)
        await self.kubectl("scale", "deployment/web", f"--namespace={SHOP}", "--replicas=4")
        await self.records(4)
        after = await self.etcd.modified(PREFIX)
        if changed := {key for key, revision in before.items() if after.get(key) != revision}:
            raise StepError(f"records were written again though nothing had changed: {sorted(changed)}")

    @staticmethod
    def unharmed(before: dict[str, int], after: dict[str, int], *, alone: bool = False) -> None:
        """Raise StepError when a record of before has gone, even if it is there again; `alone`: or another came."""
        if lost := {key for key, revision in before.items() if after.get(key) != revision}:
            raise StepError(f"deregistered, if only for a moment: {sorted(lost)}")
        if alone and after.keys() != before.keys():
            raise StepError(f"registered by nobody: {sorted(after.keys() - before.keys())}")

    # --- what is seen

    async def records(self, count: int) -> dict[str, int]:
        """Wait for so many records in etcd; when each was made."""
        return await until(f"{count} records", lambda: self.etcd.created(PREFIX), lambda keys: len(keys) == count)

    async def leader(self) -> str:
        """The pod that holds the Lease, as the Lease says; "" where nobody does."""
        path = "--output=jsonpath={.spec.holderIdentity}"
        holder = await self.kubectl("get", "lease", "waypost", f"--namespace={NAMESPACE}", "--ignore-not-found", path)
        return next((pod for pod in await self.pods() if holder.startswith(f"{pod}-")), "")

    async def pods(self) -> list[str]:
        """Waypost's pods."""
        path = "--output=jsonpath={.items[*].metadata.name}"
        return (await self.kubectl("get", "pods", f"--namespace={NAMESPACE}", path)).split()

    async def ready(self) -> None:
        """All its pods are ready."""
        wait = ["rollout", "status", "deployment/waypost", f"--namespace={NAMESPACE}", "--timeout=60s"]
        await self.kubectl(*wait)

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

    async def waiting_image(self) -> str:
        """An image of the node's own that does nothing but wait."""
        node = f"{self.cluster.name}-control-plane"
        said = await self.cluster.docker("exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet")
        return next(name for name in said.split() if "/pause:" in name)

    async def kubectl(self, *arguments: str) -> str:
        """As admin."""
        return await self.cluster.kubectl(*arguments)

    async def helm(self, *arguments: str, timeout: float) -> str:
        """As admin, in Waypost's namespace."""
        command = [program("helm", "helm"), *arguments, f"--namespace={NAMESPACE}"]
        return await run(command, env=self.cluster.environment(), timeout=timeout)
