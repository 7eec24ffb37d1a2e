"""Promise 2 on real servers: without a complete view nothing is deleted, and the target's log does not move."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.proxy import Proxy
from tests.real.test_03_convergence import url_of
from tests.real_rig import Driver, RealRig, until
from tests.rig import service
from waypost.adapter import AdapterError

NAMES = [f"i{n:02}" for n in range(20)]


async def filled(tmp_path: Path, driver: Driver, url: str | None = None) -> RealRig:
    rig = RealRig(tmp_path, driver, url=url)
    rig.memory["mem"].set(service("web", *NAMES))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
    return rig


@pytest.mark.parametrize("fault", ["down", "partial", "empty", "nearly empty"])
async def test_a_source_that_does_not_tell_all_at_start_deletes_nothing(
    driver: Driver, tmp_path: Path, fault: str
) -> None:
    rig = await filled(tmp_path, driver)
    before = await driver.revision()
    source = rig.memory["mem"]
    whole = dict(source.services)
    match fault:
        case "down":
            source.fail(AdapterError("connection refused"))
        case "partial":
            source.partial(0)
        case "empty":
            source.delete_quietly(*whole)
        case _:
            source.set_quietly(service("web", *NAMES[:2]))
    async with rig.running() as engine:
        await until(lambda: engine.reconciler.targets["out"].loaded, "the sink was read")
        if fault in {"down", "partial"}:
            await until(lambda: not engine.sources["mem"].condition.ok and source.watches == 0, "the source failed")
        else:
            await until(lambda: engine.reconciler.views["mem"].reads >= 1, "the source was read")
            source.snapshot_now()
            await until(lambda: engine.reconciler.views["mem"].reads >= 2, "and again")
        await until(lambda: engine.reconciler.targets["out"].settled, "the sink has nothing to do")
        assert await driver.revision() == before
        source.set_quietly(*whole.values())
        source.recover()
        source.snapshot_now()
        await until(lambda: not engine.reconciler.views["mem"].doubt, "all is there again")
        await rig.settle()
    assert await driver.revision() == before


async def test_a_reading_of_the_target_that_breaks_off_proves_nothing_missing(driver: Driver, tmp_path: Path) -> None:
    async with Proxy(url_of(driver.server)) as proxy:
        rig = await filled(tmp_path, driver, url=proxy.url)
        before = await driver.revision()
        rig.resync_seconds = 0.3
        async with rig.running() as engine:
            target = engine.reconciler.targets["out"]
            await rig.settle()
            await proxy.cut(100 if driver.kind == "dns" else 700)
            await proxy.drop()
            accepted = proxy.accepted
            await proxy.wait_accepted(accepted + 5)
            assert target.ledger.records == len(NAMES)
            await proxy.heal()
            await proxy.drop()
            rig.memory["mem"].set(service("api", "x"))
            rig.declare(rig.registration("api"))
            await until(lambda: "api/x" in _places(target), "it goes on")
            await rig.settle()
    after = await driver.revision()
    assert {name: after[name] for name in before} == before


def _places(target: object) -> list[str]:
    shelves = target.ledger.shelves  # type: ignore[attr-defined]
    return [f"{key.service.name}/{i}" for key in shelves for i in target.ledger.instances(key)]  # type: ignore[attr-defined]


async def test_instances_on_unknown_nodes_stay_in_the_target(driver: Driver, tmp_path: Path) -> None:
    from tests.rig import instance

    rig = RealRig(tmp_path, driver)
    on = [instance(f"a{n}", node="n1") for n in range(3)] + [instance("b", node="n2")]
    rig.memory["mem"].set(service("web", *on))
    rig.declare(rig.registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        before = await rig.read()
        view = engine.reconciler.views["mem"]
        reads = view.reads
        rig.memory["mem"].unknown_nodes("n1")
        rig.memory["mem"].set_quietly(service("web", on[3]))
        rig.memory["mem"].snapshot_now()
        await until(lambda: view.reads > reads, "the view was read")
        rig.memory["mem"].set(service("web", on[3], instance("c", node="n2")))
        await rig.until_there("web/a0", "web/a1", "web/a2", "web/b", "web/c")
        await rig.settle()
        after = await rig.read()
        assert {place: after[place] for place in before} == before
