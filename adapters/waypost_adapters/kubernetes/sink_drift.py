"""What others change: watches of our Services and slices, with our own writes left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from waypost.adapter import AdapterError, Context, Mark
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.informer import Handler, Informer, Key
from waypost.kit.kubernetes.resource import Meta as Known
from waypost.kit.kubernetes.resource import Resource
from waypost_adapters.kubernetes.sink_cluster import SERVICES, SLICES, Entry
from waypost_adapters.kubernetes.sink_group import Groups
from waypost_adapters.kubernetes.sink_objects import OWNER, SERVICE_NAME, Meta, records_of
from waypost_adapters.kubernetes.sink_own import OwnWrites

__all__ = ["Drift", "Versions"]

Versions = dict[tuple[str, str, str], str]  # (collection, namespace, name): the version that a complete view had


class Told(msgspec.Struct, frozen=True, gc=False):
    """Of a Service or slice of ours: which it is, of which group, and whose records are in it."""

    metadata: Known
    service: str
    labels: tuple[str, ...]


class _Object(msgspec.Struct):
    metadata: Meta


class _News(msgspec.Struct):
    """A change of one object: `version` where it is there, `uid` where it is gone."""

    at: tuple[str, str]
    labels: tuple[str, ...]
    version: str = ""
    uid: str = ""
    service: bool = False


_decode = msgspec.json.Decoder(_Object).decode


def told(raw: bytes | memoryview) -> Told:
    """Return what is kept of an object: only its metadata is looked at, the rest may be anything."""
    meta = _decode(raw).metadata
    records = records_of(meta)
    return Told(
        Known(meta.name, meta.namespace, meta.uid, meta.resource_version),
        meta.labels.get(SERVICE_NAME, meta.name),
        tuple(records.instances) if records is not None else (),
    )


class Drift:
    """Follows one sink's objects; `view` are the versions of its last complete view."""

    def __init__(self, entry: Entry, groups: Groups, own: OwnWrites, context: Context, owner: str) -> None:
        self.view: Versions = {}
        self._groups = groups
        self._own = own
        self._context = context
        self._news: list[_News] = []
        self._woken = asyncio.Event()
        self._lost = False
        self._entry = entry
        self._selector = f"{OWNER}={owner}"
        self.followed: list[tuple[Informer[Told], _Following]] = []

    def seen(self, view: Versions) -> None:
        """Take the versions of a complete view; once it is followed from there they are known without it."""
        if not any(following.began for _, following in self.followed):
            self.view = view

    async def run(self, namespaces: Sequence[str], mark: Mark) -> None:
        """Mark what others change, until cancelled or until a watch fails.

        Begins after the last complete view, and goes on where an earlier call ended. What may have changed unseen is
        marked as anything (None).
        """
        self._own.watched = True
        if not self.followed:
            api = await self._entry.api()
            self.followed = [
                self._follow(api, Resource(each.group, each.version, each.plural, namespace))
                for namespace in namespaces
                for each in (SERVICES, SLICES)
            ]
        try:
            async with asyncio.TaskGroup() as group:
                for informer, following in self.followed:
                    group.create_task(informer.follow(following), name=f"drift {informer.resource}")
                group.create_task(self._tell(mark), name="drift")
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    def _follow(self, api: Api, resource: Resource) -> tuple[Informer[Told], _Following]:
        return Informer(api, resource, told, label_selector=self._selector), _Following(self, resource)

    def add(self, news: _News) -> None:
        """Take a change."""
        self._news.append(news)
        self._woken.set()

    def lost(self) -> None:
        """Note that something may have changed unseen."""
        self._lost = True
        self._woken.set()

    async def _tell(self, mark: Mark) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            news, self._news = self._news, []
            keys: set[str] = set()
            for each in news:
                if (group := self._groups.known(*each.at)) is not None:
                    async with group.lock:  # a write under way may be the very one that was told
                        pass
                if self._own.take(each.version) if each.version else self._own.took(each.uid):
                    continue
                labels = each.labels + (self._standing(each.at) if each.service else ())
                keys.update(f"{each.at[0]}/{each.at[1]}/{label}" for label in labels)
            if self._lost:
                self._lost = False
                mark(None)
            elif keys:
                mark(keys)

    def _standing(self, at: tuple[str, str]) -> tuple[str, ...]:
        """Return what stands in the slices of a Service, as far as it was told."""
        return tuple(
            label
            for informer, _ in self.followed
            if informer.resource.plural == SLICES.plural and informer.resource.namespace == at[0]
            for told in informer.objects.values()
            if told.service == at[1]
            for label in told.labels
        )


class _Following(Handler[Told]):
    """Takes the changes of one collection."""

    def __init__(self, drift: Drift, resource: Resource) -> None:
        self._drift = drift
        self._resource = resource
        self._versions: dict[str, str] | None = None  # by name; None before the first list

    async def replaced(self, objects: Mapping[Key, Told], gone: Sequence[Told]) -> None:
        known = self._versions if self._versions is not None else self._viewed()
        names = {told.metadata.name: told.metadata.resource_version for told in objects.values()}
        for told in objects.values():
            if known.get(told.metadata.name) != told.metadata.resource_version:
                self._changed(told)
        if self._versions is None:
            if known.keys() - names.keys():
                self._drift.lost()
        else:
            for told in gone:
                self.deleted(told)
        self._versions = names
        if all(following.began for _, following in self._drift.followed):
            self._drift.view = {}

    @property
    def began(self) -> bool:
        """Whether there was a first list."""
        return self._versions is not None

    def _viewed(self) -> dict[str, str]:
        collection, namespace = self._resource.plural, self._resource.namespace
        return {
            name: version
            for (plural, within, name), version in self._drift.view.items()
            if plural == collection and within == namespace
        }

    def put(self, now: Told, before: Told | None) -> None:
        self._changed(now, before.labels if before is not None else ())

    def _changed(self, now: Told, before: Iterable[str] = ()) -> None:
        meta = now.metadata
        if self._versions is not None:
            self._versions[meta.name] = meta.resource_version
        labels = tuple({*now.labels, *before})
        self._drift.add(_News((meta.namespace, now.service), labels, meta.resource_version, service=self._is_service))

    def deleted(self, last: Told) -> None:
        meta = last.metadata
        if self._versions is not None:
            self._versions.pop(meta.name, None)
        self._drift.add(_News((meta.namespace, last.service), last.labels, uid=meta.uid, service=self._is_service))

    @property
    def _is_service(self) -> bool:
        return self._resource.plural == SERVICES.plural

    def alive(self) -> None:
        """Nothing has happened."""

    def unreadable(self, key: Key, reason: str) -> None:
        """What cannot be read is looked at with everything."""
        self._drift.lost()

    def failing(self, error: AdapterError, seconds: float) -> None:
        """`follow` raises instead."""
