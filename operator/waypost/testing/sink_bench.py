"""What the tests of SinkConformance stand on: the hooks that a subclass fills in, and steps that many tests take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost.adapter import Change, Fence, Observed, Outcome, Record, Sink
from waypost.model import Publication, PublishedInstance
from waypost.testing import rendering
from waypost.testing.context import TestContext

__all__ = ["Claimed", "SinkBench"]


class Claimed(msgspec.Struct):
    """An opened sink and the fence that it got; None where it cannot be fenced."""

    sink: Sink
    fence: Fence | None

    async def apply(self, *changes: Change) -> Mapping[str, Outcome]:
        """Apply one batch."""
        return await self.sink.apply(changes, self.fence)

    async def put(self, *records: Record, create: bool = True) -> None:
        """Write records in batches as the limits want them. Raises AssertionError unless all are applied."""
        for batch in _batches(records, self.sink):
            outcomes = await self.sink.apply([Change(record.key, record, create) for record in batch], self.fence)
            others = {key: outcome for key, outcome in outcomes.items() if outcome.status != "applied"}
            assert not others, f"not applied: {others}"

    async def observed(self, keys: Collection[str] | None = None) -> dict[str, Observed]:
        """Return what the sink observes, by key. Raises AssertionError where a key comes twice."""
        found: dict[str, Observed] = {}
        async for each in self.sink.observe(keys):
            assert each.key not in found, f"observed twice: {each.key}"
            found[each.key] = each
        return found


def _batches(records: Sequence[Record], sink: Sink) -> list[list[Record]]:
    batches: list[list[Record]] = [[]]
    size = 0
    for record in records:
        size += len(record.content)
        if batches[-1] and (len(batches[-1]) >= sink.limits.records or size > sink.limits.bytes):
            batches.append([])
            size = len(record.content)
        batches[-1].append(record)
    return [batch for batch in batches if batch]


class SinkBench:
    """Hooks to fill in: `adapter` and `config` (or `open`), `foreign`, `read`, `outage`; the rest has defaults.

    `foreign`, `read`, `outage`, `lose_stamp` and `stall` act on the real target by another client, never through the
    sink. Every test begins with an empty target (a prefix of its own, a new server): let a fixture see to it.
    """

    adapter = ""  # where the AdapterType is: "package.module:SINK"
    fenced = True  # False where the target cannot compare a fence in the write: `claim` returns None
    together = False  # True where all under one name is one owner's as a whole, or somebody else's
    stalls = False  # True where `stall` is filled in
    bound = 10.0  # seconds within which a call returns, and `drift` marks
    timeout = 60.0  # seconds after which a call to a stalled target must have given up
    many = 1000  # records of the test with many
    credentials: Mapping[str, str] = {}  # what the sink needs to get in; none of it may ever be shown

    # --- hooks

    def config(self) -> Mapping[str, Any]:
        """Return the config as a manifest would give it (camelCase names, plain values)."""
        return {}

    def options(self) -> object:
        """Return an instance of the adapter's Options for all publications, or None."""
        return None

    def name(self, stem: str) -> str:
        """Return a name that can be published here; `stem` is lower-case letters, digits and hyphens."""
        return stem

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Sink]:
        """Return the opened sink; called any number of times, for several owners, on the same target."""
        found = rendering.find(self.adapter)
        opened: AbstractAsyncContextManager[Sink] = found.open(msgspec.convert(self.config(), found.config), context)
        return opened

    async def foreign(self, key: str) -> None:
        """Write, at the place that the sink uses for this key, something that does not say whose it is."""
        raise NotImplementedError

    async def read(self, key: str) -> bytes | None:
        """Return what is kept for this key, in any form that shows each difference; None where nothing is."""
        raise NotImplementedError

    def outage(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the target cannot be reached, and keeps its data."""
        raise NotImplementedError

    async def lose_stamp(self) -> None:
        """Delete the stamps of all owners. Needed where `fenced`."""
        raise NotImplementedError

    def stall(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the target takes requests but does not answer. Needed where `stalls`."""
        raise NotImplementedError

    # --- steps

    @pytest.fixture(autouse=True)
    def _state(self, tmp_path: Path) -> None:
        self._folder = tmp_path
        self.contexts: list[TestContext] = []

    def context(self, owner: str = "owner-a", environment: str = "test") -> TestContext:
        """Return a new Context, with a state folder of its own for each call."""
        folder = self._folder / f"{owner}-{len(self.contexts)}"
        folder.mkdir(mode=0o700)
        context = TestContext(
            folder, name="conformance", owner=owner, environment=environment, credentials=self.credentials
        )
        self.contexts.append(context)
        return context

    @asynccontextmanager
    async def claimed(self, *owners: str) -> AsyncIterator[list[Claimed]]:
        """Open and claim a sink for each owner, of environment `test`."""
        async with AsyncExitStack() as stack:
            result = []
            for owner in owners:
                sink = await stack.enter_async_context(self.open(self.context(owner)))
                result.append(Claimed(sink, await self.claim(sink, owner)))
            yield result

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Claimed]:
        """Open and claim one sink."""
        async with self.claimed("owner-a") as (claimed,):
            yield claimed

    async def claim(self, sink: Sink, owner: str = "owner-a", past: int = 0) -> Fence | None:
        """Claim, and see that the answer agrees with `fenced`."""
        async with asyncio.timeout(self.bound):
            fence = await sink.claim("test", owner, past)
        assert (fence is not None) == self.fenced, f"`fenced` is {self.fenced}, claim gave {fence}"
        return fence

    def publication(
        self, *stems: str, owner: str = "owner-a", entry: str = "main", service: str = "web"
    ) -> Publication:
        """Return a publication under names made of the stems."""
        names = [self.name(stem) for stem in stems]
        return rendering.publication(names, owner=owner, entry=entry, service=service, options=self.options())

    def records(
        self, sink: Sink, *instances: PublishedInstance, stem: str = "web", owner: str = "owner-a"
    ) -> list[Record]:
        """Return the records of instances of one publication."""
        return rendering.records(sink, self.publication(stem, owner=owner), instances)

    def record(self, sink: Sink, id: str = "i-1", stem: str = "web", owner: str = "owner-a", **fields: Any) -> Record:
        """Return one record."""
        (record,) = self.records(sink, rendering.instance(id, **fields), stem=stem, owner=owner)
        return record

    def apart(self, stem: str) -> str:
        """Return the stem for a record beside one that is not ours: the same, unless they cannot share a name."""
        return stem if self.together else "web"

    def skip_unless_fenced(self) -> None:
        """Skip the test for a sink whose target cannot compare fences."""
        if not self.fenced:
            pytest.skip("this sink's target cannot fence writes")
