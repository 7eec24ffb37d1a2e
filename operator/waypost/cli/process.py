"""The running process: one event loop, the engine, the feed and the admin server in it, and the signals that end it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from waypost import __version__
from waypost.adapter import AdapterError, PermanentError
from waypost.cli import state
from waypost.cli.candidacy import Candidacy
from waypost.cli.exits import FAILED, USAGE, CommandError
from waypost.cli.notify import notify
from waypost.engine.engine import Engine
from waypost.kit.clock import LoopClock
from waypost.plugins import Plugins
from waypost.server.app import admin
from waypost.server.token import make_token
from waypost.settings import FileFeed, Settings
from waypost.settings.book import Problem

if TYPE_CHECKING:
    from waypost.kube.shell import Shell

__all__ = ["loop_factory", "make_engine", "serve_until_told"]

END_SECONDS = 4.0  # after that the process ends whatever still hangs; nothing is lost, as after a kill
SETTLED_SECONDS = 0.1
STARTING = (20_000, 20, 50)  # thresholds of the garbage collector until the first sync is done

log = logging.getLogger("waypost.run")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def make_engine(folder: Path, plugins: Plugins, clock: LoopClock, **more: Any) -> Engine:
    """Return an engine on the adapters that are installed; `more` as it takes it. Raises CommandError."""
    try:
        return _engine(folder, plugins, clock, more)
    except (OSError, msgspec.MsgspecError) as error:
        text = f"what was released cannot be read from {folder / 'released.json'}: {error}"
        raise CommandError(f"{text}; put it right, or remove it to have everything written again") from None


def _engine(folder: Path, plugins: Plugins, clock: LoopClock, more: Mapping[str, Any]) -> Engine:
    return Engine(
        source_type=lambda name: plugins.find("sources", name),
        sink_type=lambda name: plugins.find("sinks", name),
        state_dir=folder,
        clock=clock,
        rng=random.Random(),
        **more,
    )


def serve_until_told(options: argparse.Namespace, folder: Path) -> None:
    """Run until SIGTERM or SIGINT. Raises CommandError where it cannot even start."""
    os.umask(0o077)
    token = make_token(folder)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_Process(options, folder, token).run())


class _Process:
    def __init__(self, options: argparse.Namespace, folder: Path, token: str) -> None:
        self._options = options
        self._folder = folder
        self._token = token
        self._clock = LoopClock()
        self._plugins = Plugins()
        self._told = asyncio.Event()
        self._ending = False
        self._ready = False  # the manifests have been read once
        self._again = asyncio.Event()
        self._problems: set[Problem] = set()

    async def run(self) -> None:
        """Run everything; return when told to end and all has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # not the loop's own way, which needs the loop to go round
            signal.signal(number, lambda number, _frame: self._end(number, loop))
        loop.add_signal_handler(signal.SIGHUP, self._again.set)
        log.info("version=%s pid=%d state_dir=%s", __version__, os.getpid(), self._folder)
        try:
            async with self._shell() as shell, self._candidacy() as candidacy:
                parts: dict[str, Any] = {"elector": candidacy.elector, "metrics": candidacy.metrics}
                if shell is not None:
                    parts |= {"elector": shell.elector, "secrets": shell.credentials}
                engine = make_engine(self._folder, self._plugins, self._clock, **parts)
                await self._serve(engine, shell, candidacy)  # what is held is given back when nothing more is written
        except CommandError:
            raise
        except (AdapterError, ExceptionGroup) as error:
            if isinstance(first := _first(error), AdapterError):  # as where the admin port is taken
                told = str(first).removesuffix(". Tried again").replace("`listen`", "--admin")
                status = USAGE if isinstance(first, PermanentError) else FAILED
                raise CommandError(f"the admin address: {told}", status) from None
            log.exception("error='a bug of its own ended it; nothing was deregistered'")
            raise CommandError("an error of its own ended it: see the log, and report it") from None
        log.info("ended deregistered=0")

    @contextlib.asynccontextmanager
    async def _shell(self) -> AsyncIterator[Shell | None]:
        """Give what runs beside the engine on Kubernetes; None in file mode."""
        options = self._options
        if not options.kubernetes:
            yield None
            return
        from waypost.kube.shell import home_namespace, shell

        home = home_namespace(options.namespace)
        opening = shell(
            self._plugins,
            self._clock,
            home=home,
            lease=options.lease,
            lease_seconds=options.lease_seconds,
            probe=options.probe,
            kubeconfig=options.kubeconfig,
            context=options.context,
        )
        async with contextlib.AsyncExitStack() as stack:
            try:
                made = await stack.enter_async_context(opening)
            except AdapterError as error:
                raise CommandError(f"Kubernetes: {error}") from None
            yield made

    def _candidacy(self) -> contextlib.AbstractAsyncContextManager[Candidacy]:
        return Candidacy.of(self._options, self._folder, self._plugins, self._clock)

    async def _serve(self, engine: Engine, shell: Shell | None, candidacy: Candidacy) -> None:
        options = self._options
        serving = admin(
            engine,
            self._clock,
            self._token,
            listen=options.admin,
            reads=options.admin_reads,
            hosts=options.admin_host,
        )
        async with serving as served, asyncio.TaskGroup() as group:
            address = self._folder / state.ADDRESS_FILE
            _write(address, served.url + "\n")
            candidacy.listens(served.url)
            try:
                feed = self._feed(engine) if shell is None else shell.run(engine, self._putting(engine))
                work = (engine.run(), feed, self._tidy(engine))
                tasks = [group.create_task(each) for each in work]
                await self._told.wait()
                log.info("ending cause=signal")
                notify("STOPPING=1")
                for task in tasks:
                    task.cancel()
            finally:
                address.unlink(missing_ok=True)

    def _end(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Take a signal, between any two steps of the program: the first ends in order, a second at once."""
        if self._ending:
            os._exit(128 + number)
        self._ending = True
        loop.call_soon_threadsafe(self._told.set)
        watchdog = threading.Timer(END_SECONDS, _give_up)
        watchdog.daemon = True
        watchdog.start()

    # --- what runs

    async def _feed(self, engine: Engine) -> None:
        """Follow the manifests; on SIGHUP read them again at once."""
        feed = FileFeed(self._options.files, self._plugins, self._clock)
        put = self._putting(engine)
        while True:
            watch = asyncio.ensure_future(feed.watch(put))
            again = asyncio.ensure_future(self._again.wait())
            try:
                await asyncio.wait([watch, again], return_when=asyncio.FIRST_COMPLETED)
            finally:
                again.cancel()
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
            self._again.clear()
            log.info("manifests=reading cause=SIGHUP")

    def _putting(self, engine: Engine) -> Callable[[Settings], None]:
        def put(settings: Settings) -> None:
            self._tell(settings)
            engine.put(settings)
            if not self._ready:
                self._ready = True
                notify("READY=1")

        return put

    def _tell(self, settings: Settings) -> None:
        """Log each problem once, and when it is gone."""
        problems = set(settings.problems)
        for problem in sorted(problems - self._problems):
            log.warning("manifest_problem=%r", str(problem))
        for problem in sorted(self._problems - problems):
            log.info("manifest_problem_gone=%r", str(problem))
        self._problems = problems
        log.info(
            "manifests sources=%d sinks=%d registrations=%d problems=%d complete=%s",
            len(settings.sources),
            len(settings.sinks),
            len(settings.registrations),
            len(problems),
            settings.complete,
        )

    async def _tidy(self, engine: Engine) -> None:
        """After the first sync, hide what is there for good from the garbage collector: a full pass would stall.

        Until then nearly all that is made stays, and the passes that look for what does not took a tenth of the time.
        """
        usual = gc.get_threshold()
        gc.set_threshold(*STARTING)
        while not engine.settled():
            await self._clock.sleep(SETTLED_SECONDS)  # no event tells it
        log.info("settled records=%d", sum(t.ledger.records for t in engine.reconciler.targets.values()))
        gc.collect()
        gc.freeze()
        gc.set_threshold(*usual)


def _give_up() -> None:
    sys.stderr.write("waypost: something hangs; ended without it, nothing was deregistered\n")
    sys.stderr.flush()
    os._exit(FAILED)


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)


def _first(error: BaseException) -> Any:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
