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
            setattr(rig.memory["mem"], "watch", broken)  # noqa: B010 - a method is not assigned to
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
            setattr(rig.sinks["out"], "observe", broken_reading)  # noqa: B010 - a method is not assigned to
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


async def failing_group(*_: Any) -> NoReturn:
    """Fail as an adapter does that keeps tasks of its own, one of which has lost its connection."""

    async def lose() -> None:
        await asyncio.sleep(1)
        raise AdapterError("connection reset")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(lose())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    raise AssertionError


@virtual_test
async def test_a_drift_whose_own_tasks_fail_is_begun_again(tmp_path: Path) -> None:
    rig = prepared(tmp_path)
    begun: list[float] = []

    async def drift(mark: Any) -> None:
        begun.append(asyncio.get_running_loop().time())
        await failing_group()

    rig.on_sink = lambda sink: setattr(sink, "drift", drift)
    async with rig.running():
        await rig.settle(200)
        rig.target().set("web/a", None)
        await rig.settle(60)
        assert rig.found() == ["web/a"], "what is lost meanwhile is found by a look after each failure"
    assert len(begun) > 3


@pytest.mark.parametrize("error", [AdapterError("reset"), RuntimeError("a bug")])
def test_a_watch_whose_own_tasks_fail_is_begun_again(tmp_path: Path, error: Exception) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = prepared(tmp_path)
        watch = rig.memory["mem"].watch

        async def failing(out: Any) -> None:
            async def lose() -> None:
                await asyncio.sleep(5)
                raise error

            async with asyncio.TaskGroup() as group:
                group.create_task(lose())
                group.create_task(watch(out))

        rig.memory["mem"].watch = failing  # type: ignore[method-assign]
        async with rig.running():
            await rig.settle(100)
            rig.memory["mem"].set(service("web", "a", "b"))
            await rig.settle(100)
            assert rig.found() == ["web/a", "web/b"]

    scenario()
