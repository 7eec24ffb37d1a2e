"""Who holds a name: the registration that has it keeps it, through swaps, restarts and outages of its source."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.rig import Rig, registration, service, sink, source
from waypost.engine.names import Names
from waypost.model import PublicationKey, ServiceKey
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_two_registrations_may_swap_their_names_and_then_hold_what_they_took(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(registration("one", names=["n1"]), registration("two", names=["n2"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("one", names=["n2"]), registration("two", names=["n1"]))
        await rig.settle()
        assert rig.found() == ["n1/b", "n2/a"]
        assert not rig.problems()
        rig.declare(registration("one", names=["n2", "n1"]))  # who had it once has no claim to it
        await rig.settle()
        assert rig.found() == ["n1/b", "n2/a"]
        assert rig.problems() == ["the name `n1` is held by registration default/two"]


def contended(tmp_path: Path) -> Rig:
    """Return a rig in which `one` of source mem is to have the name that `two` of source other wants as well."""
    rig = Rig(tmp_path)
    rig.declare(source("other"))
    rig.memory["mem"].set(service("one", "a"))
    rig.memory["other"].set(service("two", "b", source="other"))
    rig.declare(registration("one", names=["web"]))
    return rig


@virtual_test
async def test_a_name_is_held_through_a_restart_while_its_source_is_down(tmp_path: Path) -> None:
    rig = contended(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(registration("two", names=["web"], source="other"))
        await rig.settle()
        assert rig.found() == ["web/a"]
    rig.memory["mem"].fail()
    async with rig.running():
        await rig.settle(60)
        assert rig.found() == ["web/a"]
        assert "the name `web` is held by registration default/one" in rig.problems()
        rig.memory["mem"].recover()
        await rig.settle(60)
        assert rig.found() == ["web/a"]
        rig.memory["mem"].delete(service("one").key)  # a fact: now the name is free
        await rig.settle()
        assert rig.found() == ["web/b"]


@virtual_test
async def test_a_name_is_held_while_its_source_is_not_declared_and_while_it_is_refused(tmp_path: Path) -> None:
    rig = contended(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(registration("two", names=["web"], source="other"))
        await rig.settle()
        rig.withdraw("sources", "mem")
        await rig.settle(30)
        assert rig.found() == ["web/a"]
        rig.declare(source())
        await rig.settle(30)
        rig.declare(sink(grants=[{"namespaces": ["elsewhere"]}]))
        await rig.settle(30)
        rig.declare(sink())
        await rig.settle(30)
        assert rig.found() == ["web/a"]


@virtual_test
async def test_a_registration_that_cannot_have_the_name_any_more_holds_it_not_though_its_source_is_down(
    tmp_path: Path,
) -> None:
    rig = contended(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].fail()
    rig.declare(registration("one", names=["{service}-old"]))
    rig.declare(registration("two", names=["web"], source="other"))
    async with rig.running():
        await rig.settle(60)
        assert "web/b" in rig.found()


@virtual_test
async def test_a_name_passes_on_without_a_gap_when_its_source_turns_out_to_have_nothing(tmp_path: Path) -> None:
    rig = contended(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].fail()
    rig.memory["mem"].services.clear()
    rig.declare(registration("two", names=["web"], source="other"))
    async with rig.running() as engine:
        await rig.settle(60)
        assert rig.found() == ["web/a"]
        rig.memory["mem"].recover()
        for _ in range(4):
            rig.memory["mem"].snapshot_now()
            await rig.settle(200)
        assert rig.found() == ["web/b"]
        assert [change.action for change in engine.ring.since()] == ["added", "removed"]


@pytest.mark.parametrize("namespaced", [True, False])
def test_one_name_in_two_namespaces_is_two_where_the_sink_keeps_them_apart(tmp_path: Path, namespaced: bool) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.on_sink = lambda made: setattr(made, "namespaced", namespaced)
        rig.memory["mem"].set(service("one", "a"), service("two", "b"), service("three", "c"))
        rig.declare(
            registration("one", names=["web"], namespace="shop"), registration("two", names=["web"], namespace="team")
        )
        for _ in range(2):  # the second time with records that are there already
            async with rig.running():
                await rig.settle()
                assert rig.found() == (["web/a", "web/b"] if namespaced else ["web/a"])
                assert rig.problems() == ([] if namespaced else ["the name `web` is held by another registration"])
        if not namespaced:
            return
        rig.declare(registration("three", names=["web"], namespace="team"))
        async with rig.running():
            await rig.settle()
            assert rig.found() == ["web/a", "web/b"]
            assert rig.problems() == ["the name `web` is held by registration team/two"]
            rig.withdraw("registrations", "shop/one")
            await rig.settle()
            assert rig.found() == ["web/b"], "what leaves in one namespace passes nothing on in another"
            rig.withdraw("registrations", "team/two")
            await rig.settle(10)
            assert rig.found() == ["web/c"]

    scenario()


@virtual_test
async def test_who_waits_for_a_name_of_the_same_service_takes_its_records_over_when_they_are_let_go(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("one", services="web", names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("two", services="web", names=["web"]))
        await rig.settle()
        assert rig.problems() == ["the name `web` is held by registration default/one"]
        rig.declare(registration("one", services="web", names=["web-old"]))
        await rig.settle()
        assert rig.found() == ["web-old/a", "web-old/b", "web/a", "web/b"]
        assert {
            record["ownership"]["waypost-registration"] for key, record in rig.records().items() if "old" not in key
        } == {"default/two"}
        assert not [write for write in rig.target().log if write.new is None], "taken over, not deleted and made anew"


@virtual_test
async def test_who_has_a_name_keeps_it_after_a_restart_though_another_that_wants_the_service_is_matched_first(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    rig.declare(registration("api", services="web", names=["web"]))
    rig.settings = msgspec.structs.replace(
        rig.settings, registrations=dict(sorted(rig.settings.registrations.items()))
    )  # `default/api` comes first
    rig.memory["mem"].hang()  # records are looked at before the source is
    async with rig.running():
        await rig.settle()
        rig.target().set("web/b", None)
        rig.memory["mem"].recover()
        rig.memory["mem"].snapshot_now()
        await rig.settle(60)
        owners = {record["ownership"]["waypost-registration"] for record in rig.records().values()}
        assert rig.found() == ["web/a", "web/b"]
        assert owners == {"default/web"}


@virtual_test
async def test_a_name_given_on_and_asked_for_again_in_one_moment_has_one_holder_who_writes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web", metadata={"mark": "1"}))
    async with rig.running():
        await rig.settle()
        renamed = registration("x", services="web", names=["web"], metadata={"mark": "2"})
        rig.settings = msgspec.structs.replace(rig.settings, registrations={renamed.key: renamed})
        rig.engine.put(rig.settings)
        await asyncio.sleep(0.001)  # before anything is written
        rig.declare(registration("web", metadata={"mark": "3"}))
        await rig.settle(60)
        (record,) = rig.records().values()
        assert (record["ownership"]["waypost-registration"], record["metadata"]) == ("default/x", {"mark": "2"})
        assert rig.problems() == ["the name `web` is held by registration default/x"]


def publication(name: str) -> PublicationKey:
    return PublicationKey(f"default/{name}", "out", ServiceKey("mem", "", "web"))


@pytest.mark.parametrize("unknown", [False, True])
def test_what_is_left_by_who_wants_another_name_gives_its_holder_s_name_to_nobody(unknown: bool) -> None:
    # `first` left a record under `web`; `holder` has the others and wants the name, or may (it cannot be known).
    first, holder, newcomer = publication("first"), publication("holder"), publication("another")
    names = Names(lambda _: (), keeps=lambda key, _: unknown and key == holder)
    names.found(first, "web")
    names.found(holder, "web")
    names.reset([(first, ["other"]), (newcomer, ["web"]), *([] if unknown else [(holder, ["web"])])])
    assert names.conflict(newcomer, "web") == "the name `web` is held by registration default/holder"
    assert names.conflict(first, "other") is None


@pytest.mark.parametrize("first", ["the refused", "the granted"])
def test_who_may_not_publish_a_name_keeps_it_from_nobody(tmp_path: Path, first: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.declare(
            sink(grants=[{"namespaces": ["good"], "names": ["web"]}, {"namespaces": ["bad"], "names": ["bad"]}])
        )
        rig.memory["mem"].set(service("one", "a"), service("two", "b"))
        both = [
            registration("one", names=["web"], namespace="bad"),
            registration("two", names=["web"], namespace="good"),
        ]
        refused = "no grant of the sink lets namespace `bad` publish the name `web`"
        for _ in range(2):  # the second time after a restart
            async with rig.running():
                for each in both if first == "the refused" else reversed(both):
                    rig.declare(each)
                    await rig.settle()
                assert rig.found() == ["web/b"]
                assert rig.problems() == [refused]
        async with rig.running():
            await rig.settle()
            rig.withdraw("registrations", "good/two")
            await rig.settle(60)
            assert rig.found() == []

    scenario()


@virtual_test
async def test_whose_grant_is_taken_away_keeps_the_names_of_its_records(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.declare(sink(grants=[{"namespaces": ["shop", "team"]}]))
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(registration("one", names=["web"], namespace="shop"))
    async with rig.running():
        await rig.settle()
        rig.declare(sink(grants=[{"namespaces": ["team"]}]))
        await rig.settle()
        rig.declare(registration("two", names=["web"], namespace="team"))
        await rig.settle(60)
        assert rig.found() == ["web/a"]
    async with rig.running():
        await rig.settle(60)
        assert rig.found() == ["web/a"]
        assert "the name `web` is held by another registration" in rig.problems()
        rig.declare(sink(grants=[{"namespaces": ["shop", "team"]}]))  # given back: nothing has changed hands
        await rig.settle(60)
        assert rig.found() == ["web/a"]
        assert rig.problems() == ["the name `web` is held by another registration"]
