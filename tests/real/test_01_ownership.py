"""Promise 1 on real servers: what is not ours stays as it is, by the target's own revisions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.real_rig import Driver, RealRig
from tests.rig import service


async def test_a_foreign_record_under_our_key_is_a_conflict_and_stays(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    await driver.foreign(await rig.key("web", "a"), "web")
    before = (await rig.read())["web/a"]
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.until_problem("conflict")
        await rig.until_there("web/a", "web/b")
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.until_there("web/a")
        await rig.settle()
    assert (await rig.read())["web/a"] == before
    assert await driver.witness() == {"web/a": ("192.0.2.9", 1)}


async def test_an_equal_record_by_hand_is_never_ours(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
    ours = (await rig.read())["web/a"]
    await driver.lose()
    await driver.write(ours, content=without_ownership(ours.content))
    twin = (await rig.read())["web/a"]
    assert (twin.host, twin.port, twin.owner) == (ours.host, ours.port, "")
    async with rig.running(folder=tmp_path / "second"):
        await rig.until_problem("conflict")
        rig.withdraw("registrations", "default/web")
        await rig.settle()
    assert await rig.read() == {"web/a": twin}


def without_ownership(content: str) -> str:
    """Return the same data as a person would write it."""
    found = json.loads(content)
    if isinstance(found, dict):
        ours = ("owner", "registration", "entry", "service", "instance", "path")
        return json.dumps({key: value for key, value in found.items() if key not in ours})
    service_, _ = found
    meta = {key: value for key, value in service_["Meta"].items() if not key.startswith("waypost-")}
    return json.dumps([{**service_, "Meta": meta}, []])


async def test_a_record_that_another_took_over_is_theirs_from_then_on(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
        await driver.foreign((await rig.read())["web/a"].key, "web")
        await rig.until_problem("conflict")
        theirs = (await rig.read())["web/a"]
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        assert (await rig.read())["web/a"] == theirs
    assert theirs.host == "192.0.2.9"


async def test_two_owners_share_a_name_and_never_touch_each_other(driver: Driver, tmp_path: Path) -> None:
    first = RealRig(tmp_path / "1", driver)
    second = RealRig(tmp_path / "2", driver, owner="other")
    first.memory["mem"].set(service("web", "a", "b"))
    second.memory["mem"].set(service("web", "c", "d"))
    for rig in (first, second):
        rig.declare(rig.registration("web"))
    async with first.running(), second.running():
        await first.until_there("web/a", "web/b", "web/c", "web/d")
        theirs = {place: kept for place, kept in (await second.read()).items() if kept.owner == second.owner}
        assert sorted(theirs) == ["web/c", "web/d"]
        first.withdraw("registrations", "default/web")
        await first.until_there("web/c", "web/d")
        await first.settle()
        assert await second.read() == theirs
    assert sorted(await driver.witness()) == ["web/c", "web/d"]


async def test_what_others_keep_beside_ours_is_not_touched_by_a_whole_life(driver: Driver, tmp_path: Path) -> None:
    rig = RealRig(tmp_path, driver)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(rig.registration("web"))
    async with rig.running():
        await rig.settle()
        ours = (await rig.read())["web/a"]
        await driver.write(ours, key=f"{ours.key}-copy-by-hand", content=without_ownership(ours.content))
        (copy,) = [kept for kept in await driver.records() if kept.key != ours.key]
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
    (left,) = await driver.records()
    assert left == copy
