"""Promise 9: what was removed is never brought back by a late answer or a late write."""

import asyncio
from pathlib import Path

from tests.rig import Rig, registration, service
from waypost.testing.memory import Fault
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_fact_wins_over_a_snapshot_that_was_asked_for_before(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"), service("api", "x"))
    rig.declare(registration("web"), registration("api"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].read_seconds = 10
        rig.memory["mem"].snapshot_now()
        await asyncio.sleep(1)
        rig.memory["mem"].set(service("web", "a"))
        rig.memory["mem"].delete(*[key for key in rig.memory["mem"].services if key.name == "api"])
        await asyncio.sleep(1)
        assert rig.found() == ["web/a"]
        for _ in range(300):
            await asyncio.sleep(0.1)
            assert rig.found() == ["web/a"]


@virtual_test
async def test_a_watch_that_was_replaced_says_nothing_more(tmp_path: Path) -> None:
    from waypost.engine.catalog import SourceView
    from waypost.engine.doubt import Loss
    from waypost.engine.intake import SourceChanges

    view = SourceView("mem", Loss(), lambda _key, _ids: None, lambda: 0.0)
    old = SourceChanges(view, lambda _k, _i, _r: None)
    async with old.snapshot() as snapshot:
        snapshot.put(service("web", "a"))
        old.closed = True
    assert not view.services
    assert not view.complete


@virtual_test
async def test_a_late_write_fails(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].fenced = True
        rig.sinks["out"].faults.append(Fault("late", seconds=5))
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        await asyncio.sleep(0.1)
        rig.memory["mem"].set(service("web", "a", "b"))
        await asyncio.sleep(60)
        assert rig.found() == ["web/a", "web/b"]
        assert rig.target().refused == 1, "the late write came, and the target refused it"


@virtual_test
async def test_an_instance_that_flaps_ends_as_it_last_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        for n in range(301):
            rig.memory["mem"].set(service("web", "a") if n % 2 == 0 else service("web", "a", "b"))
            await asyncio.sleep(0.1)
        await rig.settle(1)
        assert rig.found() == ["web/a"]
        assert not engine.holds.holds
