"""Who fails, and how: after each fault all is as it should be, by the target's own history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.matrix.bind import BindTarget
from tests.matrix.conftest import PROPERTY
from tests.matrix.consul import ConsulTarget
from tests.matrix.etcd import EtcdTarget
from tests.matrix.faults import TARGET, WAYPOST, Fault
from tests.matrix.stage import staged
from tests.matrix.target import Target

TARGETS: dict[str, type[EtcdTarget | ConsulTarget | BindTarget]] = {
    "etcd": EtcdTarget,
    "consul": ConsulTarget,
    "bind": BindTarget,
}
CELLS = [
    *(pytest.param("etcd", fault, marks=pytest.mark.server("etcd"), id=fault.name) for fault in WAYPOST),
    *(
        pytest.param(name, fault, marks=pytest.mark.server(name), id=f"{name} {fault.name}")
        for name in TARGETS
        for fault in TARGET
    ),
]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("target", "fault"), CELLS)
async def test_after_a_fault_all_is_as_it_should_be(
    target: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    made: Target = TARGETS[target](tmp_path / target)
    async with staged(made, tmp_path) as stage:
        changing = asyncio.create_task(stage.load.run())
        try:
            await stage.acknowledged(5)
            await fault.strike(stage)
            over = asyncio.get_running_loop().time()
            await stage.acknowledged(3)
        finally:
            changing.cancel()
            await asyncio.wait([changing])
        await stage.converged()
        took = asyncio.get_running_loop().time() - over
        record_property(PROPERTY, f"{target:8} {fault.name:24} {took:6.2f} s, of {stage.load.changes} changes")
        await stage.verdict()
