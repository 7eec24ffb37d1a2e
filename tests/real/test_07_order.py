"""Promise 7 on real servers, by the target's own revisions: writes first, deletions after they are acknowledged."""

from __future__ import annotations

from pathlib import Path

from testbed.proxy import Proxy
from tests.real.test_03_convergence import url_of
from tests.real_rig import Driver, RealRig, until
from tests.rig import instance, service


async def test_a_replacement_is_written_before_the_old_one_goes(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
        for old, new in ("ab", "bc", "cd"):
            rig.memory["mem"].set(service("web", new))
            await rig.until_there(f"web/{new}")
            await rig.settle()
            assert (await rig.read())[f"web/{new}"].created < await driver.deleted("web"), (old, new)


async def test_while_a_write_does_not_pass_no_old_record_goes(driver: Driver, tmp_path: Path) -> None:
    async with Proxy(url_of(driver.server)) as proxy:
        rig = RealRig(tmp_path, driver, url=proxy.url)
        rig.memory["mem"].set(service("web", "a", "b"))
        rig.declare(rig.registration("web"))
        async with rig.running() as engine:
            await rig.settle()
            before = await driver.revision()
            await proxy.refuse()
            rig.memory["mem"].set(service("web", "x", "y"))
            target = engine.reconciler.targets["out"]
            await until(lambda: not target.condition.ok, "it is not reached")
            assert await driver.revision() == before
            await proxy.heal()
            await rig.until_there("web/x", "web/y")
            await rig.settle()
            newest = max(kept.created for kept in (await rig.read()).values())
            assert newest < await driver.deleted("web")


async def test_as_many_old_records_stay_as_writes_were_refused(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(rig.registration("web"))
    await driver.foreign(await rig.key("web", "x"), "web")
    async with rig.running():
        await rig.until_there("web/a", "web/b", "web/c", "web/x")
        await rig.settle()
        rig.memory["mem"].set(service("web", "x", "y", "z"))
        await rig.until_there("web/a", "web/x", "web/y", "web/z")
        await rig.until_problem("conflict")
        await rig.settle()
        assert await rig.there() == ["web/a", "web/x", "web/y", "web/z"], "one write was refused, so one old one stays"
        rig.memory["mem"].set(service("web", "y", "z"))
        await rig.until_there("web/x", "web/y", "web/z")


async def test_under_a_shared_name_deletions_wait_for_all_writes(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("blue", "b1", "b2"))
    rig.declare(rig.registration("all", services=["*"], names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("green", *(f"g{n}" for n in range(200))))
        rig.memory["mem"].delete(*[key for key in rig.memory["mem"].services if key.name == "blue"])
        await rig.until_there(*(f"web/g{n}" for n in range(200)))
        await rig.settle()
        assert max(kept.created for kept in (await rig.read()).values()) < await driver.deleted("web")


async def test_a_draining_instance_stops_being_ready_first_and_then_goes(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web", drainSeconds=2))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", instance("a", readiness="draining"), "b"))

        async def drains() -> bool:
            found = await rig.read()
            return "web/a" in found and not found["web/a"].ready

        await until(drains, "it is there and not ready")
        await rig.until_there("web/b")
