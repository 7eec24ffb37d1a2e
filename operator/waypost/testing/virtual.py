"""An asyncio event loop on virtual time: when nothing is ready it jumps to the next timer, so an hour takes no time.

A test on it is exact and repeatable: equal programs see equal times. When nothing is ready and no timer is set,
nothing could ever happen again: it says so and who waits for what, in place of hanging. Threads work
(`asyncio.to_thread`): while one runs, time stands. Sockets are looked at but never waited for; a test that talks to a
real server belongs on a real loop.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = ["Deadlock", "OutOfBounds", "VirtualClock", "VirtualLoop", "run", "virtual_test"]

T = TypeVar("T")
P = ParamSpec("P")

EPOCH = 1_700_000_000.0
_THREAD_SECONDS = 30.0  # real ones that a thread may take before the test is given up


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set; the message lists the tasks and where they wait."""


class OutOfBounds(RuntimeError):
    """The program ran past the bound on virtual seconds or on steps: it loops, or waits for what never comes."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `seconds` and `steps` bound what a program may use."""

    def __init__(self, *, seconds: float = 30 * 86_400.0, steps: int = 5_000_000) -> None:
        """Time begins at 0."""
        self._virtual = 0.0
        self._threads = 0
        self._seconds = seconds
        self._steps = steps
        self.bounded = True
        super().__init__(_Selector(self))
        self._clock_resolution = 1e-6  # timers that lie closer fire together: sums of floats stay below it for months

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._virtual

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # typeshed's variadic types
        """Run in a thread, while which virtual time stands still."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self._threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # 3.12 gives it
        """Wait for the threads, in real time."""
        self._threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads -= 1

    def idle(self, timeout: float | None) -> float:
        """Account one step. Return how many real seconds to wait for a thread; raise Deadlock or OutOfBounds."""
        self._steps -= 1
        if self.bounded and self._steps < 0:
            raise OutOfBounds(f"more steps than allowed, at {self._virtual:.3f} s; {_who_waits(self)}")
        if timeout is not None and timeout <= 0:
            return 0.0
        if self._threads:
            return _THREAD_SECONDS
        if timeout is None:
            raise Deadlock(f"nothing is ready and no timer is set, at {self._virtual:.3f} s; {_who_waits(self)}")
        self._virtual += timeout
        if self.bounded and self._virtual > self._seconds:
            raise OutOfBounds(f"more than {self._seconds:g} virtual seconds; {_who_waits(self)}")
        return 0.0


class _Selector(selectors.DefaultSelector):
    """Never waits, but for threads: asks the loop instead, which moves its time."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if events:
            return events
        wait = self._loop.idle(timeout)
        if not wait:
            return []
        events = super().select(wait)
        if not events:
            raise OutOfBounds(f"a thread has run for more than {wait:g} real seconds; {_who_waits(self._loop)}")
        return events


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    lines = []
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        frames = task.get_stack(limit=1)
        where = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "nowhere"
        lines.append(f"  {task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')}) at {where}")
    return "no task is left" if not lines else "\n".join(["tasks:", *lines[:50]])


def run(main: Coroutine[Any, Any, T], *, seconds: float = 30 * 86_400.0, steps: int = 5_000_000) -> T:
    """Run a coroutine on a virtual loop of its own and return its result; tasks it left are cancelled.

    Raises what the coroutine raises, Deadlock, or OutOfBounds.
    """
    loop = VirtualLoop(seconds=seconds, steps=steps)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main)
        finally:
            loop.bounded = False  # what is cancelled now may take its steps


def virtual_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test function a plain one, on virtual time. Fixtures and Hypothesis' `given` work as ever."""

    @functools.wraps(test)
    def on_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return on_virtual_time


class VirtualClock:
    """The Clock of a program on a virtual loop. Its wall clock is `epoch` + the loop's time, and jumps when told to."""

    def __init__(self, epoch: float = EPOCH) -> None:
        """`epoch` is in seconds since 1970."""
        self._epoch = epoch

    def monotonic(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self._epoch + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in the loop's time."""
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back where negative; `monotonic` does not notice."""
        self._epoch += seconds
