"""Names that a sink takes for one (in DNS `WEB.` and `web`) have one holder, as one text has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig import Rig, registration, service, sink
from waypost.engine.releases import Release
from waypost.engine.whois import whois
from waypost.testing.virtual import virtual_test


def rig_of_one_form(tmp_path: Path) -> Rig:
    """A rig whose sinks take `_` for `-`, as DNS takes `WEB` for `web`; they have no upper case."""
    rig = Rig(tmp_path)
    rig.on_sink = lambda made: setattr(made, "canonical", lambda name: name.replace("_", "-"))
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    return rig


@pytest.mark.parametrize(("name", "other"), [("my-web", "my_web"), ("my_web", "my-web"), ("a-b.c", "a_b.c")])
def test_the_second_to_want_it_is_in_conflict_and_both_are_told(tmp_path: Path, name: str, other: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = rig_of_one_form(tmp_path)
        rig.declare(registration("one", names=[name]))
        for _ in range(2):  # the second time after a restart
            async with rig.running() as engine:
                await rig.settle()
                rig.declare(registration("two", names=[other]))
                await rig.settle()
                assert rig.found() == [f"{name}/a"]
                form = other.replace("_", "-")
                why = "" if other == form else f", for this sink takes it and `{form}` for one name"
                assert rig.problems() == [f"the name `{other}` is held by registration default/one{why}"]
                assert engine.reconciler.targets["out"].names.contenders("default/one", name) == ["default/two"]
        async with rig.running():
            await rig.settle()
            rig.withdraw("registrations", "default/one")
            await rig.settle(60)
            assert rig.found() == [f"{other}/b"]
            assert not rig.problems()

    scenario()


@virtual_test
async def test_who_shares_a_name_shares_it_in_every_form(tmp_path: Path) -> None:
    rig = rig_of_one_form(tmp_path)
    rig.declare(
        registration("one", names=["my-web"], sharing="Shared"), registration("two", names=["my_web"], sharing="Shared")
    )
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["my-web/a", "my_web/b"]
        assert not rig.problems()


@virtual_test
async def test_what_both_have_from_a_time_when_they_were_two_names_stays(tmp_path: Path) -> None:
    rig = rig_of_one_form(tmp_path)
    rig.declare(registration("one", names=["my-web"]), registration("two", names=["my_web"]))
    as_dns, rig.on_sink = rig.on_sink, lambda _: None
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["my-web/a", "my_web/b"]
    rig.on_sink = as_dns
    for _ in range(2):
        async with rig.running():
            await rig.settle(3600)
            assert rig.found() == ["my-web/a", "my_web/b"]
            assert len(rig.problems()) == 1


@virtual_test
async def test_another_form_of_the_own_name_takes_the_place_of_the_first_and_nothing_is_missing(tmp_path: Path) -> None:
    rig = rig_of_one_form(tmp_path)
    rig.declare(registration("one", names=["my-web"]))
    async with rig.running() as engine:
        await rig.settle()
        rig.declare(registration("one", names=["my_web"]))
        await rig.settle(60)
        assert rig.found() == ["my_web/a"]
        assert not rig.problems()
        assert [each.action for each in engine.ring.since()][-2:] == ["added", "removed"]


@virtual_test
async def test_people_may_write_it_in_any_form(tmp_path: Path) -> None:
    rig = rig_of_one_form(tmp_path)
    rig.declare(registration("one", names=["my-web"]))
    async with rig.running() as engine:
        await rig.settle()
        for asked in ("my-web", "my_web"):
            found = (await whois(engine, asked)).records
            assert [(each.whose, each.name) for each in found] == [("ours", "my-web")], asked
        engine.orders.release(Release(name="my_web"))
        await rig.settle(60)
        assert rig.found() == ["my-web/a"]
        assert [each.whose for each in (await whois(engine, "my-web")).records] == ["by hand"]
        assert engine.orders.release(Release(name="my-web"), undo=True), "it is the same release"
        assert not engine.orders.releases.given


@pytest.mark.parametrize("name", ["kube-dns", "Kube-DNS", "kube-dns.", "KUBE-DNS."])
def test_a_reserved_name_is_reserved_in_every_form(tmp_path: Path, name: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = rig_of_one_form(tmp_path)
        rig.declare(sink(reservedNames=["kube-dns"]), registration("one", names=[name]))
        async with rig.running():
            await rig.settle()
            assert rig.found() == []
            assert rig.problems() == [f"the name `{name}` is reserved by the sink"]

    scenario()
