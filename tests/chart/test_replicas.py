"""The two replicas as processes, with the pods' own arguments and the rights of their service account alone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.servers import Etcd, Kubernetes
from tests.chart.rendering import ROOT

OBJECTS = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: chart-machines}
spec: {type: static, environment: chart, grants: [{namespaces: [tenants]}]}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {name: chart-etcd}
spec:
  type: etcd
  environment: chart
  ownerID: chart
  config: {endpoints: ["ENDPOINT"], prefix: /chart}
  grants: [{namespaces: [tenants]}]
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: db, namespace: tenants}
spec:
  sources:
  - name: machines
    sourceRef: {name: chart-machines}
    instances:
    - {id: vm-1, addresses: [10.0.0.7], ports: [{name: sql, number: 5432}]}
    - {id: vm-2, addresses: [10.0.0.8], ports: [{name: sql, number: 5432}]}
  sinks:
  - {name: etcd, sinkRef: {name: chart-etcd}}
"""


def container() -> dict[str, Any]:
    """Return the container of the plain manifests."""
    documents = yaml.load_all((ROOT / "charts/waypost.yaml").read_text(), yaml.CSafeLoader)
    (deployment,) = (each for each in documents if each["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@asynccontextmanager
async def replica(folder: Path, kubeconfig: Path) -> AsyncIterator[Path]:
    """Run a replica; give its log. It must end well when it is told to."""
    arguments = [each for each in container()["args"] if not each.startswith("--admin=")]
    environment = {**os.environ, "WAYPOST_NAMESPACE": "waypost", "WAYPOST_STATE_DIR": str(folder / "state")}
    environment.pop("KUBECONFIG", None)
    folder.mkdir()
    log = folder / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "waypost", *arguments, "--admin=127.0.0.1:0", f"--kubeconfig={kubeconfig}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=file,
            env=environment,
        )
    try:
        yield log
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_two_replicas_register_what_is_asked_for_with_the_rights_that_the_chart_gives(
    cluster: Kubernetes, etcd: Etcd, tmp_path: Path
) -> None:
    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        try:
            return cluster.kubectl(*arguments, stdin=stdin).stdout
        except ValueError as error:
            logs = "\n".join(log.read_text()[-3000:] for log in sorted(tmp_path.glob("*/log")))
            raise AssertionError(f"{error}\n{logs}") from None

    kubeconfig = cluster.write_kubeconfig("replicas", await cluster.token("waypost", "waypost"))
    async with replica(tmp_path / "a", kubeconfig) as a, replica(tmp_path / "b", kubeconfig) as b:
        text = OBJECTS.replace("ENDPOINT", etcd.endpoint)
        await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=text)
        wait = ("wait", "--timeout=90s", "--namespace=tenants", "sreg/db")
        await asyncio.to_thread(kubectl, *wait, "--for=condition=Ready")
        for kind in ("ssrc/chart-machines", "ssink/chart-etcd"):
            await asyncio.to_thread(kubectl, "wait", "--timeout=90s", kind, "--for=condition=Ready")
        assert len(await etcd.read("/chart/chart/")) == 2
        row = (await asyncio.to_thread(kubectl, "get", "sreg", "db", "--namespace=tenants", "--no-headers")).split()
        assert row[:6] == ["db", "1", "2", "2", "True", "True"]
        lease = json.loads(await asyncio.to_thread(kubectl, "get", "lease", "waypost", "-n", "waypost", "-o", "json"))
        assert lease["spec"]["holderIdentity"]
        await asyncio.to_thread(kubectl, "delete", "sreg", "db", "--namespace=tenants", "--timeout=90s")
        assert await etcd.read("/chart/chart/") == {}
    for log in (a, b):
        assert "orbidden" not in log.read_text()
    await asyncio.to_thread(kubectl, "delete", "ssrc/chart-machines", "ssink/chart-etcd", "--timeout=60s")
