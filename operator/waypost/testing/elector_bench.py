"""What the tests of ElectorConformance stand on: hooks that a subclass fills in, candidates whose events are kept.

Everything is measured by the running loop's own clock, which all candidates of a test share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from waypost.adapter import AdapterError, Elector, Lost, Term
from waypost.testing.context import TestContext
from waypost.testing.tasks import ends

__all__ = ["Candidate", "ElectorBench", "Reign"]

AGAIN_SECONDS = 0.1
LOOK_SECONDS = 0.01


def now() -> float:
    """Return the running loop's seconds."""
    return asyncio.get_running_loop().time()


class Reign(msgspec.Struct):
    """How long one candidate believed in one term."""

    name: str
    number: int
    began: float
    ended: float


class Candidate:
    """An opened elector whose terms are followed, again when it raises, as Waypost does."""

    def __init__(self, name: str, elector: Elector) -> None:
        self.name = name
        self.elector = elector
        self.events: list[tuple[float, Term | Lost]] = []
        self.errors: list[Exception] = []
        self.left: float | None = None  # when it began to leave
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"{self.name}: {self.events[-4:]} {self.errors[-1:]}"

    def follow(self) -> None:
        """Begin to follow the terms."""
        self._task = asyncio.create_task(self._run(), name=f"candidate {self.name}")

    async def rest(self) -> None:
        """Follow the terms no more, until `follow` is called again."""
        if self._task is not None:
            await ends(self._task, 5.0)

    async def _run(self) -> None:
        while True:
            try:
                async with aclosing(self.elector.terms()) as terms:  # type: ignore[type-var]  # all are generators
                    async for event in terms:
                        self.events.append((now(), event))
                self.errors.append(RuntimeError("the terms ended, which they must not"))
            except Exception as error:  # noqa: BLE001 - whatever it raises is looked at by a test
                self.errors.append(error)
            await asyncio.sleep(AGAIN_SECONDS)

    @property
    def term(self) -> Term | None:
        """The term that it has now."""
        event = self.events[-1][1] if self.events and self.left is None else None
        return event if isinstance(event, Term) and now() < event.until else None

    @property
    def highest(self) -> int:
        """The highest number that it ever had, 0 before the first."""
        return max((event.number for _, event in self.events if isinstance(event, Term)), default=0)

    def reigns(self) -> list[Reign]:
        """Return the stretches of time in which it believed that it leads."""
        found: list[Reign] = []
        for heard, event in self.events:
            last = found[-1] if found else None
            if isinstance(event, Lost):
                if last is not None:
                    last.ended = min(last.ended, heard)
            elif last is not None and last.number == event.number and heard <= last.ended:
                last.ended = event.until
            else:
                found.append(Reign(self.name, event.number, heard, event.until))
        if found and self.left is not None:
            found[-1].ended = min(found[-1].ended, self.left)
        return found


class ElectorBench:
    """Hooks to fill in: `open`, `cut`, `mend`, `slow`, `evict`, `forget`; and how long things take there.

    Each candidate reaches the system by a way of its own, which bears its context's name.
    """

    lease = 3.0  # seconds that a lease lasts at most after the request for it
    takeover = 6.0  # seconds within which another leads, after the leader vanished without a word
    bound = 3.0  # seconds within which what happens in the system is noticed: a lease given back or taken away
    credentials: Mapping[str, str] = {}  # none of it may ever be shown

    # --- hooks

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Elector]:
        """Return the opened elector, as its AdapterType's `open` does; all are candidates of one election."""
        raise NotImplementedError

    async def cut(self, name: str) -> None:
        """Let the candidate of that name reach the system no more: what it sends is lost without a word."""
        raise NotImplementedError

    async def mend(self, name: str) -> None:
        """Let it reach the system again."""
        raise NotImplementedError

    async def slow(self, name: str, seconds: float) -> None:
        """Let each of its answers come so much later, from now on."""
        raise NotImplementedError

    async def evict(self) -> None:
        """Take the leader's mark away in the system, as a person would by hand."""
        raise NotImplementedError

    async def forget(self) -> None:
        """Let the system lose all that it knows of this election."""
        raise NotImplementedError

    # --- how the tests drive it

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._state = tmp_path
        self.candidates: list[Candidate] = []
        self._present: dict[Candidate, AsyncExitStack] = {}

    def context(self, name: str, seed: int) -> TestContext:
        """Return the context of one candidate."""
        return TestContext(self._state, name=name, seed=seed, credentials=self.credentials)

    @asynccontextmanager
    async def election(self, *names: str) -> AsyncIterator[list[Candidate]]:
        """Have these candidates join, one after the other; at the end all leave that have not."""
        self.candidates = []
        try:
            for name in names:
                await self.join(name)
            yield self.candidates
        finally:
            for each in list(self._present):
                await self.leave(each)

    async def join(self, name: str) -> Candidate:
        """Open one more elector and follow its terms."""
        stack = AsyncExitStack()
        elector = await stack.enter_async_context(self.open(self.context(name, 1000 + len(self.candidates))))
        made = Candidate(name, elector)
        self.candidates.append(made)
        self._present[made] = stack
        made.follow()
        return made

    async def leave(self, candidate: Candidate) -> None:
        """End it in order: it gives back what it holds."""
        stack = self._present.pop(candidate)
        candidate.left = now()
        await candidate.rest()
        await stack.aclose()

    async def until(self, holds: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until it holds. Raises AssertionError that says what was waited for."""
        end = now() + seconds
        while not holds():
            assert now() < end, f"not within {seconds:g} s: {what}; {self.candidates}"
            await asyncio.sleep(LOOK_SECONDS)

    async def leader(self, seconds: float | None = None, *, but: Candidate | None = None) -> Candidate:
        """Wait until one leads, other than `but`, and return it."""

        def leading() -> list[Candidate]:
            return [each for each in self.candidates if each is not but and each.term is not None]

        await self.until(leading, self.bound if seconds is None else seconds, "somebody leads")
        return leading()[0]

    def exclusive(self, *, numbered: bool = True) -> None:
        """Check that never two led at once and, if `numbered`, that each term's number is above the one before."""
        reigns = sorted((reign for each in self.candidates for reign in each.reigns()), key=lambda reign: reign.began)
        for former, later in pairwise(reigns):
            assert former.ended <= later.began, f"two lead at once: {former}, {later}"
            if numbered:
                assert former.number < later.number, f"numbers do not grow: {former}, {later}"
        strange = [error for each in self.candidates for error in each.errors if not isinstance(error, AdapterError)]
        assert not strange, f"raised what is no AdapterError: {strange!r}"
