"""What of a custom resource may change, what may not, and what a policy that came later says of what is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from testbed.servers import Kubernetes
from testbed.web import Answer
from tests.real_rig import until
from tests.settings.custom import Judge, document, path
from waypost.adapter import AdapterType
from waypost.settings import admission

SOURCE = {"type": "static", "environment": "prod"}
SINK = {"type": "dns_server", "environment": "prod", "ownerID": "me"}
HOLD = {"digest": "sha256-7f3a9c"}


@asynccontextmanager
async def stored(cluster: Kubernetes, kind: str, spec: Any, name: str) -> AsyncIterator[dict[str, Any]]:
    """Keep an object while the block runs."""
    answer = await cluster.api.call("POST", path(kind), document(kind, spec, name))
    found: dict[str, Any] = answer.expect(201).json()
    yield found
    (await cluster.api.call("DELETE", f"{path(kind)}/{name}")).expect(200)


async def replaced(cluster: Kubernetes, kind: str, name: str, change: Mapping[str, Any], at: str = "spec") -> Answer:
    """Change fields of an object that is there."""
    where = f"{path(kind)}/{name}"
    found = (await cluster.api.call("GET", where)).expect().json()
    return await cluster.api.call("PUT", where, {**found, at: {**found[at], **change}})


@pytest.mark.parametrize(
    ("kind", "spec", "change", "told"),
    [
        ("ServiceSource", SOURCE, {"type": "mesos", "config": {"masters": ["http://m:1"]}}, "type is immutable"),
        ("ServiceSource", SOURCE, {"environment": "test"}, "environment is immutable: make another ServiceSource"),
        ("ServiceSink", SINK, {"type": "registry"}, "type is immutable: make another ServiceSink"),
        ("ServiceSink", SINK, {"environment": "test"}, "environment is immutable"),
        ("ServiceSink", SINK, {"ownerID": "you"}, "ownerID is immutable: what is written already carries it"),
        ("ServiceHold", HOLD, {"digest": "sha256-other"}, "digest is immutable: it names exactly what is decided upon"),
    ],
)
async def test_what_must_stay_cannot_be_changed(
    api: Judge, kubernetes: Kubernetes, kind: str, spec: Any, change: Mapping[str, Any], told: str
) -> None:
    async with stored(kubernetes, kind, spec, "to-stay"):
        answer = await replaced(kubernetes, kind, "to-stay", change)
        assert answer.status == 422
        assert f"spec.{next(iter(change))}" in answer.json()["message"]
        assert told in answer.json()["message"]


async def test_the_rest_may_be_changed_and_a_column_shows_what_is_in_force(api: Judge, kubernetes: Kubernetes) -> None:
    async with stored(kubernetes, "ServiceSink", SINK, "to-change") as made:
        assert made["spec"] == {**SINK, "mode": "Apply"}
        (
            await replaced(kubernetes, "ServiceSink", "to-change", {"mode": "Paused", "config": {"ttlSeconds": 7}})
        ).expect()
        row = await asyncio.to_thread(kubernetes.kubectl, "get", "ssink", "to-change", "--no-headers")
        assert row.stdout.split()[:4] == ["to-change", "dns_server", "prod", "Paused"]


class LateConfig(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    address: str
    parts: list[dict[str, int]] = []


async def test_a_policy_that_came_later_stops_no_change_but_of_the_spec(api: Judge, kubernetes: Kubernetes) -> None:
    spec = {"type": "late", "environment": "prod", "config": {"adress": "a"}}
    late: AdapterType[Any] = AdapterType("late", LateConfig, lambda _config, _context: None)  # type: ignore[arg-type,return-value]
    async with stored(kubernetes, "ServiceSource", spec, "early"):
        await kubernetes.apply(*admission.policy("servicesources", late))
        await until(lambda: api.refusal("ServiceSource", spec) != "", "the policy is in force", 60)
        said = api.refusal("ServiceSource", spec)
        assert "spec.config: unknown field `adress`; known: address, parts" in said
        change = {"labels": {"team": "shop"}, "finalizers": ["example.com/a"]}
        (await replaced(kubernetes, "ServiceSource", "early", change, "metadata")).expect()
        (await replaced(kubernetes, "ServiceSource", "early", {"finalizers": []}, "metadata")).expect()
        answer = await replaced(kubernetes, "ServiceSource", "early", {"mode": "Frozen"})
        assert "unknown field `adress`" in answer.json()["message"]
        good = {"mode": "Frozen", "config": {"address": "a", "parts": [{"a": 1}]}}
        (await replaced(kubernetes, "ServiceSource", "early", good)).expect()
        wrong = {"config": {"address": "a", "parts": [{"a": "1"}]}}
        assert (
            "spec.config.parts: expected"
            in (await replaced(kubernetes, "ServiceSource", "early", wrong)).json()["message"]
        )


async def test_the_cluster_finds_no_fault_with_the_policies_expressions(api: Judge, kubernetes: Kubernetes) -> None:
    where = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    names = [each["metadata"]["name"] for each in admission.policies(admission.built_in()) if "paramKind" not in each]
    for name in names:

        async def looked_at(name: str = name) -> Any:
            status = (await kubernetes.call("GET", f"{where}/{name}")).get("status", {})
            return status if "observedGeneration" in status else None

        await until(looked_at, f"the cluster has looked at {name}", 60)
        assert (await looked_at()).get("typeChecking", {}) == {}, name
