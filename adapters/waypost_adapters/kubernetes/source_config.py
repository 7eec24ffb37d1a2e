"""What a manifest says of a Kubernetes source, and what a Service says of itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["CREDENTIALS", "MINE", "NAME", "PUBLISH", "REACH", "SourceConfig"]

CREDENTIALS = ("kubeconfig",)

# Annotations of a Service. They are shown as labels of the service, so that names and selectors can read them.
PREFIX = "waypost.dev/"
PUBLISH = "waypost.dev/publish"  # "true" | "false"
NAME = "waypost.dev/name"
REACH = "waypost.dev/reach"  # as `reach` below, but for `type`
MINE = "waypost.dev/owner"  # a label of what a sink of Waypost wrote: never read back

Reach = Literal["type", "endpoints", "nodes", "loadBalancer", "clusterIP"]
Namespace = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`namespaces`: only these; none: all. `opt_in`: only Services that say so. `reach`: where services are reached.

    `context`: which of the kubeconfig, where it has several. `nodes` false: it may not read nodes.
    """

    namespaces: Annotated[tuple[Namespace, ...], msgspec.Meta(max_length=64)] = ()
    opt_in: bool = False
    reach: Reach = "type"
    nodes: bool = True
    context: Annotated[str, msgspec.Meta(max_length=253)] = ""
