"""What a leader was told, the next one knows: budgets, decisions, paused sinks, releases, kept beside the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.rig import Rig, registration, service
from waypost.adapter import AdapterError, Fenced, PermanentError
from waypost.engine.beside import Beside
from waypost.engine.releases import Release
from waypost.testing.context import TestContext
from waypost.testing.memory import ScriptedElector
from waypost.testing.memory_elector import MemoryElection, MemoryElector
from waypost.testing.virtual import virtual_test

NAMES = [f"i{n:03}" for n in range(100)]


class Pair:
    """Two engines of one installation, with one election; the first leads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.election = MemoryElection()
        self.one, self.two = Rig(folder / "1"), Rig(folder / "2")
        self.two.targets, self.two.memory = self.one.targets, self.one.memory
        self.have(NAMES)
        for rig in (self.one, self.two):
            rig.declare(registration("web"))

    def elector(self, name: str) -> MemoryElector:
        seed = sum(map(ord, name))
        return MemoryElector(self.election, TestContext(self.folder, name=name, seed=seed, clock=self.one.clock))

    def have(self, names: list[str]) -> None:
        """Let these run."""
        self.one.memory["mem"].set(service("web", *names))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.one.running(self.elector("one")):
            await self.one.settle(1)
            assert self.one.engine.leadership.leads()
            async with self.two.running(self.elector("two")):
                await self.one.settle()
                assert len(self.one.found()) == 100
                yield

    async def fail_over(self, *, back: bool = False) -> None:
        """Cut the leader off, as a kill would, and wait for the other one."""
        here, there = ("two", "one") if back else ("one", "two")
        self.election.cut.discard(there)
        self.election.cut.add(here)
        await self.one.settle(10)
        rig = self.one if back else self.two
        assert rig.engine.leadership.leads()
        assert rig.engine.reconciler.targets["out"].loaded


@virtual_test
async def test_what_is_spent_is_spent_for_the_next_leader(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.have(NAMES[20:])
        await pair.one.settle()
        assert len(pair.one.found()) == 80
        await pair.fail_over()
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 76, "of 24 (thirty percent of what it found), twenty were spent"
        assert [hold.removals for hold in pair.two.engine.holds.holds.values()] == [26]


@virtual_test
async def test_who_leads_again_counts_what_the_other_one_spent(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.have(NAMES[5:])
        await pair.one.settle()
        await pair.fail_over()
        pair.have(NAMES[25:])
        await pair.one.settle()
        assert len(pair.one.found()) == 75
        await pair.fail_over(back=True)
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 70
        assert pair.one.engine.reconciler.targets["out"].policy.budgets[()].used == 30, "each is counted once"


@virtual_test
async def test_a_decision_outlives_the_leader_that_it_was_told(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 70
        (hold,) = pair.one.engine.holds.holds.values()
        pair.one.sinks["out"].down = AdapterError("away")  # it cannot do it any more
        pair.one.engine.orders.decide(hold.name, "Approve", "CHG-1")
        await pair.one.engine.succession.hand_on()
        await pair.fail_over()
        assert len(pair.one.found()) == 50
        assert pair.two.engine.holds.holds[hold.name].reason == "CHG-1"
        await pair.one.settle(1000)
        assert not pair.two.engine.beside.names("hold."), "what ran out is kept no more"


@virtual_test
async def test_a_paused_sink_stays_paused_and_goes_on_again_under_the_next_leader(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.one.engine.orders.set_paused("out", paused=True)
        await pair.one.engine.succession.hand_on()
        await pair.one.settle()
        written, stamp = len(pair.one.target().log), pair.one.target().stamps["me"]
        pair.have([*NAMES, "new"])
        pair.election.cut.add("one")
        await pair.one.settle(20)
        assert pair.two.engine.leadership.leads()
        assert pair.two.engine.orders.paused == {"out"}
        assert (len(pair.one.target().log), pair.one.target().stamps["me"]) == (written, stamp), "it was written to"
        pair.two.engine.orders.set_paused("out", paused=False)
        await pair.two.engine.succession.hand_on()
        await pair.one.settle()
        assert "web/new" in pair.one.found()
        pair.election.cut.clear()
        pair.election.cut.add("two")
        await pair.one.settle(20)
        assert pair.one.engine.leadership.leads()
        assert not pair.one.engine.orders.paused


@virtual_test
async def test_what_was_released_is_released_for_the_next_leader(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.one.engine.orders.release(Release(registration="default/web"))
        await pair.one.engine.succession.hand_on()
        await pair.one.settle()
        before = dict(pair.one.target().records)
        await pair.fail_over()
        await pair.one.settle(20)
        assert pair.two.engine.releases.given == {Release(registration="default/web")}
        assert dict(pair.one.target().records) == before, "it was written again"


@virtual_test
async def test_what_one_process_alone_knew_comes_along_into_the_first_election(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.one.running() as alone:
        await pair.one.settle()
        pair.have(NAMES[20:])
        await pair.one.settle()
        assert len(pair.one.found()) == 80
        alone.orders.release(Release(registration="default/none"))
    async with pair.one.running(pair.elector("one")), pair.two.running(pair.elector("two")):
        await pair.one.settle()
        await pair.fail_over()
        assert pair.two.engine.releases.given == {Release(registration="default/none")}
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 76


@virtual_test
async def test_without_what_was_spent_the_window_is_spent(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        pair.election.kept.pop("budget.out", None)
        await pair.fail_over()
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 95, "only what always passes has passed"


@virtual_test
async def test_with_an_elector_that_keeps_nothing_the_window_is_spent_where_another_may_have_led(
    tmp_path: Path,
) -> None:
    pair = Pair(tmp_path)
    one, two = ScriptedElector(pair.one.clock), ScriptedElector(pair.one.clock, number=1)
    one.win(1e6)
    async with pair.one.running(one), pair.two.running(two):
        await pair.one.settle()
        one.lose()
        two.win(1e6)
        await pair.one.settle()
        pair.have(NAMES[50:])
        await pair.one.settle()
        assert len(pair.one.found()) == 95
        two.lose()
        one.win(1e6, number=3)
        await pair.one.settle()
        assert len(pair.one.found()) == 90


@virtual_test
async def test_while_it_cannot_be_kept_nothing_is_withdrawn_and_other_writes_go_on(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    elector = pair.elector("one")
    async with pair.one.running(elector):
        await pair.one.settle()
        keep, elector.keep = elector.keep, _fails  # type: ignore[method-assign]
        pair.have(NAMES[10:])
        await pair.one.settle()
        assert len(pair.one.found()) == 100
        pair.have([*NAMES[10:], "new"])
        await pair.one.settle()
        elector.keep = keep  # type: ignore[method-assign]
        await pair.one.settle()
        assert len(pair.one.found()) == 91
        assert "web/new" in pair.one.found()


async def _fails(name: str, value: bytes | None) -> None:
    raise AdapterError("no answer in time")


@virtual_test
async def test_where_it_can_never_be_kept_work_goes_on(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    elector = pair.elector("one")

    async def refuses(name: str, value: bytes | None) -> None:
        raise PermanentError("permission denied")

    async with pair.one.running(elector):
        await pair.one.settle()
        elector.keep = refuses  # type: ignore[method-assign]
        pair.have(NAMES[10:])
        await pair.one.settle()
        assert len(pair.one.found()) == 90


@virtual_test
async def test_what_cannot_be_read_locks_nobody_out(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with pair.running():
        for name in ("paused", "released", "hold.x", "budget.out"):
            pair.election.kept[name] = b"1\n\xff{"
        await pair.fail_over()
        pair.have([*NAMES, "new"])
        await pair.one.settle()
        assert "web/new" in pair.one.found()


@virtual_test
async def test_long_values_are_kept_in_parts_and_none_is_half_read(tmp_path: Path) -> None:
    election = MemoryElection()
    elector = MemoryElector(election, TestContext(tmp_path, name="a"))
    await anext(elector.terms())
    beside = Beside(elector)
    long = bytes(range(256)) * 1000
    for value in (long, b"short", b"", long[:-1], None, long):
        await beside.keep("x", value)
        other = Beside(elector)
        await other.recall()
        assert beside.value("x") == other.value("x") == value
        assert other.names("") == ([] if value is None else ["x"])
    election.kept.pop("x#2")
    await beside.recall()
    assert beside.value("x") is None
    await beside.keep("x", long)
    assert beside.value("x") == long
    await elector.close()
    with pytest.raises(Fenced):
        await beside.keep("x", b"other")
    await asyncio.sleep(0)
