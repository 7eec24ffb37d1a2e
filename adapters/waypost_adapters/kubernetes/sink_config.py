"""What a manifest may say about a sink of type `kubernetes`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec

__all__ = ["SinkConfig"]

Namespace = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z", max_length=63)]
Cidr = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The `config` of a sink of type kubernetes.

    A name without a dot is a Service in `namespace`; `name.NAMESPACE` is one in another of `namespaces`. `clusterCIDRs`
    are the networks of Pods and Services, whose addresses are not written; None: those that the API server tells.
    """

    namespace: Namespace
    namespaces: Annotated[tuple[Namespace, ...], msgspec.Meta(max_length=32)] = ()
    service_type: Literal["Headless", "ClusterIP"] = "Headless"
    endpoints_per_slice: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cluster_cidrs: Annotated[tuple[Cidr, ...], msgspec.Meta(max_length=64)] | None = msgspec.field(
        default=None, name="clusterCIDRs"
    )
    context: Annotated[str, msgspec.Meta(max_length=253)] = ""
    timeout_seconds: Annotated[float, msgspec.Meta(ge=1, le=25)] = 10.0

    def __post_init__(self) -> None:
        """Refuse what the types cannot; each text says which field."""
        if self.namespace in self.namespaces:
            raise ValueError(f"namespaces: `{self.namespace}` is `namespace` itself; here stand the others")
        if len(set(self.namespaces)) < len(self.namespaces):
            raise ValueError("namespaces: one stands there twice")
        for cidr in self.cluster_cidrs or ():
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                raise ValueError(f"clusterCIDRs: {error}") from None

    @property
    def all_namespaces(self) -> tuple[str, ...]:
        """Every namespace that may be written, the default one first."""
        return (self.namespace, *self.namespaces)
