"""The registry keeps what every sink promises."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from typing import Any

from waypost.adapter import Sink
from waypost.testing.conformance_sink import SinkConformance
from waypost.testing.context import TestContext


class TestRegistrySink(SinkConformance):
    adapter = "waypost_adapters.registry:SINK"
    bound = 20.0

    def config(self) -> Mapping[str, Any]:
        return {"listen": "127.0.0.1:0"}

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Sink]:
        context.state_dir = self._folder  # one target for all: one file
        return super().open(context)

    async def foreign(self, key: str) -> None:
        with self._other() as other:
            other.execute("INSERT INTO record (key, owner, name, content) VALUES (?, '', '', ?)", (key, b"not ours"))

    async def read(self, key: str) -> bytes | None:
        with self._other() as other:
            row = other.execute("SELECT content FROM record WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    async def lose_stamp(self) -> None:
        with self._other() as other:
            other.execute("DELETE FROM stamp")

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        with self._other() as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    @contextmanager
    def _other(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._folder / "published.db", timeout=5.0, isolation_level=None)) as other:
            yield other
