"""Promise 13 on real servers: a target of another environment is never written; of two with one ownerID one writes."""

from __future__ import annotations

from pathlib import Path

from tests.real_rig import Driver, RealRig, until
from tests.rig import service, source


async def test_a_target_whose_stamp_says_another_environment_is_never_written(driver: Driver, tmp_path: Path) -> None:
    prod = RealRig(tmp_path / "p", driver)
    staging = RealRig(tmp_path / "s", driver, owner="staging", environment="staging")
    staging.declare(source(environment="staging"))
    for rig, name in ((prod, "a"), (staging, "b")):
        rig.memory["mem"].set(service("web", name))
        rig.declare(rig.registration("web"))
    async with prod.running():
        await prod.settle()
    before = await driver.revision()
    async with staging.running():
        message = await staging.until_condition("Refused")
        assert "`test`" in message
        assert "`staging`" in message
        assert await staging.there() == ["web/a"]
        assert await driver.revision() == before
        assert await driver.stamp(staging.owner) is None
        assert await driver.stamp(prod.owner)
    assert list(await driver.witness()) == ["web/a"]


async def test_of_two_with_one_owner_only_the_later_writes_and_the_other_never_claims_again(
    driver: Driver, tmp_path: Path
) -> None:
    first, second = RealRig(tmp_path / "1", driver), RealRig(tmp_path / "2", driver)
    for rig in (first, second):
        rig.memory["mem"].set(service("web", "a", "b"))
        rig.declare(rig.registration("web"))
    async with first.running() as one:
        await first.settle()
        before = await driver.revision()
        async with second.running():
            await second.settle()
            assert await driver.revision() == before
            first.memory["mem"].set(service("web", "a", "b", "mine"))
            await first.until_condition("Fenced")
            for edit in (first.sink(safety={"minRemovals": 7}), first.sink(safety={"minRemovals": 8})):
                first.declare(edit)  # an edit is no reason to claim again
                await until(lambda: one.settings is first.settings, "the manifests are in force")
                await first.until_condition("Fenced")
            second.memory["mem"].set(service("web", "a", "b", "theirs"))
            await second.until_there("web/a", "web/b", "web/theirs")
            await second.settle()
            stamp = await driver.stamp(first.owner)
            assert stamp
            assert stamp["epoch"] == 2
    assert sorted(await driver.witness()) == ["web/a", "web/b", "web/theirs"]
