"""A person may pause a sink: it is neither read nor written until that person lets it go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig import Rig, registration, service
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_paused_sink_is_not_written_and_catches_up_when_it_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.set_paused("out", True)
        rig.memory["mem"].set(service("web", "b", "c"))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        engine.orders.set_paused("out", False)
        await rig.settle()
        assert rig.found() == ["web/b", "web/c"]
        assert engine.settled()


@virtual_test
async def test_it_stays_paused_across_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.set_paused("out", True)
        await rig.settle()
    written = len(rig.target().log)
    rig.memory["mem"].set(service("web", "a", "b"))
    async with rig.running() as engine:
        await rig.settle(60)
        assert engine.reconciler.targets["out"].mode == "Paused"
        assert len(rig.target().log) == written
        engine.orders.set_paused("out", False)
        await rig.settle()
        assert rig.found() == ["web/a", "web/b"]
    async with rig.running() as engine:
        await rig.settle()
        assert engine.reconciler.targets["out"].mode == "Apply"


@virtual_test
async def test_a_sink_that_does_not_exist_cannot_be_paused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        with pytest.raises(KeyError):
            engine.orders.set_paused("nowhere", True)
        assert not (tmp_path / "state" / "paused.json").exists()


@virtual_test
async def test_a_file_that_cannot_be_read_pauses_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "paused.json").write_bytes(b"{half")
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a"]
