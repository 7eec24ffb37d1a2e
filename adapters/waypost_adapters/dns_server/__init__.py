"""The sink `dns_server`: an authoritative DNS server of Waypost's own. See README.md beside this file."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from waypost.adapter import AdapterType, Context, Sink
from waypost_adapters.dns_server.config import Config

__all__ = ["SINK"]


def _open(config: Config, context: Context) -> AbstractAsyncContextManager[Sink]:
    from waypost_adapters.dns_server.sink import open_sink  # noqa: PLC0415 - the DNS process passes through here and starts fast

    return open_sink(config, context)


SINK: AdapterType[Sink] = AdapterType("dns_server", Config, _open)
