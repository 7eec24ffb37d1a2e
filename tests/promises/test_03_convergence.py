"""Promise 3: when faults stop, the sink equals the plan, in bounded time, whatever happened before."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig import Rig, registration, service
from waypost.adapter import AdapterError, PermanentError
from waypost.testing.memory import Fault, SharedTarget
from waypost.testing.virtual import virtual_test

NAMES = [f"i{n:03}" for n in range(30)]


def prepared(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(registration("web"))
    return rig


FAULTS: dict[str, list[Fault]] = {
    "error": [Fault("error", AdapterError("503"))] * 5,
    "refused": [Fault("error", PermanentError("token refused"))] * 3,
    "hang": [Fault("hang")] * 2,
    "written": [Fault("written")] * 5,
    "lost": [Fault("lost")] * 5,
    "late": [Fault("late", seconds=20)] * 5,
}


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_after_a_fault_of_apply_everything_is_there(tmp_path: Path, kind: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        rig.on_sink = lambda sink: sink.faults.extend(FAULTS[kind])
        async with rig.running() as engine:
            rig.on_sink = lambda _sink: None
            await rig.settle(200)
            assert rig.found() == [f"web/{name}" for name in NAMES]
            assert engine.settled()

    scenario()


ACCIDENTS: dict[str, Callable[[SharedTarget], None]] = {
    "one record lost": lambda target: target.set("web/i003", None),
    "everything lost, stamps too": lambda target: target.lose(),
    "all records lost": lambda target: target.lose(stamps=False),
    "one record altered": lambda target: target.set(
        "web/i003", target.records["web/i003"].replace(b"8080", b"1"), by="me"
    ),
    "a zombie of ours": lambda target: target.set(
        "web/zombie", target.records["web/i003"].replace(b"i003", b"zombie"), by="me"
    ),
}


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("accident", sorted(ACCIDENTS))
def test_what_others_did_is_put_right(tmp_path: Path, accident: str, watched: bool) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        if not watched:
            rig.on_sink = lambda sink: setattr(sink, "drift", lambda _mark: asyncio.Event().wait())
        async with rig.running() as engine:
            await rig.settle()
            wanted = dict(rig.target().records)
            ACCIDENTS[accident](rig.target())
            await rig.settle(10 if watched else 700)
            assert rig.target().records == wanted
            assert not engine.holds.holds

    scenario()


@virtual_test
async def test_a_target_restored_from_a_backup_is_put_right(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    async with rig.running():
        await rig.settle()
        backup = rig.target().save()
        rig.memory["mem"].set(service("web", *NAMES, "later"))
        await rig.settle()
        rig.target().restore(backup)
        await rig.settle(60)
        assert "web/later" in rig.found()


@virtual_test
async def test_a_sink_that_is_down_at_start_and_for_an_hour_is_filled_when_it_is_back(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    rig.on_sink = lambda sink: setattr(sink, "down", AdapterError("connection refused"))
    async with rig.running() as engine:
        await rig.settle(3600)
        assert rig.found() == []
        condition = engine.reconciler.targets["out"].condition
        assert (condition.ok, condition.reason) == (False, "Unreachable")
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert len(rig.found()) == 30
        assert engine.reconciler.targets["out"].condition.ok
