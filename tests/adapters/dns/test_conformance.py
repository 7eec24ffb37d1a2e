"""The sink on a real BIND and on a real Knot passes what every sink promises."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.outages import paused, stopped
from testbed.servers import Bind, Knot, NameServer
from waypost.testing.conformance_sink import SinkConformance

ZONE = "prod.example.com"
numbers = itertools.count()


class OnServer(SinkConformance):
    adapter = "waypost_adapters.dns:SINK"
    stalls = True
    server: NameServer
    bound = 20.0

    def config(self) -> Mapping[str, Any]:
        return {"server": self.server.address, "zone": ZONE, "timeoutSeconds": 5, "pollSeconds": 1}

    def _own(self, key: str) -> str:
        name, _, digest = key.rpartition("/")
        return f"i-{digest}.{name}"

    async def foreign(self, key: str) -> None:
        own = self._own(key)
        await self.server.update(f'{own} 60 TXT "by hand"', f"{own} 60 A 10.9.9.9", delete=[own])

    async def read(self, key: str) -> bytes | None:
        own = f"{self._own(key)}.{ZONE}."
        texts, addresses = await self.server.ask(own, "TXT"), await self.server.ask(own, "A")
        return repr((texts, addresses)).encode() if texts or addresses else None

    def outage(self) -> AbstractAsyncContextManager[None]:
        return stopped(self.server)

    def stall(self) -> AbstractAsyncContextManager[None]:
        return paused(self.server)

    async def lose_stamp(self) -> None:
        names = {name for name, kind in await self.server.zone() if kind == "TXT" and name.endswith("_waypost")}
        await self.server.update(delete=[f"{name} TXT" for name in names])

    @asynccontextmanager
    async def on(self, server: NameServer) -> AsyncIterator[None]:
        self.server = server
        self.credentials = {"tsigKey": server.key}
        async with server:
            yield


@pytest.mark.server("bind")
class TestBind(OnServer):
    @pytest.fixture(autouse=True)
    async def _on(self, tmp_path: Path) -> AsyncIterator[None]:
        async with self.on(Bind(tmp_path / "named")):
            yield


@pytest.mark.server("knot")
class TestKnot(OnServer):
    @pytest.fixture(autouse=True)
    async def _on(self, tmp_path: Path) -> AsyncIterator[None]:
        async with self.on(Knot(tmp_path / "knotd")):
            yield
