"""Slices: what endpoints become, and what of them is made anew."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from waypost.model import Address, Port
from waypost_adapters.kubernetes.source_slices import Slice


def text(endpoints: Any, ports: Any = ({"name": "http", "port": 8080, "protocol": "TCP"},), **more: Any) -> bytes:
    """As the API server writes it: its order of fields, no spaces."""
    made = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        **more,
        "endpoints": endpoints,
        "ports": ports,
    }
    return json.dumps(made, separators=(",", ":")).encode()


def settled(raw: bytes, before: Slice | None = None) -> Slice:
    made = Slice(raw)
    made.settle(before)
    return made


def endpoint(address: str, **more: Any) -> dict[str, Any]:
    return {"addresses": [address], **more}


@pytest.mark.parametrize(
    ("conditions", "readiness"),
    [
        (None, "ready"),
        ({}, "ready"),
        ({"ready": True, "serving": True, "terminating": False}, "ready"),
        ({"ready": False}, "not-ready"),
        ({"ready": False, "serving": False, "terminating": False}, "not-ready"),
        ({"ready": False, "serving": True, "terminating": True}, "draining"),
        ({"ready": False, "serving": False, "terminating": True}, "not-ready"),
        ({"ready": False, "terminating": True}, "draining"),
        ({"ready": True, "serving": True, "terminating": True}, "draining"),  # publishNotReadyAddresses
        ({"ready": None, "serving": None, "terminating": None}, "ready"),
    ],
)
def test_readiness_of_conditions(conditions: dict[str, Any] | None, readiness: str) -> None:
    one = endpoint("10.0.0.1") if conditions is None else endpoint("10.0.0.1", conditions=conditions)
    assert settled(text([one])).instances[0].readiness == readiness


def test_an_endpoint_of_a_pod_is_known_by_its_name_another_by_its_address() -> None:
    pod = endpoint("10.0.0.1", targetRef={"kind": "Pod", "name": "web-0"}, nodeName="n1", zone="z1", hostname="h")
    machine = endpoint("10.0.0.2", targetRef={"kind": "Machine", "name": "m"})
    found = settled(text([pod, machine])).instances
    assert [each.id for each in found] == ["web-0", "10.0.0.2"]
    assert (found[0].node, found[0].zone) == ("n1", "z1")
    assert found[0].addresses == (Address("10.0.0.1", "Container"),)


@pytest.mark.parametrize(
    ("family", "given", "shown"),
    [
        ("IPv6", "2001:DB8:0::1", (Address("2001:db8::1", "Container"),)),
        ("FQDN", "DB.Example.com", (Address("db.example.com", "Hostname"),)),
        ("IPv4", "10.0.0.300", ()),
        ("IPv6", "10.0.0.1", ()),
    ],
)
def test_addresses_are_canonical(family: str, given: str, shown: tuple[Address, ...]) -> None:
    assert settled(text([endpoint(given)], addressType=family)).instances[0].addresses == shown


def test_ports_without_a_number_or_twice_are_left_out() -> None:
    rows = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "again", "port": 80},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "any"},
        {"name": None, "port": 9, "protocol": "SCTP"},
    ]
    found = settled(text([endpoint("10.0.0.1")], ports=rows)).instances[0].ports
    assert found == (Port(80, "http"), Port(53, "dns", "udp"), Port(9, "", "sctp"))
    assert settled(text([endpoint("10.0.0.1")], ports=None)).instances[0].ports == ()


@pytest.mark.parametrize("endpoints", [[], None])
def test_a_slice_without_endpoints(endpoints: Any) -> None:
    made = settled(text(endpoints))
    assert (made.instances, made.service, made.metadata.name) == ([], "web", "web-1")


def test_what_waypost_wrote_belongs_to_no_service() -> None:
    labels = {"kubernetes.io/service-name": "web", "waypost.dev/owner": "me"}
    assert settled(text([], metadata={"name": "a", "labels": labels})).service == ""


def test_only_what_changed_is_made_anew() -> None:
    rows = [endpoint(f"10.0.0.{at}", conditions={"ready": True}) for at in range(5)]
    before = settled(text(rows))
    old = list(before.instances)
    rows[2]["conditions"]["ready"] = False
    rows.append(endpoint("10.0.0.9"))
    del rows[0]
    now = Slice(text(rows))
    went, came = now.settle(before)
    assert [[each.id for each in some] for some in (sorted(went, key=str), came)] == [
        ["10.0.0.0", "10.0.0.2"],
        ["10.0.0.2", "10.0.0.9"],
    ]
    same = [each for each in now.instances if any(each is other for other in old)]
    assert [each.id for each in same] == ["10.0.0.1", "10.0.0.3", "10.0.0.4"]
    assert [each.readiness for each in now.instances] == ["ready", "not-ready", "ready", "ready", "ready"]


def test_other_ports_make_all_anew() -> None:
    rows = [endpoint("10.0.0.1")]
    before = settled(text(rows))
    now = settled(text(rows, ports=[{"port": 9}]), before)
    assert now.instances[0].ports == (Port(9),)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"metadata":{},"endpoints":[{"addresses":[', text([1]), text([{"addresses": 1}])]
)
def test_what_is_no_slice_raises(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        settled(raw)
