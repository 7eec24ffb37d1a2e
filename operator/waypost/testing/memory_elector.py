# ruff: noqa: D102 - what `Ballot` says of its methods
"""An election in memory: one store that several candidates share, from which each may be cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from waypost.adapter import AdapterError, AdapterType, Context, Elector, Fenced, Leader
from waypost.kit.election import Election, Taken, Won
from waypost.testing.context import Signal

__all__ = ["MemoryBallot", "MemoryElection", "MemoryElector", "MemoryElectorConfig"]


class _Mark(msgspec.Struct, frozen=True):
    holder: str
    name: str
    number: int


class MemoryElection:
    """What all candidates see. Its time is the running loop's."""

    def __init__(self, seconds: float = 3.0) -> None:
        """`seconds` is a lease's length."""
        self.seconds = seconds
        self.mark: _Mark | None = None
        self.ends = 0.0
        self.number = 0
        self.kept: dict[str, bytes] = {}
        self.changed = Signal()
        self.cut: set[str] = set()
        self.late: dict[str, float] = {}

    def present(self) -> _Mark | None:
        """Return the mark of who leads, if its lease has not run out."""
        return self.mark if asyncio.get_running_loop().time() < self.ends else None

    def put(self, mark: _Mark | None) -> None:
        """Set the mark, with a whole lease before it."""
        self.mark, self.ends = mark, asyncio.get_running_loop().time() + self.seconds
        self.changed.give()

    def forget(self) -> None:
        """Lose everything."""
        self.number = 0
        self.kept.clear()
        self.put(None)


class MemoryBallot:
    """Implements `waypost.kit.election.Ballot`; `way` is the name under which it can be cut off."""

    def __init__(self, election: MemoryElection, way: str, holder: str) -> None:
        self.election = election
        self.holder = holder
        self.way = way

    async def reach(self) -> None:
        """Go to the store: at once, late, or not at all within a second."""
        if self.way in self.election.cut:
            await asyncio.sleep(1.0)
            raise AdapterError("no answer in time")
        await asyncio.sleep(0)

    async def answered(self) -> None:
        """Come back from there."""
        await asyncio.sleep(self.election.late.get(self.way, 0.0))

    async def acquire(self, past: int) -> Won | Taken:
        await self.reach()
        election, mark = self.election, self.election.present()
        if mark is not None and mark.holder != self.holder:
            await self.answered()
            return Taken(Leader(mark.name, mark.number))
        election.number = max(election.number, past) + 1
        won = Won(election.number, election.seconds)
        election.put(_Mark(self.holder, self.way, won.number))
        await self.answered()
        return won

    def ours(self, won: Won) -> bool:
        """Say whether that term's mark stands."""
        mark = self.election.present()
        return mark is not None and (mark.holder, mark.number) == (self.holder, won.number)

    async def renew(self, won: Won) -> float | None:
        await self.reach()
        ours = self.ours(won)
        if ours:
            self.election.ends = asyncio.get_running_loop().time() + self.election.seconds
        await self.answered()
        return self.election.seconds if ours else None

    async def release(self, won: Won) -> None:
        await self.reach()
        if self.ours(won):
            self.election.put(None)

    async def freed(self, taken: Taken) -> None:
        waits = max(0.0, self.election.ends - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(waits):
                await self.election.changed.wait()
        except TimeoutError:
            pass

    async def stirred(self, won: Won) -> None:
        await self.election.changed.wait()


class MemoryElector(Election):
    """An elector that keeps, too."""

    largest = 1 << 16

    def __init__(self, election: MemoryElection, context: Context) -> None:
        self.ballot = MemoryBallot(election, context.name, f"{context.random.getrandbits(64):016x}")
        super().__init__(self.ballot, context.clock, name=context.name, seconds=election.seconds)

    async def recall(self) -> Mapping[str, bytes]:
        """See `waypost.adapter.Keeping`."""
        await self.ballot.reach()
        return dict(self.ballot.election.kept)

    async def keep(self, name: str, value: bytes | None) -> None:
        """See `waypost.adapter.Keeping`."""
        await self.ballot.reach()
        if (won := self.held) is None or not self.ballot.ours(won):
            raise Fenced("another one leads")
        if value is None:
            self.ballot.election.kept.pop(name, None)
        else:
            self.ballot.election.kept[name] = value


class MemoryElectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`seconds` is a lease's length."""

    seconds: float = 3.0


@asynccontextmanager
async def _open(config: MemoryElectorConfig, context: Context) -> AsyncIterator[Elector]:
    elector = MemoryElector(MemoryElection(config.seconds), context)
    try:
        yield elector
    finally:
        await elector.close()


ELECTOR: AdapterType[Elector] = AdapterType("memory", MemoryElectorConfig, _open)
