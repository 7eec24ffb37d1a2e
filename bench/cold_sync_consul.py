"""`cold-sync-consul`: the first sync into a Consul; beside the raw client, which sends the same transactions.

A first run keeps what the product sends. Then, in turn and each into a new Consul: the product, and a client that
sends the very same bodies, as many at once, but for the comparisons that fence them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.cold_sync import program
from bench.figures import Figure, Result
from bench.product import WAYPOST, master, running, write_manifests
from bench.resync import EMBEDDED
from bench.tasks import Cluster
from testbed.servers.consul import Consul

IN_FLIGHT = 4  # as the sink's limits say
SECONDS = 120.0
CALM_SECONDS = 1.0


@asynccontextmanager
async def fresh_consul(directory: Path) -> AsyncIterator[Consul]:
    """A new Consul that ends with the block."""
    server = Consul(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.kill9()


async def applied(server: Consul) -> int:
    """How far its log has been applied."""
    stats = await server.call("GET", "/v1/agent/self")
    return int(stats["Stats"]["raft"]["applied_index"])


async def services(server: Consul) -> int:
    """How many of ours are in its catalog."""
    nodes = [node["Node"] for node in await server.call("GET", "/v1/catalog/nodes") if node["Node"] != "testbed"]
    lists = [await server.call("GET", f"/v1/catalog/node-services/{node}") for node in nodes]
    return sum(len(found["Services"] or ()) for found in lists)


async def written(server: Consul, wanted: int) -> tuple[float, float]:
    """Wait until so many are there; when the first and the last was seen, in monotonic seconds."""
    deadline = time.monotonic() + SECONDS
    begun = seen = await applied(server)
    first = last = time.monotonic()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        index, now = await applied(server), time.monotonic()
        if index != seen:
            first = now if seen < begun + 8 else first  # nodes and stamp come before the first service
            seen, last = index, now
        elif now - last > CALM_SECONDS and index > begun + 8 and await services(server) >= wanted:
            return first, last
        elif now - last > CALM_SECONDS:
            await asyncio.sleep(0.3)
    raise TimeoutError(f"{wanted} services were wanted after {SECONDS:.0f} s; there are {await services(server)}")


async def _product(folder: Path, cluster: Cluster, url: str, bodies: Path | None = None) -> dict[str, float]:
    async with fresh_consul(folder / "consul") as consul:
        config = json.dumps({"address": consul.address})
        manifests = write_manifests(folder / "run", url, "consul", config, cluster.namespace)
        environment = {"WAYPOST_BENCH_BODIES": str(bodies)} if bodies else {}
        asked = EMBEDDED if bodies else WAYPOST
        async with running(manifests, program=asked, environment=environment) as product:
            first, last = await written(consul, cluster.size)
            return {"writing": last - first, "all": last - product.started, "cpu": product.cpu}


async def _raw(folder: Path, size: int, bodies: Path) -> dict[str, float]:
    async with fresh_consul(folder / "raw") as consul:
        found = json.loads(await program("bench.programs.raw_consul", consul.address, bodies, IN_FLIGHT))
        there = await services(consul)
        assert there == size, f"the raw client wrote {there} of {size}"
        return {"raw": found["seconds"], "raw_cpu": found["cpu"]}


async def cold_sync_consul(options: argparse.Namespace) -> Result:
    """Keep what is sent, then compare."""
    cluster = Cluster(options.instances, options.services)
    rounds = []
    async with master(cluster) as (_, url):
        with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
            bodies = Path(name) / "bodies"
            await _product(Path(name) / "first", cluster, url, bodies)
            for turn in range(max(1, options.rounds // 2)):
                here = Path(name) / str(turn)
                found = await _product(here, cluster, url) | await _raw(here, cluster.size, bodies)
                rounds.append(found)
                print(f"cold-sync-consul: round {turn + 1}: {found}", flush=True)
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    size = cluster.size
    table = [
        ["Consul", "seconds", "instances/s", "CPU s"],
        ["raw client", f"{middle['raw']:.2f}", f"{size / middle['raw']:,.0f}", f"{middle['raw_cpu']:.2f}"],
        ["Waypost, writing", f"{middle['writing']:.2f}", f"{size / middle['writing']:,.0f}", ""],
        ["Waypost, from its start", f"{middle['all']:.2f}", f"{size / middle['all']:,.0f}", f"{middle['cpu']:.2f}"],
    ]
    share = statistics.median(each["raw"] / each["writing"] for each in rounds)
    figures = [Figure(name="share of the raw client, Consul", value=share, goal=0.80, sense="least")]
    return Result(name="cold-sync-consul", command="", figures=figures, table=table)
