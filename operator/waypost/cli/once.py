"""An engine that runs for one question and writes nothing: for `plan` and `discover`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from waypost.cli import state
from waypost.cli.process import loop_factory, make_engine
from waypost.engine.engine import Engine
from waypost.kit.clock import LoopClock
from waypost.plugins import Plugins
from waypost.settings import Settings

__all__ = ["borrowed_state", "dry_engine", "releasing_engine", "run_once", "wait_until_known"]

T = TypeVar("T")

LOOK_SECONDS = 0.05
FAILING_SECONDS = 5.0  # what has failed for so long, try after try, is told and not waited for


def run_once(question: Callable[[], Awaitable[T]]) -> T:
    """Run one coroutine on a loop of its own; logs are silent but for errors of our own."""
    log = logging.getLogger("waypost")
    level = log.level
    log.setLevel(logging.CRITICAL)

    async def asked() -> T:
        return await question()

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(asked())
    finally:
        log.setLevel(level)


@contextmanager
def borrowed_state(folder: Path | None) -> Iterator[Path]:
    """Give a copy of a state folder, to be thrown away: what is asked writes nothing into the real one."""
    with tempfile.TemporaryDirectory(prefix="waypost-") as name:
        copy = Path(name) / "state"
        copy.mkdir(mode=0o700)
        for part in ("budgets", "holds"):
            if folder is not None and (folder / part).is_dir():
                shutil.copytree(folder / part, copy / part)
        if folder is not None and (folder / "released.json").is_file():
            shutil.copy(folder / "released.json", copy)
        adapters = folder / "adapters" if folder is not None else None
        if adapters is not None and adapters.is_dir() and not state.is_locked(folder or copy):
            shutil.copytree(adapters, copy / "adapters")
        yield copy


@asynccontextmanager
async def dry_engine(folder: Path, plugins: Plugins, settings: Settings) -> AsyncIterator[Engine]:
    """Run an engine that writes to no sink while the block runs."""
    async with _running(make_engine(folder, plugins, LoopClock(), dry_run=True), settings) as engine:
        yield engine


@asynccontextmanager
async def releasing_engine(folder: Path, plugins: Plugins, settings: Settings, **more: Any) -> AsyncIterator[Engine]:
    """Run an engine that takes the mark off what a person released, and writes nothing else, while the block runs."""
    async with _running(make_engine(folder, plugins, LoopClock(), only_releases=True, **more), settings) as engine:
        yield engine


@asynccontextmanager
async def _running(engine: Engine, settings: Settings) -> AsyncIterator[Engine]:
    engine.put(settings)
    task = asyncio.ensure_future(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def wait_until_known(engine: Engine, seconds: float, told: str) -> None:
    """Return when everything is read, or has failed for good or for long, or after so many seconds.

    Shows what is waited for, on a terminal.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    shows = sys.stderr.isatty()
    try:
        while not engine.settled():
            waited = loop.time() - began
            if waited >= seconds or _fails(engine, waited):
                return
            if shows:
                sys.stderr.write(f"\r{told} ({waited:.0f} s)")
                sys.stderr.flush()
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        if shows:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _fails(engine: Engine, waited: float) -> bool:
    """Say whether all that is not known yet was refused, or is still failing after so many seconds."""
    unread = [
        *(
            runner.condition if (runner := engine.sources.get(name)) is not None else None
            for name, view in engine.reconciler.views.items()
            if not view.complete and not view.frozen
        ),
        *(
            target.condition if not target.loaded else None
            for target in engine.reconciler.targets.values()
            if not target.settled and target.mode != "Paused"
        ),
    ]
    return bool(unread) and all(
        condition is not None
        and not condition.ok
        and (condition.reason == "Refused" or (waited >= FAILING_SECONDS and bool(condition.message)))
        for condition in unread
    )
