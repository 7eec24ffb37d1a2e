"""Passes on what registrations declare under this source, and the difference when a declaration changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from waypost.adapter import AdapterType, Changes, Context, Declared
from waypost.model import Service, ServiceKey

__all__ = ["SOURCE", "Config", "StaticSource"]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Nothing to configure: `{}`."""


class StaticSource:
    """A declaration is a fact: a person wrote it. So is its absence, once the set that it stood in was read whole."""

    def __init__(self, declared: Declared, warn: Callable[[str, str], None]) -> None:
        self._declared = declared
        self._warn = warn

    async def watch(self, out: Changes) -> None:
        async with asyncio.TaskGroup() as group:
            changed = group.create_task(self._declared.changed())
            await asyncio.sleep(0)  # it listens from here on: a change while the first view is given is not missed
            known = self._read()
            async with out.snapshot() as snapshot:
                for service in known.values():
                    snapshot.put(service)
            while True:
                await changed
                changed = group.create_task(self._declared.changed())
                await asyncio.sleep(0)
                known = _tell(out, known, self._read())

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
