"""The load-balancing strategies: in which order a consumer should try the instances of a name.

Pure; the randomness is handed in.

The registry, the DNS server and the client share these, so that one word in a manifest means one thing everywhere:

    Ordered         as given
    Weighted        at random, the chance to come next in proportion to the weight
    RoundRobin      as given, beginning one further at each turn
    Random          at random, weights unheeded
    LeastFailures   fewest failures first; equals as Weighted
    Zone            those of the consumer's zone first, then all others; each part as Weighted

Under every strategy those of weight 0 come last, ordered among themselves in the same way: they get traffic only when
no other is left. Nothing here filters: every candidate is in the result once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Protocol, TypeVar

from waypost.model import Strategy

__all__ = ["Candidate", "order", "pick", "spread"]


class Candidate(Protocol):
    """What a strategy must know of an instance."""

    @property
    def id(self) -> str:
        """Tell it from the others; failures are counted under it."""

    @property
    def weight(self) -> int:
        """How much it should get, relative to the others; 0 or less: only when no other is left."""

    @property
    def zone(self) -> str:
        """Where it runs; "" where unknown."""


C = TypeVar("C", bound=Candidate)
NO_FAILURES: Mapping[str, int] = {}


def order(
    strategy: Strategy,
    candidates: Sequence[C],
    random: Random,
    *,
    turn: int = 0,
    zone: str = "",
    failures: Mapping[str, int] = NO_FAILURES,
) -> list[C]:
    """Return all candidates, first to try first.

    `turn` is for RoundRobin (any integer; the caller counts), `zone` for Zone ("": the consumer's zone is not known,
    and the order is Weighted), `failures` by id for LeastFailures. Costs O(n log n) at most.
    """
    arrange = _arrangement(strategy, random, turn, zone, failures)
    preferred = [candidate for candidate in candidates if candidate.weight > 0]
    if len(preferred) == len(candidates):
        return arrange(preferred)
    return arrange(preferred) + arrange([candidate for candidate in candidates if candidate.weight <= 0])


def pick(
    strategy: Strategy,
    candidates: Sequence[C],
    random: Random,
    *,
    turn: int = 0,
    zone: str = "",
    failures: Mapping[str, int] = NO_FAILURES,
) -> C | None:
    """Return the one to try first, as the first of `order` would be; None where there is no candidate. Costs O(n)."""
    pool = [candidate for candidate in candidates if candidate.weight > 0] or list(candidates)
    if not pool:
        return None
    match strategy:
        case "Ordered":
            return pool[0]
        case "RoundRobin":
            return pool[turn % len(pool)]
        case "Random":
            return pool[random.randrange(len(pool))]
        case "LeastFailures":
            fewest = min(failures.get(candidate.id, 0) for candidate in pool)
            pool = [candidate for candidate in pool if failures.get(candidate.id, 0) == fewest]
        case "Zone":
            pool = [candidate for candidate in pool if zone and candidate.zone == zone] or pool
        case "Weighted":
            pass
    return random.choices(pool, [max(candidate.weight, 0) or 1 for candidate in pool])[0]


def spread(strategy: Strategy, candidates: Sequence[C], random: Random, count: int) -> Iterator[list[C]]:
    """Yield orders to be given out in turn, over and over.

    Over them all, who comes first is in proportion, as exactly as `count` allows.

    For answers that are made once and given out often. Ordered has but one, RoundRobin one a candidate, at most
    `count`; the others have `count`, and a candidate with weight may be first in none of them where its share is below
    1/count. LeastFailures and Zone, for which nobody's failures and zone are known here, are as Weighted.
    """
    preferred = [candidate for candidate in candidates if candidate.weight > 0]
    last = [candidate for candidate in candidates if candidate.weight <= 0]
    pool, behind = (preferred, last) if preferred else (last, [])
    if strategy == "Ordered" or len(pool) < 2:
        yield pool + behind
        return
    if strategy == "RoundRobin":
        turns = min(len(pool), count)
        for turn in range(turns):
            yield _rotated(pool, turn * len(pool) // turns) + behind
        return
    weights = [1 if strategy == "Random" or not preferred else candidate.weight for candidate in pool]
    arrange = _arrangement(strategy, random, 0, "", NO_FAILURES)
    for first in _systematic(weights, random, count):
        yield [pool[first], *arrange(pool[:first] + pool[first + 1 :]), *arrange(behind)]


def _systematic(weights: Sequence[int], random: Random, count: int) -> list[int]:
    """Draw `count` places, each as often as its share of the weights says, to within one; in random order."""
    step = sum(weights) / count
    at = random.random() * step
    drawn: list[int] = []
    reached = 0
    for place, weight in enumerate(weights):
        reached += weight
        while at < reached and len(drawn) < count:
            drawn.append(place)
            at += step
    drawn += [len(weights) - 1] * (count - len(drawn))  # what rounding left over
    random.shuffle(drawn)
    return drawn


def _arrangement(
    strategy: Strategy, random: Random, turn: int, zone: str, failures: Mapping[str, int]
) -> Callable[[list[C]], list[C]]:
    match strategy:
        case "Ordered":
            return list
        case "RoundRobin":
            return lambda part: _rotated(part, turn)
        case "Random":
            return lambda part: random.sample(part, len(part))
        case "LeastFailures":
            return lambda part: sorted(_weighted(part, random), key=lambda candidate: failures.get(candidate.id, 0))
        case "Zone" if zone:
            return lambda part: sorted(_weighted(part, random), key=lambda candidate: candidate.zone != zone)
        case _:
            return lambda part: _weighted(part, random)


def _rotated(part: list[C], turn: int) -> list[C]:
    if not part:
        return part
    at = turn % len(part)
    return part[at:] + part[:at]


def _weighted(part: Iterable[C], random: Random) -> list[C]:
    """Draw without putting back, each draw in proportion to weight.

    Sorting by -ln(u)/w does so (Efraimidis and Spirakis, 2006).
    """
    keyed = [(-math.log(1.0 - random.random()) / (max(candidate.weight, 0) or 1), candidate) for candidate in part]
    keyed.sort(key=lambda pair: pair[0])
    return [candidate for _, candidate in keyed]
