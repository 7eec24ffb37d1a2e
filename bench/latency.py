"""From when something was due and when it was seen: latencies, percentiles, a histogram. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["histogram", "latencies", "percentile", "summary"]

BUCKETS = 10  # a decade


def latencies(due: Iterable[tuple[int, float]], seen: Iterable[tuple[float, int]]) -> tuple[list[float], int, int]:
    """Join (number, scheduled) with (seen, number); return latencies in seconds, how many were merged, and missing.

    Several changes of one number that made fewer writes were merged, the latest wins: all of them count as done with
    the last write.
    """
    arrivals: dict[int, list[float]] = defaultdict(list)
    for at, number in seen:
        arrivals[number].append(at)
    scheduled: dict[int, list[float]] = defaultdict(list)
    for number, at in due:
        scheduled[number].append(at)
    found: list[float] = []
    merged = missing = 0
    for number, times in scheduled.items():
        came = arrivals.get(number, ())
        if not came:
            missing += len(times)
            continue
        if len(came) < len(times):
            merged += len(times) - len(came)
            found += [came[-1] - at for at in times]
        else:
            found += [end - at for at, end in zip(times, came, strict=False)]
    return found, merged, missing


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share is at or below; `values` sorted."""
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))] if values else math.nan


def summary(values: Iterable[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the largest, in milliseconds."""
    ordered = sorted(values)
    found = {"p50": 0.50, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: percentile(ordered, share) * 1000 for name, share in found.items()}


def histogram(values: Iterable[float]) -> list[tuple[float, int]]:
    """Counts in buckets of a tenth of a decade: (upper bound in ms, how many)."""
    counts: dict[int, int] = defaultdict(int)
    for value in values:
        counts[math.ceil(math.log10(max(value * 1000, 0.1)) * BUCKETS)] += 1
    return [(10 ** (bucket / BUCKETS), counts[bucket]) for bucket in sorted(counts)]
