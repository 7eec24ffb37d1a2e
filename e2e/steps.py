"""What a scenario does, step by step: said with its time, waited for with a bound, and explained when it fails."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
NAME = "e2e-kind"
LOOK_EVERY = 0.2  # seconds
HEARTBEAT = 20  # seconds between two lines while a step goes on


class StepError(Exception):
    """What was promised is not so; the message says what was seen instead."""


def say(line: str) -> None:
    """A line of the scenario's own."""
    print(f"{NAME}: {line}", flush=True)


@contextlib.asynccontextmanager
async def step(what: str, seconds: float) -> AsyncIterator[None]:
    """One step, which may take so long: raises StepError when it takes longer.

    Says how long it took, and every 20 s that it goes on; an error gets a note of the step it came from.
    """
    began = time.monotonic()
    say(f"{what} …")
    beating = asyncio.create_task(_beat(what, seconds))
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StepError(f"{what}: not done after {seconds:g} s") from None
    except ExceptionGroup as several:  # of a TaskGroup: the others were cut short by the first
        first = several.exceptions[0]
        first.add_note(what)
        raise first from None
    except Exception as error:  # whatever it is goes on, with the step's name
        error.add_note(what)
        raise
    finally:
        beating.cancel()
    say(f"{what}: {time.monotonic() - began:.1f} s")


async def _beat(what: str, seconds: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(HEARTBEAT)
        say(f"{what} … for {time.monotonic() - began:.0f} s; it may take {seconds:g} s")


def reason(error: BaseException) -> str:
    """What went wrong, and in which step."""
    said = str(error) or type(error).__name__
    steps = [note for note in getattr(error, "__notes__", []) if not said.startswith(note)]
    return f"{steps[0]}: {said}" if steps else said


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
