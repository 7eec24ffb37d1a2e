"""The two replicas as processes, with the pods' own arguments and the rights of their service account alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import yaml

from testbed.servers import Etcd, Kubernetes
from tests.chart.rendering import ROOT
from tests.chart.replicas import objects, replica


def container() -> dict[str, Any]:
    """Return the container of the plain manifests."""
    documents = yaml.load_all((ROOT / "charts/waypost.yaml").read_text(), yaml.CSafeLoader)
    (deployment,) = (each for each in documents if each["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


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
    arguments = container()["args"]
    async with (
        replica(tmp_path / "a", "waypost", kubeconfig, arguments),
        replica(tmp_path / "b", "waypost", kubeconfig, arguments),
    ):
        text = objects("chart", etcd.endpoint)
        await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=text)
        wait = ("wait", "--timeout=90s", "--namespace=tenants", "sreg/chart")
        await asyncio.to_thread(kubectl, *wait, "--for=condition=Ready")
        for kind in ("ssrc/chart-machines", "ssink/chart-etcd"):
            await asyncio.to_thread(kubectl, "wait", "--timeout=90s", kind, "--for=condition=Ready")
        assert len(await etcd.read("/chart/chart/")) == 2
        row = (await asyncio.to_thread(kubectl, "get", "sreg", "chart", "--namespace=tenants", "--no-headers")).split()
        assert row[:6] == ["chart", "1", "2", "2", "True", "True"]
        lease = json.loads(await asyncio.to_thread(kubectl, "get", "lease", "waypost", "-n", "waypost", "-o", "json"))
        assert lease["spec"]["holderIdentity"]
        await asyncio.to_thread(kubectl, "delete", "sreg", "chart", "--namespace=tenants", "--timeout=90s")
        assert await etcd.read("/chart/chart/") == {}
    for name in "ab":
        assert "orbidden" not in (tmp_path / name / "log").read_text()
    await asyncio.to_thread(kubectl, "delete", "ssrc/chart-machines", "ssink/chart-etcd", "--timeout=60s")
