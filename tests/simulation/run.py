"""Runs one schedule on virtual time: its steps, then the end, where faults stop and the sinks must equal the plan."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.simulation.acts import ACTS
from tests.simulation.ending import end
from tests.simulation.judge import Violation
from tests.simulation.schedule import Schedule
from tests.simulation.world import World
from waypost.adapter import AdapterError
from waypost.testing.virtual import run as run_virtually

__all__ = ["Result", "run"]

SECONDS = 200_000.0
STEPS = 2_000_000


class Result(msgspec.Struct, frozen=True):
    """What came of a schedule: the violations (none is well) and all that happened, of which `digest` is the sum."""

    violations: tuple[Violation, ...]
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The trace in short: equal for two runs of one schedule."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def run(schedule: Schedule) -> Result:
    """Run a schedule to its first violation or its end."""
    found: list[Result] = []
    try:
        with _folder() as folder, _errors() as errors:
            run_virtually(_live(schedule, folder, errors, found), seconds=SECONDS, steps=STEPS)
    except Exception as error:  # noqa: BLE001 - a bug of the engine, or of the test: either way a finding
        found.insert(0, Result((Violation(0, 0.0, f"{type(error).__name__}: {str(error)[:2000]}"),), ()))
    return found[0]


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder that is gone at the end, also at an end by SIGTERM, where nobody else handles that."""
    folder = Path(tempfile.mkdtemp(prefix="waypost-simulation-", dir=_memory()))
    handles = threading.current_thread() is threading.main_thread()
    handles = handles and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if handles:
        signal.signal(signal.SIGTERM, lambda _number, _frame: _end(folder))
    try:
        yield folder
    finally:
        if handles:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        shutil.rmtree(folder, ignore_errors=True)


def _end(folder: Path) -> None:
    """End this process as SIGTERM would, at once: whatever is going on has nothing to close but its files here."""
    shutil.rmtree(folder, ignore_errors=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


async def _live(schedule: Schedule, folder: Path, errors: list[str], found: list[Result]) -> None:
    world = World(schedule, folder)
    judge = world.judge
    try:
        for place in range(schedule.replicas):
            await world.begin(place)
        world.elect(0, 900.0, told=True, paused=False)
        await asyncio.sleep(5)
        for step in schedule.steps:
            await asyncio.sleep(step.wait)
            if _over(world, errors):
                break
            world.note(str(step))
            done = ACTS[step.act].do(world, *step.args)
            if asyncio.iscoroutine(done):
                await done
            judge.check()
        if not _over(world, errors):
            await end(world, lambda: _over(world, errors))
    finally:
        _over(world, errors)
        found.append(Result(tuple(judge.violations), tuple(world.trace)))
        for place in range(schedule.replicas):
            await world.kill(place)


def _over(world: World, errors: list[str]) -> bool:
    for error in errors:
        world.judge.broken(0, error)
    errors.clear()
    return bool(world.judge.violations)


class _Errors(logging.Handler):
    """Keeps what only a bug of the engine logs: an exception that no adapter of the test raises."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None and not isinstance(error, AdapterError):
            self._found.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def _errors() -> Iterator[list[str]]:
    found: list[str] = []
    log, handler = logging.getLogger("waypost"), _Errors(found)
    was = log.propagate, log.level
    log.addHandler(handler)
    log.propagate = False  # thousands of errors, all of them meant
    log.setLevel(logging.ERROR)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate, level = was
        log.setLevel(level)


def _memory() -> str | None:
    """Return a folder in memory, where there is one: no disk is waited for."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
