"""Others run every 2 ms of a long pass; steps between which one waits anyway cost no pass of the loop each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from waypost.kit.clock import LoopClock
from waypost.kit.pace import Pace


class Clock(LoopClock):
    """A clock that goes on when it is told."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


def turns_of_others(step: Callable[[Pace, Clock], Awaitable[None]], steps: int) -> int:
    """How often others ran during so many steps."""

    async def run() -> int:
        clock = Clock()
        pace, turns, done = Pace(clock), 0, False

        async def other() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(steps):
            await step(pace, clock)
        done = True
        await task
        return turns

    return asyncio.run(run())


async def breathes(pace: Pace, clock: Clock) -> None:
    clock.at += 1 / 1024
    await pace.breathe()


async def works(pace: Pace, clock: Clock) -> None:
    clock.at += 10  # it was waited for
    since = clock.at
    clock.at += 1 / 1024
    await pace.worked(since)


def test_others_run_every_2_ms_of_a_pass() -> None:
    assert turns_of_others(breathes, 41) == 13


def test_others_run_every_2_ms_of_work_however_long_one_waited_between() -> None:
    assert turns_of_others(works, 41) == 13
