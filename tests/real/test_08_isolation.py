"""Promise 8 on real servers: odd services, one beside the other, and what becomes of each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from testbed.ports import free_port
from tests.real.conftest import RECORDS_OF_ANY_KIND
from tests.real_rig import Driver, RealRig, until
from tests.rig import instance, service
from waypost.model import Address, Instance, Port
from waypost.settings import Metadata


@RECORDS_OF_ANY_KIND
async def test_ipv6_no_ports_and_a_host_name_are_registered_as_they_are(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    six = Instance("six", (Address("2001:db8::7"), Address("10.0.0.7")), (Port(8080, "http"),))
    bare = Instance("bare", (Address("10.0.0.8"),))
    named = Instance("named", (Address("db.example.com", "Hostname"),), (Port(5432),))
    rig.memory["mem"].set(service("web", six, bare, named))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
        assert rig.problems() == []
    assert await driver.witness() == {
        "web/six": ("2001:db8::7", 8080),
        "web/bare": ("10.0.0.8", 0),
        "web/named": ("db.example.com", 5432),
    }


async def test_five_hundred_instances_under_one_name_cost_one_write_each(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    names = [f"i{n:03}" for n in range(500)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(rig.registration("web"))
    async with rig.running() as engine:
        await rig.settle(60)
        before = await rig.read()
        assert sorted(before) == [f"web/{name}" for name in names]
        assert engine.reconciler.targets["out"].written == 500
        rig.memory["mem"].set(service("web", *names[:-1], instance(names[-1], host="10.9.9.9")))
        await rig.settle()
        assert engine.reconciler.targets["out"].written == 501
        after = await rig.read()
        assert {place for place in before if before[place] != after[place]} == {"web/i499"}
    assert len(await driver.witness()) == 500


async def test_what_cannot_be_registered_fails_alone_and_says_so(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(
        service("web", "a", Instance("nowhere", ()), Instance("loop", (Address("127.0.0.1"),))),
        service("none", "b", labels={"other": "x"}),
        service("bad", "c", labels={"team": "." * 300}),
        service("odd", instance("id with / and %2f and ü")),
    )
    names = ["{label:team|'shop'}-{service}"]
    rig.declare(rig.registration("all", services=["web", "none", "odd"], names=names))
    rig.declare(rig.registration("bad", names=["{label:team}"]))
    async with rig.running():
        await rig.settle()
        there = await rig.there()
        assert there == ["shop-none/b", "shop-odd/id with / and %2f and ü", "shop-web/a"]
        assert len(rig.problems()) == 3
        rig.memory["mem"].set(service("odd"), service("web", "a2"))
        await rig.until_there("shop-none/b", "shop-web/a2")


async def test_two_services_that_render_to_one_name_are_one_name_with_both(driver: Driver, tmp_path: Path) -> None:
    """Of one registration they share it; a record that would be the same is refused, and nothing flaps."""
    rig = RealRig(tmp_path, driver, resync_seconds=0.3)
    rig.memory["mem"].set(service("one", "a", "same"), service("two", "b", instance("same", host="10.9.9.9")))
    rig.declare(rig.registration("all", services=["*"], names=["web"]))
    async with rig.running() as engine:
        await rig.settle()
        before = await driver.revision()
        written = engine.reconciler.targets["out"].written
        if driver.kind == "consul":  # an id there is made of name, source and instance
            assert await rig.there() == ["web/a", "web/b", "web/same"]
            (problem,) = rig.problems()
            assert "would be the same as that of" in problem
        else:  # a key there tells the publication too
            assert await rig.there() == ["web/a", "web/b", "web/same", "web/same"]
            assert rig.problems() == []
        target = engine.reconciler.targets["out"]
        target.look_due.set()
        await until(lambda: not target.look_due.is_set(), "it looked at everything again")
        await rig.settle()
        assert await driver.revision() == before
        assert target.written == written


async def test_a_name_has_one_holder_and_the_next_one_takes_over_without_a_gap(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(rig.registration("one", names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.declare(rig.registration("two", names=["web"]))
        await rig.until_problem("is held by registration default/one")
        assert await rig.there() == ["web/a"]
        rig.withdraw("registrations", "default/one")
        await rig.until_there("web/b")
        await rig.settle()
        assert rig.problems() == []
    async with rig.running():  # the incumbent keeps it, whichever name sorts first
        rig.declare(rig.registration("a-first", services="one", names=["web"]))
        await rig.until_problem("is held by registration default/two")
        await rig.settle()
        assert await rig.there() == ["web/b"]


@pytest.mark.parametrize("period", [0.1, 0.01])
async def test_an_instance_that_flaps_ends_as_it_last_was(driver: Driver, tmp_path: Path, period: float) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        steady = (await rig.read())["web/a"]
        for n in range(31):
            rig.memory["mem"].set(service("web", "a") if n % 2 == 0 else service("web", "a", "b"))
            await asyncio.sleep(period)  # the pace of what happens, not a wait
        await rig.until_there("web/a")
        await rig.settle()
        assert (await rig.read())["web/a"] == steady
        assert not engine.holds.holds


async def test_a_dead_sink_delays_no_other(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    dead = driver.config(f"http://127.0.0.1:{free_port()}")
    rig.declare(sink_named(rig, "dead", dead))
    rig.memory["mem"].set(service("web", "a"))
    both = rig.registration("web", sinks=["dead", "out"])
    rig.declare(both)
    async with rig.running() as engine:
        await rig.until_there("web/a")
        for n in range(5):
            rig.memory["mem"].set(service("web", "a", f"n{n}"))
            await rig.until_there("web/a", f"web/n{n}", seconds=5)
        condition = engine.reconciler.targets["dead"].condition
        assert (condition.ok, condition.reason) == (False, "Unreachable")


def sink_named(rig: RealRig, name: str, config: dict[str, object]) -> object:
    made = rig.sink(config=config)
    return msgspec.structs.replace(made, metadata=Metadata(name))
