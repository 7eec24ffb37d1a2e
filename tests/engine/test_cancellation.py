"""A cancellation is never lost, though an adapter fails on its way out: the process ends, a lost term ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.rig import Rig, registration, service
from waypost.adapter import AdapterError
from waypost.testing.memory import ScriptedElector
from waypost.testing.virtual import virtual_test


async def broken_on_the_way_out(*_: Any) -> NoReturn:
    try:
        await asyncio.Event().wait()
    finally:
        raise AdapterError("the connection broke while it was closed")


async def broken_reading(_keys: Any = None) -> AsyncIterator[Any]:
    await broken_on_the_way_out()
    yield


def prepared(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    return rig


@pytest.mark.parametrize("method", ["claim", "drift", "apply", "observe", "watch"])
def test_an_adapter_that_fails_as_it_is_cancelled_keeps_nothing_from_ending(tmp_path: Path, method: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        broken = broken_reading if method == "observe" else broken_on_the_way_out
        if method == "watch":
            rig.memory["mem"].watch = broken  # type: ignore[method-assign]
        else:
            rig.on_sink = lambda sink: setattr(sink, method, broken)
        async with asyncio.timeout(60):  # virtual seconds
            async with rig.running():
                await rig.settle(5)
            loop = asyncio.get_running_loop()
            assert loop.time() < 6

    scenario()


@virtual_test
async def test_a_resync_that_fails_as_it_is_cancelled_keeps_nothing_from_ending(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    async with asyncio.timeout(60):
        async with rig.running() as engine:
            await rig.settle(5)
            rig.sinks["out"].observe = broken_reading  # type: ignore[method-assign]
            engine.reconciler.targets["out"].look_due.set()
            await rig.settle(1)
        assert asyncio.get_running_loop().time() < 7


@virtual_test
async def test_a_lost_term_ends_though_the_drift_fails_as_it_is_cancelled(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    rig.on_sink = lambda sink: setattr(sink, "drift", broken_on_the_way_out)
    elector = ScriptedElector(rig.clock)
    elector.win(seconds=1000)
    async with asyncio.timeout(600), rig.running(elector):
        await rig.settle(5)
        elector.lose()
        await rig.settle(5)
        elector.win(seconds=1000)
        await rig.settle(5)
        rig.memory["mem"].set(service("web", "a", "b"))
        await rig.settle(5)
        assert rig.found() == ["web/a", "web/b"]
