# A test's name is its sentence.
# ruff: noqa: D102
"""ElectorConformance: what every elector promises, as tests. Subclass it (as Test…) and fill in ElectorBench's hooks.

Runs under pytest with pytest-asyncio in its mode `auto`. Every test begins with an election that nobody has won yet: a
fixture's work. An elector that is not `Informed` or `Keeping` has those tests skipped.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from waypost.adapter import AdapterError, Fenced, Informed, Keeping, Lost, Term
from waypost.testing.elector_bench import Candidate, ElectorBench, now
from waypost.testing.tasks import leaves_no_tasks

__all__ = ["ElectorConformance"]


class ElectorConformance(ElectorBench):
    """All tests of an elector."""

    async def test_one_alone_leads_and_its_term_is_prolonged(self) -> None:
        async with self.election("a") as (one,):
            await self.leader()
            heard, term = one.events[0]
            assert isinstance(term, Term)
            assert term.number >= 1
            assert heard < term.until <= heard + self.lease, "the term is over already, or outlasts its lease"
            await asyncio.sleep(self.lease * 1.5)
            assert one.term is not None, f"it was not prolonged: {one}"
            told = [event for _, event in one.events if isinstance(event, Term)]
            assert len(told) == len(one.events), f"lost for no reason: {one}"
            assert {each.number for each in told} == {term.number}, "a prolonged term is the same term"
            assert [each.until for each in told] == sorted(each.until for each in told), "`until` went back"

    async def test_of_several_one_leads(self) -> None:
        async with self.election("a", "b", "c"):
            await self.leader()
            await asyncio.sleep(self.lease * 1.2)
            assert sum(each.term is not None for each in self.candidates) == 1
            self.exclusive()

    async def test_who_is_called_the_same_is_not_the_same(self) -> None:
        async with self.election("a", "a"):
            await self.leader()
            await asyncio.sleep(self.lease * 1.2)
            assert sum(each.term is not None for each in self.candidates) == 1
            self.exclusive()

    async def test_until_counts_from_before_the_request(self) -> None:
        pause = self.lease / 8
        async with self.election("a") as (one,):
            await self.leader()
            await self.slow("a", pause)
            slowed = now()

            def renewed() -> list[tuple[float, Term | Lost]]:
                return [each for each in one.events if each[0] > slowed + self.lease / 2 + pause]

            await self.until(renewed, self.lease * 2, "a renewal by the slow way")
            for heard, event in renewed():
                if isinstance(event, Term):
                    late = event.until - (heard + self.lease - pause)
                    assert late <= 0, f"a term may outlast its lease by {late:.3f} s: {one}"

    async def test_when_it_leaves_another_leads_at_once(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            await self.leave(first)
            second = await self.leader(self.takeover, but=first)
            (*_, (_, last)) = first.events
            assert isinstance(last, Term)
            assert second.events[0][0] < last.until, "it had to wait for the lease's end"
            self.exclusive()

    async def test_a_standby_that_leaves_changes_nothing(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            await self.leave(next(each for each in self.candidates if each is not first))
            await asyncio.sleep(self.lease / 2)
            assert first.term is not None
            assert not any(isinstance(event, Lost) for _, event in first.events)

    async def test_a_leader_that_is_cut_off_ends_by_itself_before_another_leads(self) -> None:
        async with self.election("a", "b", "c"):
            first = await self.leader()
            await self.cut(first.name)
            at = now()
            other = await self.leader(self.takeover, but=first)
            assert max(reign.ended for reign in first.reigns()) <= at + self.lease, "it outlasts its lease"
            self.exclusive()
            await self.until(lambda: isinstance(first.events[-1][1], Lost), self.bound, "it says that its term is lost")
            await self.mend(first.name)
            await asyncio.sleep(self.lease)
            assert first.term is None, "it leads again though another does"
            assert other.term is not None
            self.exclusive()

    async def test_who_was_cut_off_may_lead_again(self) -> None:
        async with self.election("a") as (one,):
            await self.leader()
            before = one.highest
            await self.cut("a")
            await self.until(lambda: one.term is None, self.lease + self.bound, "its term ends")
            await self.mend("a")
            await self.until(lambda: one.term is not None, self.takeover + self.bound, "it leads again")
            assert one.highest > before, "a term that had ended began again"
            self.exclusive()

    async def test_a_mark_that_is_taken_away_is_noticed(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            before = first.highest
            await self.evict()
            await self.until(lambda: any(isinstance(e, Lost) for _, e in first.events), self.bound, "it is told")
            again = await self.leader(self.takeover)
            assert again.highest > before, "the number is an old one"

    async def test_a_system_that_lost_everything_locks_nobody_out(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            before = first.highest
            await asyncio.sleep(self.lease / 2)  # all have heard of it
            await self.forget()
            await self.until(lambda: any(isinstance(e, Lost) for _, e in first.events), self.lease, "it is told")
            await self.until(
                lambda: any(each.term and each.term.number > before for each in self.candidates),
                self.takeover + self.bound,
                "one leads again, with a number above those that were heard of",
            )

    async def test_it_opens_with_the_system_down_and_leads_later(self) -> None:
        await self.cut("a")
        async with self.election("a") as (one,):
            await self.until(lambda: one.errors, self.lease + self.takeover, "it says that it cannot")
            assert not one.events
            await self.mend("a")
            await self.leader(self.takeover + self.bound)
            self.exclusive()

    async def test_called_again_it_goes_on_with_the_term_it_has(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            number = first.highest
            await first.rest()
            first.follow()
            await asyncio.sleep(self.lease * 1.2)
            assert first.term is not None, f"it leads no more: {first}"
            assert first.highest == number, "it won another term while it had one"
            self.exclusive()

    async def test_cancelled_it_ends_soon_and_leaves_no_tasks(self) -> None:
        async with leaves_no_tasks(), self.election("a", "b"):
            await self.leader()
            await asyncio.sleep(0.1)

    async def test_no_secret_is_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        secrets = self.context("a", 1).credentials.secrets()
        if not secrets:
            pytest.skip("this elector is given no credentials")
        caplog.set_level(logging.DEBUG)
        async with self.election("a") as (one,):
            await self.leader()
            await self.cut("a")
            await self.until(lambda: one.term is None, self.lease + self.bound, "its term ends")
            await self.until(lambda: one.errors, self.lease + self.takeover, "it says that it cannot")
            shown = [repr(one.elector), caplog.text, *(f"{each!r} {each.__cause__!r}" for each in one.errors)]
            shown += [repr(event) for _, event in one.events]
            await self.mend("a")
        for secret in secrets:
            assert all(secret not in text for text in shown), "a credential is in a log line, a reason or an error"

    # --- who leads

    async def test_all_know_who_leads(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            other = next(each for each in self.candidates if each is not first)
            for each in (first, other):
                informed = each.elector
                if not isinstance(informed, Informed):
                    pytest.skip("this elector does not say who leads")
                await self.until(informed.leader, self.bound, f"{each.name} knows who leads")
                told = informed.leader()
                assert told is not None
                assert (told.name, told.number) == (first.name, first.highest)

    # --- what is kept beside the lease

    async def _keeping(self, one: Candidate) -> Keeping:
        if not isinstance(one.elector, Keeping):
            pytest.skip("this elector keeps nothing")
        return one.elector

    async def test_what_the_leader_keeps_the_next_one_has(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            keeping = await self._keeping(first)
            assert not await keeping.recall(), "something is kept before anything was"
            large = bytes(range(256)) * (keeping.largest // 256)
            for name, value in (("one", b"1"), ("two", large), ("none", b""), ("one", b"1 again"), ("gone", b"x")):
                await keeping.keep(name, value)
            await keeping.keep("gone", None)
            await keeping.keep("never", None)
            await self.leave(first)
            second = await self.leader(but=first)
            assert await (await self._keeping(second)).recall() == {"one": b"1 again", "two": large, "none": b""}

    async def test_who_does_not_lead_keeps_nothing(self) -> None:
        async with self.election("a", "b"):
            first = await self.leader()
            standby = next(each for each in self.candidates if each is not first)
            keeping = await self._keeping(first)
            await keeping.keep("one", b"1")
            with pytest.raises(Fenced):
                await (await self._keeping(standby)).keep("one", b"2")
            with pytest.raises(Fenced):
                await (await self._keeping(standby)).keep("one", None)
            await self.cut(first.name)
            await self.leader(self.takeover, but=first)
            with pytest.raises(AdapterError):
                await keeping.keep("one", b"3")
            await self.mend(first.name)
            with pytest.raises(AdapterError):
                await keeping.keep("one", b"4")
            assert await (await self._keeping(standby)).recall() == {"one": b"1"}
