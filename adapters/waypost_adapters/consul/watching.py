"""Notices what others change on our nodes: a blocking query a node, whose answer is empty but for Consul's index.

When a node has changed it is read whole and compared with the last reading; what our own transactions did is left out.
How often that may happen grows with what is registered, so that our own writes cost little to look at.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

from waypost.adapter import AdapterError, Clock, Mark
from waypost_adapters.consul.catalog import Catalog, index_of
from waypost_adapters.consul.client import Client
from waypost_adapters.consul.wire import Transaction

__all__ = ["Own", "Watching"]

WAIT_SECONDS = 300  # Consul adds up to a sixteenth
PAUSE_SECONDS = 0.5  # between two readings of a node, at least
PAUSE_PER_RECORD = 2e-4  # seconds, for each record on all our nodes: at most some 5,000 are decoded a second
PAUSE_AT_MOST = 60.0
OWN_AT_MOST = 8192


class Own:
    """Remembers what our own transactions did, as far back as it is likely to be seen again."""

    def __init__(self) -> None:
        self._indexes: set[int] = set()
        self._order: deque[int] = deque()
        self._gone: dict[str, None] = {}

    def note(self, answer: Transaction, gone: set[str]) -> None:
        """Note a transaction's index (all that it changed has that one), and the keys that it deleted."""
        index = max((result.service.modify_index for result in answer.results or () if result.service), default=0)
        if index and index not in self._indexes:
            self._indexes.add(index)
            self._order.append(index)
            if len(self._order) > OWN_AT_MOST:
                self._indexes.discard(self._order.popleft())
        for key in gone:
            self._gone[key] = None
        while len(self._gone) > OWN_AT_MOST:
            del self._gone[next(iter(self._gone))]

    def wrote(self, index: int) -> bool:
        """Say whether a record of that index was last written by us."""
        return index in self._indexes

    def deleted(self, key: str) -> bool:
        """Say, once, whether we deleted it."""
        return self._gone.pop(key, self) is None


class Watching:
    """Watches our nodes."""

    def __init__(self, client: Client, catalog: Catalog, own: Own, clock: Clock, chance: random.Random) -> None:
        self._client = client
        self._catalog = catalog
        self._own = own
        self._clock = clock
        self._random = chance
        self._reading = asyncio.Semaphore(2)  # a node's answer can be a megabyte

    async def drift(self, mark: Mark) -> None:
        """Mark what others change, until cancelled. Raises AdapterError."""
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._catalog.nodes:
                    group.create_task(self._follow(node, mark))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _follow(self, node: str, mark: Mark) -> None:
        index = 0  # the first answer comes at once; an index kept from before may be that of a state that was lost
        while True:
            before = self._catalog.baselines.get(node)
            now = await self._next(node, index)
            if now == index or (index == 0 and (before is None or now == before.index)):
                index = now
                continue
            await self._clock.sleep(self._random.uniform(0.01, 0.05))  # our own writes get to know their index
            async with self._reading:
                keys, size, index = await self._compare(node)
            if keys is None or keys:
                mark(keys)
            pause = max(PAUSE_SECONDS, size * len(self._catalog.nodes) * PAUSE_PER_RECORD)
            await self._clock.sleep(min(pause, PAUSE_AT_MOST) * self._random.uniform(0.8, 1.2))

    async def _next(self, node: str, index: int) -> int:
        """Return Consul's index once it is another one, or after the wait; with index 0 at once."""
        wait = self._random.uniform(0.5, 1) * WAIT_SECONDS
        response = await self._client.read(
            self._catalog.path(node),
            seconds=wait * 17 / 16 + 15,
            filter='ID == ""',
            index=str(index),
            wait=f"{wait:.0f}s",
        )
        now = index_of(response) if response is not None else 0
        if now == 0:
            raise AdapterError("Consul answered a blocking query without an index")
        return now

    async def _compare(self, node: str) -> tuple[set[str] | None, int, int]:
        """Return the keys that others changed (None: any), how many records there are, and the index."""
        before = self._catalog.baselines.get(node)
        entries, index = await self._catalog.services(node)
        if before is None:
            return None, len(entries), index
        known = before.unpacked()
        since = before.index if index >= before.index else 0
        changed = {
            entry.id for entry in entries if entry.modify_index > since and not self._own.wrote(entry.modify_index)
        }
        prefix = f"{node}/"
        lost = {
            ident for ident in known.difference(entry.id for entry in entries) if not self._own.deleted(prefix + ident)
        }
        return {prefix + ident for ident in changed | lost}, len(entries), index
