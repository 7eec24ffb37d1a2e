"""What follows from a Swarm's answers, as a real one gave them (`record.py`), and from what it might give."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost.kit.problems import Problems
from waypost.model import Address, Instance, Port, Service
from waypost.testing.context import TestContext
from waypost_adapters.swarm.mapping import Answer, Naming, Swarm

RECORDED = Path(__file__).with_name("recorded")
Lists = dict[str, list[Any]]


def recorded() -> Lists:
    """The three answers, decoded, to be altered by a test."""
    return {name: json.loads((RECORDED / f"{name}.json").read_text()) for name in ("services", "tasks", "nodes")}


def swarm(naming: Naming | None = None) -> Swarm:
    context = TestContext(Path(), name="s")
    return Swarm("s", naming or Naming(), Problems(context.log, context.metrics, "problems"))


def read(lists: Lists, by: Swarm | None = None) -> dict[str, Service]:
    """The services by `namespace/name`."""
    raw = {name: [msgspec.Raw(json.dumps(each).encode()) for each in found] for name, found in lists.items()}
    found = (by or swarm()).read(Answer(raw["services"], raw["tasks"], raw["nodes"]))
    return {f"{service.key.namespace}/{service.key.name}": service for service in found}


def named(lists: Lists, name: str) -> Any:
    return next(each for each in lists["services"] if each["Spec"]["Name"] == name)


def tasks_of(lists: Lists, name: str) -> list[Any]:
    id = named(lists, name)["ID"]
    return [task for task in lists["tasks"] if task["ServiceID"] == id]


def only(service: Service) -> Instance:
    (instance,) = service.instances
    return instance


# --- as it was


def test_stacks_are_namespaces_and_their_prefix_is_cut() -> None:
    assert set(read(recorded())) == {
        "shop/web",
        "shop/rr",
        *(
            f"/{name}"
            for name in ("host", "everywhere", "ingress", "both", "net-host", "nowhere", "none", "pending", "down")
        ),
    }


def kinds(instance: Instance) -> list[tuple[str, str]]:
    return [(address.type, address.network) for address in instance.addresses]


@pytest.mark.parametrize(
    ("service", "addresses", "ports"),
    [
        ("shop/web", [("Container", "front"), ("ClusterIP", "front")], (Port(8080, "http"),)),
        ("shop/rr", [("Container", "front")], ()),
        ("/host", [("Node", "")], (Port(32768, "http"),)),
        ("/everywhere", [("Node", "")], (Port(18080, "http"),)),
        ("/ingress", [("Node", "")], (Port(18081, "http"),)),
        ("/both", [("Node", "")], (Port(32770, "http"),)),
        ("/net-host", [("Node", "")], (Port(18082, "http"),)),
        ("/nowhere", [], ()),
    ],
)
def test_each_way_to_publish_has_its_addresses(
    service: str, addresses: list[tuple[str, str]], ports: tuple[Port, ...]
) -> None:
    for instance in read(recorded())[service].instances:
        assert kinds(instance) == addresses
        assert instance.ports == ports
        assert instance.readiness == "ready"


def test_a_container_is_reached_in_its_network_where_that_is_asked_for() -> None:
    lists = recorded()
    assert kinds(only(read(lists, swarm(Naming(reach="container")))["/both"]))[0] == ("Container", "front")
    named(lists, "both")["Spec"]["Labels"] = {"waypost.reach": "container"}
    both = only(read(lists)["/both"])
    assert kinds(both)[0] == ("Container", "front")
    assert both.ports == (Port(8080, "http"),)


def test_nodes_zones_and_labels() -> None:
    found = read(recorded())
    assert {i.node: i.zone for i in found["shop/web"].instances} == {"n1": "", "n2": "z2"}
    assert found["shop/web"].labels["team"] == "a"
    assert {i.labels["version"] for i in found["shop/web"].instances} == {"1"}


def test_no_instance_and_one_that_is_on_no_node_yet_are_a_service_without_instances() -> None:
    found = read(recorded())
    assert found["/none"].instances == ()
    assert found["/pending"].instances == ()


def test_what_is_scaled_down_drains_while_it_runs() -> None:
    assert sorted(instance.readiness for instance in read(recorded())["/down"].instances) == ["draining", "ready"]


# --- as it might be


@pytest.mark.parametrize(
    ("desired", "state", "node", "readiness"),
    [
        ("running", "running", "ready", "ready"),
        ("running", "running", "down", "unknown"),
        ("running", "running", "unknown", "unknown"),
        ("running", "starting", "ready", "not-ready"),
        ("running", "preparing", "ready", "not-ready"),
        ("running", "failed", "ready", None),
        ("running", "complete", "ready", None),
        ("complete", "running", "ready", "ready"),
        ("ready", "preparing", "ready", "not-ready"),
        ("ready", "running", "ready", None),
        ("shutdown", "running", "ready", "draining"),
        ("shutdown", "running", "down", "draining"),
        ("shutdown", "shutdown", "ready", None),
        ("remove", "running", "ready", "draining"),
        ("remove", "starting", "ready", None),
        ("orphaned", "running", "ready", "draining"),
        ("running", "a-state-of-tomorrow", "ready", None),
    ],
)
def test_both_states_of_a_task_and_its_nodes_decide(desired: str, state: str, node: str, readiness: str | None) -> None:
    lists = recorded()
    (task,) = tasks_of(lists, "both")
    task["DesiredState"], task["Status"]["State"] = desired, state
    next(each for each in lists["nodes"] if each["ID"] == task["NodeID"])["Status"]["State"] = node
    found = read(lists)["/both"].instances
    assert [instance.readiness for instance in found] == ([] if readiness is None else [readiness])


def test_a_node_that_is_not_listed_is_not_known_to_be_well() -> None:
    lists = recorded()
    lists["nodes"] = []
    both = only(read(lists)["/both"])
    assert (both.readiness, both.addresses, both.node) == ("unknown", (), "")


def _nulls(value: Any) -> Any:
    """Go writes null for what is empty."""
    if isinstance(value, Mapping):
        return {key: _nulls(each) for key, each in value.items()} or None
    return [_nulls(each) for each in value] or None if isinstance(value, list) else value


def test_null_is_empty() -> None:
    assert read(_nulls(recorded())) == read(recorded())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda task: task.update(ID=None),
        lambda task: task.update(ID=7),
        lambda task: task.update(Status="running"),
        lambda task: task.update(DesiredState=None),
        lambda task: task.update(NetworksAttachments={"a": 1}),
        lambda task: task["Status"].update(PortStatus={"Ports": [{"PublishedPort": "80"}]}),
        lambda task: task.clear(),
    ],
)
def test_one_bad_task_fails_alone(spoil: Callable[[Any], None]) -> None:
    lists = recorded()
    was = read(lists)
    spoil(tasks_of(lists, "both")[0])
    found = read(lists)
    assert {name: service for name, service in found.items() if name != "/both"} == {
        name: service for name, service in was.items() if name != "/both"
    }


def test_a_task_that_makes_no_sense_any_more_is_as_it_was_last() -> None:
    lists, by = recorded(), swarm()
    was = read(lists, by)
    tasks_of(lists, "both")[0]["Status"] = {"State": 5}
    assert read(lists, by)["/both"] == was["/both"]


@pytest.mark.parametrize("address", ["not-an-address", "10.0.1.7/99", "0.0.0.0/0", "fe80::1%eth0/64", ""])
def test_an_address_that_is_none_is_left_out(address: str) -> None:
    lists = recorded()
    tasks_of(lists, "shop_rr")[0]["NetworksAttachments"][0]["Addresses"] = [address, "2001:db8::7/64"]
    assert only(read(lists)["shop/rr"]).addresses == (Address("2001:db8::7", "Container", "front"),)


def test_a_port_that_the_proxy_lists_for_each_family_counts_once() -> None:
    lists = recorded()
    ports = tasks_of(lists, "both")[0]["Status"]["PortStatus"]["Ports"]
    ports.extend(ports[:1])
    assert only(read(lists)["/both"]).ports == (Port(32770, "http"),)


@pytest.mark.parametrize(
    ("label", "ports"),
    [
        ("http=8080, 53/udp", (Port(8080, "http"), Port(53, "", "udp"))),
        ("8080", (Port(8080),)),
        ("0, 65536, x=y, =, 80/carrier-pigeon", ()),
        ("", ()),
        ("٨٠", ()),
    ],
)
def test_ports_of_a_label(label: str, ports: tuple[Port, ...]) -> None:
    lists = recorded()
    named(lists, "shop_rr")["Spec"]["Labels"]["waypost.ports"] = label
    assert only(read(lists)["shop/rr"]).ports == ports


def test_of_two_services_of_one_name_the_one_of_the_stack_has_it() -> None:
    lists = recorded()
    named(lists, "shop_rr")["Spec"]["Name"] = "web"
    found = read(lists)
    assert "shop/rr" not in found
    assert len(found["shop/web"].instances) == 2


def test_labels_are_bounded() -> None:
    lists = recorded()
    labels = named(lists, "both")["Spec"].setdefault("Labels", {})
    labels.update({f"k{n}": "v" for n in range(500)} | {"long": "x" * 20_000})
    assert len(read(lists)["/both"].labels) == 128
    assert "long" not in read(lists)["/both"].labels


def test_what_has_not_changed_is_not_made_again() -> None:
    lists, by = recorded(), swarm()
    was = read(lists, by)
    tasks_of(lists, "both")[0]["DesiredState"] = "shutdown"
    found = read(lists, by)
    assert found["/both"] != was["/both"]
    assert all(found[name] is was[name] for name in was if name != "/both")


def test_a_task_has_ended_when_the_swarm_said_so_now_or_before_it_forgot_it() -> None:
    lists, by = recorded(), swarm()
    read(lists, by)
    (task,) = tasks_of(lists, "both")
    assert not by.ended(task["ID"])
    lists["tasks"].remove(task)
    read(lists, by)
    assert not by.ended(task["ID"]), "it is merely absent"
    lists["tasks"].append(task)
    task["DesiredState"] = "remove"
    read(lists, by)
    assert by.ended(task["ID"])
    lists["tasks"].remove(task)
    read(lists, by)
    assert by.ended(task["ID"])
