"""`kubectl waypost`: a program of its own, run by kubectl, with the rights of a service account and no more.

There are no nodes here: the leader's pod is an object whose address is one of this machine's; an operator is there.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from testbed.cache import program
from tests.kube.rig import Cluster, until
from tests.rig import service
from waypost.cli.kubectl import verb_of, within
from waypost.kit.clock import LoopClock
from waypost.kube.leader import LeaderPod
from waypost.server.app import admin
from waypost.settings.schema import NAMES

TOKEN = "t" * 40
ROOT = Path(__file__).parents[2]
POD = "waypost-5f7d-x2x4v"
ALL = [f"i{number:02}" for number in range(20)]
READS = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods", "pods/proxy"], "verbs": ["get"]},
]
DECIDES = [{"apiGroups": ["waypost.dev"], "resources": ["serviceholds"], "verbs": ["get", "patch"]}]


def _address() -> str:
    """Return an address of this machine that the API server's proxy does not refuse, as it refuses loopback ones."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback's, which the API server's proxy refuses")
        found: str = probe.getsockname()[0]
        return found


class Person:
    """Somebody with some rights, and kubectl with the plugin on the path."""

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        self._cluster, self._kubeconfig = cluster, kubeconfig
        folder = cluster.folder / "bin"
        folder.mkdir(exist_ok=True)
        module, function = _entry()
        plugin = folder / "kubectl-waypost"
        code = f"import sys; from {module} import {function}; sys.exit({function}())"
        plugin.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
        plugin.chmod(0o755)
        kubectl = folder / "kubectl"
        if not kubectl.exists():
            kubectl.symlink_to(program("kube", "kubectl"))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("WAYPOST_", "KUBE"))},
            "PATH": f"{folder}:/usr/bin:/bin",
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(cluster.folder),
        }

    async def __call__(self, *arguments: str, home: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "waypost", "-n", home or self._cluster.home, *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=60, check=False, env=self._environment
        )

    async def well(self, *arguments: str) -> str:
        done = await self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _entry() -> tuple[str, str]:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["kubectl-waypost"].partition(":")
    return module, function


async def _person(cluster: Cluster, name: str, rules: Sequence[Any]) -> Person:
    rbac, called = "rbac.authorization.k8s.io", f"{cluster.home}-{name}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": cluster.shop}
    path = f"/api/v1/namespaces/{cluster.shop}/serviceaccounts"
    await cluster.kube.call("POST", path, {"metadata": {"name": name}})
    version = {"apiVersion": f"{rbac}/v1", "metadata": {"name": called}}
    ref = {"apiGroup": rbac, "kind": "ClusterRole", "name": called}
    await cluster.kube.apply(
        {**version, "kind": "ClusterRole", "rules": rules},
        {**version, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": [subject]},
    )
    return Person(cluster, cluster.kube.write_kubeconfig(name, await cluster.kube.token(cluster.shop, name)))


@asynccontextmanager
async def _leader(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, reads: Literal["open", "token"] = "open"
) -> AsyncIterator[None]:
    """Run an operator that leads, with its admin server, and the pod that it would be."""
    address = _address()
    monkeypatch.setattr(socket, "gethostname", lambda: POD)
    async with (
        cluster.operator() as operator,
        admin(operator.engine, LoopClock(), TOKEN, listen=f"{address}:0", reads=reads) as served,
    ):
        port = served.listen.port
        ports = [{"name": "metrics", "containerPort": 9}, {"name": "admin", "containerPort": port}]
        container = {"name": "waypost", "image": "waypost", "ports": ports}
        pods = f"/api/v1/namespaces/{cluster.home}/pods"
        spec = {"serviceAccountName": "waypost", "containers": [container]}
        await cluster.kube.call("POST", pods, {"metadata": {"name": POD}, "spec": spec})
        patch = json.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
        await asyncio.to_thread(
            cluster.kube.kubectl, *("patch", "pod", POD, "-n", cluster.home, "--subresource=status", "-p", patch)
        )
        await until(operator.engine.leadership.leads, "it leads")
        yield


async def test_what_the_leader_knows_is_read_by_its_pods_proxy(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.services(service("web", "i1", "i2"))
    await cluster.source()
    await cluster.sink()
    await cluster.register()
    async with _leader(cluster, monkeypatch):
        await until(cluster.ready, "the registration is ready")
        reader = await _person(cluster, "reader", READS)
        told = await reader.well("status")
        assert f"{cluster.shop}/web" in told
        assert "this process leads and writes" in told
        whole = json.loads(await reader.well("status", "--namespace", cluster.shop, "-o", "json"))
        assert [each["key"] for each in whole["registrations"]] == [f"{cluster.shop}/web"]
        assert "i1" in await reader.well("explain", f"{cluster.shop}/web", "--instance", "i1")
        missing = await reader("status", f"{cluster.shop}/none")
        assert missing.returncode == 1
        assert f"there is no registration `{cluster.shop}/none`" in missing.stderr

        stranger = await _person(cluster, "stranger", READS[:1])
        refused = await stranger("status")
        assert refused.returncode == 1
        assert 'cannot get resource "pods"' in refused.stderr
        half = await _person(cluster, "half", [READS[0], {**READS[1], "resources": ["pods"]}])
        assert 'cannot get resource "pods/proxy"' in (await half("status")).stderr


async def test_a_hold_is_decided_with_the_right_to_patch_it_and_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.services(service("web", *ALL))
    await cluster.source()
    await cluster.sink(safety={"maxRemovalPercent": 30, "minRemovals": 2})
    await cluster.register()
    async with _leader(cluster, monkeypatch):
        await until(lambda: len(cluster.published()) == 20, "all are published")
        cluster.services(service("web", *ALL[:5]))
        reader = await _person(cluster, "reader", READS)
        decider = await _person(cluster, "decider", DECIDES)

        async def held() -> Any:
            items = (await cluster.kube.call("GET", cluster.path(NAMES["ServiceHold"][0])))["items"]
            return next((each["metadata"]["name"] for each in items if each.get("status", {}).get("pairs")), None)

        name = await until(held, "there is a hold")
        assert f"undecided; kubectl waypost approve {name}" in await reader.well("holds")
        refused = await reader("approve", name)
        assert refused.returncode == 1
        assert "cannot patch resource" in refused.stderr
        unknown = await decider("approve", "out-0")
        assert unknown.returncode == 1
        assert "there is no hold `out-0`" in unknown.stderr
        assert len(cluster.published()) > 5
        told = json.loads(await decider.well("approve", name, "--reason", "CHG-4711", "--expires", "60", "-o", "json"))
        assert (told["name"], told["decision"], told["reason"], told["expiresSeconds"]) == (
            *(name, "Approve", "CHG-4711"),
            60,
        )
        await until(lambda: len(cluster.published()) == 5, "what was approved is withdrawn")


async def test_where_the_token_is_needed_the_verb_is_run_within_the_pod(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.sink()
    async with _leader(cluster, monkeypatch, reads="token"):
        reader = await _person(cluster, "reader", READS)
        exec_right = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]}
        trusted = await _person(cluster, "trusted", [*READS, exec_right])
        refused = await reader("pause", "out")
        assert refused.returncode != 0
        assert "pods/exec" in refused.stderr  # kubectl says who may not
        for words in (["status"], ["pause", "out"]):
            passed = await trusted(*words)
            assert f"pod {POD} does not have a host assigned" in passed.stderr  # as far as it goes without nodes


async def test_who_has_no_leader_to_ask_is_told_so(cluster: Cluster) -> None:
    reader = await _person(cluster, "reader", READS)
    nowhere = await reader("status")
    assert nowhere.returncode == 1
    assert f"there is no Lease `waypost` in namespace `{cluster.home}`" in nowhere.stderr
    async with cluster.operator() as operator:
        await until(operator.engine.leadership.leads, "it leads")
        assert f"is no pod of namespace `{cluster.home}`" in (await reader("status")).stderr
    assert "nobody has the Lease" in (await reader("status")).stderr


def test_the_program_has_the_name_that_kubectl_looks_for() -> None:
    module, function = _entry()
    assert callable(getattr(importlib.import_module(module), function))


def test_what_is_run_within_the_pod() -> None:
    pod = LeaderPod("waypost", POD, "waypost", 7470)
    given = ["-n", "status", "--lease=x", "-nstatus", "--context", "pause", "status", "shop/web", "-o", "json"]
    assert verb_of(given) == ["status", "shop/web", "-o", "json"]
    assert within(pod, None, "prod", verb_of(given)) == [
        *("--context=prod", "exec", "--namespace=waypost", POD, "--container=waypost", "--"),
        *("python3", "-m", "waypost", "status", "shop/web", "-o", "json"),
    ]
