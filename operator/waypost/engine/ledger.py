"""What one sink is known to hold of ours: by publication and instance, a key and a fingerprint each, and nothing more.

Kept small: of most records the key follows from the instance's id, and is made again when it is asked for.

It is filled by `observe`, corrected by outcomes, and compared by the plan. A resync compares it with a second look
while writes go on: what was written since the look began keeps its written state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from waypost.model import PublicationKey, ServiceKey

if TYPE_CHECKING:
    from waypost.adapter import Observed

__all__ = ["Kept", "Ledger", "Look", "Shelf"]


class Kept(msgspec.Struct, frozen=True, gc=False):
    """One record in the sink."""

    key: str
    fingerprint: int
    ready: bool


class Shelf:
    """The records of one publication. `ready` counts instances with a ready record.

    Of one record whose key has the shelf's form, only fingerprint and readiness are kept, in one number.
    """

    __slots__ = ("_form", "_instances", "ready")

    def __init__(self) -> None:
        self._form: tuple[str, str] | None = None  # before and after the tail of the id
        self._instances: dict[str, int | tuple[Kept, ...]] = {}
        self.ready = 0

    def __bool__(self) -> bool:
        """Say whether any record is there."""
        return bool(self._instances)

    def instances(self) -> Collection[str]:
        """Return the ids of the instances that have records."""
        return self._instances.keys()

    def records(self) -> int:
        """Return how many records there are."""
        return sum(len(found) if isinstance(found, tuple) else 1 for found in self._instances.values())

    def kept(self, instance: str) -> tuple[Kept, ...]:
        """Return the records of one instance."""
        found = self._instances.get(instance)
        if found is None:
            return ()
        if isinstance(found, tuple):
            return found
        assert self._form is not None
        before, after = self._form
        return (Kept(before + _tail(instance) + after, found >> 1, bool(found & 1)),)

    def has(self, observed: Observed) -> bool:
        """Say whether a record is kept as it was found; a pass over all asks nothing else."""
        found = self._instances.get(observed.instance)
        if isinstance(found, int):
            before, after = self._form  # type: ignore[misc]  # there is no number without it
            return (
                found == observed.fingerprint << 1 | observed.ready
                and observed.key == before + _tail(observed.instance) + after
            )
        return found is not None and Kept(observed.key, observed.fingerprint, observed.ready) in found

    def keep(self, instance: str, records: tuple[Kept, ...]) -> None:
        """Have these as all records of an instance."""
        if not records:
            self._instances.pop(instance, None)
            return
        (kept, *others), tail = records, _tail(instance)
        if self._form is None and tail:
            before, found, after = kept.key.rpartition(tail)
            self._form = (before, after) if found else None
        if others or self._form is None or kept.key != self._form[0] + tail + self._form[1]:
            self._instances[instance] = records
        else:
            self._instances[instance] = kept.fingerprint << 1 | kept.ready


def _tail(instance: str) -> str:
    """Return the part of an id that most likely stands in its key as it is: keys escape slashes."""
    return instance[instance.rfind("/") + 1 :]


class Ledger:
    """All records of one sink."""

    def __init__(self, *, indexed: bool = False) -> None:
        """Begin with nothing known. `indexed`: records will be asked for by their keys (see `find`)."""
        self._index: dict[int, PublicationKey] | None = {} if indexed else None  # by the keys' hashes
        self.shelves: dict[PublicationKey, Shelf] = {}
        self.by_service: dict[ServiceKey, list[PublicationKey]] = {}
        self.by_registration: dict[str, dict[PublicationKey, None]] = {}
        self.records = 0
        self.ready = 0
        self._looks: list[Look] = []

    def kept(self, publication: PublicationKey, instance: str) -> tuple[Kept, ...]:
        """Return the records of one instance."""
        shelf = self.shelves.get(publication)
        return () if shelf is None else shelf.kept(instance)

    def instances(self, publication: PublicationKey) -> Iterable[str]:
        """Return the ids of the instances that have records."""
        shelf = self.shelves.get(publication)
        return () if shelf is None else shelf.instances()

    def is_ready(self, publication: PublicationKey, instance: str) -> bool:
        """Say whether a ready record of the instance is there."""
        return any(kept.ready for kept in self.kept(publication, instance))

    def count_ready(self, publication: PublicationKey) -> int:
        """Return how many instances of the publication have a ready record."""
        shelf = self.shelves.get(publication)
        return 0 if shelf is None else shelf.ready

    def put(self, publication: PublicationKey, instance: str, kept: Kept) -> int:
        """Take note of a record; return by how much the ready instances changed (-1, 0, 1)."""
        shelf = self.shelves.get(publication)
        if shelf is None:
            shelf = self.shelves[publication] = Shelf()
            self.by_service.setdefault(publication.service, []).append(publication)
            self.by_registration.setdefault(publication.registration, {})[publication] = None
        if self._index is not None:
            self._index[hash(kept.key)] = publication
        before = self.kept(publication, instance)
        after = (*(k for k in before if k.key != kept.key), kept)
        return self._set(shelf, publication, instance, before, after)

    def drop(self, publication: PublicationKey, instance: str, key: str) -> int:
        """Take note that a record is gone; return by how much the ready instances changed."""
        shelf = self.shelves.get(publication)
        if shelf is None:
            return 0
        if self._index is not None and self._index.get(hash(key)) == publication:  # else another has taken it over
            del self._index[hash(key)]
        before = self.kept(publication, instance)
        after = tuple(k for k in before if k.key != key)
        return self._set(shelf, publication, instance, before, after)

    def _set(
        self,
        shelf: Shelf,
        publication: PublicationKey,
        instance: str,
        before: tuple[Kept, ...],
        after: tuple[Kept, ...],
    ) -> int:
        for look in self._looks:
            look.touched.add((publication, instance))
        shelf.keep(instance, after)
        delta = any(k.ready for k in after) - any(k.ready for k in before)
        shelf.ready += delta
        self.ready += delta
        self.records += len(after) - len(before)
        if not shelf:
            del self.shelves[publication]
            others = self.by_service[publication.service]
            others.remove(publication)
            if not others:
                del self.by_service[publication.service]
            siblings = self.by_registration[publication.registration]
            siblings.pop(publication, None)
            if not siblings:
                del self.by_registration[publication.registration]
        return delta

    @contextmanager
    def look(self) -> Iterator[Look]:
        """Look at the target: what is written within the block is touched, and wins."""
        look = Look(self)
        self._looks.append(look)
        try:
            yield look
        finally:
            self._looks.remove(look)

    def find(self, keys: Collection[str]) -> list[tuple[PublicationKey, str, str]]:
        """Return (publication, instance, key) of the records with these keys.

        It looks through the publications that have them, and no others; the ledger must be indexed.
        """
        assert self._index is not None
        having = {self._index[found] for found in map(hash, keys) if found in self._index}
        return [
            (publication, instance, kept.key)
            for publication in sorted(having)
            for instance in self.shelves[publication].instances()
            for kept in self.shelves[publication].kept(instance)
            if kept.key in keys
        ]


class Look:
    """One pass of `observe`, over everything or some keys, compared with the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin; from now on what is written is touched, and wins."""
        self._ledger = ledger
        self.touched: set[tuple[PublicationKey, str]] = set()
        self._seen: set[int] = set()
        self._same = 0  # records found as the ledger has them

    def see(self, observed: Observed, publication: PublicationKey) -> int | None:
        """Take one record as found.

        Return by how much the ready instances changed, None where it is as the ledger had it.
        """
        ledger = self._ledger
        found = hash(observed.key)
        fresh = found not in self._seen
        self._seen.add(found)
        if (publication, observed.instance) in self.touched:
            return None
        if (shelf := ledger.shelves.get(publication)) is not None and shelf.has(observed):
            self._same += fresh
            return None
        kept = Kept(observed.key, observed.fingerprint, observed.ready)
        delta = ledger.put(publication, observed.instance, kept)
        self.touched.discard((publication, observed.instance))  # what is seen is not a write
        return delta

    def missing(self) -> Iterator[tuple[PublicationKey, str, str]]:
        """Yield (publication, instance, key) of what the ledger has and the look did not find.

        To be called after the last `see`.
        """
        if self._same == self._ledger.records and not self.touched:
            return
        for publication, shelf in list(self._ledger.shelves.items()):
            for instance in list(shelf.instances()):
                for kept in shelf.kept(instance):
                    if hash(kept.key) not in self._seen and (publication, instance) not in self.touched:
                        yield publication, instance, kept.key
