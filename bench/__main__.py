"""`python -m bench NAME [--check]`: runs one benchmark, or all of them."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from bench import figures


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("name", choices=["cold-sync"])
    made.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    made.add_argument("--results", type=Path, default=figures.RESULTS, help="a folder for the figures as JSON")
    made.add_argument("--instances", type=int, default=100_000)
    made.add_argument("--services", type=int, default=10_000)
    made.add_argument("--rounds", type=int, default=3)
    return made


def main() -> int:
    options = parser().parse_args()
    from bench.cold_sync import cold_sync

    began, load = time.monotonic(), os.getloadavg()[0]
    result = asyncio.run(cold_sync(options))
    result.load = load
    result.command = " ".join(["python -m bench", *sys.argv[1:]])
    figures.tell(result)
    figures.keep(result, options.results)
    print(f"{result.name}: took {time.monotonic() - began:.0f} s; the machine's load before it was {load:.1f}")
    return int(options.check and not all(figure.good for figure in result.figures))


if __name__ == "__main__":
    sys.exit(main())
