"""What is there: all of ours, some groups, and what others keep under names of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from functools import partial

from waypost.adapter import Foreign
from waypost.kit.dnsnames import BadName
from waypost_adapters.kubernetes.sink_cluster import SERVICES, SLICES, Cluster
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_drift import Versions
from waypost_adapters.kubernetes.sink_foreign import foreign_in
from waypost_adapters.kubernetes.sink_group import Groups, merge
from waypost_adapters.kubernetes.sink_naming import key_parts, place, published_name
from waypost_adapters.kubernetes.sink_objects import SERVICE_NAME, Part, part_of
from waypost_adapters.kubernetes.sink_placing import Parts
from waypost_adapters.kubernetes.sink_service import Front, front_of

__all__ = ["View"]

MOST_FOREIGN = 100

Found = tuple[str, str, Front | None, Parts]  # namespace, Service, what it says, its slices


class View:
    """Reads for one owner."""

    def __init__(self, cluster: Cluster, config: SinkConfig, groups: Groups, owner: str) -> None:
        self._cluster = cluster
        self._config = config
        self._groups = groups
        self._owner = owner

    async def some(self, keys: Collection[str]) -> AsyncGenerator[Found, None]:
        """Yield the groups of these keys, and remember them."""
        found = dict.fromkeys(parts[:2] for key in keys if (parts := key_parts(key)) is not None)
        for namespace, service in found:
            if namespace not in self._config.all_namespaces:
                continue
            group = self._groups.get(namespace, service)
            async with group.lock:
                await group.read(self._cluster, self._owner)
                front, there = group.front, Parts(group.parts)
            yield namespace, service, front, there
        self._groups.trim()

    async def everything(self, view: Versions) -> AsyncGenerator[Found, None]:
        """Yield all groups of ours; `view` gets the version of each object."""
        for namespace in self._config.all_namespaces:
            name_of = partial(published_name, self._config, namespace)
            fronts: dict[str, Front] = {}
            parts: dict[str, list[Part]] = {}
            async for page in self._cluster.ours(SERVICES, namespace):
                for raw in page:
                    front = front_of(raw, self._owner, name_of)
                    view[SERVICES.plural, namespace, front.meta.name] = front.meta.resource_version
                    fronts[front.meta.name] = front
            async for page in self._cluster.ours(SLICES, namespace):
                for raw in page:
                    part = part_of(raw, self._owner, name_of)
                    view[SLICES.plural, namespace, part.meta.name] = part.meta.resource_version
                    parts.setdefault(part.meta.labels.get(SERVICE_NAME, ""), []).append(part)
                    await asyncio.sleep(0)
            for service in sorted(fronts.keys() | parts.keys()):
                found = parts.pop(service, [])
                merge(found)
                yield namespace, service, fronts.get(service), Parts(found)

    async def foreign(self, names: Collection[str]) -> list[Foreign]:
        """Return what others keep under these names, at most 100."""
        found: list[Foreign] = []
        for name in dict.fromkeys(names):
            try:
                namespace, service = place(self._config, name)
            except BadName:
                continue
            raw = await self._cluster.get(SERVICES, namespace, service)
            slices = [each async for page in self._cluster.slices_of(namespace, service) for each in page]
            found += foreign_in(name, namespace, service, raw, slices, self._owner)
            if len(found) >= MOST_FOREIGN:
                break
        return found[:MOST_FOREIGN]
