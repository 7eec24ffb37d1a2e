"""Promise 6 on real servers: a restart writes no record, by the target's own log; nothing is ever deregistered."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.real_rig import Driver, EtcdDriver, RealRig, until
from tests.rig import service


async def until_clear(due: asyncio.Event) -> None:
    """Wait until the look at everything that is due has begun."""
    await until(lambda: not due.is_set(), "it looked at everything again")


async def test_a_restart_writes_nothing_but_the_stamp(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(*(service(f"s{n}", *(f"i{n}-{m}" for m in range(5))) for n in range(4)))
    rig.declare(rig.registration("all", services=["*"], metadata={"zone": "{instance.zone}", "umlaut": "ü"}))
    async with rig.running():
        await rig.settle()
    before, stamp = await driver.revision(), await driver.stamp(rig.owner)
    kept = await rig.read()
    assert len(kept) == 20
    for folder in (None, tmp_path / "a new machine"):
        rig.resync_seconds = 0.2
        async with rig.running(folder=folder) as engine:
            await rig.settle()
            due = engine.reconciler.targets["out"].look_due
            due.set()
            await until_clear(due)
            await rig.settle()
    assert await driver.revision() == before
    assert await rig.read() == kept
    after = await driver.stamp(rig.owner)
    assert stamp
    assert after
    assert after["epoch"] == stamp["epoch"] + 2


async def test_killed_in_the_middle_of_a_first_sync_it_goes_on_where_it_was(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", *(f"i{n:04}" for n in range(driver.most))))
    rig.declare(rig.registration("web"))
    async with rig.running() as engine:
        target = engine.reconciler.targets["out"]
        await until(lambda: target.written > 0, "it has begun")
    begun = await rig.read()
    assert 0 < len(begun) < driver.most
    async with rig.running() as engine:
        await rig.settle(60)
        assert engine.reconciler.targets["out"].written <= driver.most - len(
            begun
        )  # fewer, where a write cut off came late
    after = await rig.read()
    assert len(after) == driver.most
    assert [place for place, kept in after.items() if kept.created != kept.modified] == []  # each was written once
    assert {place: after[place] for place in begun} == begun


async def test_a_renamed_registration_leaves_no_gap(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web", names=["shop"]))
    async with rig.running():
        await rig.settle()
        before = {kept.created for kept in await driver.records()}
        rig.declare(rig.registration("web2", services="web", names=["shop"]))
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.until_there("shop/a", "shop/b")
        await rig.settle()
        after = await rig.read()
        assert {kept.registration for kept in after.values()} == {"default/web2"}
    if driver.kind != "consul":  # new keys there: they came before the old ones went
        assert max(kept.created for kept in after.values()) < await driver.deleted("shop")
    else:  # the same records, taken over in place
        assert {kept.created for kept in after.values()} == before


async def test_a_name_that_moves_is_written_before_the_old_one_goes(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(rig.registration("keep", services="other", names=["old"]))
    rig.memory["mem"].set(service("other", "z"))
    rig.declare(rig.registration("web", names=["older"], sharing="Shared"))
    async with rig.running():
        await rig.settle()
        rig.declare(rig.registration("web", names=["newer"], sharing="Shared"))
        await rig.until_there("newer/a", "newer/b", "newer/c", "old/z")
        await rig.settle()
        if isinstance(driver, EtcdDriver):
            created = max(kept.created for kept in (await rig.read()).values() if kept.name == "newer")
            deleted = [e.revision for e in await driver.log() if e.value is None]
            assert created < min(deleted)
