"""Promise 6.

A restart, failover or rename of a registration with unchanged inputs deregisters nothing; a restart writes nothing.
"""

from pathlib import Path

from tests.rig import Rig, registration, service
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_restart_writes_no_record(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(*(service(f"s{n}", *(f"i{n}-{m}" for m in range(5))) for n in range(20)))
    rig.declare(registration("all", services=["*"], sinks=["out"], metadata={"zone": "{instance.zone}"}))
    async with rig.running():
        await rig.settle()
    assert len(rig.target().log) == 100
    for _ in range(3):
        async with rig.running():
            await rig.settle(400)
    assert len(rig.target().log) == 100


@virtual_test
async def test_killed_in_the_middle_of_a_first_sync_it_goes_on_where_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *(f"i{n:03}" for n in range(500))))
    rig.declare(registration("web"))
    rig.on_sink = lambda sink: setattr(sink, "latency", 0.1)
    async with rig.running():
        await rig.settle(0.3)
    assert 0 < len(rig.found()) < 500
    async with rig.running():
        await rig.settle(10)
    assert len(rig.found()) == len(rig.target().log) == 500


@virtual_test
async def test_a_renamed_registration_leaves_no_gap(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", names=["shop"]))
    async with rig.running():
        await rig.settle()
        renamed = registration("web2", services="web", names=["shop"])
        rig.declare(renamed)
        await rig.settle(1)
        rig.withdraw("registrations", "default/web")
        await rig.settle(60)
        assert rig.found() == ["shop/a", "shop/b"]
        assert all("default/web2" in r["ownership"]["waypost-registration"] for r in rig.records().values())
    assert not [write for write in rig.target().log if write.new is None]


@virtual_test
async def test_a_name_that_moves_is_written_before_the_old_one_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", names=["old"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("web", names=["new"]))
        await rig.settle()
        assert rig.found() == ["new/a", "new/b"]
    order = [(write.key, write.new is None) for write in rig.target().log[2:]]
    assert order == [("new/a", False), ("new/b", False), ("old/a", True), ("old/b", True)]
