"""What one engine was told by one source, kept by the test: it decides what may be withdrawn, and what may be shown.

It follows the contract of `waypost.adapter.Changes`, not the engine: a fact is a fact; what is absent from a complete
view is believed at once where it is little, and else after `EMPTY_SECONDS` and three reads that agree. So is what only
the records name that an engine finds when it begins to write.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from tests.simulation.manifests import BROKEN, GONE
from waypost.model import Instance, Service, ServiceKey

__all__ = ["EMPTY_SECONDS", "Told", "Who"]

EMPTY_SECONDS = 300.0
READS = 3
APPLIED_WITHIN = 6.0  # a manifest is in force so soon, also where an adapter does not end when told to
GRACE = 0.02  # what was true so long ago may still have been acted upon: marks gather for 5 ms

Who = tuple[ServiceKey, str]


class Known(msgspec.Struct):
    """What was last told of an instance. `absent`: since when complete views lack it, and the first such read."""

    last: Instance | None = None  # None: only records tell of it
    since: float = 0.0  # as listed, or listed again
    said: float = 0.0  # as ready as it is
    gone: bool = False  # by a fact
    believed: bool = False  # absent, and little else was
    absent: tuple[float, int] | None = None
    could_go: float = -1e9  # when it last was allowed to go


class Told:
    """What one engine was told by one source."""

    def __init__(self, now: Any, former: Told | None = None) -> None:
        self._now = now
        self._former = former  # of a manifest that was back so soon that the engine may not have missed it
        self.known: dict[Who, Known] = {}
        self.listed: set[ServiceKey] = set()
        self.empty: set[ServiceKey] = set()  # listed without instances
        self.removed: set[ServiceKey] = set()  # listed, and then gone by a fact
        self._back: dict[ServiceKey, float] = {}  # when it was listed again, of which nothing was left
        self.complete: float | None = None  # since when there was a complete view
        self.frozen: float | None = None  # since when its manifest says so
        self.forgotten: float | None = None  # when its manifest was deleted: should it be back, that counts no more
        self.reads = 0

    def declare(self, form: Any) -> None:
        """Take note of the source's manifest as it is now."""
        if self._former is not None:
            self._former.declare(form)
        if form == GONE and self.forgotten is None:
            self.forgotten = self._now()
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
        return self._goes(known) or (self._former is not None and self._former.may_go(who))

    def heir(self) -> Told:
        """Return what the engine is told when its manifest, which was deleted, is back."""
        soon = self.forgotten is not None and self._now() - self.forgotten <= 2 * APPLIED_WITHIN
        return Told(self._now, self if soon else None)

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

    def was_away(self, key: ServiceKey, since: float) -> bool:
        """Say whether a service is back that, at any time from `since` on, was gone as a whole: nobody had its name."""
        former = self._former is not None and self._former.was_away(key, since)
        return former or self._back.get(key, -1.0) >= since

    @property
    def heard(self) -> bool:
        """Whether what is said counts: what a frozen source's watch says that does not end, does not."""
        return self.frozen is None or self._now() - self.frozen <= APPLIED_WITHIN

    def may_show(self, who: Who) -> tuple[Instance, Known] | None:
        """Return what may be published of it, and what more was told of it; None where it was said to be gone.

        What was told before the source's manifest went, and was back so soon, counts where nothing was told since.
        """
        known = self.known.get(who)
        if self._former is not None and (known is None or (known.last is None and not known.gone)):
            return self._former.may_show(who)
        return None if known is None or known.gone or known.last is None else (known.last, known)

    def _goes(self, known: Known | None) -> bool:
        if known is None:  # its record was not there when the engine looked first: somebody has restored it since
            return self.complete is not None
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
        mine = [known for who, known in self.known.items() if who[0] == service.key]
        if mine and service.key not in self.listed and all(map(self._goes, mine)):
            self._back[service.key] = now
        listed = set()
        for instance in service.instances:
            who = (service.key, instance.id)
            listed.add(who)
            known = self.known.setdefault(who, Known())
            if self._goes(known) or (known.last is not None and known.last.readiness != "ready"):
                known.could_go = now
            if known.last != instance or known.gone or known.absent is not None:
                known.since = now
            if known.last is None or known.last.readiness != instance.readiness or known.gone:
                known.said = now
            known.last, known.gone, known.believed, known.absent = instance, False, False, None
        self.listed.add(service.key)
        self.removed.discard(service.key)
        (self.empty.discard if service.instances else self.empty.add)(service.key)
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
        if self._former is not None:
            self._former.put(service)
        self._fact_gone(self._list(service))

    def amend(self, part: Service, gone: Iterable[str]) -> None:
        """Take a fact of a part of a service that is listed."""
        gone = list(gone)
        if self._former is not None:
            self._former.amend(part, gone)
        if part.instances:
            self._list(part)
        self._fact_gone((part.key, instance) for instance in gone)

    def remove(self, key: ServiceKey) -> None:
        """Take a fact."""
        if self._former is not None:
            self._former.remove(key)
        if key in self.listed:
            self.removed.add(key)
        self.listed.discard(key)
        self._fact_gone([who for who in self.known if who[0] == key])

    def read(self) -> None:
        """Take note of a read that agrees."""
        if self._former is not None:
            self._former.read()
        if self.complete is not None:
            self.reads += 1

    def view(self, services: dict[ServiceKey, Service], touched: set[ServiceKey]) -> None:
        """Take a complete view; facts came meanwhile of `touched`."""
        if self._former is not None:
            self._former.view(services, touched)
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
            self.complete = now
            self._unlisted(touched)
        # What has been absent for long enough is gone, and counts no more in how much this view lacks.
        few = self._few(who for who in missing if not self._long_absent(who))
        self._lack(missing, few, services)

    def _unlisted(self, touched: set[ServiceKey]) -> None:
        """Take note of what a fact removed while the first view was read, and only records name: it is absent now.

        The view says nothing of it; that it is listed no more is as much as a view without it says.
        """
        for who, known in self.known.items():
            if who[0] in touched and who[0] not in self.listed and known.last is None and not known.gone:
                known.absent = known.absent or (self._now(), self.reads)

    def recalled(self, records: Iterable[Who]) -> None:
        """Take what records name, as the engine has just found them: where no view has it, it is absent as of now."""
        ghosts = {who for who in records if self.known.setdefault(who, Known()).last is None}
        self._fact_gone(who for who in ghosts if who[0] in (self.empty & self.listed) | self.removed)
        ghosts = {who for who in ghosts if not self.known[who].gone and not self.known[who].believed}
        doubted = {who for who, known in self.known.items() if known.absent and not known.gone and not known.believed}
        doubted = {who for who in doubted if not self._long_absent(who)}  # those are gone, as in a view
        if self.complete is not None:
            here = {key for (key, _), known in self.known.items() if not (known.last is None or known.gone)}
            self._lack(ghosts, self._few(ghosts | doubted), self.listed | here)

    def _lack(self, missing: Iterable[Who], few: bool, listed: Container[ServiceKey]) -> None:
        """Take note of what is absent, and believe what is not many, but for a service that is absent as a whole."""
        for who in missing:
            known = self.known[who]
            known.absent = known.absent or (self._now(), self.reads)
            if few and who[0] in listed:
                known.believed = True
