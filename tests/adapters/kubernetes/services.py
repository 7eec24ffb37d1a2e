"""Services, slices and nodes of a real cluster, made beside the source under test."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.servers.kubernetes import Kubernetes

__all__ = ["Place", "kubeconfig"]


def kubeconfig(cluster: Kubernetes, *, server: str = "", token: str = "") -> str:
    """Return a kubeconfig as a Secret would hold it: nothing in it is a path."""
    ca = base64.b64encode(Path(cluster.authority.certificate).read_bytes()).decode()
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "there",
            "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}],
            "clusters": [
                {
                    "name": "there",
                    "cluster": {"server": server or cluster.url, "certificate-authority-data": ca},
                }
            ],
            "users": [{"name": "me", "user": {"token": token or cluster.api.admin}}],
        }
    )


def endpoint(name: str, address: str, *, ready: bool = True, node: str = "", **conditions: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": {"ready": ready, **conditions}}
    if name:
        made["targetRef"] = {"kind": "Pod", "name": name}
    if node:
        made["nodeName"] = node
    return made


class Place:
    """A namespace of a test's own."""

    def __init__(self, cluster: Kubernetes, name: str = "") -> None:
        self.cluster = cluster
        self.name = name or f"source-{secrets.token_hex(4)}"
        self._core = f"/api/v1/namespaces/{self.name}"
        self._slices = f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices"

    async def make(self) -> None:
        await self.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})

    async def node(self, address: str, **labels: str) -> str:
        """Make a Node with an address, and return its name; nodes belong to no namespace."""
        name = f"node-{secrets.token_hex(4)}"
        await self.cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        there = await self.cluster.call("GET", f"/api/v1/nodes/{name}")
        there["status"]["addresses"] = [{"type": "InternalIP", "address": address}]
        await self.cluster.call("PUT", f"/api/v1/nodes/{name}/status", there)
        return name

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """A request within the namespace: `await place.call("GET", "/services/web")`."""
        return await self.cluster.call(method, self._core + path, body)

    async def service(
        self,
        name: str,
        spec: Mapping[str, Any] | None = None,
        annotations: Mapping[str, str] | None = None,
        **labels: str,
    ) -> None:
        """Make a Service; without a selector, so that its slices are the test's."""
        given = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], **(spec or {})}
        metadata = {"name": name, "labels": labels, "annotations": dict(annotations or {})}
        await self.call("POST", "/services", {"metadata": metadata, "spec": given})

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        await self.patch(f"{self._core}/services/{name}", {"metadata": {"annotations": dict(annotations)}})

    async def drop_service(self, name: str) -> None:
        await self.call("DELETE", f"/services/{name}")

    async def slice(
        self,
        name: str,
        service: str,
        endpoints: Sequence[Mapping[str, Any]],
        *,
        family: str = "IPv4",
        ports: Sequence[Mapping[str, Any]] = ({"name": "http", "port": 8080, "protocol": "TCP"},),
        **labels: str,
    ) -> None:
        """Make a slice, or put it in the place of what it was."""
        body = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service, **labels}},
            "addressType": family,
            "endpoints": list(endpoints),
            "ports": list(ports),
        }
        there = await self.cluster.api.call("GET", f"{self._slices}/{name}")
        if there.status == 404:
            await self.cluster.call("POST", self._slices, body)
        else:
            await self.cluster.call("PUT", f"{self._slices}/{name}", body)

    async def drop_slice(self, name: str) -> None:
        await self.cluster.call("DELETE", f"{self._slices}/{name}")

    async def patch(self, path: str, body: object) -> None:
        """A merge patch, as kubectl sends it."""
        kind, _, name = path.rpartition("/")
        plural = kind.rpartition("/")[2]
        self.cluster.kubectl("-n", self.name, "patch", plural, name, "--type=merge", "-p", json.dumps(body))
