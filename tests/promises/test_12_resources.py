"""Promise 12: deleting or breaking a source, a sink, a credential or a grant deletes no record."""

from pathlib import Path

import pytest

from tests.rig import Rig, instance, registration, service, sink, source
from waypost.testing.virtual import virtual_test


def whole(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    return rig


@virtual_test
async def test_a_deleted_source_deletes_nothing(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        rig.withdraw("sources", "mem")
        await rig.settle(3600)
        assert rig.found() == ["web/a", "web/b"]
        rig.declare(source())
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        assert engine.settled()
    rig.withdraw("sources", "mem")
    async with rig.running():
        await rig.settle(3600)
    assert rig.found() == ["web/a", "web/b"]
    assert len(rig.target().log) == 2


@virtual_test
async def test_a_deleted_sink_deletes_nothing_and_comes_back_without_a_write(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.withdraw("sinks", "out")
        await rig.settle(3600)
        rig.declare(sink())
        await rig.settle(60)
    assert rig.found() == ["web/a", "web/b"]
    assert len(rig.target().log) == 2


@virtual_test
async def test_a_narrowed_grant_deletes_nothing(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(sink(grants=[{"namespaces": ["other"]}]))
        await rig.settle(60)
        rig.declare(sink(reservedNames=["web"]), source(grants=[{"namespaces": ["other"]}]))
        await rig.settle(60)
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        assert any("no grant" in problem or "reserved" in problem for problem in rig.problems())


@virtual_test
async def test_another_environment_that_is_not_accepted_deletes_nothing(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(sink(accepts={"registered": ["prod"]}))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]


@virtual_test
async def test_a_frozen_source_is_neither_read_nor_believed(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(source(mode="Frozen"))
        await rig.settle(1)
        rig.memory["mem"].set(service("web", "c"))
        await rig.settle(3600)
        assert rig.found() == ["web/a", "web/b"]
    async with rig.running():
        await rig.settle(3600)
        assert rig.found() == ["web/a", "web/b"]


@virtual_test
async def test_for_what_drains_no_time_passes_while_its_source_is_frozen(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", drainSeconds=10))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", instance("a", readiness="draining"), "b"))
        await rig.settle(1)
        rig.declare(source(mode="Frozen"))
        await rig.settle(3600)
        assert rig.found() == ["web/a", "web/b"]
        rig.declare(source())
        await rig.settle(1)
        assert rig.found() == ["web/b"]


@virtual_test
async def test_a_source_that_is_believed_is_believed_even_where_a_grant_is_broken(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(sink(grants=[{"namespaces": ["other"]}]))
        await rig.settle(60)
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle(60)
        assert rig.found() == ["web/b"]


@pytest.mark.parametrize("former", ["still declared", "gone"])
@virtual_test
async def test_another_sink_for_the_same_place_takes_nothing_for_left_over(tmp_path: Path, former: str) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.targets["renamed"] = rig.targets["out"]
        rig.declare(sink("renamed"))
        if former == "gone":
            rig.withdraw("sinks", "out")
        await rig.settle(3600)
        assert rig.found() == ["web/a", "web/b"]
        rig.withdraw("sinks", "out")
        rig.declare(registration("web", entry={"name": "out", "sinkRef": {"name": "renamed"}}))
        rig.memory["mem"].set(service("web", "a"))  # the registration follows: now it may
        await rig.settle()
        assert rig.found() == ["web/a"]
        assert len(rig.target().log) == 3


@virtual_test
async def test_an_entry_that_is_moved_to_another_sink_leaves_the_former(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    rig.declare(sink("other", owner="another"))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("web", entry={"name": "out", "sinkRef": {"name": "other"}}))
        await rig.settle()
        assert rig.found("other") == ["web/a", "web/b"]
        assert not rig.found()


@virtual_test
async def test_narrowed_networks_delete_nothing(tmp_path: Path) -> None:
    rig = whole(tmp_path)
    async with rig.running():
        await rig.settle()
        rig.declare(sink(allowedCIDRs=["192.168.0.0/16"]))
        await rig.settle(60)
        rig.declare(sink(), source(allowedCIDRs=["192.168.0.0/16"]))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        assert any("allowedCIDRs" in problem for problem in rig.problems())
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        assert rig.found() == ["web/b"], "what is gone goes all the same"
    assert len([write for write in rig.target().log if write.new is not None]) == 2
