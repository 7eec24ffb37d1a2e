"""Whole operators on a real API server: the engine, the shell, and memory adapters whose records the tests look at.

They get in as a service account with the rights of `waypost.kube.rights` and no more. What they did is read back by
other means: kubectl, plain requests as admin, the targets' own logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.servers import Kubernetes
from tests.real_rig import until
from waypost.adapter import AdapterError, AdapterType
from waypost.engine.engine import Engine
from waypost.kit.clock import LoopClock
from waypost.kit.kubernetes.api import connect
from waypost.kube.rights import AT_HOME, EVERYWHERE
from waypost.kube.shell import Shell, shell
from waypost.model import Service
from waypost.plugins import Plugins
from waypost.settings import Settings
from waypost.settings.schema import NAMES
from waypost.testing.memory import MemoryConfig, MemorySink, MemorySource, SharedTarget

__all__ = ["Cluster", "Operator", "always", "install", "until"]

EVERY = 0.05
REQUEST_SECONDS = 60.0  # of a machine that is busy with other things too
GROUP = "/apis/waypost.dev/v1alpha1"
CRDS = Path(__file__).parents[2] / "crds"

_numbers = itertools.count(1)
_prepared: set[str] = set()


async def always(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Fail as soon as the condition does not hold, within so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        found = condition()
        got = await found if inspect.isawaitable(found) else found
        assert got, f"it did not stay so: {what}"
        await asyncio.sleep(EVERY)


class Cluster:
    """One test's part of a cluster: a namespace for Waypost and one for tenants, and no objects of ours at first."""

    def __init__(self, kube: Kubernetes, folder: Path) -> None:
        self.kube = kube
        self.folder = folder
        number = next(_numbers)
        self.home, self.shop = f"waypost-{number}", f"shop-{number}"
        self.memory: dict[str, MemorySource] = {}
        self.targets: dict[str, SharedTarget] = {}
        self.kubeconfig: Path = kube.kubeconfig

    async def prepare(self) -> None:
        """Install the CRDs, clear what is left of other tests, make the namespaces and the service account."""
        if self.kube.url not in _prepared:
            await install(self.kube)
            _prepared.add(self.kube.url)
        await self.clear()
        for name in (self.home, self.shop):
            await self.kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        await self.kube.call(
            "POST", f"/api/v1/namespaces/{self.home}/serviceaccounts", {"metadata": {"name": "waypost"}}
        )
        await self.allow()
        token = await self.kube.token(self.home, "waypost")
        self.kubeconfig = self.kube.write_kubeconfig(self.home, token)

    async def allow(self, everywhere: Sequence[Any] | None = None) -> None:
        """Give the service account its rights; `everywhere` in place of EVERYWHERE."""
        rbac, name = "rbac.authorization.k8s.io", f"waypost-{self.home}"
        subject = {"kind": "ServiceAccount", "name": "waypost", "namespace": self.home}
        objects: list[dict[str, Any]] = []
        for kind, binding, rules, where in (
            ("ClusterRole", "ClusterRoleBinding", EVERYWHERE if everywhere is None else everywhere, {}),
            ("Role", "RoleBinding", AT_HOME, {"namespace": self.home}),
        ):
            version = {"apiVersion": f"{rbac}/v1"}
            objects += [
                {**version, "kind": kind, "metadata": {"name": name, **where}, "rules": rules},
                {
                    **version,
                    "kind": binding,
                    "metadata": {"name": name, **where},
                    "roleRef": {"apiGroup": rbac, "kind": kind, "name": name},
                    "subjects": [subject],
                },
            ]
        await self.kube.apply(*objects)

    async def clear(self) -> None:
        """Take every object of ours away, whatever its finalizers, and the Events about those without a namespace."""
        await self.kube.call("DELETE", "/api/v1/namespaces/default/events")
        for plural, _ in NAMES.values():
            found = (await self.kube.call("GET", f"{GROUP}/{plural}", timeout=REQUEST_SECONDS))["items"]
            held = [each["metadata"] for each in found if each["metadata"].get("finalizers")]
            async with connect(self.kube.kubeconfig) as api:
                for meta in held:
                    with contextlib.suppress(AdapterError):  # it is gone already
                        await api.request(
                            "PATCH",
                            self.path(plural, meta["name"], meta.get("namespace", "")),
                            body=b'{"metadata": {"finalizers": null}}',
                            content_type="application/merge-patch+json",
                        )
                for namespace in {each["metadata"].get("namespace", "") for each in found}:
                    await api.request("DELETE", self.path(plural, namespace=namespace), seconds=REQUEST_SECONDS)

    # --- objects

    @staticmethod
    def path(plural: str, name: str = "", namespace: str = "") -> str:
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{GROUP}{within}/{plural}{f'/{name}' if name else ''}"

    async def patch(self, plural: str, name: str, body: Mapping[str, Any], namespace: str = "") -> None:
        """Merge something into an object, as admin, by kubectl."""
        within = ["-n", namespace] if namespace else []
        await asyncio.to_thread(
            self.kube.kubectl, "patch", plural, name, *within, "--type=merge", "-p", json.dumps(body)
        )

    async def source(self, name: str = "mem", *, type: str = "memory", **spec: Any) -> None:
        """Declare a source that the tenants' namespace may read."""
        self.memory.setdefault(name, MemorySource())
        spec = {"type": type, "environment": "test", "grants": [{"namespaces": [self.shop]}], **spec}
        await self.put("servicesources", {"kind": "ServiceSource", "metadata": {"name": name}, "spec": spec})

    async def sink(self, name: str = "out", *, type: str = "memory", **spec: Any) -> None:
        """Declare a sink that the tenants' namespace may publish to."""
        self.targets.setdefault(name, SharedTarget())
        grants = [{"namespaces": [self.shop]}]
        spec = {"type": type, "environment": "test", "ownerID": "me", "grants": grants, **spec}
        await self.put("servicesinks", {"kind": "ServiceSink", "metadata": {"name": name}, "spec": spec})

    def registration(self, name: str = "web", *, namespace: str = "", **spec: Any) -> dict[str, Any]:
        """Return a registration of the service of its name."""
        return {
            "apiVersion": "waypost.dev/v1alpha1",
            "kind": "ServiceRegistration",
            "metadata": {"name": name, "namespace": namespace or self.shop},
            "spec": {
                "sources": [{"name": "all", "sourceRef": {"name": "mem"}, "service": {"name": name}}],
                "sinks": [{"name": "out", "sinkRef": {"name": "out"}}],
                **spec,
            },
        }

    async def register(self, name: str = "web", *, namespace: str = "", **spec: Any) -> None:
        """Declare a registration."""
        await self.put("serviceregistrations", self.registration(name, namespace=namespace, **spec))

    async def put(self, plural: str, made: Mapping[str, Any]) -> None:
        """Create an object, or give the one that is there another spec."""
        whole = {"apiVersion": "waypost.dev/v1alpha1", **made}
        namespace = whole["metadata"].get("namespace", "")
        path = self.path(plural, whole["metadata"]["name"], namespace)
        while True:
            answer = await self.kube.api.call("GET", path, timeout=REQUEST_SECONDS)
            if answer.status == 404:
                await self.kube.call("POST", self.path(plural, namespace=namespace), whole)
                return
            found = {**answer.expect(200).json(), "spec": whole["spec"]}
            put = await self.kube.api.call("PUT", path, found, timeout=REQUEST_SECONDS)
            if put.status != 409:  # Waypost has written to it in between
                put.expect(200)
                return

    async def get(self, plural: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return an object, None where there is none."""
        answer = await self.kube.api.call("GET", self.path(plural, name, namespace), timeout=30)
        found: dict[str, Any] | None = None if answer.status == 404 else answer.expect(200).json()
        return found

    async def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object, without waiting for its end."""
        await self.kube.call("DELETE", self.path(plural, name, namespace))

    async def conditions(self, plural: str, name: str, namespace: str = "") -> dict[str, str]:
        """Return an object's conditions: type → `status reason`, and those that are of an older generation left out."""
        found = await self.get(plural, name, namespace)
        assert found is not None, f"there is no {plural} {name}"
        generation = found["metadata"]["generation"]
        told = found.get("status", {}).get("conditions", [])
        return {
            each["type"]: f"{each['status']} {each['reason']}"
            for each in told
            if each["observedGeneration"] == generation
        }

    async def ready(self, name: str = "web", namespace: str = "") -> bool:
        """Say whether a registration says Ready."""
        found = await self.conditions("serviceregistrations", name, namespace or self.shop)
        return found.get("Ready", "").startswith("True")

    # --- what runs and what is published

    def services(self, *made: Service, source: str = "mem") -> None:
        """Let a source have these services, and no others."""
        self.memory.setdefault(source, MemorySource()).set(*made)

    def published(self, sink: str = "out") -> list[str]:
        """Return the keys of a target's records."""
        return sorted(self.targets[sink].records)

    def types(self) -> _Types:
        """Return the adapter types: the memory ones of this test, and those that are installed."""
        return _Types(self)

    @asynccontextmanager
    async def operator(self, *, kubeconfig: Path | None = None, seed: int = 0, **more: Any) -> AsyncIterator[Operator]:
        """Run an operator; leaving the block ends it in order."""
        types, clock = self.types(), LoopClock()
        state = self.folder / f"state-{next(_numbers)}"
        state.mkdir()
        async with shell(types, clock, home=self.home, kubeconfig=kubeconfig or self.kubeconfig, **more) as made:
            engine = Engine(
                source_type=lambda name: types.find("sources", name),
                sink_type=lambda name: types.find("sinks", name),
                state_dir=state,
                clock=clock,
                rng=random.Random(seed),
                elector=made.elector,
                secrets=made.credentials,
            )
            operator = Operator(engine, made)
            tasks = [asyncio.ensure_future(work) for work in (engine.run(), made.run(engine, operator.put))]
            try:
                yield operator
            finally:
                failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for error in failed:
                    if error is not None:
                        raise error


class Operator:
    """An operator that runs in this process."""

    def __init__(self, engine: Engine, made: Shell) -> None:
        self.engine = engine
        self.shell = made
        self.settings: list[Settings] = []

    def put(self, settings: Settings) -> None:
        """Keep what was asked for, and hand it on."""
        self.settings.append(settings)
        self.engine.put(settings)


class _Types:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._installed = Plugins()

    def find(self, group: Any, name: str) -> AdapterType[Any]:
        if name != "memory":
            return self._installed.find(group, name)
        if group == "sources":
            return AdapterType("memory", MemoryConfig, self._source, credentials=("password",))
        return AdapterType("memory", MemoryConfig, self._sink, credentials=("password",))

    @asynccontextmanager
    async def _source(self, _config: Any, context: Any) -> AsyncIterator[MemorySource]:
        yield self._cluster.memory.setdefault(context.name, MemorySource())

    @asynccontextmanager
    async def _sink(self, _config: Any, context: Any) -> AsyncIterator[MemorySink]:
        yield MemorySink(self._cluster.targets.setdefault(context.name, SharedTarget()), context)


async def install(kube: Kubernetes) -> None:
    """Install the CRDs, and wait until they are served."""
    made = [each for path in sorted(CRDS.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    await kube.apply(*made)
    for plural, _ in NAMES.values():

        async def served(plural: str = plural) -> bool:
            return (await kube.api.call("GET", f"{GROUP}/{plural}?limit=1")).status == 200

        await until(served, f"{plural} are served")
