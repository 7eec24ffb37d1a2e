"""`propagation`, `ceiling`: from a change in Mesos, by its schedule, to its record acknowledged by etcd with fsync.

An open loop: events are due at fixed times and wait for nobody; who is late is measured late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.cold_sync import program
from bench.etcd import Eye, fresh_etcd, save
from bench.figures import Figure, Result
from bench.latency import histogram, latencies, summary
from bench.product import WAYPOST, Product, Side, master, running, write_manifests
from bench.tasks import Cluster

LATER_IN_FLIGHT = 4  # transactions of the raw client at a steady rate
SYNC_SECONDS = 240.0
DRAIN_SECONDS = 20.0
RATES = (1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000)
STEP_SECONDS = 8.0
LIMIT_MS = 100.0


class Stage:
    """A synced product with its source and target, ready to be sent changes."""

    def __init__(self, cluster: Cluster, player: Side, watcher: Side, product: Product, eye: Eye, folder: Path) -> None:
        self.cluster, self.player, self.watcher, self.product, self.eye = cluster, player, watcher, product, eye
        self.folder = folder

    async def play(self, rate: float, seconds: float) -> dict[str, Any]:
        """Play changes and wait for their records; latencies in seconds, CPU seconds, and how late the player was."""
        json.loads(await self.watcher.ask(""))
        cpu = self.product.cpu
        at = time.monotonic() + 0.2
        played = json.loads(await self.player.ask(json.dumps({"rate": rate, "seconds": seconds, "at": at})))
        events = [self.cluster.event(played["first"] + n) for n in range(played["count"])]
        due = [(event.number, at + n / rate) for n, event in enumerate(events)]
        seen: list[tuple[float, int]] = []
        ends = time.monotonic() + DRAIN_SECONDS
        while len(seen) < len(due) and time.monotonic() < ends:
            await asyncio.sleep(0.2)
            fresh = json.loads(await self.watcher.ask(""))
            if seen and not fresh:
                break
            seen += [(when, number) for when, number in fresh]
        found, merged, missing = latencies(due, seen)
        ended = {event.number for event in events if event.kind == "end"}
        ends_only, _, _ = latencies([each for each in due if each[0] in ended], seen)
        return {
            "latencies": found,
            "removals": ends_only,
            "merged": merged,
            "missing": missing,
            "late": played["late"],
            "cpu": self.product.cpu - cpu,
            "written": len(seen),
        }

    async def raw(self, endpoint: str, rate: float, seconds: float) -> list[float]:
        """The same from the raw client: its own transactions, acknowledged."""
        path = self.folder / "batches"
        save(path, await self.eye.batches())
        asked = (endpoint, path, LATER_IN_FLIGHT, rate, seconds)
        return list(json.loads(await program("bench.programs.raw_etcd", *asked))["latencies"])


@asynccontextmanager
async def stage(cluster: Cluster, program: Sequence[str] = WAYPOST) -> AsyncIterator[tuple[Stage, str]]:
    """Bring everything up and wait until all is synced."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
        folder = Path(name)
        async with (
            master(cluster) as (player, url),
            fresh_etcd(folder / "etcd") as etcd,
            Eye(etcd) as eye,
        ):
            config = json.dumps({"endpoints": etcd.endpoints, "prefix": "/bench"})
            manifests = write_manifests(folder / "run", url, "etcd", config, cluster.namespace)
            async with running(manifests, program=program) as product:
                await eye.written(cluster.size, timeout=SYNC_SECONDS)
                await product.said("settled records=", timeout=30)
                watcher = Side("bench.programs.watcher", etcd.endpoint)
                try:
                    await watcher.line()
                    print(f"{cluster.size} instances of {cluster.services} services are synced", flush=True)
                    yield Stage(cluster, player, watcher, product, eye, folder), etcd.endpoint
                finally:
                    watcher.end()


async def propagation(options: argparse.Namespace) -> Result:
    """Two shapes: many small services, and few large ones."""
    table = [["changes/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "core", "lost", "merged", "player late ms"]]
    figures: list[Figure] = []
    series: dict[str, Any] = {}
    for services, goal in ((options.services, 50.0), (max(1, options.services // 500), 100.0)):
        name = f"{services:,} services of {options.instances // services:,}"
        async with stage(Cluster(options.instances, services)) as (on, endpoint):
            await on.play(options.rate, 3)  # code and caches are warm, as after a day
            found = await on.play(options.rate, options.seconds)
            raw = await on.raw(endpoint, options.rate, min(20.0, options.seconds))
        product, plain = summary(found["latencies"]), summary(raw)
        core = found["cpu"] / options.seconds
        more = [f"{core:.0%}", str(found["missing"]), str(found["merged"]), f"{found['late'] * 1000:.1f}"]
        table.append([f"{name}, {options.rate:g}/s", *(f"{ms:.1f}" for ms in product.values()), *more])
        table.append(["… the raw transaction", *(f"{ms:.1f}" for ms in plain.values()), "", "", "", ""])
        figures += [
            Figure(name=f"p99, {name}", value=product["p99"], unit="ms", goal=goal),
            Figure(name=f"… of the raw transaction, {name}", value=plain["p99"], unit="ms"),
            Figure(name=f"… of removals alone, {name}", value=summary(found["removals"])["p99"], unit="ms"),
            Figure(name=f"CPU, {name}", value=100 * core, unit="% of a core"),
            Figure(name=f"changes that made no write, {name}", value=found["missing"], goal=0),
        ]
        series[name] = {"product": histogram(found["latencies"]), "raw": histogram(raw)}
    return Result(name="propagation", command="", figures=figures, table=table, series=series)


async def ceiling(options: argparse.Namespace) -> Result:
    """Raise the rate until p99 passes 100 ms; then once more between the last good and the first bad."""
    table = [["changes/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "core", "lost", "merged", "player late ms"]]
    best = 0.0
    async with stage(Cluster(options.instances, options.services)) as (on, _):
        await on.play(options.rate, 3)

        async def holds(rate: float) -> bool:
            found = await on.play(rate, STEP_SECONDS)
            ms = summary(found["latencies"])
            row = [f"{rate:,.0f}", *(f"{each:.1f}" for each in ms.values()), f"{found['cpu'] / STEP_SECONDS:.0%}"]
            row += [str(found["missing"]), str(found["merged"]), f"{found['late'] * 1000:.1f}"]
            print(f"ceiling: {' '.join(row)}", flush=True)
            table.append(row)
            return ms["p99"] <= LIMIT_MS and not found["missing"]

        for rate in RATES:
            if not await holds(rate):
                for between in (best + (rate - best) / 2,):
                    best = between if await holds(between) else best
                break
            best = rate
    figure = Figure(name="highest rate at p99 ≤ 100 ms", value=best, unit="changes/s", goal=5000, sense="least")
    return Result(name="ceiling", command="", figures=[figure], table=table)
