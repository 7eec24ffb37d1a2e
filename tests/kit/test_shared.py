"""Shared objects: one for all users, opened once, closed with the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from waypost.kit.shared import Shared
from waypost.testing.tasks import leaves_no_tasks
from waypost.testing.virtual import virtual_test


class Store:
    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.takes = 1.0
        self.error: Exception | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        self.opened += 1
        async with asyncio.TaskGroup():
            yield self.opened
        await asyncio.sleep(self.takes)
        self.closed += 1


@virtual_test
async def test_users_share_one_and_the_last_closes_it() -> None:
    shared, store = Shared(), Store()

    async def use(seconds: float) -> int:
        async with shared.use("store", store.open) as number:
            await asyncio.sleep(seconds)
            assert store.closed == number - 1
            return number

    async with leaves_no_tasks():
        assert list(await asyncio.gather(use(5), use(1), use(3))) == [1, 1, 1]
        assert (store.opened, store.closed) == (1, 1)
        assert await use(1) == 2
    assert (store.opened, store.closed) == (2, 2)


@virtual_test
async def test_who_comes_while_it_closes_gets_a_new_one() -> None:
    shared, store = Shared(), Store()

    async def use(seconds: float) -> int:
        async with shared.use("store", store.open) as number:
            await asyncio.sleep(seconds)
            return number

    first = asyncio.create_task(use(1))
    await asyncio.sleep(2.5)  # it closes from 2 to 3
    assert await use(1) == 2
    assert await first == 1


@virtual_test
async def test_what_opening_raises_all_users_get() -> None:
    shared, store = Shared(), Store()
    store.error = ValueError("no such file")

    async def use() -> None:
        async with shared.use("store", store.open):
            raise AssertionError("it was opened")

    async with leaves_no_tasks():
        results = await asyncio.gather(use(), use(), return_exceptions=True)
    assert [str(result) for result in results] == ["no such file"] * 2
    store.error = None
    async with shared.use("store", store.open) as number:
        assert number == 1


@virtual_test
async def test_cancelled_while_opening_or_using_it_closes() -> None:
    shared, store = Shared(), Store()

    async def use() -> None:
        async with shared.use("store", store.open):
            await asyncio.sleep(100)

    async with leaves_no_tasks():
        for after in (0.5, 5.0):
            task = asyncio.create_task(use())
            await asyncio.sleep(after)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert (store.opened, store.closed) == (1, 1)


@virtual_test
async def test_other_keys_are_other_objects() -> None:
    shared, store = Shared(), Store()
    async with shared.use("a", store.open) as one, shared.use("b", store.open) as other:
        assert (one, other) == (1, 2)
