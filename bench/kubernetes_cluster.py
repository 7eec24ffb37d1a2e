"""A Kubernetes with registrations in it, and what is asked of it from outside: its objects, its own counters."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench.product import ROOT
from testbed.servers.kubernetes import Kubernetes
from waypost.kit.kubernetes.api import Api, connect
from waypost.kube.crds import resource_of
from waypost.kube.rights import AT_HOME, EVERYWHERE
from waypost.settings import API_VERSION

HOME, SHOP = "waypost", "shop"
REGISTRATIONS = resource_of("ServiceRegistration")
LEASES = "leases.coordination.k8s.io"
READS = frozenset({"", "GET", "LIST", "WATCH", "CONNECT"})
AT_ONCE = 16
SERVED_SECONDS = 60.0
LIST_SECONDS = 300.0
PORTS = [{"name": "http", "number": 8080}]

_COUNTER = re.compile(rb"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(rb'(\w+)="([^"]*)"')

Counted = Counter[tuple[str, str]]
"""Requests that the API server has counted, by verb and resource (`plural.group/subresource`)."""


class Meta(msgspec.Struct, frozen=True):
    name: str
    generation: int


class Told(msgspec.Struct, frozen=True, rename="camel"):
    type: str
    status: str
    observed_generation: int = 0


class Status(msgspec.Struct, frozen=True):
    conditions: tuple[Told, ...] = ()


class Registration(msgspec.Struct, frozen=True):
    """A registration, decoded in one pass: its spec as plain objects, its status as far as it is looked at."""

    metadata: Meta
    spec: dict[str, Any]
    status: Status = Status()

    @property
    def ready(self) -> bool:
        """Whether it says so of the generation that it has."""
        return any(
            each.type == "Ready" and each.status == "True" and each.observed_generation == self.metadata.generation
            for each in self.status.conditions
        )


class Listed(msgspec.Struct, frozen=True):
    items: list[Registration]


LISTED = msgspec.json.Decoder(Listed)


async def listed(api: Api) -> list[Registration]:
    """All registrations, in one answer: the least that anybody can do who wants to know them."""
    return LISTED.decode(await api.request("GET", REGISTRATIONS.path(), seconds=LIST_SECONDS)).items


async def counted(api: Api) -> Counted:
    """What the API server has counted until now."""
    found: Counted = Counter()
    for labels, number in _COUNTER.findall(await api.request("GET", "/metrics", seconds=60)):
        label = {name.decode(): value.decode() for name, value in _LABEL.findall(labels)}
        resource = ".".join(filter(None, (label["resource"], label["group"])))
        resource = "/".join(filter(None, (resource, label["subresource"])))
        found[label["verb"], resource] += int(float(number))
    return found


def writes(between: Counted) -> Counted:
    """Those that write, a Lease's left out."""
    return Counter({at: count for at, count in between.items() if at[0] not in READS and at[1] != LEASES})


class Cluster:
    """The CRDs, a service account with Waypost's own rights, a source, a sink, and so many registrations."""

    def __init__(self, kube: Kubernetes, size: int, etcd: str) -> None:
        self.kube, self.size = kube, size
        self.kubeconfig = kube.kubeconfig
        self._etcd = etcd

    async def make(self) -> None:
        """Make all of it; some forty seconds for ten thousand."""
        made = [each for path in (ROOT / "crds").glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]
        await self.kube.apply(*made)
        namespaces = [_object("v1", "Namespace", name) for name in (HOME, SHOP)]
        await self.kube.apply(*namespaces)
        await self.kube.apply(_object("v1", "ServiceAccount", "waypost", HOME), *self._rights())
        self.kubeconfig = self.kube.write_kubeconfig("waypost", await self.kube.token(HOME, "waypost", seconds=86_400))
        async with connect(self.kube.kubeconfig) as api:
            await self._served(api)
            for kind, spec in self._ends().items():
                await api.request(
                    "POST", resource_of(kind).path(), body=_json(_object(API_VERSION, kind, "bench") | spec)
                )
            left = iter(range(self.size))

            async def some() -> None:
                for at in left:
                    await api.request("POST", REGISTRATIONS.path(namespace=SHOP), body=_json(self._registration(at)))

            await asyncio.gather(*[some() for _ in range(AT_ONCE)])

    async def _served(self, api: Api) -> None:
        deadline = time.monotonic() + SERVED_SECONDS
        for kind in ("ServiceSource", "ServiceSink", "ServiceRegistration"):
            while True:
                try:
                    await api.request("GET", resource_of(kind).path(), params={"limit": "1"})
                    break
                except Exception:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.1)

    @staticmethod
    def _rights() -> list[dict[str, Any]]:
        group = "rbac.authorization.k8s.io"
        subjects = [{"kind": "ServiceAccount", "name": "waypost", "namespace": HOME}]
        made = []
        for kind, binding, rules, home in (
            ("ClusterRole", "ClusterRoleBinding", EVERYWHERE, ""),
            ("Role", "RoleBinding", AT_HOME, HOME),
        ):
            role = {"apiGroup": group, "kind": kind, "name": "waypost"}
            made.append(_object(f"{group}/v1", kind, "waypost", home) | {"rules": rules})
            made.append(_object(f"{group}/v1", binding, "waypost", home) | {"roleRef": role, "subjects": subjects})
        return made

    def _ends(self) -> dict[str, dict[str, Any]]:
        """The source and the sink: what each kind's spec says."""
        grants = [{"namespaces": [SHOP]}]
        source = {"type": "static", "environment": "bench", "grants": grants}
        sink = {
            "type": "etcd",
            "environment": "bench",
            "ownerID": "bench",
            "config": {"endpoints": [self._etcd], "prefix": "/bench"},
            "safety": {"maxRemovalPercent": 100, "maxChangePercent": 100},
            "grants": grants,
        }
        return {"ServiceSource": {"spec": source}, "ServiceSink": {"spec": sink}}

    def _registration(self, at: int) -> dict[str, Any]:
        spec = {"sources": self._sources(at, "10.1"), "sinks": [{"name": "out", "sinkRef": {"name": "bench"}}]}
        return _object(API_VERSION, "ServiceRegistration", _name(at), SHOP) | {"spec": spec}

    @staticmethod
    def _sources(at: int, network: str) -> list[dict[str, Any]]:
        instance = {"id": "a", "addresses": [f"{network}.{at // 250}.{at % 250 + 1}"], "ports": PORTS}
        return [
            {"name": "all", "sourceRef": {"name": "bench"}, "service": {"name": _name(at)}, "instances": [instance]}
        ]

    async def edit(self, api: Api, at: int) -> None:
        """Give a registration's instance another address."""
        path = REGISTRATIONS.path(_name(at), namespace=SHOP)
        body = _json({"spec": {"sources": self._sources(at, "10.2")}})
        await api.request("PATCH", path, body=body, content_type="application/merge-patch+json")


def asked_for(kubeconfig: Path) -> list[str]:
    """The options of `run`."""
    return ["--kubernetes", "--kubeconfig", str(kubeconfig), "--namespace", HOME]


def _object(version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _json(made: dict[str, Any]) -> bytes:
    return msgspec.json.encode(made)


def _name(at: int) -> str:
    return f"service-{at:05d}"
