"""A task as it is kept: the instance it makes, and as little more as its next status update needs."""

from __future__ import annotations

import msgspec

from waypost.kit.problems import Problems
from waypost.model import Address, Instance
from waypost_adapters.mesos import mapping, wire
from waypost_adapters.mesos.config import Naming
from waypost_adapters.mesos.group import Group, Interned

__all__ = ["Known", "read"]


class Known(msgspec.Struct, gc=False):
    """A task. While its agent or framework is not known it is in no group, and its instance has no addresses."""

    instance: Instance
    name: str
    framework: str
    agent: str
    container: tuple[Address, ...]
    mapped: bool  # its ports are mapped to the host's
    checked: bool  # it has a health check
    view: int  # the view that showed it last, or in which an event touched it
    group: Group | None = None
    at: int = 0

    @property
    def certain(self) -> bool:
        """Whether Mesos knows what became of it."""
        return self.instance.readiness != "unknown"


def read(id: str, task: wire.Task, view: int, naming: Naming, interned: Interned, problems: Problems) -> Known | None:
    """Return what is to be kept of a task, in no place yet; None where it has ended."""
    checked = task.health_check is not None
    healthy = task.statuses[-1].healthy if task.statuses else None
    readiness = mapping.readiness(task.state, healthy=healthy, checked=checked, naming=naming)
    if readiness is None:
        return None
    name = mapping.title(task)
    ports, bad_port = mapping.ports(task)
    labels, bad_label = mapping.labels(task)
    if bad_port:
        problems.tell("Port", name, "ports beyond 1..65535, or more than 64, are left out")
    if bad_label:
        problems.tell("Label", name, "labels of more than 16384 characters, or more than 128, are left out")
    return Known(
        Instance(id, ports=interned.value(ports), readiness=readiness, labels=interned.labels(labels)),
        interned.value(name),
        interned.value(task.framework_id.value),
        interned.value(task.agent_id.value if task.agent_id else ""),
        interned.value(mapping.container_addresses(task.statuses)),
        mapping.host_ports(task),
        checked,
        view,
    )
