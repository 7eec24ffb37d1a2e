"""From what Mesos says of a task and its agent to what the model says of an instance. Pure; README.md has tables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from waypost.model import Address, Port, Readiness
from waypost_adapters.mesos import wire
from waypost_adapters.mesos.config import Naming

__all__ = [
    "NOWHERE",
    "Agent",
    "addresses",
    "agent",
    "container_addresses",
    "host_ports",
    "instance_id",
    "labels",
    "node",
    "ports",
    "readiness",
    "title",
]

MOST_PORTS = 64
MOST_LABELS = 128
MOST_LABEL_BYTES = 16_384  # key and value together
MOST_ADDRESSES = 16

ALIVE: dict[str, Readiness] = {
    "TASK_STAGING": "not-ready",
    "TASK_STARTING": "not-ready",
    "TASK_RUNNING": "ready",
    "TASK_KILLING": "draining",
    "TASK_UNREACHABLE": "unknown",
    "TASK_UNKNOWN": "unknown",
}
GONE = frozenset(
    f"TASK_{state}"
    for state in ("FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR")
)
_HOSTNAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}\.?)*")


class Agent(msgspec.Struct, frozen=True, gc=False):
    """What an agent adds to each of its instances: its own addresses, node, zone and labels."""

    addresses: tuple[Address, ...] = ()
    node: str = ""
    zone: str = ""
    labels: tuple[tuple[str, str], ...] = ()


NOWHERE = Agent()


def instance_id(framework: str, task: str) -> str:
    """Return what is unique in a source: task ids are unique in their framework only; neither holds a `/`."""
    return f"{framework}/{task}"


def title(task: wire.Task) -> str:
    """Return the name a task gives its service: that of its discovery, else its own."""
    return (task.discovery.name if task.discovery else "") or task.name


def readiness(state: str, *, healthy: bool | None, checked: bool, naming: Naming) -> Readiness | None:
    """Return what a state means; None where the task is gone. A state that is not known is `unknown`.

    `checked`: the task has a health check.
    """
    if state in GONE:
        return None
    found = ALIVE.get(state, "unknown")
    if found == "ready" and healthy is not True and (healthy is False or (checked and naming.unchecked == "not-ready")):
        return "not-ready"
    return found


def node(info: wire.AgentInfo) -> str:
    """Return the node's name: the agent's host name, which two agents on one host share."""
    return info.hostname or info.id.value


def agent(listed: wire.ListedAgent, naming: Naming) -> Agent:
    """Return what a registered agent adds."""
    info, found = listed.agent_info, []
    if host := canonical(_pid_host(listed.pid)):
        found.append(Address(host, "Host"))
    if not canonical(info.hostname) and _HOSTNAME.fullmatch(info.hostname):
        found.append(Address(info.hostname.lower().rstrip("."), "Hostname"))
    attributes = {attribute.name: _text(attribute) for attribute in info.attributes}
    zone = attributes.get(naming.zone_attribute, "")
    if not zone and info.domain and info.domain.fault_domain and info.domain.fault_domain.zone:
        zone = info.domain.fault_domain.zone.name
    shown = tuple((f"agent/{name}", attributes[name]) for name in naming.label_attributes if attributes.get(name))
    return Agent(tuple(found), node(info), zone, shown)


def _pid_host(pid: str) -> str:
    """Return the address in a libprocess pid: `slave(1)@10.0.0.1:5051`, `slave(1)@[::1]:5051`."""
    return pid.rpartition("@")[2].rpartition(":")[0].strip("[]")


def _text(attribute: wire.Attribute) -> str:
    if attribute.text is not None:
        return attribute.text.value
    return f"{attribute.scalar.value:g}" if attribute.scalar is not None else ""


@lru_cache(maxsize=65_536)
def canonical(text: str) -> str:
    """Return the canonical form of an IP literal that names one place; "" for all else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if address.is_unspecified or address.is_multicast or (address.version == 6 and address.scope_id):
        return ""
    return str(address)


def container_addresses(statuses: Sequence[wire.Status]) -> tuple[Address, ...]:
    """Return the addresses that the last status with any reports."""
    for status in reversed(statuses):
        if status.container_status is not None and (infos := status.container_status.network_infos):
            found = (
                Address(value, "Container", info.name)
                for info in infos
                for given in info.ip_addresses
                if (value := canonical(given.ip_address))
            )
            if addresses := tuple(dict.fromkeys(found))[:MOST_ADDRESSES]:
                return addresses
    return ()


def addresses(container: tuple[Address, ...], mapped: bool, agent: Agent) -> tuple[Address, ...]:  # noqa: FBT001
    """Return all addresses of an instance, the best first.

    A container on a named network (CNI, a Docker network) is reached at its own address first, unless its ports are
    `mapped` to the host's; one on Docker's bridge at the host's first. The agent's own address, reported as the
    container's, is the host's.
    """
    host = {address.value for address in agent.addresses}
    if host and all(address.value in host for address in container):
        return agent.addresses
    if not host:  # an agent that nobody remembers: a container without a network of its own stands where its agent does
        container = tuple(a if a.network or mapped else Address(a.value, "Host") for a in container)
    own = [address for address in container if address.value not in host]
    first = [address for address in own if address.network and not mapped]
    return (*first, *agent.addresses, *(address for address in own if address not in first))


def host_ports(task: wire.Task) -> bool:
    """Whether ports of the container are mapped to the host's."""
    return next(_mappings(task), None) is not None


def _mappings(task: wire.Task) -> Iterator[wire.PortMapping]:
    if task.container is None:
        return
    if task.container.docker is not None:
        yield from (mapping for mapping in task.container.docker.port_mappings if mapping.host_port)
    for info in task.container.network_infos:
        yield from (mapping for mapping in info.port_mappings if mapping.host_port)


def ports(task: wire.Task) -> tuple[tuple[Port, ...], bool]:
    """Return the task's ports, and whether any was left out because it is none.

    Those of its discovery; else those mapped to the host; else those of its resources, in order and without names.
    """
    given = list(_ports(task))
    good = tuple(dict.fromkeys(port for port in given if 0 < port.number < 65_536))
    return good[:MOST_PORTS], len(good) > MOST_PORTS or any(not 0 < port.number < 65_536 for port in given)


def _ports(task: wire.Task) -> Iterator[Port]:
    if task.discovery is not None and task.discovery.ports is not None and task.discovery.ports.ports:
        for given in task.discovery.ports.ports:
            for protocol in given.protocol.split(","):
                yield Port(given.number, given.name, _protocol(protocol))
        return
    if mappings := list(_mappings(task)):
        yield from (Port(mapping.host_port, "", _protocol(mapping.protocol)) for mapping in mappings)
        return
    for resource in task.resources:
        if resource.name == "ports" and resource.ranges is not None:
            for each in resource.ranges.range:
                # one more than is kept, so that the excess is noticed; a range of millions costs no more
                yield from (Port(number) for number in range(each.begin, min(each.end, each.begin + MOST_PORTS) + 1))


def _protocol(given: str) -> str:
    """Return the transport: what names none (`http`, `grpc`) runs on TCP."""
    found = given.strip().lower()
    return found if found in {"udp", "sctp"} else "tcp"


def labels(task: wire.Task) -> tuple[dict[str, str], bool]:
    """Return the instance's labels, and whether any was left out for its size.

    Later ones win: the discovery's version, environment and location, the task's labels, the discovery's labels. An
    agent's are below them all.
    """
    found: dict[str, str] = {}
    if (discovery := task.discovery) is not None:
        for name in ("version", "environment", "location"):
            if value := getattr(discovery, name):
                found[name] = value
    for group in (task.labels, discovery.labels if discovery else None):
        if group is not None:
            found.update((label.key, label.value) for label in group.labels if label.key)
    kept = {key: value for key, value in found.items() if len(key) + len(value) <= MOST_LABEL_BYTES}
    if len(kept) > MOST_LABELS:
        kept = dict(sorted(kept.items())[:MOST_LABELS])
    return kept, len(kept) < len(found)
