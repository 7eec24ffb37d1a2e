"""The instances of one service: a change of one costs the same however many there are, but for the copy that is put."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar, cast

from waypost.model import Instance, Service, ServiceKey

__all__ = ["Group", "Interned"]

H = TypeVar("H", bound=Hashable)
MOST_KEPT = 65_536


class Interned:
    """Equal values become one object. Bounded: when full it starts anew, which costs memory and nothing else."""

    def __init__(self) -> None:
        self._values: dict[Hashable, object] = {}

    def value(self, value: H) -> H:
        """Return the first of all equal values."""
        self._bound()
        return cast("H", self._values.setdefault(value, value))

    def labels(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the first of all equal mappings."""
        self._bound()
        key = ("labels", *sorted(labels.items()))
        return cast("Mapping[str, str]", self._values.setdefault(key, labels))

    def _bound(self) -> None:
        if len(self._values) >= MOST_KEPT:
            self._values.clear()


class Group:
    """Counts each label over all instances: those that all share are then found by looking at one instance."""

    __slots__ = ("_counts", "instances", "key")

    def __init__(self, key: ServiceKey) -> None:
        self.key = key
        self.instances: list[Instance] = []
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, instance: Instance) -> int:
        """Add an instance; return where it is."""
        self.instances.append(instance)
        self._count(instance.labels, 1)
        return len(self.instances) - 1

    def replace(self, at: int, instance: Instance) -> None:
        """Replace the instance at a place."""
        old, self.instances[at] = self.instances[at], instance
        if old.labels is not instance.labels:
            self._count(instance.labels, 1)
            self._count(old.labels, -1)

    def remove(self, at: int) -> str | None:
        """Take out the instance at a place; return the id of the one that now stands there, if any."""
        self._count(self.instances[at].labels, -1)
        last = self.instances.pop()
        if at == len(self.instances):
            return None
        self.instances[at] = last
        return last.id

    def service(self, interned: Interned) -> Service:
        """Return the service as it is now."""
        if not self.instances:
            return Service(self.key)
        every, counts = len(self.instances), self._counts
        first = self.instances[0].labels
        shared = {label: value for label, value in first.items() if counts[label, value] == every}
        labels = first if len(shared) == len(first) else interned.labels(shared)
        return Service(self.key, labels, tuple(self.instances))

    def _count(self, labels: Mapping[str, str], by: int) -> None:
        counts = self._counts
        for pair in labels.items():
            if left := counts.get(pair, 0) + by:
                counts[pair] = left
            else:
                del counts[pair]
