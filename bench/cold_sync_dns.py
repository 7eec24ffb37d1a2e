"""`cold-sync-dns`: the first sync into a BIND; beside the raw client, which sends the same updates.

A first run keeps what the product sends. Then, in turn and each into a new BIND: the product, and a client that sends
the very same messages, as the product does one after the other over one connection. What must be true for each is left
in it: in the same order it is true again, and a server has it to check whoever sends it. Only the signature is new.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from bench.cold_sync import program
from bench.figures import Figure, Result
from bench.product import WAYPOST, Product, master, running, write_manifests
from bench.programs.raw_dns import before_entries, updates
from bench.resync import EMBEDDED
from bench.targets import LOOK_SECONDS, Zone
from bench.tasks import Cluster

SECONDS = 600.0


async def watched(zone: Zone, product: Product, *, before: int) -> tuple[float, float]:
    """Wait until all is written; when the first and the last entry was seen, in monotonic seconds.

    `before`: how many updates come before the first with entries.
    """
    settled = asyncio.create_task(product.said("settled records=", timeout=SECONDS))
    begun = seen = await zone.serial()
    first = last = 0.0
    while not settled.done():
        await asyncio.sleep(LOOK_SECONDS)
        serial, now = await zone.serial(), time.monotonic()
        if serial != seen:
            seen, last = serial, now
            first = first or (now if serial > begun + before else 0.0)
    await settled
    return first, last


async def _product(folder: Path, cluster: Cluster, url: str, kept: Path, *, keep: bool = False) -> dict[str, float]:
    """Run it, or the first time run it and keep what it sends."""
    async with Zone.fresh(folder / "bind") as zone:
        config, credentials = zone.manifest()
        manifests = write_manifests(folder / "run", url, zone.sink, config, cluster.namespace, credentials=credentials)
        environment = {"WAYPOST_BENCH_BODIES": str(kept)} if keep else {}
        before = 0 if keep else before_entries(updates(kept))
        async with running(manifests, program=EMBEDDED if keep else WAYPOST, environment=environment) as product:
            first, last = await watched(zone, product, before=before)
            found = {"writing": last - first, "all": last - product.started, "cpu": product.cpu}
        await _whole(zone, cluster, "Waypost")
        return found


async def _raw(folder: Path, cluster: Cluster, kept: Path) -> dict[str, float]:
    async with Zone.fresh(folder / "raw") as zone:
        found = json.loads(await program("bench.programs.raw_dns", zone.port, zone.key, kept))
        await _whole(zone, cluster, "the raw client")
        return {"raw": found["seconds"], "raw_cpu": found["cpu"]}


async def _whole(zone: Zone, cluster: Cluster, who: str) -> None:
    there, wanted = await zone.count(), min(cluster.size, cluster.services)
    assert there == wanted, f"{who} wrote {there} of {wanted} names"


async def cold_sync_dns(options: argparse.Namespace) -> Result:
    """Keep what is sent, then compare."""
    cluster = Cluster(options.instances, options.services)
    rounds = []
    async with master(cluster) as (_, url):
        with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
            kept = Path(name) / "updates"
            await _product(Path(name) / "first", cluster, url, kept, keep=True)
            messages = updates(kept)
            for turn in range(max(1, options.rounds // 2)):
                here = Path(name) / str(turn)
                found = await _product(here, cluster, url, kept) | await _raw(here, cluster, kept)
                rounds.append(found)
                print(f"cold-sync-dns: round {turn + 1}: {found}", flush=True)
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    size = cluster.size
    sent = f"{len(messages)} updates of {sum(map(len, messages)) / len(messages) / 1000:.0f} KB"
    table = [
        ["BIND", "seconds", "instances/s", "CPU s"],
        [f"raw client, {sent}", f"{middle['raw']:.2f}", f"{size / middle['raw']:,.0f}", f"{middle['raw_cpu']:.2f}"],
        ["Waypost, writing", f"{middle['writing']:.2f}", f"{size / middle['writing']:,.0f}", ""],
        ["Waypost, from its start", f"{middle['all']:.2f}", f"{size / middle['all']:,.0f}", f"{middle['cpu']:.2f}"],
    ]
    share = statistics.median(each["raw"] / each["writing"] for each in rounds)
    figures = [Figure(name="share of the raw client, BIND", value=share)]
    return Result(name="cold-sync-dns", command="", figures=figures, table=table)
