"""Names that registrations share: each adds its instances, and takes away only its own."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, instance, registration, service, source
from waypost.adapter import Outcome
from waypost.engine.explain import Question, explain
from waypost.engine.standing import standing
from waypost.settings import ServiceRegistration
from waypost.settings.status import Condition
from waypost.testing.virtual import virtual_test


def web(name: str, *, sharing: str = "Shared", **more: Any) -> ServiceRegistration:
    """Return a registration of the service of its name, under the name `web`."""
    return registration(name, names=["web"], sharing=sharing, **more)


def two(tmp_path: Path) -> Rig:
    """Return a rig with services `one` (a, b) and `two` (c, d)."""
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("one", "a", "b"), service("two", "c", "d"))
    return rig


def conflicted(rig: Rig, name: str) -> Condition | None:
    """Return a registration's condition of that type."""
    found = standing(rig.engine, f"default/{name}", rig.clock.monotonic())
    assert found is not None
    return next((each for each in found.conditions if each.type == "Conflicted"), None)


@virtual_test
async def test_all_that_share_a_name_add_their_instances_and_one_that_leaves_takes_its_own(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running() as engine:
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d"]
        assert not rig.problems()
        assert conflicted(rig, "one") is None
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        assert rig.found() == ["web/c", "web/d"]
        assert [c.instance for c in engine.ring.since() if c.action == "removed"] == ["a", "b"]


@virtual_test
async def test_who_holds_a_name_alone_keeps_it_and_both_sides_are_told(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one", sharing="Exclusive"))
    async with rig.running():
        await rig.settle()
        rig.declare(web("two"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
        told = "the name `web` is held by registration default/one, which does not say `sharing: Shared`"
        assert rig.problems() == [told]
        wanted = "the name `web` stays with it, though registration default/two wants it"
        loser, holder = conflicted(rig, "two"), conflicted(rig, "one")
        assert loser is not None
        assert (loser.reason, loser.message) == ("Conflicted", f"1 names or records are held by others: {told}")
        assert holder is not None
        assert (holder.reason, holder.message) == (
            "Contended",
            f"1 of its names are wanted by others, and not shared: {wanted}",
        )
        status = standing(rig.engine, "default/one", 0.0)
        assert status is not None
        assert status.problems == (
            "sinks entry `out`: the name `web` stays with it, though registration default/two wants it",
        )
        assert next(c.status for c in status.conditions if c.type == "Ready") == "True"


@pytest.mark.parametrize("sharing", ["Exclusive", "Shared"])
def test_a_registration_is_not_told_of_those_of_other_namespaces_and_explain_names_them(
    tmp_path: Path, sharing: str
) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("one", "a"), service("two", "a"), service("three", "a"))
        rig.declare(web("one", sharing=sharing))
        async with rig.running():
            await rig.settle()
            rig.declare(
                web("two", sharing=sharing, namespace="secret"), web("three", sharing=sharing, namespace="hidden")
            )
            await rig.settle()
            now = rig.clock.monotonic()
            for key in ("default/one", "secret/two", "hidden/three"):
                found = standing(rig.engine, key, now)
                others = {"default/", "secret/", "hidden/"} - {f"{key.partition('/')[0]}/"}
                assert not [other for other in others if other in repr(found)], key
            late = standing(rig.engine, "secret/two", now)
            assert late is not None
            assert "another registration" in str(late.problems)
            if sharing == "Exclusive":
                holder = conflicted(rig, "one")
                assert holder is not None
                assert "though 2 other registrations want it" in holder.message
                said = repr(await explain(rig.engine, Question("secret/two"), now))
                assert "held by registration default/one" in said

    scenario()


@virtual_test
async def test_names_that_are_shared_are_not_for_one_that_would_have_them_alone(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.memory["mem"].set(service("three", "e"))
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
        rig.declare(web("three", sharing="Exclusive"))
        await rig.settle()
        assert "web/e" not in rig.found()
        told = "the name `web` is held by registrations default/one, default/two, which would share it"
        assert rig.problems() == [f"{told}; this one does not say `sharing: Shared`"]
        rig.declare(web("three"))
        await rig.settle()
        assert "web/e" in rig.found()


@virtual_test
async def test_who_stops_sharing_keeps_its_records_and_changes_nothing_until_it_is_alone(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
        rig.declare(web("one", sharing="Exclusive"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d"]
        assert conflicted(rig, "one") is not None
        rig.memory["mem"].set(service("one", "a", "b", "x"), service("two", "c", "d", "y"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d", "web/y"]
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d", "web/y"]
        rig.withdraw("registrations", "default/two")
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/x"]
        assert conflicted(rig, "one") is None


@virtual_test
async def test_who_begins_to_share_lets_in_those_that_waited_for_it(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one", sharing="Exclusive"), web("two"))
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
        rig.declare(web("one"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d"]
        assert not rig.problems()


@virtual_test
async def test_a_restart_of_two_that_share_writes_nothing(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
    written = len(rig.target().log)
    async with rig.running():
        await rig.settle()
        assert len(rig.target().log) == written
        assert not rig.problems()


@virtual_test
async def test_one_that_cannot_be_read_does_not_stop_those_that_share_with_it(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
    rig.withdraw("registrations", "default/one")
    rig.unreadable()
    rig.memory["mem"].fail()  # what is there is known before what is wanted
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].recover()
        await rig.settle(60)
        rig.memory["mem"].set(service("two", "c", "e"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "web/e"]


@virtual_test
async def test_one_and_the_same_instance_is_one_record_and_passes_on_without_a_gap(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two", services="one"))
    async with rig.running() as engine:
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
        assert "its record would be the same as that of default/one[out] of mem//one" in rig.problems()
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        assert {record["ownership"]["waypost-registration"] for record in rig.records().values()} == {"default/two"}
        assert not [change for change in engine.ring.since() if change.action == "removed"]


@virtual_test
async def test_a_deletion_waits_for_no_write_of_another_that_shares_the_name(tmp_path: Path) -> None:
    """Promise 7: under a shared name, its registration's."""
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].refuse = lambda c: Outcome("invalid", "no") if c.key in {"web/x", "web/y"} else None
        rig.memory["mem"].set(service("two", "c", "d", "x", "y"))
        await rig.settle()
        rig.memory["mem"].set(service("one", "a"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/c", "web/d"]
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        assert rig.found() == ["web/c", "web/d"]


@virtual_test
async def test_a_deletion_does_not_wait_for_a_write_under_way_of_another_that_shares_the_name(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"), web("two"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].latency = 6.0
        rig.memory["mem"].set(service("two", "c", "d", "x"))
        await rig.settle(0.5)
        rig.memory["mem"].set(service("one", "a"))
        await rig.settle(4)
        assert "web/b" not in rig.found()
        await rig.settle(20)
        assert rig.found() == ["web/a", "web/c", "web/d", "web/x"]


@pytest.mark.parametrize("sharing", ["Shared", "Exclusive"])
@virtual_test
async def test_a_registration_that_is_renamed_beside_others_is_replaced_before_it_goes(
    tmp_path: Path, sharing: str
) -> None:
    rig = two(tmp_path)
    rig.declare(web("one", sharing=sharing))
    if sharing == "Shared":
        rig.declare(web("two"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].refuse = lambda c: Outcome("invalid", "no") if c.record and c.key == "web/z" else None
        rig.memory["mem"].set(service("one", "a", "z"))
        rig.withdraw("registrations", "default/one")
        rig.declare(web("renamed", sharing=sharing, services="one"))
        await rig.settle()
        found = {key: record["ownership"]["waypost-registration"] for key, record in rig.records().items()}
        assert found["web/a"] == "default/renamed"
        assert found["web/b"] == "default/one", "as many old records stay as are missing"


@virtual_test
async def test_sharers_on_different_sources_do_not_wait_for_each_other(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(source("other"))
    rig.memory["other"].set(service("far", "f", source="other"))
    rig.declare(web("one"), web("far", source="other"))
    rig.memory["other"].fail()
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
        rig.memory["other"].recover()
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b", "web/f"]


@virtual_test
async def test_what_one_that_shares_withholds_another_that_publishes_it_has(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"))
    async with rig.running():
        await rig.settle()
        rig.declare(web("two", services="one", entry={"notReady": "Publish"}))
        await rig.settle()
        rig.memory["mem"].set(service("one", instance("a", readiness="not-ready"), "b"))
        await rig.settle()
        whose = {key: record["ownership"]["waypost-registration"] for key, record in rig.records().items()}
        assert whose == {"web/a": "default/two", "web/b": "default/one"}


@virtual_test
async def test_who_waited_for_one_whose_manifest_could_not_be_read_shares_with_it_once_it_can(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(web("one"))
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
    rig.withdraw("registrations", "default/one")
    rig.unreadable()
    rig.declare(web("two"), complete=False)
    async with rig.running():
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"], "nobody knows whether it shares"
        rig.declare(web("one"))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b", "web/c", "web/d"]
        assert not rig.problems()
