"""Two minutes in which nothing happens: no target's own log moves, not even for a stamp."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.matrix.bind import BindTarget
from tests.matrix.consul import ConsulTarget
from tests.matrix.etcd import EtcdTarget
from tests.matrix.stage import staged

IDLE_SECONDS = 120.0


async def log_of(target: EtcdTarget | ConsulTarget | BindTarget) -> object:
    """Where the whole target's own log stands, bookkeeping included."""
    if isinstance(target, EtcdTarget):
        return await target.look()
    if isinstance(target, BindTarget):
        return await target.server.serial()
    stamps = await target.server.request("GET", "/v1/kv/waypost/?recurse&consistent")
    return await target.look(), await target.driver.revision(), stamps.body


@pytest.mark.timeout(300)
@pytest.mark.server("etcd", "consul", "bind")
async def test_two_minutes_of_nothing_write_nothing(tmp_path: Path) -> None:
    targets: list[EtcdTarget | ConsulTarget | BindTarget] = [
        EtcdTarget(tmp_path / "etcd"),
        ConsulTarget(tmp_path / "consul"),
        BindTarget(tmp_path / "bind"),
    ]
    async with AsyncExitStack() as stack:
        for target in targets:
            await stack.enter_async_context(staged(target, tmp_path / target.kind))
        before = [await log_of(target) for target in targets]
        await asyncio.sleep(IDLE_SECONDS)
        assert [await log_of(target) for target in targets] == before
