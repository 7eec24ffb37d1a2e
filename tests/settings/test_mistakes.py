"""Every mistake that the reader of files tells, the API server tells too: where it is, and what to do.

What is shown to both is the same, but for credentials: a Secret each.
"""

# ruff: noqa: E501 - a mistake and what is said of it stand in one line where they can

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.settings.custom import Judge, document
from tests.settings.specs import HOLD, LEAST, SECRET, SOURCES, checked
from waypost.plugins import Plugins
from waypost.settings import decode, rules
from waypost.settings.explain import field


def source(**more: Any) -> tuple[str, dict[str, Any]]:
    return "ServiceSource", {"type": "static", "environment": "prod", **more}


def sink(**more: Any) -> tuple[str, dict[str, Any]]:
    config = {"address": "http://127.0.0.1:8500"}
    return "ServiceSink", {"type": "consul", "environment": "prod", "ownerID": "me", "config": config, **more}


def registration(**more: Any) -> tuple[str, dict[str, Any]]:
    return "ServiceRegistration", {**LEAST, **more}


def entry(**more: Any) -> tuple[str, dict[str, Any]]:
    return registration(sources=[{"name": "a", "sourceRef": {"name": "m"}, **more}])


def instances(*several: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return entry(
        instances=[{"id": f"i{place}", "addresses": ["10.0.0.7"], **each} for place, each in enumerate(several)]
    )


def named(name: str) -> tuple[str, dict[str, Any]]:
    return registration(names=[name])


def mirror(*addresses: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return "ServiceMirror", {**LEAST, "rewrite": {"addresses": list(addresses)}}


PLACEHOLDER = "an unknown placeholder, or a brace without its pair; known: {environment}"
RELATIVE = "a name is relative to its sink: no `.` or `/` at either end, and no two in a row"
MISTAKES: list[tuple[tuple[str, Any], str, str, str]] = [
    # what is written · the field, as the API server names it · what it says · what the reader of files says
    (sink(config={"adress": "http://c"}), "spec.config", "unknown field `adress`; known: address, datacenter, nodes, tls",
     "unknown field `adress`; did you mean `address`?"),
    (sink(config={}), "spec.config", "the field `address` is required", "the field `address` is required"),
    (sink(config={"address": "http://c", "nodes": 0}), "spec.config.nodes", "expected a whole number from 1 to 128",
     "expected a whole number from 1 to 128"),
    (sink(config={"address": "http://c", "tls": {"servername": "c"}}), "spec.config.tls", "unknown field `servername`",
     "unknown field `servername`; did you mean `serverName`?"),
    (sink(credentials=[{"name": "tokn", "valueFrom": SECRET}]), "spec.credentials",
     "the type `consul` has no credential `tokn`; known: token, ca", "the type `consul` has no credential `tokn`"),
    (sink(credentials=[{"name": "token", "file": "/etc/token"}]), "spec.credentials[0].file", "unknown field",
     "on Kubernetes a credential is `valueFrom: {secretKeyRef: {name: …, key: …}}`"),
    (sink(credentials=[{"name": "token"}]), "spec.credentials[0].valueFrom", "Required value",
     "on Kubernetes a credential is `valueFrom: {secretKeyRef: {name: …, key: …}}`"),
    (sink(credentials=[{"name": "token", "valueFrom": SECRET}] * 2), "spec.credentials[1]", "Duplicate value",
     "`token` is there twice"),
    (source(allowedCIDRs=["10.0.0.0/8", "10.0.0"]), "spec.allowedCIDRs[1]", "`10.0.0` is no network; write it like",
     "`10.0.0` is no network; write it like 10.0.0.0/8 or fd00::/8"),
    (source(allowedCIDRs=["10.0.0.0/255.0.0.0"]), "spec.allowedCIDRs[0]", "`10.0.0.0/255.0.0.0` is no network",
     "`10.0.0.0/255.0.0.0` is no network"),
    (sink(allowedCIDRs=["10.1.0.0/8"]), "spec.allowedCIDRs[0]", "`10.1.0.0/8` has bits beyond its prefix",
     "`10.1.0.0/8` has bits beyond its prefix; the network is 10.0.0.0/8"),
    (sink(mode="apply"), "spec.mode", 'supported values: "Apply", "DryRun", "Paused"', "did you mean `Apply`?"),
    (source(typ="static"), "spec.typ", "unknown field", "unknown field `typ`"),
    (entry(), "spec.sources[0]", "one of service, selector, instances is required",
     "one of service, selector, instances is required"),
    (entry(service={"name": "web"}, selector={"services": ["web"]}), "spec.sources[0].selector",
     "only one of service, selector, instances", "only one of service, selector, instances: service is there too"),
    (entry(selector={}), "spec.sources[0].selector", "an empty selector would select every service",
     "an empty selector would select every service"),
    (entry(selector={"matchLabels": {}, "services": []}), "spec.sources[0].selector",
     "an empty selector would select every service", "an empty selector would select every service"),
    (entry(selector={"matchLabels": {"": "a"}}), "spec.sources[0].selector.matchLabels", "a key has 1 to 317 characters",
     "as a key: expected text of 1 to 317 characters"),
    (entry(service={"name": "db", "namespace": "a"}, instances=[]), "spec.sources[0].service.namespace",
     "declared instances live in the registration's namespace", "declared instances live in the registration's namespace"),
    (registration(sources=[*LEAST["sources"], *LEAST["sources"]]), "spec.sources[1]", "Duplicate value",
     "`a` is there twice"),
    (registration(sinks=[*LEAST["sinks"], *LEAST["sinks"]]), "spec.sinks[1]", "Duplicate value", "`a` is there twice"),
    (registration(ports=[{"name": "a"}, {"name": "a"}]), "spec.ports[1]", "Duplicate value", "`a` is there twice"),
    (registration(sources=[SOURCES[0], LEAST["sources"][0]]), "spec.sources", "a weight is on all entries or on none",
     "a weight is on all entries or on none"),
    (registration(sources=[{"name": name, "sourceRef": {"name": "s"}, "instances": []} for name in "ab"]), "spec.sources",
     "two entries declare the same service of the same source", "entries `a` and `b` declare the same service"),
    (registration(ports=[{"name": "a", "match": {"name": "a", "index": 0}}]), "spec.ports[0].match",
     "exactly one of name, index, number is required", "exactly one of name, index, number is required"),
    (registration(ports=[{"name": "a"}], sinks=[{**LEAST["sinks"][0], "ports": ["b"]}]), "spec.sinks",
     "an entry's ports must be names of spec.ports", "no port of spec.ports is named `b`"),
    (instances({"addresses": ["10.0.0.300"]}), "spec.sources[0].instances[0].addresses[0]", "Invalid value",
     "`10.0.0.300` is no IPv4 or IPv6 address and no host name"),
    (instances({"addresses": ["no host"]}), "spec.sources[0].instances[0].addresses[0]", "Invalid value",
     "`no host` is no IPv4 or IPv6 address and no host name"),
    (instances({"addresses": ["fd00::1::2"]}), "spec.sources[0].instances[0].addresses[0]", "Invalid value",
     "`fd00::1::2` is no IPv4 or IPv6 address and no host name"),
    (instances({"addresses": ["fe80::1%eth0"]}), "spec.sources[0].instances[0].addresses[0]", "Invalid value",
     "`fe80::1%eth0`: an address with a zone holds on one machine only"),
    (instances({}, {"id": "i0"}), "spec.sources[0].instances[1]", "Duplicate value", "`i0` is there twice"),
    (instances({"zone": "a\tb"}), "spec.sources[0].instances[0].zone", "Invalid value", "must not have control characters"),
    (instances({"id": "a\nb"}), "spec.sources[0].instances[0].id", "Invalid value", "must not have control characters"),
    (instances({"labels": {"": "a"}}), "spec.sources[0].instances[0].labels", "a key has 1 to 317 characters",
     "as a key: expected text of 1 to 317 characters"),
    (named("{sevice}"), "spec.names[0]", f"`{{sevice}}`: {PLACEHOLDER}", "unknown placeholder `{sevice}`"),
    (named("{instance.id}"), "spec.names[0]", PLACEHOLDER, "unknown placeholder `{instance.id}`"),
    (named("a}"), "spec.names[0]", PLACEHOLDER, "a brace without its pair"),
    (named("{label:a|b}"), "spec.names[0]", PLACEHOLDER, "unknown placeholder `{label:a|b}`"),
    (named(".web"), "spec.names[0]", f"`.web`: {RELATIVE}", RELATIVE),
    (named("web..shop"), "spec.names[0]", RELATIVE, RELATIVE),
    (named("a//b"), "spec.names[0]", RELATIVE, RELATIVE),
    (named("web/"), "spec.names[0]", RELATIVE, RELATIVE),
    (named(" web"), "spec.names[0]", "a name must not have control characters, or spaces at either end",
     "a name must not have control characters, or spaces at either end"),
    (named("a\x07b"), "spec.names[0]", "a name must not have control characters", "a name must not have control characters"),
    (registration(sinks=[{**LEAST["sinks"][0], "names": ["{nobody}"]}]), "spec.sinks[0].names[0]", PLACEHOLDER,
     "unknown placeholder `{nobody}`"),
    (registration(metadata={"a": "{instance.ip}"}), "spec.metadata", "{instance.id}, {instance.node}",
     "unknown placeholder `{instance.ip}`"),
    (registration(metadata={"": "a"}), "spec.metadata", "a key has 1 to 128 characters",
     "as a key: expected text of 1 to 128 characters"),
    (("ServiceRegistration", checked()), "spec.healthCheck", "exactly one of httpGet, tcpSocket",
     "exactly one of httpGet, tcpSocket, grpc, dns, ping, message is required, none given"),
    (("ServiceRegistration", checked(ping={}, tcpSocket={})), "spec.healthCheck", "exactly one of httpGet, tcpSocket",
     "exactly one of httpGet, tcpSocket, grpc, dns, ping, message is required, 2 given"),
    (("ServiceRegistration", checked(tcpSocket={}, periodSeconds=1)), "spec.healthCheck.timeoutSeconds",
     "timeoutSeconds is more than periodSeconds", "2 is more than periodSeconds, 1"),
    (("ServiceRegistration", checked(tcpSocket={"port": "htp"})), "spec.healthCheck.tcpSocket.port",
     "no port of spec.ports has that name", "no port of spec.ports is named `htp`; named there: http; did you mean `http`?"),
    (("ServiceHold", {"digest": "sha256-a", "decision": "Approve"}), "spec.reason", "an approval needs a reason",
     "an approval needs a reason, for whoever reads it later"),
    (("ServiceHold", {**HOLD, "reason": "  "}), "spec.reason", "an approval needs a reason", "an approval needs a reason"),
    (mirror({"from": "10.0.0.0/16", "to": "10.64.0.0/24"}), "spec.rewrite.addresses[0]", "`from` and `to` must be networks of the same size",
     "ServiceMirror is not supported yet"),
    (mirror({"from": "10.0.0/16", "to": "10.64.0.0/16"}), "spec.rewrite.addresses[0].from", "`10.0.0/16` is no network",
     "ServiceMirror is not supported yet"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "where", "api_says", "file_says"), MISTAKES)
def test_a_mistake_is_told_by_the_api_server_and_by_the_reader_of_files(
    api: Judge, written: tuple[str, Any], where: str, api_says: str, file_says: str
) -> None:
    said = api.refusal(*written)
    assert where in said
    assert api_says in said
    found = decode(document(*written), Plugins())
    told = [f"{field(fault.path)}: {fault.message}" for fault in found.faults]
    assert any(file_says in line for line in told), told


def test_every_rule_has_its_mistake() -> None:
    told = [api_says for _, _, api_says, _ in MISTAKES]
    kinds = (rules.FIELDS.values(), rules.EACH.values(), rules.STRUCTS.values())
    for rule in itertools.chain.from_iterable(itertools.chain.from_iterable(kinds)):
        if "oldSelf" in rule.rule:
            continue  # what may not change: test_custom_updates.py
        said = rule.message.split('" + self + "')[-1].strip('`:" ') if rule.computed else rule.message
        assert any(said[:20] in each for each in told), rule
