"""Good specs of every kind, which together have every field there is."""

from __future__ import annotations

from typing import Any

SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
SOURCE = {
    "type": "mesos",
    "environment": "prod",
    "mode": "Watch",
    "config": {"masters": ["http://m1:5050"]},
    "credentials": [{"name": "password", "valueFrom": SECRET}],
    "allowedCIDRs": ["10.0.0.0/8", "fd00::/8", "10.1.2.3"],
    "grants": [{"namespaces": ["shop", "team-*"], "serviceNamespaces": ["shop", "shop/**"]}],
    "safety": {"emptySeconds": 300, "maxLossPercent": 30, "minLoss": 5, "windowSeconds": 600, "staleSeconds": 120},
}
SINK = {
    "type": "consul",
    "environment": "prod",
    "ownerID": "prod-eu",
    "mode": "Apply",
    "accepts": {"registered": ["prod"], "mirrored": ["test"]},
    "adoption": "Identical",
    "config": {"address": "http://127.0.0.1:8500"},
    "credentials": [{"name": "token", "valueFrom": SECRET}],
    "allowedCIDRs": ["10.0.0.0/8"],
    "grants": [{"namespaces": ["shop"], "names": ["web", "*.shop"], "maxRecords": 2000}],
    "reservedNames": ["@", "ns*", "_acme-challenge.**"],
    "safety": {"maxRemovalPercent": 30, "minRemovals": 5, "maxChangePercent": 60, "windowSeconds": 600},
}
INSTANCE = {
    "id": "vm-1",
    "addresses": ["10.0.0.7", "fd00::7", "vm-1.example.net"],
    "ports": [{"number": 8080, "name": "http", "protocol": "tcp"}],
    "weight": 1,
    "node": "rack-7",
    "zone": "z1",
    "labels": {"version": "2"},
}
SOURCES = [
    {
        "name": "blue",
        "sourceRef": {"name": "m"},
        "service": {"namespace": "shop", "name": "web"},
        "weight": 90,
        "addresses": {"types": ["Host"], "families": ["IPv4"]},
    },
    {
        "name": "k8s",
        "sourceRef": {"name": "k"},
        "selector": {"matchLabels": {"app": "web"}, "namespaces": ["shop"], "services": ["web-*"]},
        "weight": 0,
    },
    {"name": "vms", "sourceRef": {"name": "s"}, "instances": [INSTANCE], "weight": 10},
]
SINKS = [
    {
        "name": "consul",
        "sinkRef": {"name": "consul-prod"},
        "names": ["{registration}", "{label:a/b|'x'}.{port}"],
        "ports": ["http"],
        "ttlSeconds": 15,
        "notReady": "Publish",
        "adopt": "Identical",
        "options": {"tags": ["a"]},
    }
]
HTTP = {"path": "/healthz", "port": "http", "scheme": "HTTP", "host": "web"}
CHECK = {"periodSeconds": 5, "timeoutSeconds": 2, "successThreshold": 2, "failureThreshold": 3, "panicPercent": 50}
REGISTRATION: dict[str, Any] = {
    "sources": SOURCES,
    "sinks": SINKS,
    "ports": [{"name": "http", "match": {"name": "http"}}],
    "names": ["{registration}"],
    "metadata": {"version": "{label:version|'unknown'}", "zone": "{instance.zone}"},
    "healthCheck": {"httpGet": HTTP, **CHECK},
    "strategy": "Weighted",
    "sharing": "Shared",
    "syncPolicy": "Sync",
    "deletionPolicy": "Orphan",
    "minReadyInstances": 0,
    "drainSeconds": 10,
}
REWRITE = {
    "addresses": [{"from": "10.0.0.0/16", "to": "10.64.0.0/16"}],
    "unmatched": "Refuse",
    "metadata": {"keep": ["version"]},
}
HOLD = {"digest": "sha256-7f3a9c", "decision": "Approve", "reason": "CHG-4711", "expiresSeconds": 900}
LEAST: dict[str, Any] = {
    "sources": [{"name": "a", "sourceRef": {"name": "m"}, "service": {"name": "web"}}],
    "sinks": [{"name": "a", "sinkRef": {"name": "c"}}],
}


def checked(**check: Any) -> dict[str, Any]:
    return {**LEAST, "ports": [{"name": "http", "match": {"index": 0}}], "healthCheck": check}


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("ServiceSource", SOURCE),
    ("ServiceSource", {"type": "of_a_plugin", "environment": "prod", "config": {"adress": [None, {"x": 1.5}]}}),
    ("ServiceSource", {"type": "mesos", "environment": "p", "config": {"masters": "zk://z1:2181/mesos"}}),
    ("ServiceSink", SINK),
    ("ServiceRegistration", LEAST),
    ("ServiceRegistration", REGISTRATION),
    ("ServiceRegistration", checked(tcpSocket={"port": 8080})),
    ("ServiceRegistration", checked(grpc={"port": "http", "service": "web"})),
    ("ServiceRegistration", checked(dns={"name": "web", "type": "A", "port": 53})),
    ("ServiceRegistration", checked(ping={})),
    ("ServiceRegistration", checked(message={"send": "PING", "expect": "PONG", "protocol": "tcp", "port": 1})),
    ("ServiceRegistration", {**LEAST, "ports": [{"name": "a", "match": {}}, {"name": "b", "match": {"number": 1}}]}),
    ("ServiceMirror", {"sources": SOURCES, "sinks": SINKS, "rewrite": REWRITE}),
    ("ServiceHold", HOLD),
    ("ServiceHold", {"digest": "sha256-7f3a9c"}),
]
