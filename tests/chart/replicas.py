"""Pods of the chart as processes, with the arguments that they have there and the rights of their service account."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

OBJECTS = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: NAME-machines}
spec: {type: static, environment: NAME, grants: [{namespaces: [tenants]}]}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {name: NAME-etcd}
spec:
  type: etcd
  environment: NAME
  ownerID: NAME
  config: {endpoints: ["ENDPOINT"], prefix: /NAME}
  grants: [{namespaces: [tenants]}]
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: NAME, namespace: tenants}
spec:
  sources:
  - name: machines
    sourceRef: {name: NAME-machines}
    instances:
    - {id: vm-1, addresses: [10.0.0.7], ports: [{name: sql, number: 5432}]}
    - {id: vm-2, addresses: [10.0.0.8], ports: [{name: sql, number: 5432}]}
  sinks:
  - {name: etcd, sinkRef: {name: NAME-etcd}}
"""


def objects(name: str, endpoint: str) -> str:
    """Return manifests of a source, a sink in etcd, and a registration of two instances in the namespace `tenants`."""
    return OBJECTS.replace("NAME", name).replace("ENDPOINT", endpoint)


async def started(folder: Path, namespace: str, kubeconfig: Path, arguments: Sequence[str]) -> Process:
    """Start what a container of the chart would run; what it logs is in `log` in the folder."""
    environment = {**os.environ, "WAYPOST_NAMESPACE": namespace, "WAYPOST_STATE_DIR": str(folder / "state")}
    environment.pop("KUBECONFIG", None)
    folder.mkdir()
    with (folder / "log").open("wb") as file:
        command = [sys.executable, "-m", "waypost", *arguments, f"--kubeconfig={kubeconfig}"]
        return await asyncio.create_subprocess_exec(*command, stdout=file, stderr=file, stdin=DEVNULL, env=environment)


@asynccontextmanager
async def replica(folder: Path, namespace: str, kubeconfig: Path, arguments: Sequence[str]) -> AsyncIterator[Process]:
    """Run a replica, on any free port. It must end well when it is told to."""
    kept = [each for each in arguments if not each.startswith("--admin=")]
    process = await started(folder, namespace, kubeconfig, [*kept, "--admin=127.0.0.1:0"])
    try:
        yield process
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0, (folder / "log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
