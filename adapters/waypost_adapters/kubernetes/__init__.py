"""The source `kubernetes`: Services of a cluster and where they are reached. README.md beside it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waypost.adapter import AdapterType, Context, Source
from waypost_adapters.kubernetes.source_config import CREDENTIALS, SourceConfig

__all__ = ["SOURCE"]


@asynccontextmanager
async def open_source(config: SourceConfig, context: Context) -> AsyncIterator[Source]:
    """Open the source; connects when it watches."""
    from waypost_adapters.kubernetes import source  # noqa: PLC0415 - loaded by those who use it only

    async with source.open_source(config, context) as opened:
        yield opened


SOURCE: AdapterType[Source] = AdapterType("kubernetes", SourceConfig, open_source, credentials=CREDENTIALS)
