"""The whole program as a process on real servers: cut manifests, kills in the middle, budgets, two at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd
from tests.real.process import Waypost, document
from tests.real.test_03_convergence import url_of
from tests.real_rig import ENVIRONMENT, Driver, EtcdDriver
from tests.rig import hash_byte


def declared(names: list[str]) -> list[dict[str, Any]]:
    """Return static instances; what one is called says where it is."""
    ports = [{"name": "http", "number": 80}]
    return [{"id": n, "addresses": [f"10.{hash_byte(n, 1)}.{hash_byte(n, 2)}.7"], "ports": ports} for n in names]


def platform(waypost: Waypost, driver: Driver, url: str | None = None, owner: str = "me") -> None:
    """Write the manifests of the source and the sink."""
    config = driver.config(url)
    sink: dict[str, Any] = {
        "type": driver.kind,
        "environment": ENVIRONMENT,
        "ownerID": driver.owner(owner),
        "config": config,
    }
    if credentials := driver.credentials():
        sink["credentials"] = credentials
    waypost.write(
        "platform.yaml",
        document("ServiceSource", "machines", type="static", environment=ENVIRONMENT),
        document("ServiceSink", "out", **sink),
    )


def registered(driver: Driver, name: str, instances: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a registration of static instances, its sinks behind its sources, as everybody writes it."""
    entry = {"name": "all", "sourceRef": {"name": "machines"}, "service": {"name": name}, "instances": instances}
    sinks = [{"name": "out", "sinkRef": {"name": "out"}}]
    return document("ServiceRegistration", name, "shop", sources=[entry], names=[name + driver.suffix], sinks=sinks)


async def there(driver: Driver, name: str = "web") -> set[str]:
    return {kept.instance for kept in await driver.records() if kept.name == name}


async def test_of_a_hundred_deleted_one_by_one_seventy_stay_until_a_person_approves(etcd: Etcd, tmp_path: Path) -> None:
    driver = await EtcdDriver.made(etcd)
    async with Waypost(tmp_path) as waypost:
        names = [f"vm-{n:03}" for n in range(100)]
        platform(waypost, driver)
        waypost.write("web.yaml", registered(driver, "web", declared(names)))
        await waypost.start()
        await waypost.settled(100)
        created = {kept.instance: kept.created for kept in await driver.records()}
        addresses = {each["id"]: each for each in declared(names)}
        for count in range(1, 51):
            left = [addresses[name] for name in names[count:]]
            waypost.write("web.yaml", registered(driver, "web", left))
            await asyncio.sleep(0.2)  # the pace of what happens, not a wait

        async def held() -> bool:
            found = await waypost.ask("holds")
            return len(found) == 1 and found[0]["removals"] == 20

        await waypost.until(held, "a hold of the rest")
        kept = await there(driver)
        assert len(kept) == 70
        assert set(names[50:]) <= kept, "none goes that the manifest names"
        (hold,) = await waypost.ask("holds")
        assert (hold["cause"], hold["removals"], hold["of"]) == ("BudgetExceeded", 20, 70)
        assert len(hold["sample"]) == 10
        (report,) = (await waypost.ask("status"))["registrations"]
        conditions = {each["type"]: each for each in report["status"]["conditions"]}
        assert conditions["Held"]["status"] == "True"
        assert conditions["Held"]["message"]
        waypost.write("web.yaml", registered(driver, "web", [addresses[name] for name in names[53:]]))  # three more

        async def two() -> bool:
            undecided = [each for each in await waypost.ask("holds") if each["name"] != hold["name"]]
            return sum(int(each["removals"]) for each in undecided) == 3

        await waypost.ask("approve", hold["name"], "--reason", "CHG-1")

        async def freed() -> bool:
            return len(await there(driver)) <= 50

        await waypost.until(freed, "what was approved goes")
        await waypost.until(two, "the three that nobody approved are held")
        assert await there(driver) == set(names[50:]), "exactly what was approved"
        assert {k.instance: k.created for k in await driver.records()} == {n: created[n] for n in names[50:]}


async def test_a_manifest_cut_in_the_middle_a_kill_and_a_restart_move_nothing(driver: Driver, tmp_path: Path) -> None:
    async with Waypost(tmp_path) as waypost:
        platform(waypost, driver)
        names = [f"vm-{n}" for n in range(8)]
        path = waypost.write(
            "shop.yaml", registered(driver, "api", declared(["x"])), registered(driver, "web", declared(names))
        )
        await waypost.start()
        await waypost.settled(9)
        before = await driver.revision()
        whole = path.read_text()
        boundary = whole.index("---\n")
        cuts = [boundary, boundary + (len(whole) - boundary) // 3, len(whole) - 20, 0]
        for at in cuts:
            path.write_text(whole[:at])  # in place, as a full disk leaves it
            await waypost.kill9()
            await waypost.start()

            async def looked() -> bool:
                found = await waypost.status()
                read = found["manifests"]["read"] and all(sink["loaded"] for sink in found["sinks"])
                held = {hold["cause"] for hold in found["holds"]}
                return bool(read and found["sinks"] and held & {"FeedUnreadable", "UnknownRegistration"})

            await waypost.until(looked, f"cut at {at}: what is not there is held")
            assert await driver.revision() == before, f"cut at {at}"
        path.write_text(whole)

        async def quiet() -> bool:
            found = await waypost.status()
            return bool(not found["holds"] and found["settled"] and found["manifests"]["complete"])

        await waypost.until(quiet, "all is as before")
        await waypost.stop()
    assert await driver.revision() == before


async def test_manifests_that_are_gone_or_unreadable_while_it_runs_move_nothing(driver: Driver, tmp_path: Path) -> None:
    async with Waypost(tmp_path) as waypost:
        platform(waypost, driver)
        path = waypost.write("web.yaml", registered(driver, "web", declared(["a", "b", "c"])))
        await waypost.start()
        await waypost.settled(3)
        before = await driver.revision()
        whole = path.read_text()

        async def said() -> bool:
            return not (await waypost.status())["manifests"]["complete"]

        async def well() -> bool:
            return bool((await waypost.status())["manifests"]["complete"])

        for broken in ("", whole[: len(whole) // 2], "kind: [\n", "\x00\n"):
            path.write_text(broken)
            await waypost.until(said, f"{broken[:10]!r} is said to be unreadable")
            assert await driver.revision() == before
            path.write_text(whole)
            await waypost.until(well, "it is read again")
        waypost.manifests.rename(tmp_path / "elsewhere")
        await waypost.until(said, "the folder is gone")
        assert await driver.revision() == before
        (tmp_path / "elsewhere").rename(waypost.manifests)
        await waypost.until(well, "and back")
        await waypost.settled(3)
        assert await driver.revision() == before
        path.unlink()  # a person deletes it, while all else can be read

        async def gone() -> bool:
            return await there(driver) == set()

        await waypost.until(gone, "a deleted manifest is obeyed")


async def test_killed_in_the_middle_of_changes_it_ends_as_the_manifests_say(driver: Driver, tmp_path: Path) -> None:
    async with Proxy(url_of(driver.server)) as proxy, Waypost(tmp_path) as waypost:
        platform(waypost, driver, proxy.url)
        old = [f"old-{n:03}" for n in range(300)]
        waypost.write("web.yaml", registered(driver, "web", declared(old)))
        await waypost.start()
        await waypost.settled(300, 60)
        (ours, *_) = sorted(await driver.records(), key=lambda kept: kept.key)
        await driver.foreign(f"{ours.key}-by-hand", "web")
        (theirs,) = [kept for kept in await driver.records() if not kept.owner]
        await proxy.delay(0.1)
        names, last = old, old
        for number in range(3):
            last, fresh = names, [f"new-{number}-{n:02}" for n in range(15)]
            names = [*names[15:], *fresh]  # in all, less than any budget holds back
            waypost.write("web.yaml", registered(driver, "web", declared(names)))

            async def begun(fresh: list[str] = fresh) -> bool:
                return bool(set(fresh) & await there(driver))

            await waypost.until(begun, "it has begun to write")
            await waypost.kill9()
            left = await there(driver)
            assert left >= set(last[:15]) or left >= set(fresh), "what goes stays until all that comes is there"
            await waypost.start()
        await proxy.heal()

        async def right() -> bool:
            return await there(driver) - {theirs.instance} == set(names)

        await waypost.until(right, "all is as the manifests say", 60)
        await waypost.settled(300)
        assert not (await waypost.status())["holds"]
        assert [kept for kept in await driver.records() if not kept.owner] == [theirs]
        await waypost.stop()
    hosts = {place: host for place, (host, _) in (await driver.witness()).items()}
    assert {place: host for place, host in hosts.items() if host != theirs.host} == {
        f"web/{each['id']}": each["addresses"][0] for each in declared(names)
    }


async def test_a_process_that_was_stopped_and_wakes_up_late_writes_nothing(driver: Driver, tmp_path: Path) -> None:
    """Two processes with one ownerID: the one that sleeps is overtaken, and says so when it wakes."""
    async with Waypost(tmp_path / "1") as first, Waypost(tmp_path / "2") as second:
        for waypost in (first, second):
            platform(waypost, driver)
            waypost.write("web.yaml", registered(driver, "web", declared(["a", "b"])))
        await first.start()
        await first.settled(2)
        before = await driver.revision()
        first.pause()
        try:
            first.write("web.yaml", registered(driver, "web", declared(["a", "b", "first"])))
            await second.start()
            await second.settled(2)
            assert await driver.revision() == before
            second.write("web.yaml", registered(driver, "web", declared(["a", "b", "second"])))
            await second.settled(3)
            after = await driver.revision()
        finally:
            first.resume()

        async def fenced() -> bool:
            (sink,) = (await first.status())["sinks"]
            return bool(sink["condition"]["reason"] == "Fenced")

        await first.until(fenced, "it says that it was overtaken")
        assert await driver.revision() == after
        assert await there(driver) == {"a", "b", "second"}


@pytest.mark.parametrize("server", [pytest.param(name, marks=pytest.mark.server(name)) for name in ("etcd", "consul")])
async def test_with_the_target_down_at_start_it_waits_and_then_fills_it(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from tests.real.conftest import driver_on

    fragile = request.getfixturevalue(f"fragile_{server}")
    if not fragile.running:
        await fragile.start()
    driver = await driver_on(fragile)
    await fragile.stop()
    async with Waypost(tmp_path) as waypost:
        platform(waypost, driver)
        waypost.write("web.yaml", registered(driver, "web", declared(["a", "b"])))
        await waypost.start()

        async def down() -> bool:
            found = (await waypost.status())["sinks"]
            return bool(found and found[0]["condition"]["reason"] == "Unreachable")

        await waypost.until(down, "it says that the target is not reached")
        await fragile.start()
        await waypost.settled(2, 60)
        assert sorted(await driver.witness()) == ["web/a", "web/b"]
        assert await there(driver) == {"a", "b"}
