"""What a scenario does, step by step: said with its time, waited for with a bound, and explained when it fails."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_EVERY = 0.2  # seconds


class StepError(Exception):
    """What was promised is not so; the message says what was seen instead."""


def say(line: str) -> None:
    """A line of the scenario's own."""
    print(f"e2e: {line}", flush=True)


@contextlib.asynccontextmanager
async def step(what: str, seconds: float) -> AsyncIterator[None]:
    """One step, which may take so long: raises StepError when it takes longer. Says how long it took."""
    began = time.monotonic()
    say(f"{what} …")
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StepError(f"{what}: not done after {seconds:g} s") from None
    except ExceptionGroup as several:  # of a TaskGroup: the others were cut short by the first
        raise several.exceptions[0] from None
    say(f"{what}: {time.monotonic() - began:.1f} s")


async def until(what: str, ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, seconds: float = 60) -> T:
    """Ask until it holds, and return that answer; what cannot be asked yet is asked again.

    Raises StepError after `seconds`, with the last answer.
    """
    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            answer = await ask()
        except (OSError, ValueError) as error:
            seen = error
        else:
            if holds(answer):
                return answer
            seen = answer
        await asyncio.sleep(LOOK_EVERY)
    raise StepError(f"{what}: not so after {seconds:g} s; the last that was seen: {seen}")
