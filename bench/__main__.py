"""`python -m bench NAME [--check]`: runs one benchmark, or all of them; `report` puts what they found into docs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from bench import figures
from bench.report import report

INSTANCES = {
    "cold-sync-dns": 20_000,
    "kubernetes-restart": 10_000,
}  # by default, where a hundred thousand take longer than some minutes
Benchmark = Callable[[argparse.Namespace], Coroutine[Any, Any, figures.Result]]


def benchmarks() -> dict[str, Benchmark]:
    from bench.checks import checks
    from bench.cold_sync import cold_sync
    from bench.cold_sync_consul import cold_sync_consul
    from bench.cold_sync_dns import cold_sync_dns
    from bench.dns_server import dns_server
    from bench.kubernetes_restart import kubernetes_restart
    from bench.kubernetes_watch import kubernetes_watch
    from bench.peer import peer
    from bench.propagation import ceiling, propagation
    from bench.resync import cpu_per_change, idle, memory, resync

    return {
        "cold-sync": cold_sync,
        "cold-sync-consul": cold_sync_consul,
        "cold-sync-dns": cold_sync_dns,
        "propagation": propagation,
        "ceiling": ceiling,
        "resync": resync,
        "idle": idle,
        "memory": memory,
        "cpu-per-change": cpu_per_change,
        "checks": checks,
        "dns-server": dns_server,
        "peer": peer,
        "kubernetes-watch": kubernetes_watch,
        "kubernetes-restart": kubernetes_restart,
    }


def parser(names: Iterable[str]) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("name", choices=[*names, "all", "report"])
    made.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    made.add_argument("--results", type=Path, default=figures.RESULTS, help="a folder for the figures as JSON")
    made.add_argument(
        "--instances", type=int, help="by default 100,000; of `cold-sync-dns` 20,000, of `kubernetes-restart` 10,000"
    )
    made.add_argument("--services", type=int, default=10_000)
    made.add_argument(
        "--records", type=int, default=10_000, help="of `peer`, each with its own name; its goals are for 10,000"
    )
    made.add_argument("--rounds", type=int, default=3, help="of each pair that is compared; the median is told")
    made.add_argument("--rate", type=float, default=500, help="changes a second")
    made.add_argument("--seconds", type=float, default=60, help="how long changes are played")
    return made


def run(name: str, benchmark: Benchmark, options: argparse.Namespace) -> bool:
    """Run one and tell what it found; whether all its goals are met."""
    began, load = time.monotonic(), os.getloadavg()[0]
    instances = options.instances or INSTANCES.get(name, 100_000)
    result = asyncio.run(benchmark(argparse.Namespace(**(vars(options) | {"instances": instances}))))
    result.load = load
    result.command = f"python -m bench {name}"
    figures.tell(result)
    figures.keep(result, options.results)
    print(f"{name}: took {time.monotonic() - began:.0f} s; the machine's load before it was {load:.1f}", flush=True)
    return all(figure.good for figure in result.figures)


def main() -> int:
    known = benchmarks()
    options = parser(known).parse_args()
    if options.name == "report":
        report(options.results)
        return 0
    wanted = known if options.name == "all" else {options.name: known[options.name]}
    good = [run(name, benchmark, options) for name, benchmark in wanted.items()]
    return int(options.check and not all(good))


if __name__ == "__main__":
    sys.exit(main())
