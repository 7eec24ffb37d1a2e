"""`cold-sync`: all that a source has, into an empty target; beside the raw client, which writes the same bytes."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.etcd import Eye, fresh_etcd, save
from bench.figures import Figure, Result
from bench.product import ROOT, Product, master, running, write_manifests
from bench.tasks import Cluster

IN_FLIGHT = 8  # transactions, as the sink's limits say
SECONDS = 120.0


async def cold_sync(options: argparse.Namespace) -> Result:
    """In turn, several times: the product, then the raw client, each into a new etcd."""
    cluster = Cluster(options.instances, options.services)
    rounds = []
    async with master(cluster) as (_, url):
        for turn in range(options.rounds):
            with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
                rounds.append(await _round(Path(folder), cluster, url))
            print(f"cold-sync: round {turn + 1} of {options.rounds}: {rounds[-1]}", flush=True)
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    size = cluster.size
    table = [
        ["etcd", "seconds", "records/s", "CPU s"],
        ["raw client", f"{middle['raw']:.2f}", f"{size / middle['raw']:,.0f}", f"{middle['raw_cpu']:.2f}"],
        ["Waypost, writing", f"{middle['writing']:.2f}", f"{size / middle['writing']:,.0f}", ""],
        ["Waypost, from its start", f"{middle['all']:.2f}", f"{size / middle['all']:,.0f}", f"{middle['cpu']:.2f}"],
    ]
    share = statistics.median(each["raw"] / each["writing"] for each in rounds)
    figures = [
        Figure(name="share of the raw client, etcd", value=share, goal=0.70, sense="least"),
        Figure(name="from the start of the process to the last record", value=middle["all"], unit="s"),
        Figure(name="peak memory", value=middle["peak"] / 1e6, unit="MB", goal=150),
    ]
    return Result(name="cold-sync", command="", figures=figures, table=table)


async def _round(folder: Path, cluster: Cluster, url: str) -> dict[str, float]:
    async with fresh_etcd(folder / "etcd") as etcd, Eye(etcd) as eye:
        config = json.dumps({"endpoints": etcd.endpoints, "prefix": "/bench"})
        manifests = write_manifests(folder / "run", url, "etcd", config, cluster.namespace)
        async with running(manifests) as product:
            written = await eye.written(cluster.size, timeout=SECONDS)
            found = {"all": written.last - product.started, "writing": written.last - written.first}
            found |= await _spent(product)
        batches = await eye.batches()
    save(folder / "batches", batches)
    async with fresh_etcd(folder / "raw") as etcd:
        raw = json.loads(await program("bench.programs.raw_etcd", etcd.endpoint, str(folder / "batches"), IN_FLIGHT))
    return found | {"raw": raw["seconds"], "raw_cpu": raw["cpu"], "batches": float(len(batches))}


async def _spent(product: Product) -> dict[str, float]:
    return {"cpu": product.cpu, "peak": float(product.peak)}


async def program(*arguments: object) -> str:
    """Run a program of bench.programs to its end; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *map(str, arguments), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{arguments[0]} failed")
    return out.decode()
