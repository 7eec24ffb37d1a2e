"""What of a task becomes what of an instance: tables, and tasks recorded from a real master."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.adapters.mesos.fake_master import STATE
from waypost.model import Address, Port
from waypost_adapters.mesos import mapping, wire
from waypost_adapters.mesos.config import Config, Naming
from waypost_adapters.mesos.naming import namespace, service_name


def task(**fields: Any) -> wire.Task:
    given = {
        "task_id": {"value": "t"},
        "framework_id": {"value": "f"},
        "state": "TASK_RUNNING",
        "name": "web",
        **fields,
    }
    return msgspec.convert(given, wire.Task)


def recorded(id: str) -> wire.Task:
    every = STATE["get_tasks"]["tasks"] + STATE["get_tasks"]["unreachable_tasks"]
    return msgspec.convert(next(each for each in every if each["task_id"]["value"] == id), wire.Task)


AGENT = mapping.agent(msgspec.convert(STATE["get_agents"]["agents"][0], wire.ListedAgent), Naming())


@pytest.mark.parametrize(
    ("state", "healthy", "checked", "expected"),
    [
        ("TASK_STAGING", None, False, "not-ready"),
        ("TASK_STARTING", None, False, "not-ready"),
        ("TASK_RUNNING", None, False, "ready"),
        ("TASK_RUNNING", None, True, "ready"),
        ("TASK_RUNNING", True, True, "ready"),
        ("TASK_RUNNING", False, True, "not-ready"),
        ("TASK_RUNNING", False, False, "not-ready"),
        ("TASK_STARTING", True, True, "not-ready"),
        ("TASK_KILLING", True, True, "draining"),
        ("TASK_UNREACHABLE", None, False, "unknown"),
        ("TASK_UNKNOWN", None, False, "unknown"),
        ("TASK_OF_A_LATER_MESOS", None, False, "unknown"),
        ("TASK_FINISHED", None, False, None),
        ("TASK_FAILED", None, False, None),
        ("TASK_KILLED", True, True, None),
        ("TASK_ERROR", None, False, None),
        ("TASK_LOST", None, False, None),
        ("TASK_DROPPED", None, False, None),
        ("TASK_GONE", None, False, None),
        ("TASK_GONE_BY_OPERATOR", None, False, None),
    ],
)
def test_a_state_and_a_health_become_a_readiness(
    state: str, healthy: bool | None, checked: bool, expected: str | None
) -> None:
    assert mapping.readiness(state, healthy=healthy, checked=checked, naming=Naming()) == expected


def test_a_task_not_checked_yet_is_not_ready_where_the_manifest_says_so() -> None:
    careful = Naming(unchecked="not-ready")
    assert mapping.readiness("TASK_RUNNING", healthy=None, checked=True, naming=careful) == "not-ready"
    assert mapping.readiness("TASK_RUNNING", healthy=True, checked=True, naming=careful) == "ready"
    assert mapping.readiness("TASK_RUNNING", healthy=None, checked=False, naming=careful) == "ready"


DISCOVERED = {"name": "web", "ports": {"ports": [{"number": 31001, "name": "http", "protocol": "tcp"}]}}
RESOURCES = [
    {"name": "cpus"},
    {"name": "ports", "ranges": {"range": [{"begin": 31005, "end": 31006}, {"begin": 31001, "end": 31001}]}},
]
MAPPED = {"docker": {"port_mappings": [{"host_port": 31009, "container_port": 53, "protocol": "UDP"}]}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"discovery": DISCOVERED, "resources": RESOURCES, "container": MAPPED}, (Port(31001, "http"),)),
        ({"resources": RESOURCES, "container": MAPPED}, (Port(31009, "", "udp"),)),
        ({"resources": RESOURCES}, (Port(31005), Port(31006), Port(31001))),
        ({"resources": RESOURCES, "discovery": {"name": "x"}}, (Port(31005), Port(31006), Port(31001))),
        ({"container": {"network_infos": [{"port_mappings": [{"host_port": 31009}]}]}}, (Port(31009),)),
        (
            {"discovery": {"ports": {"ports": [{"number": 53, "name": "dns", "protocol": "udp,tcp"}]}}},
            (Port(53, "dns", "udp"), Port(53, "dns")),
        ),
        ({"discovery": {"ports": {"ports": [{"number": 80, "protocol": "http"}]}}}, (Port(80),)),
        ({}, ()),
    ],
)
def test_ports_are_those_of_the_discovery_else_the_mapped_ones_else_the_resources(
    fields: dict[str, Any], expected: tuple[Port, ...]
) -> None:
    assert mapping.ports(task(**fields)) == (expected, False)


@pytest.mark.parametrize("number", [0, -1, 65_536, 10**12])
def test_a_port_that_is_none_is_left_out_alone(number: int) -> None:
    ports = [{"number": number}, {"number": 80, "name": "http"}]
    assert mapping.ports(task(discovery={"ports": {"ports": ports}})) == ((Port(80, "http"),), True)


def test_a_range_of_millions_of_ports_costs_little() -> None:
    ranges = [{"begin": 1, "end": 2**31}]
    ports, left_out = mapping.ports(task(resources=[{"name": "ports", "ranges": {"range": ranges}}]))
    assert len(ports) == 64
    assert left_out


HOST, NAME = Address("10.0.0.1"), Address("n1.example", "Hostname")
ON = mapping.Agent((HOST, NAME), "n1.example")


@pytest.mark.parametrize(
    ("container", "mapped", "expected"),
    [
        ((), False, (HOST, NAME)),
        ((Address("10.0.0.1", "Container"),), False, (HOST, NAME)),
        ((Address("10.1.0.2", "Container", "cni"),), False, (Address("10.1.0.2", "Container", "cni"), HOST, NAME)),
        ((Address("10.1.0.2", "Container", "cni"),), True, (HOST, NAME, Address("10.1.0.2", "Container", "cni"))),
        ((Address("172.17.0.2", "Container"),), True, (HOST, NAME, Address("172.17.0.2", "Container"))),
        ((Address("172.17.0.2", "Container"),), False, (HOST, NAME, Address("172.17.0.2", "Container"))),
    ],
)
def test_the_first_address_is_the_one_at_which_the_ports_are(
    container: tuple[Address, ...], mapped: bool, expected: tuple[Address, ...]
) -> None:
    assert mapping.addresses(container, mapped, ON) == expected


def test_without_its_agent_a_container_without_a_network_stands_where_the_agent_does() -> None:
    bridge = (Address("172.17.0.2", "Container"),)
    assert mapping.addresses((Address("10.0.0.1", "Container"),), False, mapping.NOWHERE) == (HOST,)
    assert mapping.addresses(bridge, True, mapping.NOWHERE) == bridge
    assert mapping.addresses((), False, mapping.NOWHERE) == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00:0:0::3", "fd00::3"),
        ("0.0.0.0", ""),
        ("::", ""),
        ("224.0.0.1", ""),
        ("fe80::1%eth0", ""),
        ("010.0.0.1", ""),
        ("not an address", ""),
        ("", ""),
    ],
)
def test_an_address_is_canonical_or_none(given: str, expected: str) -> None:
    assert mapping.canonical(given) == expected


@pytest.mark.parametrize(
    ("pid", "hostname", "expected"),
    [
        ("slave(1)@10.0.0.1:5051", "n1.example", (HOST, NAME)),
        ("slave(1)@10.0.0.1:5051", "N1.Example.", (HOST, NAME)),
        ("slave(1)@[fd00::1]:5051", "10.0.0.1", (Address("fd00::1"),)),
        ("slave(1)@10.0.0.1:5051", "not a host", (HOST,)),
        ("", "n1.example", (NAME,)),
        ("nonsense", "", ()),
    ],
)
def test_an_agent_has_its_address_from_its_pid(pid: str, hostname: str, expected: tuple[Address, ...]) -> None:
    listed = wire.ListedAgent(wire.AgentInfo(wire.Id("S1"), hostname), pid=pid)
    found = mapping.agent(listed, Naming())
    assert found.addresses == expected
    assert found.node == (hostname or "S1")


def test_zone_and_labels_come_from_an_agents_attributes() -> None:
    attributes = [
        {"name": "az", "type": "TEXT", "text": {"value": "eu-1a"}},
        {"name": "rack", "type": "SCALAR", "scalar": {"value": 7}},
        {"name": "gpus", "type": "RANGES", "ranges": {"range": []}},
    ]
    domain = {"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-1b"}}}
    info = {"id": {"value": "S1"}, "hostname": "n1", "attributes": attributes, "domain": domain}
    listed = msgspec.convert({"agent_info": info, "pid": "slave(1)@10.0.0.1:1"}, wire.ListedAgent)
    found = mapping.agent(listed, Naming(zone_attribute="az", label_attributes=("rack", "gpus", "none")))
    assert (found.zone, found.labels) == ("eu-1a", (("agent/rack", "7"),))
    assert mapping.agent(listed, Naming()).zone == "eu-1b"


def test_the_discoverys_labels_win_over_the_tasks_and_those_over_its_version() -> None:
    def labels(**given: str) -> dict[str, object]:
        return {"labels": [{"key": key, "value": value} for key, value in given.items()]}

    given = task(
        labels=labels(a="task", b="task", version="task"),
        discovery={"version": "7", "environment": "prod", "labels": labels(b="discovery")},
    )
    expected = {"version": "task", "environment": "prod", "a": "task", "b": "discovery"}
    assert mapping.labels(given) == (expected, False)


def test_labels_beyond_the_limits_are_left_out() -> None:
    large = [{"key": "k", "value": "x" * 20_000}, {"key": "", "value": "no key"}, {"key": "flag"}]
    assert mapping.labels(task(labels={"labels": large})) == ({"flag": ""}, True)
    many = [{"key": f"k{n:04}", "value": ""} for n in range(1000)]
    kept, left_out = mapping.labels(task(labels={"labels": many}))
    assert (len(kept), left_out) == (128, True)


@pytest.mark.parametrize(
    ("id", "name", "ports", "readiness", "first"),
    [
        ("web.2", "web", ["http", "admin"], "ready", "Host"),
        ("plain.4", "plain", ["", "", ""], "ready", "Host"),
        ("net.5", "net", ["http"], "ready", "Container"),
        ("mapped.6", "mapped", [""], "ready", "Host"),
        ("well.7", "well", ["http"], "ready", "Host"),
        ("ill.8", "ill", ["http"], "not-ready", "Host"),
        ("lost.9", "lost", ["http"], "unknown", "Host"),
    ],
)
def test_recorded_tasks_become_what_they_are(id: str, name: str, ports: list[str], readiness: str, first: str) -> None:
    given = recorded(id)
    assert mapping.title(given) == name
    assert [port.name for port in mapping.ports(given)[0]] == ports
    last = given.statuses[-1].healthy
    assert mapping.readiness(given.state, healthy=last, checked=True, naming=Naming()) == readiness
    container = mapping.container_addresses(given.statuses)
    assert container
    agent = mapping.NOWHERE if name == "lost" else AGENT
    assert mapping.addresses(container, mapping.host_ports(given), agent)[0].type == first


def test_recorded_container_addresses_are_canonical_and_name_their_network() -> None:
    expected = (Address("10.1.2.3", "Container", "cni0"), Address("fd00::3", "Container", "cni0"))
    assert mapping.container_addresses(recorded("net.5").statuses) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("web", "web"),
        ("apiserver.my_service", "apiserver-my-service"),
        ("Web (v2)!", "webv2"),
        ("--web--", "web"),
        ("Überweb", "berweb"),
        ("x" * 70, "x" * 63),
        ("x" * 62 + "..y", "x" * 62),
        ("!!!", ""),
    ],
)
def test_mesos_dns_names_are_dns_labels(given: str, expected: str) -> None:
    assert service_name(given, Naming(preset="mesosDns")) == expected


def test_mesos_dns_keeps_the_dots_of_a_framework_and_discovery_keeps_all() -> None:
    dns = Naming(preset="mesosDns")
    assert namespace("Marathon_1.prod..x", dns) == "marathon-1.prod.x"
    assert namespace("Marathon_1.prod", Naming()) == "Marathon_1.prod"
    assert service_name("Web (v2)!", Naming()) == "Web (v2)!"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"masters": []},
        {"masters": ["http://m1:5050"], "pollSeconds": 0},
        {"masters": ["http://m1:5050"], "unknown": 1},
        {"masters": ["http://m1:5050"], "naming": {"preset": "other"}},
    ],
)
def test_a_configuration_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(given), type=Config)


def test_a_configuration_is_written_in_camel_case() -> None:
    given = {
        "masters": ["http://m1:5050"],
        "pollSeconds": 10,
        "naming": {"preset": "mesosDns", "zoneAttribute": "az", "labelAttributes": ["rack"], "unchecked": "not-ready"},
        "tls": {"serverName": "mesos.example"},
    }
    assert msgspec.json.decode(json.dumps(given), type=Config).naming.label_attributes == ("rack",)
