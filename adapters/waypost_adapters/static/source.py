"""Passes on what registrations declare under this source, and the difference when a declaration changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from waypost.adapter import AdapterType, Changes, Context, Declared
from waypost.model import Service, ServiceKey

__all__ = ["SOURCE", "Config", "StaticSource"]

AGREE_SECONDS = 30.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Nothing to configure: `{}`."""


class StaticSource:
    """A declaration is a fact: a person wrote it. So is its absence, once the set that it stood in was read whole.

    Until then (at a start, while a file is being written) it only says what is there.
    """

    def __init__(self, declared: Declared, warn: Callable[[str, str], None]) -> None:
        self._declared = declared
        self._warn = warn

    async def watch(self, out: Changes) -> None:
        known: dict[ServiceKey, Service] = {}
        whole = False
        async with asyncio.TaskGroup() as group:
            while True:
                changed = group.create_task(self._declared.changed())
                await asyncio.sleep(0)  # it listens from here on: a change while this one is told is not missed
                if whole or not self._declared.complete:
                    known = _tell(out, known, self._read())
                else:
                    async with out.snapshot() as snapshot:
                        known = self._read()
                        for service in known.values():
                            snapshot.put(service)
                    whole = True
                while not (await asyncio.wait([changed], timeout=AGREE_SECONDS))[0]:
                    if whole:
                        out.current()  # a person who has not changed it since still means it

    def _read(self) -> dict[ServiceKey, Service]:
        services: dict[ServiceKey, Service] = {}
        for service in self._declared.services():
            had = services.get(service.key)
            services[service.key] = service if had is None else self._joined(had, service)
        return services

    def _joined(self, one: Service, other: Service) -> Service:
        """Return what two registrations declare of one service; of two instances with the same id the first is kept."""
        ids = {instance.id for instance in one.instances}
        added = tuple(instance for instance in other.instances if instance.id not in ids)
        if len(added) < len(other.instances):
            twice = next(instance.id for instance in other.instances if instance.id in ids)
            self._warn(
                "DuplicateInstance", f"`{one.key}`: two registrations declare `{twice[:80]}`; the first is taken"
            )
        labels = {key: text for key, text in one.labels.items() if other.labels.get(key) == text}
        return Service(one.key, labels, one.instances + added)


def _tell(out: Changes, known: dict[ServiceKey, Service], now: dict[ServiceKey, Service]) -> dict[ServiceKey, Service]:
    """State what differs, and return what is known then; what is equal stays the same object."""
    for key in known.keys() - now.keys():
        out.remove(key)
    for key, service in now.items():
        if known.get(key) != service:
            out.put(service)
    return {key: known[key] if known.get(key) == service else service for key, service in now.items()}


@asynccontextmanager
async def _open(_config: Config, context: Context) -> AsyncIterator[StaticSource]:
    yield StaticSource(context.declared, context.warn)


SOURCE = AdapterType("static", Config, _open, declares=True)
