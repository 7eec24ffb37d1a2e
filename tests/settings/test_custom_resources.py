"""With crds/ applied as they are, the API server takes what files may say, and refuses what has another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import inspect

from tests.settings.custom import ROOT, Judge
from tests.settings.mutations import all_fields, covered, mutations
from tests.settings.specs import GOOD, HOLD, REGISTRATION, SINK, SOURCE
from tests.settings.test_schema import in_the_cluster
from waypost.plugins import Group
from waypost.settings import KINDS, admission
from waypost.settings.explain import convert

EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_examples_are_taken_by_the_api_server(api: Judge, file: Path) -> None:
    for each in map(in_the_cluster, yaml.safe_load_all(file.read_text())):
        assert api.refusal(each["kind"], each["spec"]) == "", each


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_every_field_is_taken_by_the_api_server(api: Judge, kind: str, spec: Any) -> None:
    assert api.refusal(kind, spec) == ""


def test_the_good_specs_have_every_field_there_is() -> None:
    for kind, (_, struct) in KINDS.items():
        info = inspect.type_info(struct)
        files_only = {".credentials.file", ".credentials.env"}
        had = {each for of, spec in GOOD if of == kind for each in covered(spec, info)}
        assert set(all_fields(info)) - files_only == had


# --- shapes -----------------------------------------------------------------------------------------------------------


SHAPES = [
    *((kind, spec, "spec") for kind, spec in GOOD if spec in (SOURCE, SINK, REGISTRATION, HOLD)),
    *((kind, spec, "spec.healthCheck") for kind, spec in GOOD if "healthCheck" in spec and spec != REGISTRATION),
    *((kind, spec, "spec.rewrite") for kind, spec in GOOD if "rewrite" in spec),
]


@pytest.mark.parametrize(("kind", "spec", "below"), SHAPES)
def test_what_has_the_wrong_shape_for_files_has_it_for_the_api_server(
    api: Judge, kind: str, spec: Any, below: str
) -> None:
    struct = KINDS[kind][1]
    tried = 0
    for what, made in mutations(spec, inspect.type_info(struct)):
        if what.startswith(below) and convert(made, struct, ("spec",))[0] is None:
            tried += 1
            assert api.refusal(kind, made), what
    assert tried > 4


CONFIGS = [
    ("ServiceSource", "kubernetes", {"namespaces": ["shop"], "optIn": True, "reach": "nodes", "nodes": False,
        "context": "a"}),
    ("ServiceSource", "mesos", {"masters": ["http://m1:5050"], "pollSeconds": 30, "leaderScheme": "http",
        "naming": {"preset": "mesosDns", "zoneAttribute": "z", "labelAttributes": ["a"], "unchecked": "ready"},
        "tls": {"serverName": "m"}}),
    ("ServiceSource", "registry", {"listen": "127.0.0.1:7480", "tls": {"minVersion": "1.2"}, "anonymousWrites": True}),
    ("ServiceSource", "static", {}),
    ("ServiceSource", "swarm", {"hosts": ["tcp://h:2376"], "pollSeconds": 1, "tls": {"serverName": "m"},
        "naming": {"stackLabel": "a", "zoneLabel": "b", "reach": "node"}}),
    ("ServiceSink", "consul", {"address": "http://c:8500", "datacenter": "d", "nodes": 1, "tls": {"serverName": "m"}}),
    ("ServiceSink", "dns", {"server": "127.0.0.1:53", "zone": "a.example", "reverseZones": ["10.in-addr.arpa"],
        "ttlSeconds": 1, "timeoutSeconds": 1, "pollSeconds": 1}),
    ("ServiceSink", "dns_server", {"listen": "127.0.0.1:7453", "zone": "a.test.", "ttlSeconds": 1}),
    ("ServiceSink", "etcd", {"endpoints": ["http://e:2379"], "layout": "skydns", "prefix": "/a", "zone": "a.example",
        "ttlSeconds": 1, "tls": {"serverName": "m"}}),
    ("ServiceSink", "kubernetes", {"namespace": "a", "namespaces": ["b"], "serviceType": "Headless",
        "endpointsPerSlice": 100, "clusterCIDRs": ["10.0.0.0/8"], "context": "c", "timeoutSeconds": 1}),
    ("ServiceSink", "registry", {"listen": "127.0.0.1:7480", "tls": {"minVersion": "1.2"}, "anonymousWrites": True}),
]  # fmt: skip


def adapted(kind: str, name: str, config: Any) -> dict[str, Any]:
    spec = {"type": name, "environment": "prod", "config": config}
    return spec | ({"ownerID": "me"} if kind == "ServiceSink" else {})


@pytest.mark.parametrize(("kind", "name", "config"), CONFIGS)
def test_a_config_has_for_the_api_server_the_shape_that_it_has_for_its_adapter(
    api: Judge, kind: str, name: str, config: Any
) -> None:
    group: Group = "sources" if kind == "ServiceSource" else "sinks"
    struct = admission.built_in().find(group, name).config
    assert set(all_fields(inspect.type_info(struct))) == set(covered(config, inspect.type_info(struct)))
    assert api.refusal(kind, adapted(kind, name, config)) == ""
    for what, made in mutations(config, inspect.type_info(struct), "spec.config"):
        if convert(made, struct, ())[0] is None:
            said = api.refusal(kind, adapted(kind, name, made))
            assert "spec.config" in said, (what, said)


def test_every_built_in_type_is_tried() -> None:
    types = admission.built_in()
    assert {(kind, name) for kind, name, _ in CONFIGS} == {
        *(("ServiceSource", name) for name in types.known("sources")),
        *(("ServiceSink", name) for name in types.known("sinks")),
    }
