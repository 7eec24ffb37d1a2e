"""What a manifest says of a Mesos source."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from waypost.kit.tls import Tls

__all__ = ["CREDENTIALS", "ZOOKEEPER_CREDENTIALS", "Config", "Naming"]

ZOOKEEPER_CREDENTIALS = ("zookeeperUsername", "zookeeperPassword")
CREDENTIALS = ("username", "password", "ca", "clientCert", "clientKey", *ZOOKEEPER_CREDENTIALS)

Attribute = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Naming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How a task becomes a service's name and an instance's labels; the README has the tables.

    `discovery`: names as Mesos has them. `mesosDns`: as Mesos-DNS makes labels of them.
    """

    preset: Literal["discovery", "mesosDns"] = "discovery"
    zone_attribute: Attribute = "zone"
    label_attributes: Annotated[tuple[Attribute, ...], msgspec.Meta(max_length=16)] = ()
    unchecked: Literal["ready", "not-ready"] = "ready"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`masters` are base URLs, any that may lead, or one `zk://host:port,…/path` that says who leads.

    `leader_scheme`: how a master found in ZooKeeper is asked, as it does not say there whether it serves https.
    """

    masters: (
        Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1, max_length=16)]
        | Annotated[str, msgspec.Meta(min_length=1)]
    )
    naming: Naming = Naming()
    poll_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 30
    leader_scheme: Literal["http", "https"] = "http"
    tls: Tls = Tls()
