"""Which custom resources there are, and which are gone by somebody's order: from that to Settings. Pure.

What goes is judged before it is believed, because all of these look alike in a watch: a person deletes an object; a
person deletes the CRD, whose objects the API server then deletes one by one; an API server that has lost its data lists
nothing. So

- a deletion that the API server tells (the mark of it, or its end) is an order once the kind's CRD is known to be there
  still, asked after that was told; until then the object stays in force;
- what a list no longer has went without an order: nothing of it is deleted before a person says so (`vanished`);
- a list that is empty where something was is not believed: everything stays in force.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from waypost.kube.objects import Item
from waypost.settings import ServiceMirror, ServiceRegistration, ServiceSink, ServiceSource, Settings, Types
from waypost.settings.assembly import Assembly, Key
from waypost.settings.reading import Document

__all__ = ["KEPT", "Book", "Told"]

KEPT = (ServiceSource.kind, ServiceSink.kind, ServiceRegistration.kind, ServiceMirror.kind)
NEEDED = frozenset({ServiceSource.kind, ServiceSink.kind, ServiceRegistration.kind})


class Told(msgspec.Struct, frozen=True):
    """Deletions of one kind that the API server has told and that are not judged yet, by key, each with its uid."""

    kind: str
    uids: Mapping[str, str]


class Book:
    """All objects of the kinds that Settings are made of."""

    def __init__(self, types: Types) -> None:
        """Nothing is known yet."""
        self.items: dict[str, dict[str, Item]] = {kind: {} for kind in KEPT}  # what the API server has, as last told
        self.listed: set[str] = set()
        self.deleted: dict[str, str] = {}  # registrations that a person deleted, and the uid of the one that was
        self._assembly = Assembly(types)
        self._chosen: dict[Key, Document] = {}  # what is in force, in this or its last good form
        self._uids: dict[Key, str] = {}
        self._told: dict[str, dict[str, str]] = {kind: {} for kind in KEPT}
        self._gone: set[Key] = set()
        self._vanished: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether all kinds that matter have been listed."""
        return self.listed >= NEEDED

    # --- what the API server tells

    def replaced(self, kind: str, items: Collection[Item]) -> None:
        """Take a whole list."""
        now = {item.key: item for item in items}
        self.items[kind] = now
        self.listed.add(kind)
        told = self._told[kind]
        absent = [key for of, key in self._chosen if of == kind and key not in now and key not in told]
        for key in absent if now else ():  # an empty list is not believed
            self._drop(kind, key)
            if kind == ServiceRegistration.kind:
                self._vanished.add(key)
        for item in items:
            self._take(kind, item)

    def put(self, kind: str, item: Item) -> bool:
        """Take a new or changed object; say whether that may change what is asked for."""
        before = self.items[kind].get(item.key)
        self.items[kind][item.key] = item
        if before is not None and before.document is item.document and before.ends == item.ends:
            return False
        self._take(kind, item)
        return True

    def removed(self, kind: str, item: Item) -> None:
        """Take the end of an object."""
        self.items[kind].pop(item.key, None)
        if (kind, item.key) in self._chosen:
            self._told[kind][item.key] = item.metadata.uid

    def _take(self, kind: str, item: Item) -> None:
        key = item.key
        if kind == ServiceRegistration.kind and item.ends:
            if self.deleted.get(key) == item.metadata.uid:
                return
            self._told[kind][key] = item.metadata.uid
        else:
            self._told[kind].pop(key, None)
            self.deleted.pop(key, None)
        if kind == ServiceRegistration.kind:
            self._vanished.discard(key)
        if self._uids.get((kind, key), item.metadata.uid) != item.metadata.uid:
            self._gone.add((kind, key))  # another object under the same name: nothing of the former binds it
        self._uids[kind, key] = item.metadata.uid
        self._chosen[kind, key] = item.document

    # --- what is judged

    def told(self) -> list[Told]:
        """Return the deletions that wait to be judged."""
        return [Told(kind, dict(uids)) for kind, uids in self._told.items() if uids]

    def is_told(self, kind: str, key: str) -> bool:
        """Say whether an object's deletion was told and waits to be judged."""
        return key in self._told[kind]

    def order(self, told: Told) -> None:
        """Take these deletions as orders: the CRD was there after they were told."""
        for key, uid in told.uids.items():
            if self._told[told.kind].get(key) != uid:
                continue  # something was told since
            del self._told[told.kind][key]
            self._drop(told.kind, key)
            if told.kind == ServiceRegistration.kind:
                self.deleted[key] = uid

    def doubt(self, told: Told) -> None:
        """Take these deletions as none: the CRD is gone or going. What they were of stays in force."""
        for key, uid in told.uids.items():
            if self._told[told.kind].get(key) == uid:
                del self._told[told.kind][key]

    def _drop(self, kind: str, key: str) -> None:
        if self._chosen.pop((kind, key), None) is not None:
            del self._uids[kind, key]
            self._gone.add((kind, key))

    # --- what follows

    def settings(self) -> Settings:
        """Return what is asked for; the same object where nothing changed."""
        gone, self._gone = self._gone, set()
        made = self._assembly.objects(
            self._chosen,
            gone,
            complete=self.complete,
            deleted=self._policies(),
            vanished=frozenset(self._vanished),
        )
        here = self.items[ServiceRegistration.kind]
        for key in [key for key in self.deleted if key not in here]:
            del self.deleted[key]  # told once; what is asked of a deletion is asked of objects that are there
        return made

    def _policies(self) -> dict[str, str]:
        """Return which registrations were deleted, and what was to become of their records, as far as can be read."""
        found: dict[str, str] = {}
        for key in self.deleted:
            item = self.items[ServiceRegistration.kind].get(key)
            made = item.document.decoded.object if item is not None else None
            if isinstance(made, ServiceRegistration):
                found[key] = made.spec.deletion_policy
        return found

    def kept(self, kind: str) -> Sequence[str]:
        """Return the keys of what is in force though the API server does not have it."""
        return [key for of, key in self._chosen if of == kind and key not in self.items[kind]]
