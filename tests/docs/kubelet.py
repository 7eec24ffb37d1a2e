"""Stands in for the nodes of a cluster that has none: pods of Waypost are processes, others merely get an address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.ports import free_port
from testbed.servers import Kubernetes
from testbed.web import request
from tests.chart.test_uninstall import done

NODE = "node-1"
EVERY = 0.2
SECONDS = 60.0
WITH_US = ("setpriv", "--pdeathsig=KILL")  # before a command: it ends with this process, in whatever way that ends


class Kubelet:
    """Runs each pod from when it is made until it is deleted; and, as no controller of Jobs is there, Jobs as well."""

    def __init__(self, cluster: Kubernetes, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = asyncio.TaskGroup()
        self._addresses = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve a node while in the context."""
        await self._cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        async with self._tasks:
            looking = self._tasks.create_task(self._look())
            try:
                yield
            finally:
                looking.cancel()
                for task in self._running.values():
                    task.cancel()

    def logs(self) -> str:
        """Return the ends of what the processes logged."""
        return "\n".join(f"{log}:\n{log.read_text()[-1500:]}" for log in sorted(self._folder.glob("*/log")))

    async def _look(self) -> None:
        while True:
            for pod in (await self._cluster.call("GET", "/api/v1/pods"))["items"]:
                self._begin(pod["metadata"]["uid"], self._pod, pod)
            for job in (await self._cluster.call("GET", "/apis/batch/v1/jobs"))["items"]:
                self._begin(job["metadata"]["uid"], self._job, job)
            await asyncio.sleep(EVERY)

    def _begin(self, uid: str, run: Any, found: Any) -> None:
        if uid not in self._running:
            self._running[uid] = self._tasks.create_task(run(found))

    async def _pod(self, pod: Any) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        bound = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": {"name": NODE}}
        await self._cluster.call("POST", f"{path}/binding", bound)
        async with contextlib.AsyncExitStack() as stack:
            if _is_waypost(pod["spec"]):
                port = free_port()
                process = await stack.enter_async_context(self._process(meta, pod["spec"], port))
                await _ready(process, port)
            await self._says_ready(path)
            await self._deleted(path)
        await self._cluster.call("DELETE", path, {"gracePeriodSeconds": 0})

    async def _deleted(self, path: str) -> None:
        while True:
            if (await self._cluster.call("GET", path))["metadata"].get("deletionTimestamp"):
                return
            await asyncio.sleep(EVERY)

    async def _says_ready(self, path: str) -> None:
        self._addresses += 1
        address = f"10.244.0.{self._addresses}"
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "Ready")]
        found = await self._cluster.call("GET", path)
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        await self._cluster.call("PUT", f"{path}/status", {**found, "status": status})

    async def _job(self, job: Any) -> None:
        meta, spec = job["metadata"], job["spec"]["template"]["spec"]
        async with self._process(meta, spec, 0) as process:
            assert await asyncio.wait_for(process.wait(), SECONDS) == 0, self.logs()
        await done(self._cluster, f"/apis/batch/v1/namespaces/{meta['namespace']}/jobs/{meta['name']}")

    @asynccontextmanager
    async def _process(self, meta: Any, spec: Any, port: int) -> AsyncIterator[Process]:
        """Run what the container says, with its service account's rights; it must end in order when it is told to."""
        token = await self._cluster.token(meta["namespace"], spec["serviceAccountName"])
        kubeconfig = self._cluster.write_kubeconfig(meta["name"], token, namespace=meta["namespace"])
        folder = self._folder / meta["uid"]
        folder.mkdir()
        environ = {**os.environ, "KUBECONFIG": str(kubeconfig), "WAYPOST_NAMESPACE": meta["namespace"]}
        environ["WAYPOST_STATE_DIR"] = str(folder / "state")
        (container,) = spec["containers"]
        arguments = [f"--admin=127.0.0.1:{port}" if "--admin=" in each else each for each in container["args"]]
        with (folder / "log").open("wb") as log:
            command = [*WITH_US, sys.executable, "-m", "waypost", *arguments]
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, stdin=DEVNULL, env=environ)
        try:
            yield process
            if process.returncode is None:
                process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0, self.logs()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _is_waypost(spec: Any) -> bool:
    image: str = spec["containers"][0]["image"]
    return image.rpartition("/")[2].startswith("waypost:")


async def _ready(process: Process, port: int) -> None:
    async with asyncio.timeout(SECONDS):
        while process.returncode is None:
            with contextlib.suppress(OSError, ValueError):
                (await request("GET", f"http://127.0.0.1:{port}/readyz", timeout=3)).expect()
                return
            await asyncio.sleep(EVERY)
    raise AssertionError(f"it ended with {process.returncode}")
