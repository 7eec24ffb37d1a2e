"""`resync`, `idle`, `memory`, `cpu-per-change`: what it costs to hold 100,000 instances, and to change one of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path

from bench.etcd import Eye, fresh_etcd
from bench.figures import Figure, Result
from bench.product import Product, master, running, write_manifests
from bench.propagation import SYNC_SECONDS, stage
from bench.tasks import Cluster

EMBEDDED = ("-m", "bench.programs.embedded")
LOOK = re.compile(r"bench look watched=\w+ cpu=([\d.]+) wall=([\d.]+) stall=([\d.]+) work=([\d.]+) \.")
LOOK_SECONDS = 60.0
IDLE_SECONDS = 30.0
SMALL = 1000


async def look(product: Product, number: signal.Signals) -> tuple[float, ...]:
    """Have it look at its sink again; seconds of CPU, wall, longest stall, most work between two turns of the loop."""
    before = len(LOOK.findall(product.log.read_text()))
    product.process.send_signal(number)
    deadline = time.monotonic() + LOOK_SECONDS
    while len(found := LOOK.findall(product.log.read_text())) == before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not look: {product.log.read_text()[-2000:]}")
        await asyncio.sleep(0.1)
    return tuple(map(float, found[-1]))


async def resync(options: argparse.Namespace) -> Result:
    """All is compared again, and nothing has changed."""
    async with stage(Cluster(options.instances, options.services), program=EMBEDDED) as (on, _):
        await asyncio.sleep(3)
        before = await on.eye.revision()
        plain = [await look(on.product, signal.SIGUSR1) for _ in range(options.rounds)]
        watched = [await look(on.product, signal.SIGUSR2) for _ in range(options.rounds)]
        writes = await on.eye.revision() - before
        peak = on.product.peak
    cpu, wall = (statistics.median(each[at] for each in plain) for at in (0, 1))
    stall, work = (statistics.median(each[at] for each in watched) * 1000 for at in (2, 3))
    figures = [
        Figure(name="writes", value=writes, goal=0),
        Figure(name="CPU", value=cpu, unit="s", goal=1.0),
        Figure(name="longest stall of the loop", value=stall, unit="ms", goal=20),
        Figure(name="most work between two turns of the loop", value=work, unit="ms"),
        Figure(name="wall", value=wall, unit="s"),
        Figure(name="peak memory", value=peak / 1e6, unit="MB", goal=150),
    ]
    return Result(name="resync", command="", figures=figures)


async def idle(options: argparse.Namespace) -> Result:
    """Nothing happens."""
    async with stage(Cluster(options.instances, options.services)) as (on, _):
        await asyncio.sleep(5)
        before, cpu, wakes = await on.eye.revision(), on.product.cpu, on.product.wakes
        await asyncio.sleep(IDLE_SECONDS)
        writes = await on.eye.revision() - before
        spent, woken = on.product.cpu - cpu, on.product.wakes - wakes
    figures = [
        Figure(name="writes in 30 s", value=writes, goal=0),
        Figure(name="CPU", value=100 * spent / IDLE_SECONDS, unit="% of a core"),
        Figure(name="times that its threads woke", value=woken / IDLE_SECONDS, unit="/s"),
    ]
    return Result(name="idle", command="", figures=figures)


async def memory(options: argparse.Namespace) -> Result:
    """From its start through a first sync, changes and a resync."""
    small = await _rest(SMALL, max(1, SMALL * options.services // options.instances))
    async with stage(Cluster(options.instances, options.services), program=EMBEDDED) as (on, _):
        peaks = [("first sync", on.product.peak, on.product.rss)]
        await on.play(options.rate, min(20.0, options.seconds))
        peaks.append(("changes", on.product.peak, on.product.rss))
        await look(on.product, signal.SIGUSR1)
        peaks.append(("resync", on.product.peak, on.product.rss))
    table = [["after", "peak MB", "then MB"]]
    table += [[f"start, {SMALL} instances", "", f"{small / 1e6:.0f}"]]
    table += [[name, f"{peak / 1e6:.0f}", f"{rss / 1e6:.0f}"] for name, peak, rss in peaks]
    each = (peaks[0][2] - small) / (options.instances - SMALL)
    figures = [
        Figure(name="peak memory at all times", value=max(peak for _, peak, _ in peaks) / 1e6, unit="MB", goal=150),
        Figure(name="an instance", value=each, unit="B", goal=600),
        Figure(name=f"with {SMALL} instances", value=small / 1e6, unit="MB"),
    ]
    return Result(name="memory", command="", figures=figures, table=table)


async def _rest(size: int, services: int) -> int:
    """What it holds with so many instances, once all is synced."""
    cluster = Cluster(size, services)
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
        folder = Path(name)
        async with master(cluster) as (_, url), fresh_etcd(folder / "etcd") as etcd, Eye(etcd) as eye:
            config = json.dumps({"endpoints": etcd.endpoints, "prefix": "/bench"})
            manifests = write_manifests(folder / "run", url, "etcd", config, cluster.namespace)
            async with running(manifests, program=EMBEDDED) as product:
                await eye.written(size, timeout=SYNC_SECONDS)
                await product.said("settled records=")
                return product.rss


async def cpu_per_change(options: argparse.Namespace) -> Result:
    """The same changes with few instances and with many."""
    seconds = min(20.0, options.seconds)
    spent: list[float] = []
    sizes = (SMALL, options.instances)
    for size in sizes:
        services = max(1, size * options.services // options.instances)
        async with stage(Cluster(size, services)) as (on, _):
            await on.play(options.rate, 3)
            found = await on.play(options.rate, seconds)
            spent.append(found["cpu"] / found["written"] * 1e6)
    table = [["instances", "µs of CPU a change"]]
    table += [[f"{size:,}", f"{us:.0f}"] for size, us in zip(sizes, spent, strict=True)]
    figures = [
        Figure(name=f"CPU a change, {options.instances:,} against {SMALL:,}", value=spent[1] / spent[0], goal=1.2),
        Figure(name="CPU a change", value=spent[1], unit="µs"),
    ]
    return Result(name="cpu-per-change", command="", figures=figures, table=table)
