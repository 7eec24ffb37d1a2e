"""`waypost run` with a window: the same process, that looks at its sinks again when told to and says what it cost.

`python -m bench.programs.embedded run …`, with the arguments of `waypost`. SIGUSR1: look at every sink again, and log
what that cost. SIGUSR2: the same, with an eye on the loop: the longest time, and the most work, between two of its
turns. With WAYPOST_BENCH_BODIES=FILE, what is sent to a Consul, or to update a zone, is written to FILE as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from waypost.adapter import Sink
from waypost.cli import main, process
from waypost.engine.engine import Engine
from waypost.engine.observe import Observer
from waypost_adapters.consul import client as consul
from waypost_adapters.dns import client as dns
from waypost_adapters.dns import wire

log = logging.getLogger("waypost.bench")


class Loop:
    """Watches the event loop while it is asked to: seconds between two turns, by the clock and by the thread's work."""

    def __init__(self) -> None:
        self.watched = False
        self.stall = self.work = 0.0

    async def watch(self) -> None:
        self.stall = self.work = 0.0
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, spent = time.perf_counter(), time.thread_time()
            self.stall, self.work = max(self.stall, now - wall), max(self.work, spent - cpu)
            await asyncio.sleep(0.001)
            wall, cpu = time.perf_counter(), time.thread_time()


LOOP = Loop()


def observe_look() -> None:
    look = Observer._look

    async def measured(self: Observer, sink: Sink) -> None:
        watch = asyncio.create_task(LOOP.watch()) if LOOP.watched else None
        await asyncio.sleep(0)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            await look(self, sink)
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if watch is not None:
                watch.cancel()
            log.info(
                "bench look watched=%s cpu=%.4f wall=%.4f stall=%.4f work=%.4f .",
                LOOP.watched, cpu, wall, LOOP.stall, LOOP.work,
            )  # fmt: skip

    Observer._look = measured  # type: ignore[method-assign]


def take_signals() -> None:
    make = process.make_engine

    def made(*arguments: Any, **more: Any) -> Engine:
        engine = make(*arguments, **more)

        def again(*, watched: bool) -> None:
            LOOP.watched = watched
            for target in engine.reconciler.targets.values():
                target.look_due.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: again(watched=False))
        loop.add_signal_handler(signal.SIGUSR2, lambda: again(watched=True))
        return engine

    process.make_engine = made


def keep_bodies(path: Path) -> None:
    transact = consul.Client.transact
    out = path.open("wb")

    async def kept(self: consul.Client, body: bytes) -> Any:
        out.write(b"%d\n%s" % (len(body), body))
        return await transact(self, body)

    consul.Client.transact = kept  # type: ignore[method-assign]

    ask = dns.Client.ask

    async def asked(self: dns.Client, writer: wire.Writer) -> wire.Answer:
        message = writer.done()
        if message[2] >> 3 & 15 == wire.UPDATE:
            out.write(b"%d\n%s" % (len(message), message))
        return await ask(self, writer)

    dns.Client.ask = asked  # type: ignore[method-assign]


if __name__ == "__main__":
    observe_look()
    take_signals()
    if wanted := os.environ.get("WAYPOST_BENCH_BODIES"):
        keep_bodies(Path(wanted))
    sys.exit(main())
