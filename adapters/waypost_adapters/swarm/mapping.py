"""From what Docker's API says of services, tasks and nodes to the model. Pure; README.md has the tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from waypost.kit.problems import Problems
from waypost.kit.rows import Rows
from waypost.model import NO_LABELS, Address, AddressType, Instance, Port, Readiness, Service, ServiceKey

__all__ = ["Answer", "Naming", "Swarm"]

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]

MOST_PORTS = 64
MOST_LABELS = 128
MOST_LABEL_BYTES = 16_384  # key and value together
REACH, PORTS = "waypost.reach", "waypost.ports"  # labels of a service
_Numbered = tuple[int, str, str]  # a port's number, name and protocol
SERVING = frozenset({"running", "complete"})  # desired of what is to run; `complete`: of a job
COMING = frozenset({"new", "pending", "assigned", "accepted", "preparing", "ready", "starting"})


class Naming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How services are called, and where they are reached when they publish ports and have a network as well."""

    stack_label: Text = "com.docker.stack.namespace"
    zone_label: Text = "zone"
    reach: Literal["node", "container"] = "node"


# --- what is read of an answer; Go writes null for an empty list or map


class Row(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An object of the API, as far as it is read."""


class PortRow(Row, frozen=True, gc=False):
    """A port of a service, or of a task where it is published there."""

    name: str = ""
    protocol: str = "tcp"
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = "ingress"


class PortStatus(Row, frozen=True, gc=False):
    """The ports that a task's node publishes for it."""

    ports: tuple[PortRow, ...] | None = None


class Status(Row, frozen=True, gc=False):
    """What becomes of a task."""

    state: str
    port_status: PortStatus | None = None


class NetworkSpec(Row, frozen=True, gc=False):
    """A network's name."""

    name: str = ""
    ingress: bool = False


class Network(Row, frozen=True, gc=False):
    """A network."""

    id: str = msgspec.field(name="ID", default="")
    spec: NetworkSpec = NetworkSpec()


class Attachment(Row, frozen=True, gc=False):
    """A task's place in a network, `10.0.1.5/24`."""

    network: Network = Network()
    addresses: tuple[str, ...] | None = None


class Labelled(Row, frozen=True, gc=False):
    """Whatever has labels."""

    labels: dict[str, str] | None = None


class TaskSpec(Row, frozen=True, gc=False):
    """What a task runs."""

    container_spec: Labelled | None = None


class TaskRow(Row, frozen=True, gc=False):
    """A task."""

    id: str = msgspec.field(name="ID")
    desired_state: str
    status: Status
    service_id: str = msgspec.field(name="ServiceID", default="")
    node_id: str = msgspec.field(name="NodeID", default="")
    spec: TaskSpec = TaskSpec()
    networks_attachments: tuple[Attachment, ...] | None = None


class ServiceSpec(Row, frozen=True, gc=False):
    """A service's name and labels."""

    name: str
    labels: dict[str, str] | None = None


class VirtualIP(Row, frozen=True, gc=False):
    """A service's address in a network."""

    network_id: str = msgspec.field(name="NetworkID", default="")
    addr: str = ""


class Endpoint(Row, frozen=True, gc=False):
    """How a service is reached."""

    ports: tuple[PortRow, ...] | None = None
    virtual_ips: tuple[VirtualIP, ...] | None = msgspec.field(name="VirtualIPs", default=None)


class ServiceRow(Row, frozen=True, gc=False):
    """A service."""

    id: str = msgspec.field(name="ID")
    spec: ServiceSpec
    endpoint: Endpoint = Endpoint()


class Description(Row, frozen=True, gc=False):
    """What a node says of itself."""

    hostname: str = ""
    engine: Labelled = Labelled()


class Place(Row, frozen=True, gc=False):
    """Where a node is."""

    addr: str = ""
    state: str = "ready"


class NodeRow(Row, frozen=True, gc=False):
    """A node."""

    id: str = msgspec.field(name="ID")
    description: Description = Description()
    spec: Labelled = Labelled()
    status: Place = Place()
    manager_status: Place | None = None


class Answer(msgspec.Struct, frozen=True):
    """The three lists, as they came, each element by itself."""

    services: Sequence[msgspec.Raw]
    tasks: Sequence[msgspec.Raw]
    nodes: Sequence[msgspec.Raw]


# --- what follows from it


class Swarm:
    """What one Swarm last said. Keeps the services of the last answer: what has not changed is not made again."""

    def __init__(self, source: str, naming: Naming, problems: Problems) -> None:
        self._source, self._naming, self._problems = source, naming, problems
        self._services = Rows(ServiceRow, problems, "Service")
        self._tasks = Rows(TaskRow, problems, "Task")
        self._nodes = Rows(NodeRow, problems, "Node")
        self._made: dict[str, tuple[object, Service]] = {}
        self._leaving: frozenset[str] = frozenset()
        self._left: frozenset[str] = frozenset()

    def read(self, answer: Answer) -> list[Service]:
        """Return the services that a whole answer tells of."""
        self._services.read(answer.services)
        self._tasks.read(answer.tasks)
        self._nodes.read(answer.nodes)
        tasks: dict[str, list[TaskRow]] = {}
        leaving = set()
        for task in self._tasks.found.values():
            tasks.setdefault(task.service_id, []).append(task)
            if not (task.desired_state in SERVING and task.status.state in COMING | {"running"}):
                leaving.add(task.id)
        self._leaving, self._left = frozenset(leaving), self._leaving
        made = {id: self._service(key, row, tasks.get(id, ())) for id, (key, row) in self._keys().items()}
        self._made = made
        return [service for _, service in made.values()]

    def ended(self, task: str) -> bool:
        """Return whether the Swarm says that a task ends or has ended: now, or before it forgot it."""
        return task in self._leaving or (task in self._left and task not in self._tasks.found)

    def _keys(self) -> dict[str, tuple[ServiceKey, ServiceRow]]:
        """Return the key of each service. One called as another is with its prefix cut is left out."""
        found: dict[ServiceKey, str] = {}
        keys: dict[str, tuple[ServiceKey, ServiceRow]] = {}
        for cut in (True, False):
            for id, row in self._services.found.items():
                name = row.spec.name
                stack = (row.spec.labels or {}).get(self._naming.stack_label, "")[:255]
                short = name.removeprefix(f"{stack}_") if stack else name
                if not short or (short != name) is not cut:
                    continue
                key = ServiceKey(self._source, stack, short)
                if found.setdefault(key, id) == id:
                    keys[id] = key, row
                else:
                    self._problems.tell("Name", name, f"another service is called {key} already; it is left out")
        return keys

    def _service(self, key: ServiceKey, row: ServiceRow, tasks: Sequence[TaskRow]) -> tuple[object, Service]:
        nodes = [self._nodes.found.get(task.node_id) for task in tasks]
        made_of = (key, row, tasks, nodes)
        former = self._made.get(row.id)
        if former is not None and former[0] == made_of:
            return former
        instances = [
            instance
            for task, node in zip(tasks, nodes, strict=True)
            if (instance := _instance(task, row, node, self._naming)) is not None
        ]
        return made_of, Service(key, self._labels(row.spec.name, row.spec.labels), tuple(instances))

    def _labels(self, name: str, labels: Mapping[str, str] | None) -> Mapping[str, str]:
        kept = _bounded(labels)
        if len(kept) < len(labels or ()):
            self._problems.tell("Label", name, f"labels beyond {MOST_LABELS}, or longer than {MOST_LABEL_BYTES}")
        return kept


def _instance(task: TaskRow, service: ServiceRow, node: NodeRow | None, naming: Naming) -> Instance | None:
    readiness = _readiness(task, node)
    if readiness is None:
        return None
    addresses, ports = _reached(task, service, node, naming)
    labels = _bounded(task.spec.container_spec.labels if task.spec.container_spec else None)
    name = node.description.hostname if node is not None else ""
    return Instance(task.id, addresses, ports, readiness, 1, name, _zone(node, naming.zone_label), labels)


def _readiness(task: TaskRow, node: NodeRow | None) -> Readiness | None:
    """Return what both states of a task mean; None: it does not run, or is on no node yet."""
    state, at = task.status.state, node.status.state if node is not None else "unknown"
    if task.desired_state in SERVING:
        if state == "running":
            return "ready" if at == "ready" else "unknown"
        return "not-ready" if state in COMING and task.node_id else None
    if task.desired_state == "ready":  # made ready to take the place of one that still runs
        return "not-ready" if state in COMING and task.node_id else None
    return "draining" if state == "running" else None  # those of a dead node are so for a day


def _reached(
    task: TaskRow, service: ServiceRow, node: NodeRow | None, naming: Naming
) -> tuple[tuple[Address, ...], tuple[Port, ...]]:
    """Return addresses and the ports that answer there: published ones on the node, or the container's own."""
    published = _ports(_published(task, service))
    own = tuple(_own_addresses(task, service))
    labels = service.spec.labels or {}
    if published and not (own and labels.get(REACH, naming.reach) == "container"):
        return _node_addresses(node), published
    ports = _ports(_labelled(labels.get(PORTS, "")))
    if own:
        targets = ((port.target_port, port.name, port.protocol) for port in service.endpoint.ports or ())
        return own, ports or _ports(targets)
    host = any(each.network.spec.name == "host" for each in task.networks_attachments or ())
    return (_node_addresses(node), ports) if host else ((), ())


def _published(task: TaskRow, service: ServiceRow) -> Iterator[_Numbered]:
    """Yield the ports of the node that lead to the task; those published on all nodes lead to any of the service's."""
    declared = service.endpoint.ports or ()
    names = {(port.target_port, port.protocol): port.name for port in declared}
    status = task.status.port_status
    for port in sorted((status.ports if status else None) or (), key=lambda port: (port.target_port, port.protocol)):
        yield port.published_port, port.name or names.get((port.target_port, port.protocol), ""), port.protocol
    for port in declared:
        if port.publish_mode == "ingress" and port.published_port:
            yield port.published_port, port.name, port.protocol


def _labelled(text: str) -> Iterator[_Numbered]:
    """Yield what a label says of ports: `http=8080, 53/udp`; what makes no sense is passed over."""
    for part in text[:MOST_LABEL_BYTES].split(","):
        name, _, rest = part.strip().rpartition("=")
        number, _, protocol = rest.partition("/")
        if number.isascii() and number.isdecimal() and len(number) <= 5:
            yield int(number), name, protocol or "tcp"


def _ports(numbered: Iterable[_Numbered]) -> tuple[Port, ...]:
    """Return ports, each once: with the userland proxy the API lists one for each address family."""
    found: dict[tuple[int, str], Port] = {}
    for number, name, protocol in numbered:
        if 1 <= number <= 65535 and protocol in {"tcp", "udp", "sctp"} and len(found) < MOST_PORTS:
            found.setdefault((number, protocol), Port(number, name[:255], protocol))
    return tuple(found.values())


def _own_addresses(task: TaskRow, service: ServiceRow) -> Iterator[Address]:
    """Yield the container's addresses in its networks, then the service's virtual ones there; never the ingress'."""
    networks = {each.network.id: each for each in task.networks_attachments or () if not each.network.spec.ingress}
    for each in networks.values():
        for text in each.addresses or ():
            yield from _address(text, "Container", each.network.spec.name)
    for virtual in service.endpoint.virtual_ips or ():
        if virtual.network_id in networks:
            yield from _address(virtual.addr, "ClusterIP", networks[virtual.network_id].network.spec.name)


def _node_addresses(node: NodeRow | None) -> tuple[Address, ...]:
    """Return the node's address; one that does not know its own (0.0.0.0) may be known as a manager."""
    if node is None:
        return ()
    manager = node.manager_status.addr.rpartition(":")[0] if node.manager_status else ""
    found = [*_address(node.status.addr, "Node"), *_address(manager.strip("[]"), "Node")]
    return tuple(found[:1])


def _address(text: str, kind: AddressType, network: str = "") -> Iterator[Address]:
    try:
        address = ipaddress.ip_interface(text).ip
    except ValueError:
        return
    if not address.is_unspecified and "%" not in text:
        yield Address(str(address), kind, network)


def _zone(node: NodeRow | None, label: str) -> str:
    if node is None:
        return ""
    engine = node.description.engine.labels or {}
    return (node.spec.labels or {}).get(label, engine.get(label, ""))[:255]


def _bounded(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    if not labels:
        return NO_LABELS
    kept = [(key, value) for key, value in labels.items() if len(key) + len(value) <= MOST_LABEL_BYTES]
    return dict(kept[:MOST_LABELS])
