"""Promise 3 on real servers: when faults stop, the target equals the plan, whatever happened before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.proxy import Proxy
from testbed.servers import Bind, Consul, Etcd
from tests.real_rig import Driver, Kept, RealRig, until
from tests.rig import service

NAMES = [f"i{n:02}" for n in range(30)]
PLACES = [f"web/{name}" for name in NAMES]


def url_of(server: Etcd | Consul | Bind) -> str:
    return server.endpoint if isinstance(server, Etcd) else server.address


def prepared(tmp_path: Path, driver: Driver, url: str | None = None, resync_seconds: float = 300.0) -> RealRig:
    rig = RealRig(tmp_path, driver, url=url, resync_seconds=resync_seconds)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(rig.registration("web"))
    return rig


FAULTS: dict[str, Callable[[Proxy], Awaitable[None]]] = {
    "refuses": lambda proxy: proxy.refuse(),
    "cuts every answer": lambda proxy: proxy.cut(400, rst=True),
    "answers garbage": lambda proxy: proxy.garbage(),
    "answers 503": lambda proxy: proxy.answer(503, b"not now"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_what_changed_while_the_wire_was_broken_is_there_afterwards(
    driver: Driver, tmp_path: Path, fault: str
) -> None:
    async with Proxy(url_of(driver.server)) as proxy:
        rig = prepared(tmp_path, driver, proxy.url)
        async with rig.running() as engine:
            await rig.settle()
            await FAULTS[fault](proxy)
            await proxy.drop()
            rig.memory["mem"].set(service("web", *NAMES[1:], "new"))
            target = engine.reconciler.targets["out"]
            await until(lambda: not target.condition.ok, "the sink says that it is not reached")
            rig.memory["mem"].set(service("web", *NAMES[2:], "new", "newer"))
            await proxy.heal()
            await proxy.drop()
            await rig.until_there(*PLACES[2:], "web/new", "web/newer", seconds=60)
            await rig.settle()
            assert target.condition.ok
            assert not engine.holds.holds


async def test_a_wire_that_is_silent_for_long_and_then_goes_on_brings_nothing_back(
    driver: Driver, tmp_path: Path
) -> None:
    """The write that hangs is given up, then arrives after all: it must not undo what came later."""
    async with Proxy(url_of(driver.server)) as proxy:
        rig = prepared(tmp_path, driver, proxy.url)
        async with rig.running() as engine:
            await rig.settle()
            await proxy.hang()
            rig.memory["mem"].set(service("web", *NAMES, "late"))
            target = engine.reconciler.targets["out"]
            await until(lambda: bool(target.busy), "the write is on its way")
            rig.memory["mem"].set(service("web", *NAMES))
            await until(lambda: not target.busy, "the write is given up", 40)
            await proxy.heal()
            await rig.settle(60)
            await until(rig.there, "it is read")
            assert await rig.there() == PLACES
            assert target.condition.ok


ACCIDENTS: dict[str, Callable[[Driver, dict[str, Kept]], Awaitable[None]]] = {
    "one record lost": lambda driver, kept: driver.remove(kept["web/i03"]),
    "all records lost": lambda driver, kept: driver.lose(stamps=False),
    "everything lost, stamps too": lambda driver, kept: driver.lose(),
    "one record altered": lambda driver, kept: driver.write(
        kept["web/i03"], content=kept["web/i03"].content.replace("8080", "81")
    ),
    "a zombie of ours": lambda driver, kept: zombie(driver, kept["web/i03"]),
}


async def zombie(driver: Driver, kept: Kept) -> None:
    """Bring back a record of ours that nothing asks for, as a restored backup does."""
    key, content = driver.renamed(kept, "zombie")
    await driver.write(kept, key=key, content=content)


@pytest.mark.parametrize("accident", sorted(ACCIDENTS))
async def test_what_others_did_is_put_right(driver: Driver, tmp_path: Path, accident: str) -> None:
    rig = prepared(tmp_path, driver, resync_seconds=2.0)
    async with rig.running() as engine:
        await rig.settle()
        wanted = {place: kept.content for place, kept in (await rig.read()).items()}
        await ACCIDENTS[accident](driver, await rig.read())
        assert {place: kept.content for place, kept in (await rig.read()).items()} != wanted or "stamps" in accident

        async def right() -> bool:
            return {kept.place: kept.content for kept in await driver.records()} == wanted

        await until(right, f"{accident}: it is put right")
        await rig.settle()
        assert not engine.holds.holds
        assert await driver.stamp(rig.owner)


async def test_a_server_killed_in_the_middle_of_changes_has_them_all_in_the_end(
    fragile: Driver, tmp_path: Path
) -> None:
    rig = prepared(tmp_path, fragile)
    async with rig.running():
        await rig.settle()
        left = list(NAMES)

        async def change() -> None:
            for n in range(8):  # of 30: a budget has nothing to say, though the target restarts
                left.append(f"n{n:02}")
                rig.memory["mem"].set(service("web", *left))
                left.pop(0)
                rig.memory["mem"].set(service("web", *left))
                await asyncio.sleep(0.02)  # the pace of what happens, not a wait

        async with asyncio.TaskGroup() as group:
            group.create_task(change())
            await fragile.server.kill9()
            await fragile.server.start()
        await rig.until_there(*(f"web/{name}" for name in left), seconds=60)
        await rig.settle()


async def test_a_server_that_comes_back_empty_is_filled_again(fragile: Driver, tmp_path: Path) -> None:
    rig = prepared(tmp_path, fragile, resync_seconds=5.0)  # Consul, asked for an index that it lost, waits for minutes
    async with rig.running() as engine:
        await rig.settle()
        first = await fragile.stamp(rig.owner)
        await fragile.server.restart(keep_state=False, kill=True)
        await rig.until_there(*PLACES, seconds=60)
        await rig.settle()
        second = await fragile.stamp(rig.owner)
        assert first
        assert second
        assert second["epoch"] > first["epoch"], "a late write of before the loss must fail"
        assert not engine.holds.holds


async def test_a_server_that_stands_still_delays_and_loses_nothing(fragile: Driver, tmp_path: Path) -> None:
    rig = prepared(tmp_path, fragile)
    async with rig.running() as engine:
        await rig.settle()
        await fragile.server.pause()
        target = engine.reconciler.targets["out"]
        try:
            rig.memory["mem"].set(service("web", *NAMES[3:], "new"))
            await until(lambda: bool(target.busy), "a write is on its way")
            rig.memory["mem"].set(service("web", *NAMES[5:], "new"))
        finally:
            await fragile.server.resume()
        await rig.until_there(*PLACES[5:], "web/new", seconds=60)
        await rig.settle()


async def test_a_sink_that_is_down_at_start_is_filled_when_it_is_there(fragile: Driver, tmp_path: Path) -> None:
    await fragile.server.stop()
    rig = prepared(tmp_path, fragile)
    async with rig.running():
        await rig.until_condition("Unreachable")
        await fragile.server.start()
        await rig.until_there(*PLACES, seconds=60)
        await rig.settle()
    assert sorted(await fragile.witness()) == PLACES
