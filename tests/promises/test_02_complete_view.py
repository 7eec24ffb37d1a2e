"""Promise 2: without a complete view nothing is deleted; emptiness needs time and agreeing reads."""

from pathlib import Path

import msgspec
import pytest

from tests.rig import Rig, instance, registration, service
from waypost.adapter import AdapterError
from waypost.testing.virtual import virtual_test


def rig_with(tmp_path: Path, count: int = 20) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"i{n:03}" for n in range(count))))
    rig.declare(registration("web"))
    return rig


@virtual_test
async def test_a_source_that_is_down_at_start_deletes_nothing(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].fail(AdapterError("down"))
    async with rig.running():
        await rig.settle(3600)
        assert len(rig.found()) == 20
        rig.memory["mem"].recover()
        await rig.settle(60)
        assert len(rig.found()) == 20
    assert not [write for write in rig.target().log if write.new is None]


@virtual_test
async def test_a_snapshot_that_breaks_off_deletes_nothing(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    rig.memory["mem"].set(service("api", "x"))
    rig.declare(registration("api"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].partial(1)
        rig.memory["mem"].snapshot_now()
        await rig.settle(3600)
        assert len(rig.found()) == 21


@virtual_test
async def test_an_empty_source_is_believed_after_its_time_and_three_reads(tmp_path: Path) -> None:
    rig = rig_with(tmp_path, 4)
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].delete_quietly(*list(rig.memory["mem"].services))
        rig.memory["mem"].snapshot_now()
        await rig.settle(250)
        assert len(rig.found()) == 4
        rig.memory["mem"].snapshot_now()
        await rig.settle(100)
        assert len(rig.found()) == 4, "two reads are not three"
        rig.memory["mem"].current()
        await rig.settle(5)
        assert rig.found() == []


@virtual_test
async def test_an_almost_empty_snapshot_deletes_nothing_and_its_return_costs_no_write(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    async with rig.running():
        await rig.settle()
        whole = rig.memory["mem"].services.copy()
        rig.memory["mem"].set_quietly(service("web", "i000"))
        rig.memory["mem"].snapshot_now()
        await rig.settle(200)
        assert len(rig.found()) == 20
        rig.memory["mem"].set_quietly(*whole.values())
        rig.memory["mem"].snapshot_now()
        await rig.settle(3600)
        assert len(rig.found()) == 20
        assert len(rig.target().log) == 20


@virtual_test
async def test_what_vanished_while_waypost_was_down_is_doubted_in_the_same_way(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].set_quietly(service("web", "i000"))
    async with rig.running():
        await rig.settle(200)
        assert len(rig.found()) == 20


@virtual_test
async def test_a_service_listed_with_no_instances_is_a_fact(tmp_path: Path) -> None:
    rig = rig_with(tmp_path, 3)
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set_quietly(service("web"))
        rig.memory["mem"].snapshot_now()
        await rig.settle(2)
        assert rig.found() == []


@virtual_test
async def test_instances_on_unknown_nodes_stay_until_a_snapshot_no_longer_names_the_node(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    on = [instance(f"a{n}", node="n1") for n in range(3)] + [instance("b", node="n2")]
    rig.memory["mem"].set(service("web", *on))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].unknown_nodes("n1")
        rig.memory["mem"].set_quietly(service("web", on[3]))
        rig.memory["mem"].snapshot_now()
        await rig.settle(1)
        rig.memory["mem"].set(service("web", on[3], instance("c", node="n2")))
        await rig.settle(3600)
        assert rig.found() == ["web/a0", "web/a1", "web/a2", "web/b", "web/c"]
        rig.memory["mem"].unknown_nodes()
        rig.memory["mem"].snapshot_now()
        await rig.settle(3600)
        assert rig.found() == ["web/b", "web/c"]


@pytest.mark.parametrize("lost", [1, 5])
def test_a_small_loss_in_a_snapshot_is_believed_at_once(tmp_path: Path, lost: int) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = rig_with(tmp_path)
        async with rig.running():
            await rig.settle()
            rig.memory["mem"].set_quietly(service("web", *(f"i{n:03}" for n in range(lost, 20))))
            rig.memory["mem"].snapshot_now()
            await rig.settle(2)
            assert len(rig.found()) == 20 - lost

    scenario()


@virtual_test
async def test_instances_that_only_records_name_outlast_unknown_nodes_however_long(tmp_path: Path) -> None:
    """A source and Waypost start again at once, and a node takes longer to come back than `emptySeconds`."""
    rig = Rig(tmp_path)
    everything = service("web", *(instance(f"i{n}", node=f"n{n % 2}") for n in range(20)))
    rig.memory["mem"].set(everything)
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        assert len(rig.found()) == 20
    half = msgspec.structs.replace(everything, instances=tuple(i for i in everything.instances if i.node == "n0"))
    rig.memory["mem"].set(half)
    rig.memory["mem"].unknown_nodes("n1")
    async with rig.running():
        for _ in range(60):
            rig.memory["mem"].snapshot_now()
            await rig.settle(10)
        assert len(rig.found()) == 20
        rig.memory["mem"].unknown_nodes()
        for _ in range(20):  # now it is absent as anything else: doubted first, and believed in time
            rig.memory["mem"].snapshot_now()
            await rig.settle(10)
            assert len(rig.found()) == 20
        for _ in range(70):
            rig.memory["mem"].snapshot_now()
            await rig.settle(10)
        assert len(rig.found()) < 20
