"""5,000 records by hand in Consul and in BIND: some are taken over, the rest left; then all is released, and stays.

What the target itself says is the proof: in Consul each instance keeps the index at which it was created, and in the
journal of BIND no address is deleted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.servers import Bind, Consul
from tests.real.bind_driver import TTL, BindDriver
from tests.real_rig import ConsulDriver, RealRig, until, wipe
from tests.rig import instance, service
from waypost.engine.releases import Release

NAMES, EACH = 50, 100  # 5,000 records
TAKEN = 6  # names of which ours are the same; of the last one, half
LONG = 120.0  # seconds, on a machine that is busy with other things


def host(name: int, number: int) -> str:
    """Return the address of a record by hand."""
    return f"10.7.{name}.{number}"


def declared(rig: RealRig, of_last: int = EACH) -> None:
    """Let the first names be ours to publish, of the last one so many instances."""
    for name in range(TAKEN):
        count = of_last if name == TAKEN - 1 else EACH
        ids = (instance(f"i{n}", host=host(name, n), port=8080) for n in range(count))
        rig.memory["mem"].set(service(f"s{name}", *ids))
    rig.declare(rig.registration("all", services=["s*"], entry={"adopt": "Identical"}))


async def taken_over(rig: RealRig, wanted: int) -> None:
    """Wait until that many wait in one hold, and approve it."""

    async def waits() -> bool:
        return len(rig.engine.holds.waiting("out")) == wanted and rig.engine.settled()

    await until(waits, f"{wanted} wait for a person; {rig.said()[-600:]}", LONG)
    await until(lambda: sum(h.changes for h in rig.engine.holds.holds.values()) == wanted, "one hold names them", LONG)
    (hold,) = rig.engine.holds.holds.values()
    assert (hold.cause, hold.removals, hold.changes) == ("Takeover", 0, wanted)
    rig.engine.orders.decide(hold.name, "Approve", "they are ours since ever")
    await until(lambda: not rig.engine.holds.waiting("out") and rig.engine.settled(), "all is taken over", LONG)


# --- Consul


async def hand_made(consul: Consul, suffix: str) -> None:
    """Register 5,000 instances as another's program would, on 20 nodes of its own."""
    for node in range(20):
        body = {"Node": f"machine-{node}{suffix}", "Address": "192.0.2.1", "NodeMeta": {"external-node": "true"}}
        await consul.call("PUT", "/v1/catalog/register", body)
    operations = [
        {
            "Service": {
                "Verb": "set",
                "Node": f"machine-{number % 20}{suffix}",
                "Service": {
                    "ID": f"hand-{name}-{number}",
                    "Service": f"s{name}{suffix}",
                    "Address": host(name, number),
                    "Port": 8080,
                    "Tags": ["blue"] if name == TAKEN - 1 and number % 2 else [],
                },
            }
        }
        for name in range(NAMES)
        for number in range(EACH)
    ]
    for at in range(0, len(operations), 64):
        await consul.call("PUT", "/v1/txn", operations[at : at + 64])


async def instances(consul: Consul, suffix: str) -> dict[str, dict[str, Any]]:
    """Return all instances by node and id, as another's client reads them."""
    found: dict[str, dict[str, Any]] = {}
    for name in range(NAMES):
        for each in await consul.call("GET", f"/v1/catalog/service/s{name}{suffix}?consistent"):
            found[f"{each['Node']}/{each['ServiceID']}"] = each
    return found


def told(each: dict[str, Any]) -> dict[str, Any]:
    """Return what consumers see of an instance; when it was created is the proof that it never went."""
    left = {name: value for name, value in each.items() if name != "ModifyIndex"}
    return left | {"ServiceMeta": {k: v for k, v in each["ServiceMeta"].items() if not k.startswith("waypost-")}}


@pytest.mark.slow
@pytest.mark.server("consul")
async def test_5000_in_consul_are_met_some_taken_over_and_all_left_in_place(consul: Consul, tmp_path: Path) -> None:
    await wipe(consul)
    driver = ConsulDriver(consul)
    await hand_made(consul, driver.suffix)
    before = await instances(consul, driver.suffix)
    assert len(before) == NAMES * EACH
    rig = RealRig(tmp_path, driver, adoption="Identical")
    declared(rig)
    same = TAKEN * EACH - EACH // 2
    async with rig.running() as engine:
        await taken_over(rig, same)
        assert len(rig.engine.reconciler.targets["out"].failed[_publication(rig, TAKEN - 1)]) == EACH // 2
        met = await instances(consul, driver.suffix)
        assert {key: told(each) for key, each in met.items()} == {key: told(each) for key, each in before.items()}
        ours = {key for key, each in met.items() if "waypost-owner" in each["ServiceMeta"]}
        assert len(ours) == same
        assert {met[key]["ModifyIndex"] for key in met.keys() - ours} == {
            before[key]["ModifyIndex"] for key in met.keys() - ours
        }
        engine.orders.release(Release())
        await until(lambda: not engine.orders.covered(Release())["out"] and engine.settled(), "all is released", LONG)
    after = await instances(consul, driver.suffix)
    assert {key: told(each) for key, each in after.items()} == {key: told(each) for key, each in before.items()}
    assert not [key for key, each in after.items() if "waypost-owner" in each["ServiceMeta"]]
    await wipe(consul)


def _publication(rig: RealRig, name: int) -> Any:
    shown = rig.engine.reconciler.showings
    return next(key for _, key in shown if key.service.name == f"s{name}")


# --- BIND


@pytest.mark.slow
@pytest.mark.server("bind", "dig")
async def test_5000_in_bind_are_met_some_taken_over_and_all_left_in_place(named: Bind, tmp_path: Path) -> None:
    await named.start()
    driver = BindDriver(named)
    for name in range(NAMES):
        await named.update(*(f"s{name}{driver.suffix} {TTL} A {host(name, n)}" for n in range(EACH)))
    began = (await driver.steps())[-1].serial
    rig = RealRig(tmp_path, driver, adoption="Identical")
    declared(rig, of_last=EACH // 2)
    same = TAKEN * EACH - EACH // 2
    async with rig.running() as engine:
        await taken_over(rig, same)
        steps = [step for step in await driver.steps() if step.serial > began]
        assert [row for step in steps for row in step.gone if row[1] in {"A", "AAAA", "SRV"}] == []
        whose = {row[0].partition(".")[0] for step in steps for row in step.come if "waypost=1" in row[2]}
        assert len(whose) == same
        engine.orders.release(Release())
        await until(lambda: not engine.orders.covered(Release())["out"] and engine.settled(), "all is released", LONG)
    rows = [row for step in await driver.steps() if step.serial > began for row in step.gone]
    assert {row[1] for row in rows} <= {"TXT", "SOA"}, "something that consumers see went"
    zone = await named.zone()
    for name in range(NAMES):
        assert zone[f"s{name}{driver.suffix}", "A"] == sorted(host(name, n) for n in range(EACH))
    assert not [name for (name, kind), data in zone.items() if kind == "TXT" and "waypost=1" in "".join(data)]
