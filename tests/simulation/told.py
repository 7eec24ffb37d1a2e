"""What one engine was told by one source, kept by the test: it decides what may be withdrawn, and what may be shown.

It follows the contract of `waypost.adapter.Changes`, not the engine: a fact is a fact; what is absent from a complete
view is believed at once where it is little, and else after `EMPTY_SECONDS` and three reads that agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tests.simulation.manifests import BROKEN, GONE
from waypost.adapter import Changes
from waypost.model import Instance, Service, ServiceKey

__all__ = ["EMPTY_SECONDS", "Told", "Who"]

EMPTY_SECONDS = 300.0
READS = 3
APPLIED_WITHIN = 6.0  # a manifest is in force so soon, also where an adapter does not end when told to
GRACE = 0.02  # what was true so long ago may still have been acted upon: marks gather for 5 ms

Who = tuple[ServiceKey, str]


class Known(msgspec.Struct):
    """What was last told of an instance. `absent`: since when complete views lack it, and the first such read."""

    last: Instance | None = None
    since: float = 0.0  # as listed, or listed again
    said: float = 0.0  # as ready as it is
    gone: bool = False  # by a fact
    believed: bool = False  # absent, and little else was
    absent: tuple[float, int] | None = None
    could_go: float = -1e9  # when it last was allowed to go


class Told:
    """Stands between a source and an engine: passes everything on, and keeps it."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self.known: dict[Who, Known] = {}
        self.listed: set[ServiceKey] = set()
        self.complete: float | None = None  # since when there was a complete view
        self.frozen: float | None = None  # since when its manifest says so
        self.forgotten = False  # its manifest was deleted: what was told counts no more, should it come back
        self.reads = 0
        self.first_read = 0

    def declare(self, form: Any) -> None:
        """Take note of the source's manifest as it is now."""
        if form == GONE:
            self.forgotten = True
        if isinstance(form, dict) and form.get("mode") == "Frozen":
            self.frozen = self.frozen if self.frozen is not None else self._now()
        elif form != BROKEN:
            self.frozen = None

    # --- what the judge asks

    def may_go(self, who: Who) -> bool:
        """Say whether a ready record of it may be withdrawn on account of the source."""
        now = self._now()
        known = self.known.get(who)
        if known is not None and known.last is not None and known.last.readiness not in {"ready", "unknown"}:
            return True
        if self.frozen is not None and now - self.frozen > APPLIED_WITHIN:
            return False
        if known is not None and now - known.could_go <= GRACE:
            return True
        return self._goes(known)

    def is_ready(self, who: Who, ago: float = 0.0) -> bool:
        """Say whether the source lists it as ready, and has for so long."""
        known = self.known.get(who)
        return (
            known is not None
            and known.last is not None
            and not known.gone
            and known.absent is None
            and known.last.readiness == "ready"
            and self._now() - known.since >= ago
        )

    def may_show(self, who: Who) -> Instance | None:
        """Return what may be published of it; None where it was said to be gone."""
        known = self.known.get(who)
        return None if known is None or known.gone else known.last

    def _goes(self, known: Known | None) -> bool:
        if known is None or (known.last is None and known.absent is None):  # only records tell of it
            if self.complete is None:
                return False
            return self._few(()) or self._sure((self.complete, self.first_read))
        if known.gone or known.believed:
            return True
        return known.absent is not None and self.complete is not None and self._sure(known.absent)

    def _long_absent(self, who: Who) -> bool:
        absent = self.known[who].absent
        return absent is not None and self._sure(absent)

    def _sure(self, absent: tuple[float, int]) -> bool:
        since, read = absent
        return self._now() - since >= EMPTY_SECONDS - 1e-6 and self.reads - read + 1 >= READS

    def _few(self, missing: Iterable[Who]) -> bool:
        present = sum(1 for known in self.known.values() if not known.gone and not known.believed)
        return len(set(missing)) <= max(5, present * 30 // 100)

    # --- what the source says

    def _list(self, service: Service) -> set[Who]:
        """Take what is said of a service; return those of it that were known and are not said."""
        now = self._now()
        listed = set()
        for instance in service.instances:
            who = (service.key, instance.id)
            listed.add(who)
            known = self.known.setdefault(who, Known())
            if known.last is not None and (known.gone or known.believed or known.last.readiness != "ready"):
                known.could_go = now
            if known.last != instance or known.gone or known.absent is not None:
                known.since = now
            if known.last is None or known.last.readiness != instance.readiness or known.gone:
                known.said = now
            known.last, known.gone, known.believed, known.absent = instance, False, False, None
        self.listed.add(service.key)
        return {who for who, known in self.known.items() if who[0] == service.key and who not in listed}

    def _fact_gone(self, gone: Iterable[Who]) -> None:
        for who in gone:
            known = self.known.setdefault(who, Known())
            if known.absent is not None:  # doubted: it may stay, and it may go
                known.believed = True
            else:
                known.gone = True

    def put(self, service: Service) -> None:
        """Take a fact."""
        self._fact_gone(self._list(service))

    def remove(self, key: ServiceKey) -> None:
        """Take a fact."""
        self.listed.discard(key)
        self._fact_gone([who for who in self.known if who[0] == key])

    def read(self) -> None:
        """Take note of a read that agrees."""
        if self.complete is not None:
            self.reads += 1

    def view(self, services: dict[ServiceKey, Service], touched: set[ServiceKey]) -> None:
        """Take a complete view; facts came meanwhile of `touched`."""
        self.reads += 1
        now = self._now()
        missing: set[Who] = set()
        for key, service in services.items():
            if key in touched:
                continue
            lacking = self._list(service)
            if service.instances:
                missing |= lacking
            else:
                for who in lacking:
                    self.known[who].gone = True
        for who in self.known:
            if who[0] not in services and who[0] not in touched:
                missing.add(who)
        self.listed = {key for key in self.listed if key in services or key in touched} | (set(services) - touched)
        missing = {who for who in missing if not self.known[who].gone and not self.known[who].believed}
        if self.complete is None:
            self.complete, self.first_read = now, self.reads
        # What has been absent for long enough is gone, and counts no more in how much this view lacks.
        few = self._few(who for who in missing if not self._long_absent(who))
        for who in missing:
            known = self.known[who]
            known.absent = known.absent or (now, self.reads)
            if few and who[0] in services:
                known.believed = True

    # --- as the engine's Changes

    def tap(self, out: Changes) -> Tapped:
        """Return what a watch is given in place of the engine's own."""
        return Tapped(self, out)


class Tapped:
    """One watch's Changes."""

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
                self.told.view(services, touched)
        finally:
            self._open.remove(touched)

    def resumed(self) -> None:
        self.told.read()
        self.out.resumed()

    def put(self, service: Service) -> None:
        for touched in self._open:
            touched.add(service.key)
        self.told.put(service)
        self.out.put(service)

    def remove(self, key: ServiceKey) -> None:
        for touched in self._open:
            touched.add(key)
        self.told.remove(key)
        self.out.remove(key)

    def current(self) -> None:
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
