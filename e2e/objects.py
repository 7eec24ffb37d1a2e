"""What the scenario asks of Kubernetes: something that runs, and the manifests that have it registered in etcd."""

from typing import Any

SHOP = "shop"
LABELS = {"app": "web"}


def workload(replicas: int, image: str) -> list[dict[str, Any]]:
    """The namespace `shop` with a Deployment `web` of pods that only wait, and its Service."""
    container = {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    meta = {"namespace": SHOP, "name": "web"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]


def manifests(endpoint: str) -> list[dict[str, Any]]:
    """The cluster as a source, an etcd at `endpoint` as a sink, and the registration `web` of the namespace `shop`."""
    kind = {"apiVersion": "waypost.dev/v1alpha1"}
    granted = {"grants": [{"namespaces": [SHOP]}]}
    sink = {"type": "etcd", "environment": "prod", "ownerID": "e2e", "config": {"endpoints": [endpoint]}}
    registration = {
        "sources": [{"name": "here", "sourceRef": {"name": "here"}, "service": {"namespace": SHOP, "name": "web"}}],
        "sinks": [{"name": "etcd", "sinkRef": {"name": "etcd"}}],
    }
    return [
        {
            **kind,
            "kind": "ServiceSource",
            "metadata": {"name": "here"},
            "spec": {"type": "kubernetes", "environment": "prod", "config": {"namespaces": [SHOP]}, **granted},
        },
        {**kind, "kind": "ServiceSink", "metadata": {"name": "etcd"}, "spec": {**sink, **granted}},
        {
            **kind,
            "kind": "ServiceRegistration",
            "metadata": {"name": "web", "namespace": SHOP},
            "spec": registration,
        },
    ]
