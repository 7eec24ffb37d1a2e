"""Which term this process holds: leases run out unheard, electors fail, and a term is won once."""

import asyncio
import random
from collections.abc import AsyncIterator

from waypost.adapter import AdapterError, Lost, Term
from waypost.engine.leadership import Leadership
from waypost.testing.memory import ScriptedElector
from waypost.testing.virtual import VirtualClock, virtual_test


@virtual_test
async def test_without_an_elector_life_is_one_term() -> None:
    leadership = Leadership(None, VirtualClock(), random.Random(0))
    assert leadership.leads()
    assert (await leadership.won()).number == 1
    for waits in (leadership.won(1), leadership.ended(1), leadership.run()):
        task = asyncio.ensure_future(waits)
        await asyncio.sleep(10_000)
        assert not task.done()
        task.cancel()


@virtual_test
async def test_a_term_holds_as_long_as_its_lease_whether_or_not_anything_is_heard() -> None:
    clock = VirtualClock()
    elector = ScriptedElector(clock)
    leadership = Leadership(elector, clock, random.Random(0))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(leadership.run())
        assert not leadership.leads()
        elector.win(10)
        assert (await leadership.won()).number == 1
        ended = group.create_task(leadership.ended(1))
        await asyncio.sleep(9)
        elector.prolong(10)
        await asyncio.sleep(9)
        assert leadership.leads()
        assert not ended.done()
        await asyncio.sleep(1)
        assert not leadership.leads()
        assert leadership.term is None
        await asyncio.sleep(0)
        assert ended.done()
        again = group.create_task(leadership.won(1))
        elector.prolong(10)
        await asyncio.sleep(1)
        assert leadership.leads()
        assert not again.done(), "the same term is no new one"
        elector.win(10)
        assert (await again).number == 2
        await leadership.ended(1)
        late = group.create_task(leadership.ended(2))
        elector.lose()
        await late
        assert not leadership.leads()
        running.cancel()


class Fails:
    """An elector that wins, then fails in a way of its own each time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked = 0

    async def terms(self) -> AsyncIterator[Term | Lost]:
        self.asked += 1
        if self.asked == 1:
            yield Term(1, self.clock.monotonic() + 20)
            raise AdapterError("down")
        if self.asked == 2:
            raise RuntimeError("a bug")
        if self.asked < 50:
            return
        yield Term(2, self.clock.monotonic() + 1e9)
        await asyncio.Event().wait()


@virtual_test
async def test_a_failing_elector_is_asked_again_with_backoff_and_its_lease_runs_out_by_itself() -> None:
    clock = VirtualClock()
    elector = Fails(clock)
    leadership = Leadership(elector, clock, random.Random(0))
    task = asyncio.ensure_future(leadership.run())
    await asyncio.sleep(19)
    assert leadership.leads()
    assert 2 < elector.asked < 30
    await asyncio.sleep(2)
    assert not leadership.leads()
    assert (await leadership.won(1)).number == 2
    assert clock.monotonic() > 60, "it does not ask without a pause"
    task.cancel()


@virtual_test
async def test_nobody_hears_of_a_term_before_what_a_leader_must_know_is_known() -> None:
    clock, known, asked = VirtualClock(), asyncio.Event(), []
    elector = ScriptedElector(clock)

    async def prepare(term: Term) -> None:
        asked.append(term.number)
        if len(asked) == 1:
            raise AdapterError("down")
        await known.wait()

    leadership = Leadership(elector, clock, random.Random(0), prepare=prepare)
    task = asyncio.ensure_future(leadership.run())
    elector.win(1000)
    await asyncio.sleep(20)
    assert not leadership.leads()
    assert leadership.problem == "down"
    elector.prolong(1000)
    await asyncio.sleep(20)
    assert asked == [1, 1]
    assert not leadership.leads()
    known.set()
    await asyncio.sleep(1)
    assert leadership.leads()
    elector.prolong(1000)
    await asyncio.sleep(1)
    assert asked == [1, 1], "once a term"
    task.cancel()


@virtual_test
async def test_what_cannot_be_known_in_time_is_no_term() -> None:
    clock = VirtualClock()
    elector = ScriptedElector(clock)

    async def prepare(_: Term) -> None:
        await asyncio.Event().wait()

    leadership = Leadership(elector, clock, random.Random(0), prepare=prepare)
    task = asyncio.ensure_future(leadership.run())
    elector.win(10)
    await asyncio.sleep(6)
    assert "in time" in leadership.problem
    assert not leadership.leads()
    task.cancel()
