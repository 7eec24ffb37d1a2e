"""Stands between a source and an engine: passes everything on, and lets `told` keep what the engine hears."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import asynccontextmanager
from typing import Any

from tests.simulation.told import Told
from waypost.adapter import Changes
from waypost.model import Service, ServiceKey

__all__ = ["Tapped"]


class Tapped:
    """One watch's Changes, as the engine would give them."""

    def __init__(self, told: Told, out: Changes) -> None:
        self.told = told
        self.out = out
        self._open: list[set[ServiceKey]] = []

    @asynccontextmanager
    async def snapshot(self) -> Any:
        touched: set[ServiceKey] = set()
        services: dict[ServiceKey, Service] = {}
        self._open.append(touched)
        try:
            async with self.out.snapshot() as inner:
                yield _Staged(inner, services)
                if self.told.heard:
                    self.told.view(services, touched)
        finally:
            self._open.remove(touched)

    def resumed(self) -> None:
        if self.told.heard:
            self.told.read()
        self.out.resumed()

    def put(self, service: Service) -> None:
        for touched in self._open:
            touched.add(service.key)
        if self.told.heard:
            self.told.put(service)
        self.out.put(service)

    @property
    def is_viewing(self) -> bool:
        """Whether a complete view is open."""
        return bool(self._open)

    def amend(self, part: Service, gone: Collection[str]) -> None:
        if self.told.heard:
            self.told.amend(part, gone)
        self.out.amend(part, gone)

    def remove(self, key: ServiceKey) -> None:
        for touched in self._open:
            touched.add(key)
        if self.told.heard:
            self.told.remove(key)
        self.out.remove(key)

    def current(self) -> None:
        if self.told.heard:
            self.told.read()
        self.out.current()

    def suspect(self, key: ServiceKey, instance: str, reason: str) -> None:
        self.out.suspect(key, instance, reason)


class _Staged:
    def __init__(self, inner: Any, services: dict[ServiceKey, Service]) -> None:
        self._inner = inner
        self._services = services

    def put(self, service: Service) -> None:
        self._services[service.key] = service
        self._inner.put(service)

    def unknown_nodes(self, nodes: Any) -> None:
        self._inner.unknown_nodes(nodes)
