"""`checks`: how many TCP checks one core makes in a second; beside a plain loop of connections."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import socket
import statistics
import time

import uvloop

from bench.figures import Figure, Result
from bench.product import Side
from waypost.health.check import Check, Outcome, Target, TcpSocket
from waypost.health.checker import Checker
from waypost.health.probes import Probes
from waypost.kit.clock import LoopClock
from waypost.kit.metrics import MetricsRegistry

SECONDS = 4.0
TARGETS = 4000
AT_ONCE = 64
EACH = Check(TcpSocket(), period=0.2, timeout=2.0)  # more than can be made: the checker never waits


def places(port: int) -> list[tuple[str, int]]:
    """Loopback addresses, so many that no source port is used twice in a minute."""
    return [(f"127.0.{each // 250 + 1}.{each % 250 + 1}", port) for each in range(TARGETS)]


async def ours(port: int) -> float:
    """Checks a second of CPU by the product's checker."""
    made = itertools.count()
    probes = Probes(lambda _source, _address: None)

    async def probe(target: Target) -> Outcome:
        outcome = await probes(target)
        assert outcome.ok, outcome.reason
        next(made)
        return outcome

    metrics = MetricsRegistry().bound(kind="bench", name="bench")
    checker = Checker(LoopClock(), random.Random(1), probe, lambda *_: None, metrics, most=AT_ONCE)
    for number, (address, at) in enumerate(places(port)):
        checker.subscribe(Target(EACH, "bench", str(number), address, at), "bench")
    running = asyncio.create_task(checker.run())
    await asyncio.sleep(0.5)
    begun, cpu = next(made), time.process_time()
    await asyncio.sleep(SECONDS)
    done, spent = next(made) - begun - 1, time.process_time() - cpu
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return done / spent


async def plain(port: int) -> float:
    """Connections a second of CPU, made and closed with nothing around them."""
    loop = asyncio.get_running_loop()
    wanted = itertools.cycle(places(port))
    made = itertools.count()
    ends = time.monotonic() + SECONDS

    async def one() -> None:
        while time.monotonic() < ends:
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, next(wanted))
            next(made)

    cpu = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one())
    return next(made) / (time.process_time() - cpu)


async def checks(options: argparse.Namespace) -> Result:
    """In turn, several times."""
    listener = Side("bench.programs.listener")
    try:
        port = int(await listener.line())

        def both() -> tuple[float, float]:
            return uvloop.run(ours(port)), uvloop.run(plain(port))

        rounds = [await asyncio.to_thread(both) for _ in range(options.rounds)]
    finally:
        listener.end()
    mine, raw = (statistics.median(each[at] for each in rounds) for at in (0, 1))
    figures = [
        Figure(name="tcpSocket checks a second and core", value=mine, goal=4000, sense="least"),
        Figure(name="plain connections a second and core", value=raw),
    ]
    return Result(name="checks", command="", figures=figures)
