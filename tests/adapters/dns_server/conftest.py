"""A DNS server of ours, opened for a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.adapters.dns_server.asking import Opened, Server
from waypost.adapter import Fence
from waypost.testing.context import TestContext
from waypost_adapters.dns_server.config import Config
from waypost_adapters.dns_server.sink import open_sink


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Open the server on one state folder, any number of times."""

    @asynccontextmanager
    async def opened(
        *, claim: bool = True, listen: str = "127.0.0.1:0", owner: str = "owner-a"
    ) -> AsyncIterator[Server]:
        context = TestContext(tmp_path, name="dns", owner=owner, environment="prod")
        async with open_sink(Config(listen=listen), context) as sink:
            fence = await sink.claim("prod", owner) if claim else None
            async with asyncio.timeout(20):
                await sink.feed.loaded.wait()
            yield Server(sink, fence or Fence(0))

    return opened
