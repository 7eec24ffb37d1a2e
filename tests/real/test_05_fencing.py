"""Promise 5 on real servers: two leaders of one installation, and what the target makes of the one that is past."""

from __future__ import annotations

from pathlib import Path

from testbed.proxy import Proxy
from tests.real.conftest import RECORDS_OF_ANY_KIND
from tests.real.test_03_convergence import url_of
from tests.real_rig import Driver, RealRig, until
from tests.rig import service
from waypost.testing.memory import ScriptedElector


def pair(tmp_path: Path, driver: Driver, url: str | None = None) -> tuple[RealRig, RealRig]:
    """Two processes of one installation; the first one reaches the target by `url`."""
    first = RealRig(tmp_path / "1", driver, url=url)
    second = RealRig(tmp_path / "2", driver)
    second.memory = first.memory
    first.memory["mem"].set(service("web", "a", "b"))
    for rig in (first, second):
        rig.declare(rig.registration("web"))
    return first, second


async def test_a_standby_writes_nothing_and_takes_over_without_a_write(driver: Driver, tmp_path: Path) -> None:
    first, second = pair(tmp_path, driver)
    one, two = ScriptedElector(first.clock), ScriptedElector(second.clock, number=1)
    async with first.running(one), second.running(two):
        one.win(seconds=1000)
        await first.until_there("web/a", "web/b")
        await second.until_condition("Standby")
        before = await driver.revision()
        one.lose()
        await first.until_condition("Standby")
        two.win(seconds=1000)
        await second.until_condition("Writing")
        await second.settle()
        assert await driver.revision() == before
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await second.until_there("web/a", "web/b", "web/c")
        await second.settle()
        assert first.engine.reconciler.targets["out"].written == 2
        assert second.engine.reconciler.targets["out"].written == 1
        stamp = await driver.stamp(first.owner)
        assert stamp
        assert stamp["epoch"] == 2


@RECORDS_OF_ANY_KIND
async def test_a_leader_that_wakes_up_late_writes_nothing(driver: Driver, tmp_path: Path) -> None:
    """It believes in its lease, as a process that was stopped may; the target does not believe it."""
    first, second = pair(tmp_path, driver)
    one, two = ScriptedElector(first.clock), ScriptedElector(second.clock, number=1)
    one.win(seconds=10_000)
    async with first.running(one), second.running(two):
        await first.settle()
        two.win(seconds=10_000)
        await second.until_condition("Writing")
        second.declare(second.registration("web", metadata={"by": "second"}))
        await second.settle()
        before = await second.read()
        assert {kept.metadata.get("by") for kept in before.values()} == {"second"}
        first.declare(first.registration("web", metadata={"by": "first"}))
        await first.until_condition("Fenced")
        assert await second.read() == before
        first.memory["mem"].set(service("web", "a", "b", "c"))
        await second.until_there("web/a", "web/b", "web/c")
        await second.settle()
        assert {kept.metadata.get("by") for kept in (await second.read()).values()} == {"second"}
        assert first.engine.reconciler.targets["out"].condition.reason == "Fenced"


async def test_a_write_that_was_on_its_way_when_the_term_ended_is_refused_by_the_target(
    driver: Driver, tmp_path: Path
) -> None:
    """It is held up in the network, arrives after the new leader has begun, and changes nothing."""
    async with Proxy(url_of(driver.server)) as proxy:
        first, second = pair(tmp_path, driver, proxy.url)
        one, two = ScriptedElector(first.clock), ScriptedElector(second.clock, number=1)
        one.win(seconds=10_000)
        async with first.running(one), second.running(two):
            await first.settle()
            await proxy.hang()
            first.memory["mem"].set(service("web", "a", "b", "late"))
            target = first.engine.reconciler.targets["out"]
            await until(lambda: bool(target.busy), "the write is on its way")
            first.memory["mem"].set(service("web", "b"))
            two.win(seconds=10_000)
            await second.until_there("web/b")
            await second.settle()
            before = await driver.revision()
            await proxy.heal()
            await first.until_condition("Fenced", 60)
            assert await driver.revision() == before
            assert await second.there() == ["web/b"]


async def test_when_the_lease_runs_out_unheard_nothing_more_is_written(driver: Driver, tmp_path: Path) -> None:
    first, _ = pair(tmp_path, driver)
    elector = ScriptedElector(first.clock)
    elector.win(seconds=30)
    async with first.running(elector) as engine:
        await first.settle()
        before = await driver.revision()
        until_now = elector.prolong(seconds=0.5).until
        await until(lambda: engine.leadership._term and engine.leadership._term.until == until_now, "it is heard")
        elector.pause()
        await first.until_condition("Standby")
        first.memory["mem"].set(service("web", "a", "b", "c"))
        elector.go_on()
        elector.prolong(seconds=0.0)  # heard, and already over
        target = first.engine.reconciler.targets["out"]
        await until(lambda: bool(target.dirty), "there is something to write")
        assert await driver.revision() == before
        elector.prolong(seconds=100)
        await first.until_there("web/a", "web/b", "web/c")
