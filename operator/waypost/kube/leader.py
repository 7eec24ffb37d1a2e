"""Where the leader is, by its Lease: the pod of that name, in Waypost's namespace."""

from __future__ import annotations

import msgspec

from waypost.adapter import AdapterError
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.resource import Resource
from waypost.kube.lease import holder_of

__all__ = ["LeaderPod", "leader_pod"]

ADMIN = "admin"  # the port's name in the chart
DEFAULT_PORT = 7470
SECONDS = 10.0


class LeaderPod(msgspec.Struct, frozen=True):
    """The leader's pod, and where its admin server listens."""

    namespace: str
    name: str
    container: str
    port: int

    @property
    def proxy(self) -> str:
        """The path under which the API server hands requests on to it."""
        pods = Resource("", "v1", "pods", self.namespace)
        return pods.path(self.name) + f":{self.port}/proxy"


class _Port(msgspec.Struct, rename="camel"):
    container_port: int
    name: str = ""


class _Container(msgspec.Struct):
    name: str
    ports: list[_Port] | None = None


class _Spec(msgspec.Struct):
    containers: list[_Container]


class _Pod(msgspec.Struct):
    spec: _Spec


async def leader_pod(api: Api, namespace: str, lease: str) -> LeaderPod:
    """Return the pod of whoever has the Lease, as far as the Lease knows. Raises AdapterError that says what to do."""
    leases = Resource("coordination.k8s.io", "v1", "leases", namespace)
    try:
        holder = holder_of(await api.request("GET", leases.path(lease), seconds=SECONDS))
    except ApiError as error:
        if error.status != 404:
            raise
        text = f"there is no Lease `{lease}` in namespace `{namespace}`: say where Waypost is, by -n NAMESPACE"
        raise AdapterError(f"{text} and --lease NAME") from None
    if not holder:
        raise AdapterError(f"nobody has the Lease `{lease}` in namespace `{namespace}` now: no Waypost runs there")
    name = holder.rpartition("-")[0]  # HOST-PID; a pod's host name is its own
    try:
        body = await api.request("GET", Resource("", "v1", "pods", namespace).path(name), seconds=SECONDS)
    except ApiError as error:
        if error.status != 404:
            raise
        text = f"the leader, {holder}, is no pod of namespace `{namespace}`: where it runs, ask it by `waypost`"
        raise AdapterError(text) from None
    try:
        pod = msgspec.json.decode(body, type=_Pod)
    except msgspec.DecodeError as error:
        raise AdapterError(f"the pod {name} cannot be read: {error}") from None
    found = [(each.name, p.container_port) for each in pod.spec.containers for p in each.ports or () if p.name == ADMIN]
    container, port = found[0] if found else (pod.spec.containers[0].name, DEFAULT_PORT)
    return LeaderPod(namespace, name, container, port)
