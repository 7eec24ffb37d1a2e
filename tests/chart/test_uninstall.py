"""Uninstalling: the Job that runs before does its part as a process, with the arguments and rights that it has there.

No kubelet is there: the test stands in for it. It ends the replica when the Deployment is scaled to none, runs what the
Job asks for, and says that the Job is done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.servers import Etcd, Kubernetes
from tests.chart.rendering import CHART, helm
from tests.chart.replicas import objects, replica, started

pytestmark = pytest.mark.server("helm")
SECONDS = 90.0


async def until(cluster: Kubernetes, path: str, holds: Callable[[Any], bool] = bool) -> Any:
    """Return an object once it is there and something holds of it."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await cluster.api.call("GET", path)
            if answer.status == 200 and holds(answer.json()):
                return answer.json()
            await asyncio.sleep(0.2)


async def done(cluster: Kubernetes, job: str) -> None:
    """Say of a Job that it is done, as the Job's controller does."""
    seen = {"lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:01Z", "status": "True"}
    status = {
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:00:01Z",
        "succeeded": 1,
        "conditions": [{"type": kind, **seen} for kind in ("SuccessCriteriaMet", "Complete")],
    }
    found = await cluster.call("GET", job)
    await cluster.call("PUT", f"{job}/status", {**found, "status": status})


@pytest.mark.parametrize("release", [False, True], ids=["to come back", "for good"])
async def test_who_uninstalls_it_loses_no_record_and_waits_for_no_finalizer(
    cluster: Kubernetes, etcd: Etcd, tmp_path: Path, release: bool
) -> None:
    name = "gone" if release else "away"
    common = {"crds": {"enabled": False}, "admissionPolicies": {"enabled": False}, "uninstall": {"release": release}}
    flags = ("--namespace", name, "--kubeconfig", str(cluster.kubeconfig))
    installed = await asyncio.to_thread(
        helm, "install", name, str(CHART), *flags, "--create-namespace", values={**common, "fullnameOverride": name}
    )
    assert installed.returncode == 0, installed.stderr
    kubeconfig = cluster.write_kubeconfig(name, await cluster.token(name, name))
    path = f"/apis/apps/v1/namespaces/{name}/deployments/{name}"
    deployment = await until(cluster, path)
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    async with replica(tmp_path / "replica", name, kubeconfig, arguments) as running:
        kubectl = cluster.kubectl
        await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=objects(name, etcd.endpoint))
        ready = ("--for=condition=Ready", f"sreg/{name}", "--namespace=tenants", f"--timeout={SECONDS:.0f}s")
        await asyncio.to_thread(kubectl, "wait", *ready)
        before = await etcd.read(f"/{name}/{name}/")
        assert len(before) == 2
        leaving = asyncio.create_task(asyncio.to_thread(helm, "uninstall", name, *flags))
        where = f"/apis/batch/v1/namespaces/{name}/jobs/{name}-uninstall"
        job = await until(cluster, where)
        ordered = job["spec"]["template"]["spec"]["containers"][0]["args"]
        working = await started(tmp_path / "job", name, kubeconfig, ordered)
        await until(cluster, path, lambda found: not found["spec"]["replicas"])
        running.terminate()
        status = await asyncio.wait_for(working.wait(), SECONDS)
        log = (tmp_path / "job" / "log").read_text()
        assert status == 0, log
        assert "registrations that wait for Waypost no longer: " in log
    await done(cluster, where)
    left = await asyncio.wait_for(leaving, SECONDS)
    assert left.returncode == 0, left.stderr
    assert (await cluster.api.call("GET", path)).status == 404
    after = await etcd.read(f"/{name}/{name}/")
    assert set(after) == set(before)
    if release:
        assert [json.loads(text) for text in after.values() if "owner" in json.loads(text)] == []
        assert {json.loads(text)["addresses"][0]["value"] for text in after.values()} == {"10.0.0.7", "10.0.0.8"}
    else:
        assert after == before
    await asyncio.to_thread(kubectl, "delete", "sreg", name, "--namespace=tenants", "--timeout=20s")
    await asyncio.to_thread(kubectl, "delete", f"ssrc/{name}-machines", f"ssink/{name}-etcd", "--timeout=20s")
