"""The source and the sink `registry`: a service registry of Waypost's own. See README.md beside this file."""

from __future__ import annotations

from waypost.adapter import AdapterType, Sink, Source
from waypost_adapters.registry.config import CREDENTIALS, Config
from waypost_adapters.registry.sink import open_sink
from waypost_adapters.registry.source import open_source

__all__ = ["SINK", "SOURCE"]

SINK: AdapterType[Sink] = AdapterType("registry", Config, open_sink, credentials=CREDENTIALS)
SOURCE: AdapterType[Source] = AdapterType("registry", Config, open_source, credentials=CREDENTIALS)
