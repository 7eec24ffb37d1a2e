"""Checks that structured code promises: it ends when cancelled, and leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["ends", "leaves_no_tasks"]


@asynccontextmanager
async def leaves_no_tasks() -> AsyncIterator[None]:
    """Raise AssertionError where tasks started inside are still there at the end, a fifth of a second later.

    That long a library may take to end what was cancelled, as gRPC's own tasks that wait for a call's status.
    """
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before
    for turn in range(30):
        if not left:
            return
        await asyncio.sleep(0 if turn < 10 else 0.01)
        left = asyncio.all_tasks() - before
    names = ", ".join(f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})" for task in left)
    assert not left, f"tasks are left behind: {names}"


async def ends(task: asyncio.Task[Any], seconds: float) -> None:
    """Cancel a task and wait for its end. Raises AssertionError where it takes longer or swallows the cancellation."""
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=seconds)
    assert not pending, f"{task.get_name()} is still there {seconds:g} s after it was cancelled"
    if not task.cancelled():
        task.result()
        raise AssertionError(f"{task.get_name()} was cancelled, but returned as if nothing had happened")
