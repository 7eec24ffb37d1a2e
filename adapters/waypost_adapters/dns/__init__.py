"""The sink `dns`: records in the zones of somebody's authoritative server, by RFC 2136. README.md beside it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waypost.adapter import AdapterType, Context, PermanentError, Sink
from waypost_adapters.dns.config import Config, Options

__all__ = ["SINK"]


@asynccontextmanager
async def open_sink(config: Config, context: Context) -> AsyncIterator[Sink]:
    """Open the sink; connects when it is first used. Raises PermanentError where the extra is not installed."""
    try:
        from waypost_adapters.dns.sink import DnsSink  # noqa: PLC0415 - dnspython is loaded by those who use it only
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "dns":
            raise
        raise PermanentError(
            "the sink type `dns` needs dnspython, which is missing: pip install 'waypost[dns]'"
        ) from None
    async with DnsSink.opened(config, context) as sink:
        yield sink


SINK: AdapterType[Sink] = AdapterType(
    "dns", Config, open_sink, Options, credentials=("tsigKey",), releases=True, adopts=True
)
