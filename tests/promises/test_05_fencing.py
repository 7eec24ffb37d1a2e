"""Promise 5: a leader whose epoch is past writes nothing; the target compares the epoch in the write itself."""

from pathlib import Path

from tests.rig import Rig, registration, service, sink
from waypost.testing.memory import ScriptedElector
from waypost.testing.virtual import virtual_test


def pair(tmp_path: Path) -> tuple[Rig, Rig]:
    first, second = Rig(tmp_path / "1"), Rig(tmp_path / "2")
    second.targets, second.memory = first.targets, first.memory
    first.memory["mem"].set(service("web", "a", "b"))
    for rig in (first, second):
        rig.declare(registration("web"))
    return first, second


@virtual_test
async def test_a_standby_writes_nothing_and_takes_over_without_a_write(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    one, two = ScriptedElector(first.clock), ScriptedElector(second.clock, number=1)
    one.win(seconds=1000)
    async with first.running(one), second.running(two):
        await first.settle()
        assert len(first.target().log) == 2
        one.lose()
        two.win(seconds=1000)
        await first.settle()
        assert len(first.target().log) == 2
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await first.settle()
        assert [w.epoch for w in first.target().log] == [1, 1, 2]


@virtual_test
async def test_a_leader_that_wakes_up_late_writes_nothing(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    one, two = ScriptedElector(first.clock), ScriptedElector(second.clock, number=1)
    one.win(seconds=10_000)  # it believes in its lease, as a process that was stopped may
    async with first.running(one), second.running(two):
        await first.settle()
        two.win(seconds=10_000)
        await first.settle()
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await first.settle(60)
        assert {w.epoch for w in first.target().log if w.key == "web/c"} == {2}
        condition = first.engine.reconciler.targets["out"].condition
        assert (condition.ok, condition.reason) == (False, "Fenced")


@virtual_test
async def test_when_the_lease_runs_out_unheard_nothing_more_is_written(tmp_path: Path) -> None:
    first, _ = pair(tmp_path)
    elector = ScriptedElector(first.clock)
    elector.win(seconds=20)
    async with first.running(elector):
        await first.settle(10)
        elector.pause()
        await first.settle(15)
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await first.settle(60)
        assert "web/c" not in first.found()
        elector.go_on()
        elector.prolong(seconds=100)
        await first.settle(10)
        assert "web/c" in first.found()


@virtual_test
async def test_a_lost_term_that_is_won_again_goes_on(tmp_path: Path) -> None:
    first, _ = pair(tmp_path)
    elector = ScriptedElector(first.clock)
    async with first.running(elector):
        for round_ in range(3):
            elector.win(seconds=100)
            first.memory["mem"].set(service("web", "a", "b", f"r{round_}"))
            await first.settle()
            assert f"web/r{round_}" in first.found()
            elector.lose()
            await first.settle()


@virtual_test
async def test_a_late_write_of_a_past_generation_fails(tmp_path: Path) -> None:
    from waypost.testing.memory import Fault

    first, _ = pair(tmp_path)
    async with first.running():
        await first.settle()
        first.sinks["out"].faults.append(Fault("late", seconds=30))
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await first.settle(1)
        first.memory["mem"].set(service("web", "a", "b"))
        await first.settle(60)
        assert first.found() == ["web/a", "web/b"]
        assert first.target().refused == 1


@virtual_test
async def test_a_stamp_that_is_lost_between_two_terms_is_claimed_past_the_former_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    elector = ScriptedElector(rig.clock)
    async with rig.running(elector=elector):
        elector.win(1e6)
        await rig.settle()
        assert rig.target().stamps["me"].fence.epoch == 1
        elector.lose()
        await rig.settle()
        rig.target().stamps.clear()
        elector.win(1e6)
        await rig.settle()
        assert rig.target().stamps["me"].fence.epoch == 2  # a late write of the former term is refused


@virtual_test
async def test_where_the_stamp_was_lost_a_second_installation_fences_the_first(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    second.declare(registration("web", metadata={"mark": "2"}))
    async with first.running():
        await first.settle()
        first.target().stamps.clear()
        async with second.running():
            await second.settle()
            written = len(first.target().log)
            first.declare(registration("web", metadata={"mark": "1"}))
            await first.settle(60)
            condition = first.engine.reconciler.targets["out"].condition
            assert (condition.ok, condition.reason) == (False, "Fenced")
            assert {record["metadata"]["mark"] for record in second.records().values()} == {"2"}
            assert len(first.target().log) == written


@virtual_test
async def test_a_sink_that_is_to_be_written_no_more_is_not_claimed_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.declare(sink(mode="DryRun"))
        await rig.settle(60)
        assert rig.target().stamps["me"].fence.epoch == 1


@virtual_test
async def test_another_elector_that_counts_from_one_locks_nobody_out(tmp_path: Path) -> None:
    rig, _ = pair(tmp_path)
    for number, name in ((57, "c"), (1, "d")):
        elector = ScriptedElector(rig.clock)
        elector.win(1e6, number=number)
        async with rig.running(elector):
            rig.memory["mem"].set(service("web", "a", "b", name))
            await rig.settle()
            assert f"web/{name}" in rig.found()
    assert rig.target().stamps["me"].fence.epoch == 2, "epochs are counted in the target"


@virtual_test
async def test_an_elector_whose_numbers_go_back_locks_nobody_out_that_was_fenced(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    elector = ScriptedElector(first.clock)
    async with first.running(elector):
        elector.win(1e6, number=9)
        await first.settle()
        async with second.running():  # of the same ownerID, and later: it fences the first off
            await second.settle()
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await first.settle(60)
        assert first.engine.reconciler.targets["out"].condition.reason == "Fenced"
        elector.lose()
        elector.win(1e6, number=1)  # its store lost everything
        await first.settle()
        assert "web/c" in first.found()
        assert first.engine.leadership.term is not None
        assert first.engine.leadership.term.number == 10
