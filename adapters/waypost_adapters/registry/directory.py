"""All that the registry can answer, in memory: names, their instances, and the answers made from them.

Pure: no socket, no disk.

Published instances and those that clients registered stand apart; a client's own instance that came back published,
from this very registry, is shown once, as published. Each change gives the name a new index; indexes only grow, over
names and restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

import msgspec

from waypost.choice import order
from waypost.model import Strategy
from waypost_adapters.registry.shown import Shown, metadata_of

__all__ = ["Ambiguous", "Directory", "Name", "NameKey", "Query"]

K = TypeVar("K")
_encoder = msgspec.json.Encoder()


Record = tuple[int, str]  # the part that has it, and its key there


class NameKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A name is unique within a namespace of an environment."""

    environment: str
    namespace: str
    name: str


class Query(msgspec.Struct, frozen=True):
    """What a consumer asks for. Empty texts: not said."""

    ready: bool = False
    strategy: Strategy | None = None
    zone: str = ""
    limit: int | None = None


class Ambiguous(LookupError):
    """The name stands in several namespaces or environments, and the question does not say which."""

    def __init__(self, places: Sequence[NameKey]) -> None:
        """Keep them."""
        super().__init__(len(places))
        self.places = places


class Name:
    """One name. `index` is that of its last change."""

    __slots__ = ("_common", "failures", "index", "key", "published", "registered", "turn")

    def __init__(self, key: NameKey) -> None:
        self.key = key
        self.published: dict[Record, Shown] = {}
        self.registered: dict[str, Shown] = {}
        self.failures: dict[str, int] = {}
        self.index = 0
        self.turn = 0
        self._common: dict[str, str] | None = None

    def touch(self, index: int) -> None:
        """Take note of a change."""
        self.index = index
        self._common = None

    def instances(self, registry: str) -> list[Shown]:
        """Return all instances once; `registry` is the name of the source that this registry's own clients are."""
        published = [instance for _, instance in sorted(self.published.items())]
        if not self.registered:
            return published
        twice = {instance.id for instance in published if instance.source == registry}
        return published + [instance for id, instance in sorted(self.registered.items()) if id not in twice]

    def metadata(self, instances: Iterable[Shown]) -> dict[str, str]:
        """Return what all instances share; worked out once a change."""
        if self._common is None:
            common: dict[str, str] | None = None
            for instance in instances:
                own = metadata_of(instance)
                common = (
                    own if common is None else {key: value for key, value in common.items() if own.get(key) == value}
                )
                if not common:
                    break
            self._common = common or {}
        return self._common


class Directory:
    """The names. `registry` is the name of the source in which its clients' instances are, once there is one."""

    def __init__(self, random: Random, index: int) -> None:
        """`index` is where indexes begin: higher than at any earlier start."""
        self.index = index
        self.registry = ""
        self.count = 0
        self._random = random
        self._parts = 0
        self._names: dict[str, dict[NameKey, Name]] = {}

    def part(self) -> int:
        """Return a number for one that publishes here; records of two such never meet."""
        self._parts += 1
        return self._parts

    def forget(self, part: int) -> None:
        """Take away all that this one published."""
        for name in self.names(None, None):
            for record in [record for record in name.published if record[0] == part]:
                self._set(name, name.published, record, None)

    def publish(self, key: NameKey, record: Record, instance: Shown | None) -> None:
        """Put what a registration publishes under the record's key, or take it away."""
        name = self._name(key, create=instance is not None)
        if name is not None:
            self._set(name, name.published, record, instance)

    def register(self, key: NameKey, id: str, instance: Shown | None) -> None:
        """Put what a client registered, or take it away."""
        name = self._name(key, create=instance is not None)
        if name is not None:
            self._set(name, name.registered, id, instance)

    def find(self, name: str, namespace: str | None, environment: str | None) -> Name | None:
        """Return the name.

        Raises Ambiguous where it stands in several places and the question does not say in which it is meant.
        """
        places = [
            place
            for key, place in self._names.get(name, {}).items()
            if namespace in {None, key.namespace} and environment in {None, key.environment}
        ]
        if len(places) > 1:
            raise Ambiguous(sorted(place.key for place in places))
        return places[0] if places else None

    def names(self, namespace: str | None, environment: str | None) -> list[Name]:
        """Return all names of a namespace and an environment; None: of all."""
        found = [
            place
            for places in self._names.values()
            for key, place in places.items()
            if namespace in {None, key.namespace} and environment in {None, key.environment}
        ]
        return sorted(found, key=lambda place: place.key)

    def answer(self, name: Name, query: Query) -> bytes:
        """Return the JSON of a name, its instances filtered, in the order of the strategy, and cut to the limit."""
        instances = name.instances(self.registry)
        metadata = name.metadata(instances)
        if query.ready:
            instances = [instance for instance in instances if instance.ready]
        if instances:
            strategy = query.strategy or ("Zone" if query.zone else instances[0].strategy)
            name.turn += 1
            instances = order(
                strategy, instances, self._random, turn=name.turn - 1, zone=query.zone, failures=name.failures
            )
        instances = instances[: query.limit]
        head = _encoder.encode(
            {
                "ServiceName": name.key.name,
                "Namespace": name.key.namespace,
                "Environment": name.key.environment,
                "Endpoints": ",".join([instance.endpoint for instance in instances if instance.endpoint]),
                "Metadata": metadata,
                "Index": name.index,
            }
        )
        return head[:-1] + b',"Instances":[' + b",".join([instance.json for instance in instances]) + b"]}\n"

    def _name(self, key: NameKey, *, create: bool) -> Name | None:
        places = self._names.get(key.name)
        name = places.get(key) if places is not None else None
        if name is None and create:
            name = self._names.setdefault(key.name, {})[key] = Name(key)
        return name

    def _set(self, name: Name, kept: dict[K, Shown], id: K, instance: Shown | None) -> None:
        before = kept.get(id)
        if before == instance:
            return
        self.index += 1
        if instance is None:
            del kept[id]
            self.count -= 1
        else:
            kept[id] = instance
            self.count += before is None
        name.touch(self.index)
        if not name.published and not name.registered:
            places = self._names[name.key.name]
            del places[name.key]
            if not places:
                del self._names[name.key.name]
