"""The source and the sink `kubernetes`: Services of a cluster and where they are reached. README.md beside it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waypost.adapter import AdapterType, Context, Sink, Source
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.source_config import CREDENTIALS, SourceConfig

__all__ = ["SINK", "SOURCE"]


@asynccontextmanager
async def open_source(config: SourceConfig, context: Context) -> AsyncIterator[Source]:
    """Open the source; connects when it watches."""
    from waypost_adapters.kubernetes import source  # noqa: PLC0415 - loaded by those who use it only

    async with source.open_source(config, context) as opened:
        yield opened


@asynccontextmanager
async def open_sink(config: SinkConfig, context: Context) -> AsyncIterator[Sink]:
    """Open the sink; connects when it is first used."""
    from waypost_adapters.kubernetes.sink import KubernetesSink  # noqa: PLC0415 - loaded by those who use it only

    async with KubernetesSink.opened(config, context) as sink:
        yield sink


SOURCE: AdapterType[Source] = AdapterType("kubernetes", SourceConfig, open_source, credentials=CREDENTIALS)
SINK: AdapterType[Sink] = AdapterType("kubernetes", SinkConfig, open_sink, credentials=CREDENTIALS)
