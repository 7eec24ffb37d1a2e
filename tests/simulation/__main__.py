"""Runs many schedules, or shows one: `make simulate N=100000`, `python -m tests.simulation --seed 42`."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from tests.simulation.draw import drawn
from tests.simulation.report import report
from tests.simulation.run import run

BLOCK = 50
MOST_FAILURES = 20  # after so many it stops: then something is wrong in all of them
TELL_SECONDS = 60.0


def main() -> int:
    """Return the exit status: 1 where a promise was broken."""
    arguments = _arguments()
    if arguments.seed is not None:
        schedule = drawn(arguments.seed)
        result = run(schedule)
        if result.violations:
            print(report(schedule, result))
            return 1
        print("\n".join([*schedule.lines(), "", *result.trace, "", "all promises held"]))
        return 0
    return _many(arguments.start, arguments.count, arguments.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many schedules")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--seed", type=int, help="run this one alone, and show all that happens")
    return parser.parse_args()


def _many(start: int, count: int, jobs: int) -> int:
    began = told = time.monotonic()
    done = 0
    failing: list[int] = []
    for ran, found in _blocks(start, count, jobs):
        done += ran
        for seed, text in found:
            failing.append(seed)
            print(text, flush=True)
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            rate = done / (told - began)
            print(f"{done:,} of {count:,} schedules, {rate:.1f}/s, {len(failing)} violations", flush=True)
        if len(failing) >= MOST_FAILURES:
            print(f"{len(failing)} violations are enough: stopping here")
            break
    seconds = time.monotonic() - began
    print(f"seeds {start}..{start + done - 1}: {done:,} schedules in {seconds:.0f} s, {done / seconds:.1f}/s, ", end="")
    print(f"{len(failing)} violations{': seeds ' + ', '.join(map(str, failing)) if failing else ''}", flush=True)
    return 1 if failing else 0


def _blocks(start: int, count: int, jobs: int) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    seeds = iter(range(start, start + count))
    blocks = iter(lambda: list(islice(seeds, BLOCK)), [])
    if jobs <= 1:
        yield from map(_block, blocks)
        return
    signal.signal(signal.SIGTERM, _end_all)
    with ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGTERM, signal.SIG_DFL)) as pool:
        yield from pool.map(_block, blocks)


def _end_all(number: int, _frame: object) -> None:
    """End the processes as well: they would not notice that nobody waits for them."""
    for child in multiprocessing.active_children():
        child.terminate()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _block(seeds: list[int]) -> tuple[int, list[tuple[int, str]]]:
    found = []
    for seed in seeds:
        schedule = drawn(seed)
        result = run(schedule)
        if result.violations:
            found.append((seed, report(schedule, result)))
    return len(seeds), found


if __name__ == "__main__":
    sys.exit(main())
