"""`WEB` and `web` are one name where both find the same: in DNS and in Consul. In etcd's keys they are two."""

from __future__ import annotations

from pathlib import Path

from tests.real_rig import Driver, RealRig, until
from tests.rig import service


async def test_a_name_in_capitals_has_the_holder_that_it_has_in_small_letters(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(rig.registration("one", names=["web"]))
    two = driver.kind == "etcd"
    async with rig.running():
        await rig.until_there("web/a")
        rig.declare(rig.registration("two", names=["WEB"]))
        if two:
            await rig.until_there("WEB/b", "web/a")
            return
        await rig.until_problem("is held by registration default/one, for this sink takes it and `web")
        await rig.settle()
        assert await rig.there() == ["web/a"]
    async with rig.running():  # what a new process reads says the same
        await rig.until_problem("is held by registration default/one")
        await rig.settle()
        assert await rig.there() == ["web/a"]
        rig.withdraw("registrations", "default/one")
        await rig.until_there("web/b" if driver.kind == "dns" else "WEB/b")


async def test_one_registration_that_asks_for_both_has_all_that_the_target_tells_apart(
    driver: Driver, tmp_path: Path
) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("one", "a"))
    rig.declare(rig.registration("one", names=["web", "WEB"]))
    dns = driver.kind == "dns"

    async def there() -> set[str]:
        return set(await rig.there())  # Consul tells of both where one is asked for

    async def both() -> bool:
        return await there() == ({"web/a"} if dns else {"WEB/a", "web/a"})

    async def one() -> bool:
        return await there() == {"web/a" if dns else "WEB/a"}

    async with rig.running():
        await until(both, "both are there")
        await rig.settle()
        rig.declare(rig.registration("one", names=["WEB"]))
        await until(one, "one is there")
        await rig.settle()
        assert not rig.problems()
        assert await one()
