"""The sink `consul`: keeps services in Consul's catalog, on nodes of its own. See README.md beside this file."""

from waypost_adapters.consul.sink import SINK

__all__ = ["SINK"]
