"""How Services are reached, by their type, their annotations and the source's config. Tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from waypost.model import Address, Instance, Port
from waypost_adapters.kubernetes.source_config import SourceConfig
from waypost_adapters.kubernetes.source_services import (
    Node,
    ServiceRow,
    apart_from_endpoints,
    is_shown,
    labels,
    reached,
)

PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"},
    {"name": "dns", "port": 53, "nodePort": 30053, "protocol": "UDP"},
]


def service(type: str = "ClusterIP", annotations: Any = None, status: Any = None, **spec: Any) -> ServiceRow:
    made = {
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": annotations},
        "spec": {"type": type, "ports": PORTS, **spec},
        "status": status or {"loadBalancer": {}},
    }
    return msgspec.json.decode(msgspec.json.encode(made), type=ServiceRow)


def node(name: str, *addresses: tuple[str, str], zone: str = "") -> Node:
    made = {
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, "other": "x"}},
        "status": {"addresses": [{"type": type, "address": address} for type, address in addresses]},
    }
    return msgspec.json.decode(msgspec.json.encode(made), type=Node)


NODES = {
    "n1": node("n1", ("InternalIP", "10.1.0.1"), ("ExternalIP", "192.0.2.1"), ("Hostname", "n1"), zone="z1"),
    "n2": node("n2", ("InternalIP", "fd00::2"), ("InternalIP", "10.1.0.2")),
    "n3": node("n3"),
}
ENDPOINTS = [
    Instance("a", (Address("10.0.0.1"),), (), "not-ready", node="n1"),
    Instance("b", (Address("10.0.0.2"),), (), "ready", node="n1", zone="z9"),
    Instance("c", (Address("10.0.0.3"),), (), "draining", node="n2"),
    Instance("d", (Address("10.0.0.4"),), (), "ready", node="n3"),
    Instance("e", (Address("10.0.0.5"),), (), "ready", node="unheard-of"),
    Instance("f", (Address("10.0.0.6"),), (), "ready"),
]


@pytest.mark.parametrize(
    ("type", "annotation", "config", "how"),
    [
        ("ClusterIP", None, SourceConfig(), "endpoints"),
        ("NodePort", None, SourceConfig(), "nodes"),
        ("NodePort", None, SourceConfig(nodes=False), "endpoints"),
        ("LoadBalancer", None, SourceConfig(), "loadBalancer"),
        ("ExternalName", None, SourceConfig(), "externalName"),
        ("ExternalName", "nodes", SourceConfig(reach="clusterIP"), "externalName"),
        ("LoadBalancer", None, SourceConfig(reach="endpoints"), "endpoints"),
        ("LoadBalancer", "clusterIP", SourceConfig(reach="endpoints"), "clusterIP"),
        ("LoadBalancer", "type", SourceConfig(reach="endpoints"), "loadBalancer"),
        ("NodePort", "nonsense", SourceConfig(), "nodes"),
        ("NewKind", None, SourceConfig(), "endpoints"),
    ],
)
def test_how_a_service_is_reached(type: str, annotation: str | None, config: SourceConfig, how: str) -> None:
    given = {} if annotation is None else {"waypost.dev/reach": annotation}
    assert reached(service(type, given), config) == how


def test_at_its_nodes_it_has_a_node_for_each_with_an_endpoint() -> None:
    found = apart_from_endpoints(service("NodePort"), "nodes", ENDPOINTS, NODES)
    ports = (Port(30080, "http"), Port(30053, "dns", "udp"))
    inside, outside = Address("10.1.0.1", "Node", "internal"), Address("192.0.2.1", "Node", "external")
    assert found == (
        Instance("n1", (inside, outside), ports, "ready", 1, "n1", "z1"),
        Instance(
            "n2",
            (Address("fd00::2", "Node", "internal"), Address("10.1.0.2", "Node", "internal")),
            ports,
            "draining",
            1,
            "n2",
        ),
    ), "a node without addresses, or that is not known, is no place to be reached"


def test_at_its_load_balancer_it_has_one_for_each_ingress() -> None:
    row = service(
        "LoadBalancer", status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "LB.example."}]}}
    )
    ports = (Port(80, "http"), Port(53, "dns", "udp"))
    assert apart_from_endpoints(row, "loadBalancer", ENDPOINTS, NODES) == (
        Instance("192.0.2.9", (Address("192.0.2.9", "LoadBalancer"),), ports, "ready"),
        Instance("lb.example", (Address("lb.example", "LoadBalancer"),), ports, "ready"),
    )
    unready = apart_from_endpoints(row, "loadBalancer", ENDPOINTS[:1], NODES)
    assert {each.readiness for each in unready} == {"not-ready"}
    assert apart_from_endpoints(service("LoadBalancer"), "loadBalancer", ENDPOINTS, NODES) == ()


def test_at_its_cluster_ip_it_is_one_and_headless_it_is_none() -> None:
    row = service(clusterIPs=["10.96.0.7", "fd00::7"])
    (found,) = apart_from_endpoints(row, "clusterIP", ENDPOINTS[2:3], NODES)
    assert found.addresses == (Address("10.96.0.7", "ClusterIP"), Address("fd00::7", "ClusterIP"))
    assert (found.id, found.readiness, found.ports[0]) == ("cluster-ip", "draining", Port(80, "http"))
    assert apart_from_endpoints(service(clusterIPs=["None"]), "clusterIP", ENDPOINTS, NODES) == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("DB.Example.com", Address("db.example.com", "Hostname")),
        ("_sip.example.com.", Address("_sip.example.com", "Hostname")),
        ("192.0.2.4", Address("192.0.2.4", "Hostname")),
        ("", None),
        ("a b", None),
    ],
)
def test_an_external_name_is_one_host(name: str, shown: Address | None) -> None:
    found = apart_from_endpoints(service("ExternalName", externalName=name), "externalName", (), NODES)
    assert [each.addresses for each in found] == ([] if shown is None else [(shown,)])
    assert all(each.readiness == "ready" for each in found)


@pytest.mark.parametrize(
    ("annotation", "shown_by_default", "shown_if_opt_in"),
    [(None, True, False), ("true", True, True), ("false", False, False), ("yes", True, False)],
)
def test_what_is_shown(annotation: str | None, shown_by_default: bool, shown_if_opt_in: bool) -> None:
    row = service(annotations={} if annotation is None else {"waypost.dev/publish": annotation})
    assert is_shown(row, SourceConfig()) is shown_by_default
    assert is_shown(row, SourceConfig(opt_in=True)) is shown_if_opt_in


def test_what_waypost_wrote_is_never_shown() -> None:
    row = service(annotations={"waypost.dev/publish": "true"})
    assert row.metadata.labels is not None
    row.metadata.labels["waypost.dev/owner"] = "me"
    assert not is_shown(row, SourceConfig())


def test_labels_are_the_services_and_over_them_the_annotations_of_waypost() -> None:
    assert labels(service()) == {"app": "web", "waypost.dev/name": "web"}
    given = {"waypost.dev/name": "shop-web", "waypost.dev/team": "a", "other.dev/x": "y"}
    row = service(annotations=given)
    assert row.metadata.labels is not None
    row.metadata.labels["waypost.dev/team"] = "b"
    assert labels(row) == {"app": "web", "waypost.dev/name": "shop-web", "waypost.dev/team": "a"}


def test_labels_are_bounded() -> None:
    row = service()
    assert row.metadata.labels is not None
    row.metadata.labels.update({f"l{at}": "x" for at in range(500)})
    assert len(labels(row)) == 128
    huge = service(annotations={"waypost.dev/name": "x" * 20_000})
    assert labels(huge)["waypost.dev/name"] == "web"
