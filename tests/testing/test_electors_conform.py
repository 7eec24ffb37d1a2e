"""The elector in memory passes the conformance suite; each broken one fails exactly the tests about its fault."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from waypost.adapter import Elector, Lost, Term
from waypost.kit.election import Taken, Won
from waypost.testing.conformance_elector import ElectorConformance
from waypost.testing.context import TestContext
from waypost.testing.memory_elector import MemoryBallot, MemoryElection, MemoryElector
from waypost.testing.virtual import run, virtual_test

TESTS = [name for name in dir(ElectorConformance) if name.startswith("test_")]


class Bench(ElectorConformance):
    """On the election in memory, with the elector that a subclass names."""

    __test__ = False
    elector: Callable[[MemoryElection, TestContext], Any] = MemoryElector
    credentials: Mapping[str, str] = {"token": "s3cret"}

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryElection(self.lease)

    @asynccontextmanager
    async def open(self, context: TestContext) -> AsyncIterator[Elector]:
        elector = type(self).elector(self.store, context)
        try:
            yield elector
        finally:
            await elector.close()

    async def cut(self, name: str) -> None:
        self.store.cut.add(name)

    async def mend(self, name: str) -> None:
        self.store.cut.discard(name)

    async def slow(self, name: str, seconds: float) -> None:
        self.store.late[name] = seconds

    async def evict(self) -> None:
        self.store.put(None)

    async def forget(self) -> None:
        self.store.forget()


class TestMemoryElector(Bench):
    __test__ = True


for name in TESTS:
    setattr(TestMemoryElector, name, virtual_test(getattr(ElectorConformance, name)))


# --- broken ones


class Eager(MemoryBallot):
    """Wins whoever leads."""

    async def acquire(self, past: int) -> Won | Taken:
        self.election.number = max(self.election.number, past) + 1
        return Won(self.election.number, self.election.seconds)

    async def renew(self, won: Won) -> float | None:
        return self.election.seconds


class Forgetful(MemoryBallot):
    """Counts the terms in the store alone, whatever it forgot."""

    async def acquire(self, past: int) -> Won | Taken:
        return await super().acquire(0)


class Blind(MemoryBallot):
    """Hears of nothing between two renewals, which do not look either."""

    async def stirred(self, won: Won) -> None:
        await asyncio.Event().wait()

    async def renew(self, won: Won) -> float | None:
        await self.reach()
        return self.election.seconds


class Clinging(MemoryBallot):
    """Gives nothing back."""

    async def release(self, won: Won) -> None:
        pass


class Deaf(MemoryBallot):
    """Is not told when the lease is free."""

    async def freed(self, taken: Taken) -> None:
        await asyncio.Event().wait()


class Lending(MemoryBallot):
    """Says that a lease lasts longer than it does."""

    async def renew(self, won: Won) -> float | None:
        seconds = await super().renew(won)
        return None if seconds is None else seconds * 1.3


class Namesake(MemoryBallot):
    """Tells candidates apart by their names."""

    def __init__(self, election: MemoryElection, way: str, holder: str) -> None:
        super().__init__(election, way, way)
        assert holder

    def ours(self, won: Won) -> bool:
        mark = self.election.present()
        return mark is not None and mark.holder == self.holder


def with_ballot(kind: type[MemoryBallot]) -> type[MemoryElector]:
    class Broken(MemoryElector):
        def __init__(self, election: MemoryElection, context: TestContext) -> None:
            super().__init__(election, context)
            self.ballot = self._ballot = kind(election, context.name, self.ballot.holder)

    return Broken


class Late(MemoryElector):
    """Counts the lease from when the answer came."""

    async def terms(self) -> AsyncIterator[Term | Lost]:
        async for event in super().terms():
            if isinstance(event, Term):
                until = self._clock.monotonic() + self._seconds * 0.9
                yield Term(event.number, until)
            else:
                yield event


class Silent(MemoryElector):
    """Does not say that a term was lost."""

    async def terms(self) -> AsyncIterator[Term | Lost]:
        async for event in super().terms():
            if isinstance(event, Term):
                yield event


class Restless(MemoryElector):
    """Campaigns anew each time that it is called."""

    async def terms(self) -> AsyncIterator[Term | Lost]:
        self._won = None
        async for event in super().terms():
            yield event


class Once(MemoryElector):
    """Ends after a term."""

    async def terms(self) -> AsyncIterator[Term | Lost]:
        async for event in super().terms():
            yield event
            if isinstance(event, Lost):
                return


class Careless(MemoryElector):
    """Keeps whatever anybody says."""

    async def keep(self, name: str, value: bytes | None) -> None:
        await self.ballot.reach()
        if value is None:
            self.ballot.election.kept.pop(name, None)
        else:
            self.ballot.election.kept[name] = value


class Leaking(MemoryElector):
    """Leaves a task behind."""

    async def terms(self) -> AsyncIterator[Term | Lost]:
        self.left = asyncio.ensure_future(asyncio.Event().wait())
        async for event in super().terms():
            yield event


class Chatty(MemoryElector):
    """Shows its token."""

    def __init__(self, election: MemoryElection, context: TestContext) -> None:
        super().__init__(election, context)
        self._token = context.credentials.get("token")

    def __repr__(self) -> str:
        return f"Chatty({self._token})"


class Boastful(MemoryElector):
    """Says that it leads itself."""

    def leader(self) -> Any:
        found = super().leader()
        return found and type(found)(self._name, found.number)


BROKEN: dict[str, tuple[Any, set[str]]] = {
    "leads whoever leads": (
        with_ballot(Eager),
        {
            "test_a_leader_that_is_cut_off_ends_by_itself_before_another_leads",
            "test_a_mark_that_is_taken_away_is_noticed",
            "test_a_system_that_lost_everything_locks_nobody_out",
            "test_all_know_who_leads",
            "test_called_again_it_goes_on_with_the_term_it_has",
            "test_it_opens_with_the_system_down_and_leads_later",
            "test_no_secret_is_shown",
            "test_of_several_one_leads",
            "test_until_counts_from_before_the_request",
            "test_what_the_leader_keeps_the_next_one_has",
            "test_when_it_leaves_another_leads_at_once",
            "test_who_does_not_lead_keeps_nothing",
            "test_who_is_called_the_same_is_not_the_same",
            "test_who_was_cut_off_may_lead_again",
        },
    ),
    "counts in the store alone": (with_ballot(Forgetful), {"test_a_system_that_lost_everything_locks_nobody_out"}),
    "does not look": (
        with_ballot(Blind),
        {
            "test_a_leader_that_is_cut_off_ends_by_itself_before_another_leads",
            "test_a_mark_that_is_taken_away_is_noticed",
            "test_a_system_that_lost_everything_locks_nobody_out",
            "test_called_again_it_goes_on_with_the_term_it_has",
            "test_of_several_one_leads",
            "test_until_counts_from_before_the_request",
            "test_who_is_called_the_same_is_not_the_same",
        },
    ),
    "gives nothing back": (with_ballot(Clinging), {"test_when_it_leaves_another_leads_at_once"}),
    "does not hear when the lease is free": (with_ballot(Deaf), {"test_when_it_leaves_another_leads_at_once"}),
    "says that a lease lasts longer": (with_ballot(Lending), {"test_until_counts_from_before_the_request"}),
    "tells candidates apart by their names": (with_ballot(Namesake), {"test_who_is_called_the_same_is_not_the_same"}),
    "counts from the answer": (Late, {"test_until_counts_from_before_the_request"}),
    "does not say that a term is lost": (
        Silent,
        {
            "test_a_leader_that_is_cut_off_ends_by_itself_before_another_leads",
            "test_a_mark_that_is_taken_away_is_noticed",
            "test_a_system_that_lost_everything_locks_nobody_out",
        },
    ),
    "campaigns anew each time": (Restless, {"test_called_again_it_goes_on_with_the_term_it_has"}),
    "ends after a term": (
        Once,
        {"test_a_leader_that_is_cut_off_ends_by_itself_before_another_leads", "test_who_was_cut_off_may_lead_again"},
    ),
    "keeps what anybody says": (Careless, {"test_who_does_not_lead_keeps_nothing"}),
    "leaves a task behind": (Leaking, {"test_cancelled_it_ends_soon_and_leaves_no_tasks"}),
    "shows its token": (Chatty, {"test_no_secret_is_shown"}),
    "says that it leads itself": (Boastful, {"test_all_know_who_leads"}),
}


def failing(elector: Any, folder: Path, caplog: pytest.LogCaptureFixture) -> set[str]:
    """Run all tests against an elector; return the names of those that fail."""
    kind = type("Broken", (Bench,), {"elector": elector})
    failed = set()
    for name in TESTS:
        bench = kind()
        bench._state, bench.candidates, bench._present = folder, [], {}
        bench.store = MemoryElection(bench.lease)
        test = getattr(bench, name)
        more = {"caplog": caplog} if "caplog" in inspect.signature(test).parameters else {}
        try:
            run(test(**more), seconds=1000.0)
        except pytest.skip.Exception:
            pass
        except BaseException:  # noqa: BLE001 - a failure of whatever kind is what is looked for
            failed.add(name)
    return failed


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_elector_fails_exactly_the_tests_about_its_fault(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elector, expected = BROKEN[what]
    assert failing(elector, tmp_path, caplog) == expected
