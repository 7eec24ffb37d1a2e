"""What would be done: counted, told step by step, and not claimed to be known where it is not."""

from __future__ import annotations

from pathlib import Path

from tests.rig import Rig, instance, registration, service
from waypost.adapter import AdapterError
from waypost.engine.outlook import outlook
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_dry_run_tells_what_would_be_added_changed_and_removed_and_does_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].set(service("web", instance("a", port=9), "c"))
    log, stamps = list(rig.target().log), dict(rig.target().stamps)
    async with rig.running(dry_run=True) as engine:
        await rig.settle()
        found = await outlook(engine)
        assert found.known
        assert found.settled
        assert found.anything
        (out,) = found.sinks
        assert (out.add, out.change, out.remove, out.held) == (1, 1, 1, 0)
        told = {(step.action, step.instance): step for step in out.steps}
        assert set(told) == {("add", "c"), ("change", "a"), ("remove", "b")}
        assert told["add", "c"].keys == ["web/c"]
    assert rig.target().log == log
    assert rig.target().stamps == stamps


@virtual_test
async def test_nothing_to_do_is_known_to_be_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        found = await outlook(rig.engine)
        assert found.known
        assert not found.anything
    async with rig.running(dry_run=True) as engine:
        await rig.settle()
        assert not (await outlook(engine)).anything


@virtual_test
async def test_what_would_wait_for_a_person_is_held(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n:02}" for n in range(20)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", *names[15:]))
        await rig.settle(3)
        (out,) = (await outlook(rig.engine)).sinks
        left = len(rig.found()) - 5
        assert left > 0
        assert (out.remove, out.held) == (left, left)
        assert {step.hold for step in out.steps} == {"BudgetExceeded"}


@virtual_test
async def test_what_could_not_be_read_is_not_known(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].fail(AdapterError("no route to host"))
    rig.declare(registration("web"))
    rig.on_sink = lambda made: setattr(made, "down", AdapterError("refused"))
    async with rig.running(dry_run=True) as engine:
        await rig.settle()
        found = await outlook(engine)
        assert not found.known
        assert not found.settled
        assert "no route to host" in found.sources[0].error
        assert "refused" in found.sinks[0].error


@virtual_test
async def test_steps_are_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"i{n}" for n in range(50))))
    rig.declare(registration("web"))
    async with rig.running(dry_run=True) as engine:
        await rig.settle()
        (out,) = (await outlook(engine, most=10)).sinks
        assert (out.add, len(out.steps), out.omitted) == (50, 10, 40)
