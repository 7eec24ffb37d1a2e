"""Awaits work that may fail on its way out, without losing a cancellation in it.

A coroutine that fails as it is cancelled raises its failure alone: so does a TaskGroup whose child fails then, and who
catches the failure to try again would go on for ever. To look at `Task.cancelling()` does not help: before Python 3.13
a TaskGroup that fails while it is being left counts as a cancellation from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["apart", "first_of"]

T = TypeVar("T")


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a task of its own; return and raise what it does.

    A cancellation of the caller is passed on, waits for the work's end and is raised, whatever the work made of it. A
    cancellation that nobody asked for is a RuntimeError.
    """
    caller = asyncio.current_task()
    task = asyncio.create_task(work, name=caller.get_name() if caller is not None else None)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # heard: nobody else will ask for it
        raise cancelled
    if task.cancelled():
        raise RuntimeError("it was cancelled, which nobody had asked for")
    return task.result()


def first_of(error: BaseException) -> Any:
    """Return the first error of a group, however deep; an error that is none is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
