"""A namespace of a real cluster for a sink of its own, and who may do there what the README says and no more."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import waypost_adapters.kubernetes
from testbed.proxy import Proxy
from testbed.servers import Kubernetes

RULES = [
    {
        "apiGroups": [""],
        "resources": ["services"],
        "verbs": ["get", "list", "watch", "create", "update", "delete"],
    },
    {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": ["get", "list", "watch", "create", "update", "delete"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "update", "delete"]},
]
NETWORK_RULES = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list"]},
]
T = TypeVar("T")
numbers = itertools.count()
FENCE = Path(waypost_adapters.kubernetes.__file__).parent / "fence.yaml"


@contextmanager
def policy(kube: Kubernetes) -> Iterator[None]:
    """Let the admission policy stand, in the whole cluster, and be in force."""
    kube.kubectl("apply", "-f", str(FENCE))
    try:
        yield
    finally:
        kube.kubectl("delete", "-f", str(FENCE))


class ApartProxy:
    """A proxy in a thread of its own: its tasks are not those of the test."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._proxy = self._wait(self._make())
        self.url = f"https://{self._proxy.address}"
        return self

    async def _make(self) -> Proxy:
        proxy = Proxy(self._target)
        await proxy.open()
        return proxy

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def __exit__(self, *_: object) -> None:
        self._wait(self._proxy.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def refuse(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.refuse())

    async def hang(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.hang())

    async def heal(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.heal())


class Room:
    """A namespace, an account in it, and its kubeconfig as a credential; `url` is another way to the API server."""

    def __init__(self, kube: Kubernetes, prefix: str = "ksink") -> None:
        self.kube = kube
        self.namespace = f"{prefix}-{next(numbers)}"
        self.token = ""

    async def make(self) -> Room:
        name, role = self.namespace, f"waypost-sink-{self.namespace}"
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": "waypost", "namespace": name}
        await self.kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        await self.kube.call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "waypost"}})
        for kind, rules, path in (
            ("Role", RULES, f"/apis/{group}/v1/namespaces/{name}/"),
            ("ClusterRole", NETWORK_RULES, f"/apis/{group}/v1/"),
        ):
            await self.kube.call("POST", f"{path}{kind.lower()}s", {"metadata": {"name": role}, "rules": rules})
            binding = {
                "metadata": {"name": role},
                "subjects": [subject],
                "roleRef": {"apiGroup": group, "kind": kind, "name": role},
            }
            await self.kube.call("POST", f"{path}{kind.lower()}bindings", binding)
        self.token = await self.kube.token(name, "waypost")
        return self

    def kubeconfig(self, url: str = "") -> str:
        """Return the text of a kubeconfig; it names no file."""
        authority = base64.b64encode(self.kube.authority.certificate.read_bytes()).decode()
        cluster = {"server": url or self.kube.url, "certificate-authority-data": authority}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "room",
                "clusters": [{"name": "room", "cluster": cluster}],
                "users": [{"name": "room", "user": {"token": self.token}}],
                "contexts": [{"name": "room", "context": {"cluster": "room", "user": "room"}}],
            }
        )

    # --- what is there, as the API server says it

    def path(self, plural: str, name: str = "") -> str:
        start = "/apis/discovery.k8s.io/v1" if plural == "endpointslices" else "/api/v1"
        return f"{start}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def get(self, plural: str, name: str) -> dict[str, Any] | None:
        answer = await self.kube.api.call("GET", self.path(plural, name))
        if answer.status == 404:
            return None
        found: dict[str, Any] = answer.expect(200).json()
        return found

    async def all(self, plural: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.kube.call("GET", self.path(plural)))["items"]
        return items

    async def slices(self, service: str = "web") -> list[dict[str, Any]]:
        """Return the slices of a Service."""
        return [
            each
            for each in await self.all("endpointslices")
            if each["metadata"]["labels"].get("kubernetes.io/service-name") == service
        ]

    async def addresses(self, service: str = "web") -> list[str]:
        """Return what consumers of a Service are led to: the ready ones of all its slices."""
        return sorted(
            address
            for each in await self.slices(service)
            for seat in each["endpoints"] or ()
            if seat["conditions"].get("ready") is not False
            for address in seat["addresses"]
        )

    async def create(self, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = await self.kube.call("POST", self.path(plural), body)
        return made

    async def update(self, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = await self.kube.call("PUT", self.path(plural, body["metadata"]["name"]), body)
        return made

    async def delete(self, plural: str, name: str) -> None:
        (await self.kube.api.call("DELETE", self.path(plural, name))).expect(200, 202, 404)

    async def foreign_service(self, name: str = "web") -> dict[str, Any]:
        """Let somebody else have the Service of that name, in place of what is there."""
        await self.delete("services", name)
        spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
        return await self.create("services", {"metadata": {"name": name}, "spec": spec})
