"""The sink `consul`: keeps services in Consul's catalog, on nodes of its own; and the elector. See README.md here."""

from waypost_adapters.consul.elector import ELECTOR
from waypost_adapters.consul.sink import SINK

__all__ = ["ELECTOR", "SINK"]
