"""What a scenario is played on: a kind cluster that runs pods and has Waypost's image, and an etcd that its pods reach.

Nothing of Waypost runs yet. So when it does not come up it is the machine's fault, and it is tried once more.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from e2e.objects import SHOP, workload
from e2e.steps import reason, say, step
from testbed import waypost_image
from testbed.command import CommandError
from testbed.proxy import Proxy
from testbed.servers import Etcd, KindCluster
from testbed.servers.docker import BASE

IMAGE = "waypost:e2e"
TRIES = 2
ENDING = 240  # seconds


class Stage:
    """One try, all of it below `directory`."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        self.directory = directory
        self.etcd = Etcd(directory / "etcd", unsafe_no_fsync=True)
        self.cluster = KindCluster(directory / "kind")
        self._proxy: Proxy | None = None

    @property
    def endpoint(self) -> str:
        """The etcd, as pods reach it."""
        assert self._proxy is not None
        return self._proxy.url

    async def start(self) -> None:
        """Bring it up; raises StepError, CommandError, NotReadyError, OSError or ValueError."""
        cluster = self.cluster
        async with step("a Docker engine of its own, and what the image is made of", 300), asyncio.TaskGroup() as all_:
            all_.create_task(cluster.engine.start(timeout=290))
            all_.create_task(self.etcd.start(timeout=120))
            made = all_.create_task(waypost_image.context(self.directory / "image"))
        async with step("the cluster, and the image", 600), asyncio.TaskGroup() as both:
            both.create_task(cluster.start(timeout=590))
            both.create_task(cluster.engine.build(made.result(), IMAGE, BASE=BASE))
        async with step("the image loaded into the cluster", 150):
            await cluster.kind("load", "docker-image", IMAGE, timeout=145)
        async with step("the cluster runs pods, and they reach its API server", 180):  # CoreDNS is ready when it does
            await cluster.apply(*workload(2, await self._waiting_image()))
            await self._rolled_out("deployment/coredns", "kube-system")
            await self._rolled_out("deployment/web", SHOP)
        self._proxy = Proxy(self.etcd.endpoint, host=cluster.outside)
        await self._proxy.open()

    async def stop(self) -> None:
        """End all of it; a busy kernel may take a while to let processes and mounts go."""
        async with step("all of it ended", ENDING):
            if self._proxy is not None:
                await self._proxy.close()
                await self._proxy.drop()
            await _insist(self.etcd.kill9)
            await _insist(self.cluster.stop)
            await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    async def explain(self) -> str:
        """What a person would look at."""
        return f"{await self.cluster.explain()}\n--- etcd\n{self.etcd.log_tail()}"

    async def _rolled_out(self, what: str, namespace: str) -> None:
        await self.cluster.kubectl("rollout", "status", what, f"--namespace={namespace}", "--timeout=170s", timeout=175)

    async def _waiting_image(self) -> str:
        """An image of the node's own that does nothing but wait."""
        node = f"{self.cluster.name}-control-plane"
        said = await self.cluster.docker("exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet")
        return next((name for name in said.split() if "/pause:" in name), None) or _no_image(said)


def _no_image(said: str) -> str:
    raise CommandError(f"the node has no image that waits, but {said.split()}")


async def _insist(end: Any) -> None:
    """Call it until nothing is left to be ended; the step's bound ends the tries."""
    while True:
        try:
            await end()
        except RuntimeError as error:  # "cannot be ended", after 20 s
            say(f"{error}; waiting")
        else:
            return


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Bring a stage up, at the second try if need be, and end it; raises what the second try raised."""
    made = await _up(directory)
    try:
        yield made
    finally:
        await made.stop()


async def _up(directory: Path) -> Stage:
    for number in range(1, TRIES + 1):
        made = Stage(directory / f"try-{number}")
        try:
            await made.start()
        except BaseException as error:
            if isinstance(error, Exception):
                say(f"the cluster did not come up; what it says:\n{await made.explain()}")
            await made.stop()
            if number == TRIES or not isinstance(error, Exception):
                raise
            say(f"{reason(error)}; nothing of Waypost ran yet, so the cluster is made once more from a clean state")
        else:
            return made
    raise AssertionError
