"""A namespace of a real cluster for a sink of its own, and who may do there what the README says and no more."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import threading
import time
import warnings
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

import waypost_adapters.kubernetes
from testbed.proxy import Proxy
from testbed.servers import Kubernetes
from waypost.adapter import Change, Fence, Observed, Outcome, Record, fingerprint
from waypost.model import (
    Address,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
    family,
)
from waypost.testing.context import TestContext
from waypost_adapters.kubernetes.sink import KubernetesSink
from waypost_adapters.kubernetes.sink_config import SinkConfig

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


def let_the_policy_stand(kube: Kubernetes) -> None:
    """Install the admission policy, for as long as the API server runs, and wait until it is in force.

    It is asked by a dry run in a namespace without a stamp, where what Waypost writes is refused.
    """
    kube.kubectl("apply", "-f", str(FENCE))
    probe = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "probe", "namespace": "default", "labels": {"waypost.dev/owner": "probe"}},
        "addressType": "IPv4",
        "endpoints": [],
    }
    arguments = ("create", "--dry-run=server", "--field-manager=waypost", "-f", "-")
    end = time.monotonic() + 60
    while "waypost-fence" not in kube.kubectl(*arguments, stdin=json.dumps(probe), check=False).stderr:
        assert time.monotonic() < end, "the policy is not in force after 60 s"


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
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        del self._proxy
        with warnings.catch_warnings():  # of connections that were hanging with something still to be sent
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def _end(self) -> None:
        await self._proxy.__aexit__()
        loop: Any = self._loop
        for transport in list(loop._transports.values()):  # both sides of what was passed on, and what has just come
            transport.abort()
        for _ in range(5):
            await asyncio.sleep(0.01)

    async def refuse(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.refuse())

    async def hang(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.hang())

    async def heal(self) -> None:
        await asyncio.to_thread(self._wait, self._proxy.heal())


class Room:
    """A namespace, an account in it, and its kubeconfig as a credential.

    The admission policy holds there only where it is `fenced`, whether or not it stands.
    """

    def __init__(self, kube: Kubernetes, *, fenced: bool = False) -> None:
        self.kube = kube
        self.fenced = fenced
        self.namespace = f"ksink-{next(numbers)}"
        self.token = ""

    async def make(self) -> Room:
        name, role = self.namespace, f"waypost-sink-{self.namespace}"
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": "waypost", "namespace": name}
        labels = {} if self.fenced else {"waypost.dev/fence": "off"}
        await self.kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
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
            if each["metadata"].get("labels", {}).get("kubernetes.io/service-name") == service
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


class Owner:
    """One installation, claimed. `new` is the service's registration's; its instances are in `web` of `shop`."""

    def __init__(self, sink: KubernetesSink, context: TestContext, fence: Fence) -> None:
        self.sink, self.context, self.fence = sink, context, fence

    def records(self, name: str, *instances: PublishedInstance, service: str = "web") -> list[Record]:
        """What the instances become under a name."""
        key = PublicationKey("shop/web", "k8s", ServiceKey("mem", "shop", service))
        publication = Publication(key, (PublishedName(name),), "test", self.context.owner)
        made = list(self.sink.render(publication, instances))
        assert all(isinstance(record, Record) for record in made), made
        return [record for record in made if isinstance(record, Record)]

    async def apply(self, records: Sequence[Record], *, delete: bool = False) -> dict[str, Outcome]:
        """Write or delete in batches; the outcomes by instance."""
        found: dict[str, Outcome] = {}
        most = self.sink.limits.records
        for start in range(0, len(records), most):
            batch = [Change(each.key, None if delete else each) for each in records[start : start + most]]
            outcomes = await self.sink.apply(batch, self.fence)
            found |= {each.instance: outcomes[each.key] for each in records[start : start + most]}
        return found

    async def put(self, name: str, *instances: PublishedInstance, **more: Any) -> None:
        """Publish; all of it is applied."""
        outcomes = await self.apply(self.records(name, *instances, **more))
        assert {each.status for each in outcomes.values()} == {"applied"}, outcomes

    async def drop(self, name: str, *instances: PublishedInstance, **more: Any) -> None:
        """Withdraw; all of it is applied."""
        outcomes = await self.apply(self.records(name, *instances, **more), delete=True)
        assert {each.status for each in outcomes.values()} == {"applied"}, outcomes

    async def observed(self) -> dict[str, Observed]:
        """What the sink reads back, by key."""
        return {each.key: each async for each in self.sink.observe()}

    async def repair(self, wanted: Sequence[Record]) -> list[str]:
        """Write what differs from what is observed, as the engine does; return the instances."""
        seen = await self.observed()
        differing = [
            each for each in wanted if each.key not in seen or seen[each.key].fingerprint != fingerprint(each.content)
        ]
        await self.apply(differing)
        return [each.instance for each in differing]


@asynccontextmanager
async def owner(
    room: Room, folder: Path, *, name: str = "me", url: str = "", claim: bool = True, **config: Any
) -> AsyncIterator[Owner]:
    """Give an installation whose sink is open and claimed."""
    credentials = {"kubeconfig": room.kubeconfig(url)}
    context = TestContext(folder, name="out", owner=name, environment="test", credentials=credentials)
    made = msgspec.convert({"namespace": room.namespace, **config}, SinkConfig)
    async with KubernetesSink.opened(made, context) as sink:
        fence = await sink.claim("test", name) if claim else Fence(0)
        assert fence is not None
        yield Owner(sink, context, fence)


def instance(id: str, *addresses: str, http: int = 8080, **more: Any) -> PublishedInstance:
    """An instance with a port `http`."""
    found = tuple(Address(value, "Hostname" if family(value) == "Hostname" else "Host") for value in addresses)
    return PublishedInstance(id, found, (Port(http, "http"),), **more)


def many(count: int) -> list[PublishedInstance]:
    """So many instances, each with an address of its own and the same port."""
    return [instance(f"web.{n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(1, count + 1)]
