"""Keeps the DNS process running and fed.

What the store has committed goes there over a pipe, and comes back as acknowledgements.

When the process ends it is started anew and fed all of the store again, a page at a time, with what is committed
meanwhile behind it in the order of the commits. The sockets are bound here and inherited, so the port stays ours and
questions wait in its buffer.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from waypost.adapter import AdapterError, Context
from waypost.kit.store import Row, Store
from waypost_adapters.dns_server import frames
from waypost_adapters.dns_server.process import Settings

__all__ = ["Feed", "feeding"]

BACKOFF = (0.05, 5.0)
STEADY_SECONDS = 30.0  # a process that lived this long is started again at once
PING_SECONDS = 5.0
ANSWER_SECONDS = 20.0
STOP_SECONDS = 2.0
MAX_UNREAD = 64 * 1024 * 1024
_LINE = 4_096


class Feed:
    """The feed.

    `restarts` counts processes after the first; `process_id` is that of the present one, None between two.
    """

    def __init__(self, context: Context, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self._clock = context.clock
        self._log = context.log
        self._metrics = context.metrics
        self._settings = settings
        self._sockets = sockets
        self._store: Store
        self._pipe: asyncio.StreamWriter | None = None
        self._number = 0
        self._serial = 0
        self._loaded = 0  # the frame that ends the feeding of the present process; 0 until it is sent
        self._acknowledged = 0
        self._heard = 0.0
        self._questions = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.restarts = 0
        self.process_id: int | None = None
        self.loaded = asyncio.Event()  # the present process has been fed all

    def committed(self, rows: Sequence[Row]) -> None:
        """Take what the store has committed; called in the order of the commits."""
        self._send([(row.key, row.content) for row in rows], answering=bool(self._loaded) and self._store.known)

    async def swapped(self) -> None:
        """Return when all that was committed before this call is what is answered."""
        if self._loaded and self._acknowledged >= self._number:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._number, done))
        await done

    async def run(self, store: Store) -> None:
        """Keep a process running until cancelled."""
        self._store = store
        pause = BACKOFF[0]
        while True:
            began = self._clock.monotonic()
            try:
                await self._live()
            except AdapterError as error:
                self._log.warning("the DNS process failed, it is started again error=%s", error)
            except Exception:  # noqa: BLE001 - whatever it is, a server that is not started again answers nobody
                self._log.warning("the DNS process cannot be kept running, it is started again", exc_info=True)
            finally:
                self._pipe, self.process_id, self._loaded = None, None, 0
                self.loaded.clear()
            self.restarts += 1
            self._metrics.count("dns_process_restarts")
            pause = BACKOFF[0] if self._clock.monotonic() - began > STEADY_SECONDS else min(pause * 2, BACKOFF[1])
            await self._clock.sleep(pause)

    async def _live(self) -> None:
        """Start a process, feed it, and listen to it until it ends."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the current folder is nobody's to import from
            "-m",
            "waypost_adapters.dns_server.process",
            msgspec.json.encode(self._settings).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(self._settings.datagram, self._settings.stream),
            limit=_LINE,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._pipe, self.process_id = process.stdin, process.pid
        self._heard = self._clock.monotonic()
        self._questions = 0
        tasks = [
            asyncio.create_task(self._listen(process.stdout)),
            asyncio.create_task(self._complain(process.stderr)),
            asyncio.create_task(self._load(process.stdin)),
        ]
        try:
            await asyncio.wait(tasks[:1])
            tasks[0].result()
        finally:
            self._pipe = None
            for task in tasks:
                task.cancel()
            await _stop(process)
            for task in tasks:
                with suppress(asyncio.CancelledError, Exception):
                    await task
        raise AdapterError(f"it ended with status {process.returncode}")

    async def _load(self, pipe: asyncio.StreamWriter) -> None:
        """Feed all of the store; then ask now and then whether the process is alive."""
        try:
            after = ""
            while rows := await self._store.page(after):
                self._send([(row.key, row.content) for row in rows], answering=False)
                after = rows[-1].key
                await pipe.drain()
            self._loaded = self._send([], answering=self._store.known)
            while True:
                await self._clock.sleep(PING_SECONDS)
                if self._clock.monotonic() - self._heard > ANSWER_SECONDS:
                    raise AdapterError(f"it said nothing for {ANSWER_SECONDS:g} s")
                self._send([], answering=self._store.known)
        except Exception as error:  # noqa: BLE001 - fed in part it must not stay, whatever the reason
            self._log.warning("feeding the DNS process failed, it is started again error=%s", error)
            if not pipe.transport.is_closing():
                pipe.transport.abort()

    def _send(self, changes: list[tuple[str, bytes | None]], *, answering: bool) -> int:
        """Send a frame, if there is a process; what is sent to none comes with the feeding of the next.

        Returns its number.
        """
        self._number += 1
        if changes:
            self._serial = max(self._serial + 1, int(self._clock.wall()))
        pipe = self._pipe
        if pipe is not None and not pipe.is_closing():
            pipe.write(frames.encode(frames.Frame(self._number, self._serial, answering, changes)))
            if pipe.transport.get_write_buffer_size() > MAX_UNREAD:
                self._log.warning("the DNS process does not read, it is started again")
                pipe.transport.abort()
        return self._number

    async def _listen(self, pipe: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                number, questions = frames.ACK.unpack(await pipe.readexactly(frames.ACK.size))
                self._heard = self._clock.monotonic()
                self._metrics.count("dns_questions", questions - self._questions)
                self._questions = questions
                if not self._loaded or number < self._loaded:
                    continue  # a process that is not yet fed all answers for nothing
                self._acknowledged = number
                self.loaded.set()
                while self._waiting and self._waiting[0][0] <= number:
                    _, done = self._waiting.popleft()
                    if not done.done():
                        done.set_result(None)

    async def _complain(self, pipe: asyncio.StreamReader) -> None:
        """Log what the process says: nothing, but for a bug's traceback."""
        while True:
            try:
                line = await pipe.readline()
            except ValueError:  # a line beyond the limit
                continue
            if not line:
                return
            self._log.warning("the DNS process says line=%.500r", line.decode("utf-8", "replace").rstrip())


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process: by the end of its input, then by force; and collect it, whatever comes."""
    assert process.stdin
    if not process.stdin.transport.is_closing():
        process.stdin.transport.abort()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def feeding(feed: Feed, store: Store) -> AsyncIterator[None]:
    """Run the feed while the block runs."""
    task = asyncio.create_task(feed.run(store), name="dns feed")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
