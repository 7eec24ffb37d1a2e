"""What a scenario is played on: a kind cluster that runs pods and has Waypost's image, and an etcd that its pods reach.

Nothing of Waypost runs yet. So when it does not come up it is tried once more; and when no try had a cluster at all (an
engine, nodes that are Ready), it is the machine's fault.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from e2e.objects import SHOP, workload
from e2e.steps import StepError, reason, say, step
from testbed import waypost_image
from testbed.command import CommandError
from testbed.process import NotReadyError
from testbed.proxy import Proxy
from testbed.servers import Etcd, KindCluster
from testbed.servers.docker import BASE

IMAGE = "waypost:e2e"
TRIES = 2
COMING_UP = 960  # seconds, all tries; two to four minutes when it goes well
ENDING = 240  # seconds


class NoClusterError(Exception):
    """There is no cluster; nothing of Waypost has had a part in it."""


class Stage:
    """One try, all of it below `directory`."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        self.directory = directory
        self.up = False  # whether there is a cluster
        self.etcd = Etcd(directory / "etcd", unsafe_no_fsync=True)
        self.cluster = KindCluster(directory / "kind")
        self._proxy: Proxy | None = None

    @property
    def endpoint(self) -> str:
        """The etcd, as pods reach it."""
        assert self._proxy is not None
        return self._proxy.url

    async def start(self) -> None:
        """Bring it up; raises NoClusterError, StepError, CommandError, NotReadyError, OSError or ValueError."""
        cluster = self.cluster
        async with step("a Docker engine of its own, and what the image is made of", 300), asyncio.TaskGroup() as all_:
            all_.create_task(_machines(cluster.engine.start(timeout=280), 290))
            all_.create_task(self.etcd.start(timeout=120))
            made = all_.create_task(waypost_image.context(self.directory / "image"))
        async with step("the cluster, and the image", 600):
            building = asyncio.create_task(cluster.engine.build(made.result(), IMAGE, BASE=BASE))
            try:  # the cluster is heard first: where it fails its engine ends, and so does the build
                await _machines(cluster.start(timeout=570), 590)
                self.up = True
                await building
            finally:
                building.cancel()
                await asyncio.gather(building, return_exceptions=True)
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


async def _machines(work: Awaitable[object], seconds: float) -> None:
    """Do what fails for the machine's reasons only; raises NoClusterError, also after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError as error:
        raise NoClusterError(str(error) or f"not done after {seconds:g} s") from error
    except (CommandError, NotReadyError, OSError, ValueError) as error:
        raise NoClusterError(str(error) or type(error).__name__) from error


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Bring a stage up, at the second try if need be, and end it.

    Raises NoClusterError when no try had a cluster; else what a try raised that had one.
    """
    tries: list[Stage] = []
    try:
        async with asyncio.timeout(COMING_UP):
            made = await _up(directory, tries)
    except TimeoutError:
        late = f"the cluster did not come up in {COMING_UP} s, tries: {len(tries)}"
        raise StepError(late) if any(each.up for each in tries) else NoClusterError(late) from None
    try:
        yield made
    finally:
        await made.stop()


async def _up(directory: Path, tries: list[Stage]) -> Stage:
    """The try that came up; every try is put into `tries` as it begins."""
    failures: list[Exception] = []
    while len(tries) < TRIES:
        made = Stage(directory / f"try-{len(tries) + 1}")
        tries.append(made)
        try:
            await made.start()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told, and raised when there is no other try)
            say(f"the cluster did not come up: {reason(error)}; what it says:\n{await made.explain()}")
            failures.append(error)
            await made.stop()
        except BaseException:
            await made.stop()
            raise
        else:
            return made
        if len(tries) < TRIES:
            say("nothing of Waypost ran yet, so the cluster is made once more from a clean state")
    raise next((each for each in failures if not isinstance(each, NoClusterError)), failures[-1])
