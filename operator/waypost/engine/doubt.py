"""What a source no longer shows and is not believed to be gone yet. Pure: times and counts of reads are handed in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from waypost.model import ServiceKey

__all__ = ["Doubt", "Loss"]

AGREEING_READS = 3

_NONE: Mapping[str, tuple[float, int]] = {}


class Loss(msgspec.Struct, frozen=True):
    """How much a snapshot may lack before it is doubted as a whole, and what it takes to believe it then."""

    empty_seconds: float = 300
    max_percent: int = 30
    minimum: int = 5


class Doubt:
    """The instances in doubt, by service: since when, in seconds of a monotonic clock, and since which read."""

    def __init__(self) -> None:
        self._since: dict[ServiceKey, dict[str, tuple[float, int]]] = {}  # no service without an instance

    def __contains__(self, key: object) -> bool:
        """Say whether anything of a service is in doubt."""
        return key in self._since

    def __iter__(self) -> Iterator[ServiceKey]:
        """Give the services of which something is in doubt."""
        return iter(self._since)

    def __len__(self) -> int:
        """Count these services."""
        return len(self._since)

    def of(self, key: ServiceKey) -> Mapping[str, tuple[float, int]]:
        """Return the ids of a service that are in doubt, each with since when and since which read."""
        return self._since.get(key, _NONE)

    def count(self) -> int:
        """Count the instances."""
        return sum(map(len, self._since.values()))

    def note(self, key: ServiceKey, ids: Collection[str], now: float, read: int) -> None:
        """Doubt these; what is in doubt already stays so since it was."""
        if ids:
            doubted = self._since.setdefault(key, {})
            for instance in ids:
                doubted.setdefault(instance, (now, read))

    def settle(self, key: ServiceKey, ids: Collection[str]) -> None:
        """Doubt these no more."""
        if (doubted := self._since.get(key)) is None:
            return
        for instance in [i for i in doubted if i in ids]:
            del doubted[instance]
        if not doubted:
            del self._since[key]

    def drop(self, key: ServiceKey) -> None:
        """Doubt nothing of a service any more."""
        self._since.pop(key, None)

    def begin_anew(self, now: float, read: int) -> None:
        """Let no time count that passed before."""
        self._since = {key: dict.fromkeys(ids, (now, read)) for key, ids in self._since.items()}

    def begin_anew_but(self, key: ServiceKey, known: Collection[str], now: float, read: int) -> None:
        """Let no time count that passed before for what is not `known` of a service."""
        if (doubted := self._since.get(key)) is not None:
            doubted.update((i, (now, read)) for i in doubted if i not in known)

    def sure(self, key: ServiceKey, seconds: float, now: float, reads: int) -> set[str]:
        """Return what of a service has been in doubt for so long, and through as many reads as it takes."""
        return {
            i
            for i, (since, read) in self._since.get(key, {}).items()
            if now >= since + seconds and reads - read + 1 >= AGREEING_READS
        }

    def next_due(self, seconds: float, reads: int) -> float | None:
        """Return when something has been in doubt for so long, at the earliest.

        None where nothing is doubted for time alone.
        """
        due = [
            since + seconds
            for doubted in self._since.values()
            for since, read in doubted.values()
            if reads - read + 1 >= AGREEING_READS
        ]
        return min(due, default=None)
