"""What Mesos' v1 operator API says, in the fields that are used and no others (mesos.proto and master.proto, as JSON).

Every field is optional in the form in which Mesos leaves it out; what is not of its form fails alone, where it is
decoded.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "AgentAdded",
    "AgentInfo",
    "Attribute",
    "Discovery",
    "DiscoveryPort",
    "Event",
    "Flags",
    "Framework",
    "ListedAgent",
    "ListedFramework",
    "Master",
    "NetworkInfo",
    "Status",
    "Task",
    "TaskUpdated",
    "call",
]


class Id(msgspec.Struct, gc=False):
    """FrameworkID, TaskID, AgentID."""

    value: str


class Label(msgspec.Struct, gc=False):
    """Label: the value may be left out."""

    key: str
    value: str = ""


class Labels(msgspec.Struct, gc=False):
    """Labels."""

    labels: list[Label] = []


class IpAddress(msgspec.Struct, gc=False):
    """NetworkInfo.IPAddress; its protocol is told by the address itself."""

    ip_address: str = ""


class PortMapping(msgspec.Struct, gc=False):
    """NetworkInfo.PortMapping and ContainerInfo.DockerInfo.PortMapping."""

    host_port: int = 0
    protocol: str = "tcp"


class NetworkInfo(msgspec.Struct, gc=False):
    """NetworkInfo, as a container has it and as a status reports it."""

    name: str = ""
    ip_addresses: list[IpAddress] = []
    port_mappings: list[PortMapping] = []


class ContainerStatus(msgspec.Struct, gc=False):
    """ContainerStatus."""

    network_infos: list[NetworkInfo] = []


class Status(msgspec.Struct, gc=False):
    """TaskStatus. `healthy` is absent until a check has found something."""

    state: str
    task_id: Id | None = None
    healthy: bool | None = None
    container_status: ContainerStatus | None = None
    timestamp: float = 0.0


class DiscoveryPort(msgspec.Struct, gc=False):
    """Port."""

    number: int
    name: str = ""
    protocol: str = "tcp"


class DiscoveryPorts(msgspec.Struct, gc=False):
    """Ports."""

    ports: list[DiscoveryPort] = []


class Discovery(msgspec.Struct, gc=False):
    """DiscoveryInfo."""

    name: str = ""
    environment: str = ""
    location: str = ""
    version: str = ""
    ports: DiscoveryPorts | None = None
    labels: Labels | None = None


class Range(msgspec.Struct, gc=False):
    """Value.Range: both ends belong to it."""

    begin: int
    end: int


class Ranges(msgspec.Struct, gc=False):
    """Value.Ranges."""

    range: list[Range] = []


class Resource(msgspec.Struct, gc=False):
    """Resource."""

    name: str
    ranges: Ranges | None = None


class Docker(msgspec.Struct, gc=False):
    """ContainerInfo.DockerInfo."""

    port_mappings: list[PortMapping] = []


class Container(msgspec.Struct, gc=False):
    """ContainerInfo."""

    docker: Docker | None = None
    network_infos: list[NetworkInfo] = []


class HealthCheck(msgspec.Struct, gc=False):
    """HealthCheck: only that there is one."""


class Task(msgspec.Struct, gc=False):
    """Task. `statuses` are in their order in time."""

    task_id: Id
    framework_id: Id
    state: str
    name: str = ""
    agent_id: Id | None = None
    statuses: list[Status] = []
    resources: list[Resource] = []
    labels: Labels | None = None
    discovery: Discovery | None = None
    container: Container | None = None
    health_check: HealthCheck | None = None


class Text(msgspec.Struct, gc=False):
    """Value.Text."""

    value: str = ""


class Scalar(msgspec.Struct, gc=False):
    """Value.Scalar."""

    value: float = 0.0


class Attribute(msgspec.Struct, gc=False):
    """Attribute; ranges and sets are not read."""

    name: str
    text: Text | None = None
    scalar: Scalar | None = None


class Named(msgspec.Struct, gc=False):
    """DomainInfo.FaultDomain.ZoneInfo."""

    name: str = ""


class FaultDomain(msgspec.Struct, gc=False):
    """DomainInfo.FaultDomain."""

    zone: Named | None = None


class Domain(msgspec.Struct, gc=False):
    """DomainInfo."""

    fault_domain: FaultDomain | None = None


class AgentInfo(msgspec.Struct, gc=False):
    """AgentInfo, which is also the form of those in the registry that have not come back after a failover."""

    id: Id
    hostname: str = ""
    attributes: list[Attribute] = []
    domain: Domain | None = None


class ListedAgent(msgspec.Struct, gc=False):
    """Response.GetAgents.Agent. The agent's address is in `pid` alone."""

    agent_info: AgentInfo
    active: bool = True
    pid: str = ""


class Framework(msgspec.Struct, gc=False):
    """FrameworkInfo."""

    id: Id
    name: str = ""


class ListedFramework(msgspec.Struct, gc=False):
    """Response.GetFrameworks.Framework."""

    framework_info: Framework


class TaskAdded(msgspec.Struct, gc=False):
    """Event.TaskAdded."""

    task: Task


class TaskUpdated(msgspec.Struct, gc=False):
    """Event.TaskUpdated. `state` is the task's latest, `status.state` may be an older one that was late."""

    framework_id: Id
    status: Status
    state: str


class AgentAdded(msgspec.Struct, gc=False):
    """Event.AgentAdded."""

    agent: ListedAgent


class AgentRemoved(msgspec.Struct, gc=False):
    """Event.AgentRemoved."""

    agent_id: Id


class FrameworkEvent(msgspec.Struct, gc=False):
    """Event.FrameworkAdded and FrameworkUpdated."""

    framework: ListedFramework


class FrameworkRemoved(msgspec.Struct, gc=False):
    """Event.FrameworkRemoved."""

    framework_info: Framework


class Event(msgspec.Struct, gc=False):
    """Event: the field that `type` names is set."""

    type: str
    task_added: TaskAdded | None = None
    task_updated: TaskUpdated | None = None
    agent_added: AgentAdded | None = None
    agent_removed: AgentRemoved | None = None
    framework_added: FrameworkEvent | None = None
    framework_updated: FrameworkEvent | None = None
    framework_removed: FrameworkRemoved | None = None


class MasterInfo(msgspec.Struct, gc=False):
    """MasterInfo: the id is another one for each start of a master."""

    id: str


class GetMaster(msgspec.Struct, gc=False):
    """Response.GetMaster."""

    master_info: MasterInfo
    elected_time: float = 0.0


class Master(msgspec.Struct, gc=False):
    """The answer to GET_MASTER."""

    get_master: GetMaster


class Flag(msgspec.Struct, gc=False):
    """Flag."""

    name: str
    value: str = ""


class GetFlags(msgspec.Struct, gc=False):
    """Response.GetFlags."""

    flags: list[Flag] = []


class Flags(msgspec.Struct, gc=False):
    """The answer to GET_FLAGS."""

    get_flags: GetFlags


def call(type: str) -> bytes:
    """Return the body of a call that has no arguments."""
    return msgspec.json.encode({"type": type})
