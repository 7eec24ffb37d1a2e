"""The way of the data, end to end on memory adapters: what runs is registered, and stays right."""

from pathlib import Path

from tests.rig import Rig, instance, registration, service
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_what_runs_is_registered_changed_and_removed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle(1)
        assert rig.found() == ["web/a", "web/b"]
        rig.memory["mem"].set(service("web", instance("a", port=9000), "c"))
        await rig.settle(1)
        assert rig.found() == ["web/a", "web/c"]
        assert rig.records()["web/a"]["ports"] == [[9000, "http", "tcp"]]
        assert rig.engine.settled()


@virtual_test
async def test_a_restart_writes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle(1)
    written = len(rig.target().log)
    async with rig.running():
        await rig.settle(1000)
    assert len(rig.target().log) == written == 2
