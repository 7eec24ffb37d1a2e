"""Telling our own writes from others' in a watch, by the revisions that our transactions made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from waypost.kit.etcd import rpc_pb2 as rpc

__all__ = ["OwnWrites"]

MOST = 10_000  # revisions; beyond, our own writes are shown as others', which costs a look and loses nothing


class OwnWrites:
    """Revisions made by this sink while somebody watches."""

    def __init__(self) -> None:
        self.watched = False
        self._made: set[int] = set()
        self._open: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Hold while a transaction is under way: its events may come before its answer."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(ended)
        try:
            yield
        finally:
            self._open.discard(ended)
            ended.set_result(None)

    def made(self, revision: int) -> None:
        """Note that this revision is ours."""
        if self.watched:
            if len(self._made) >= MOST:
                self._made.clear()
            self._made.add(revision)

    async def others(self, events: Iterable[rpc.Event], next: int) -> set[bytes]:
        """Return the keys of the events that are not ours; `next` is where the watch goes on.

        Waits for the transactions that are under way, each of which ends within its time-out.
        """
        keys = {event.kv.key for event in events if event.kv.mod_revision not in self._made}
        if keys and self._open:
            await asyncio.wait(list(self._open))
            keys = {event.kv.key for event in events if event.kv.mod_revision not in self._made}
        self._made = {revision for revision in self._made if revision >= next}
        return keys
