"""A source whose services the schedule sets: one that tells facts, one that is only read, one that resumes a log."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tests.simulation.schedule import Origin
from tests.simulation.taps import Tapped
from tests.simulation.told import Told
from waypost.adapter import AdapterError, Changes, PermanentError
from waypost.model import Service, ServiceKey

__all__ = ["SimSource"]

QUIET_SECONDS = 15.0  # by then an engine has gone on without what does not end


class Reader(msgspec.Struct):
    """One engine's standing at the source: how far it has heard the log; None: it needs a whole view."""

    told: Told
    heard: int | None = None
    out: Tapped | None = None


class SimSource:
    """The truth of one source, its faults, and the watches on it."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.services: dict[ServiceKey, Service] = {}
        self.down: BaseException | None = None
        self.hung = False
        self.partial: int | None = None
        self.read_seconds = 0.0
        self.clings = 0.0  # seconds for which a watch goes on after it was told to end
        self.deaf = False  # facts are swallowed, as by a connection that is dead and does not know it
        self.shows: dict[ServiceKey, Service] | None = None  # a stale or empty state that is read in place of the truth
        self._log: list[tuple[ServiceKey, Service | None]] = []
        self._cut = 0  # what came before is no longer in the log
        self._readers: dict[Told, Reader] = {}
        self._stir: asyncio.Event | None = None

    @property
    def tells(self) -> bool:
        """Whether changes are told as they come."""
        return self.origin.kind != "snapshots" and not self.deaf and self.down is None

    def set(self, service: Service) -> None:
        """Set a service."""
        before = self.services.get(service.key)
        self.services[service.key] = service
        self._change(service.key, service, before)

    def delete(self, key: ServiceKey) -> None:
        """Delete a service."""
        if self.services.pop(key, None) is not None:
            self._change(key, None)

    def _change(self, key: ServiceKey, service: Service | None, before: Service | None = None) -> None:
        self._log.append((key, service))
        for reader in list(self._readers.values()):
            if reader.out is not None and self.tells:
                self._tell(reader, reader.out, before)

    def _tell(self, reader: Reader, out: Tapped, before: Service | None) -> None:
        """Tell a reader the newest change; one that missed any before needs a whole view some day.

        Every other one that a reader knows all else of is told as what is different in the service.
        """
        key, service = self._log[-1]
        knows = reader.heard == len(self._log) - 1
        if service is None:
            out.remove(key)
        elif before and before.instances and service.instances and knows and not out.is_viewing and len(self._log) % 2:
            there = {instance.id for instance in service.instances}
            changed = tuple(each for each in service.instances if each not in before.instances)
            part = msgspec.structs.replace(service, instances=changed)
            out.amend(part, [each.id for each in before.instances if each.id not in there])
        else:
            out.put(service)
        if reader.heard is not None and knows:
            reader.heard += 1

    def _resume(self, reader: Reader, out: Tapped) -> None:
        """Tell a reader all that it has not heard."""
        out.resumed()
        reader.out = out
        for key, service in dict(self._log[reader.heard :]).items():  # of each service, what it is now
            if service is None:
                out.remove(key)
            else:
                out.put(service)
        reader.heard = len(self._log)

    def read_now(self) -> None:
        """Make every watch read a whole view."""
        if self._stir is not None:
            self._stir.set()
        self._stir = asyncio.Event()

    def compact(self) -> None:
        """Forget the log: who has not heard all of it needs a whole view."""
        self._cut = len(self._log)

    def current(self) -> None:
        """Say that nothing has changed."""
        for reader in list(self._readers.values()):
            if reader.out is not None and self.tells:
                reader.out.current()

    def fail(self, permanent: bool) -> None:
        """Break every watch, and each further one."""
        self.down = PermanentError("refused") if permanent else AdapterError("down")
        self.read_now()

    def recover(self) -> None:
        """End all faults."""
        self.down, self.hung, self.partial, self.deaf, self.shows = None, False, None, False, None
        self.read_seconds = self.clings = 0.0
        self.read_now()

    def reader(self, told: Told) -> Any:
        """Return the source as one engine opens it."""
        return _Open(self, self._readers.setdefault(told, Reader(told)))

    async def watch(self, reader: Reader, out: Changes) -> None:
        tapped = Tapped(reader.told, out)
        resumes = self.origin.kind == "resumes" and reader.heard is not None and reader.heard >= self._cut
        try:
            while True:
                if self.down is not None:
                    raise self.down
                if resumes:
                    self._resume(reader, tapped)
                else:
                    await self._view(reader, tapped)
                resumes = False
                await self._until_due()
        except asyncio.CancelledError:
            if self.clings and reader.told.frozen is not None:
                await self._cling(reader, tapped)
            raise
        finally:
            if reader.out is tapped:
                reader.out = None

    async def _cling(self, reader: Reader, out: Tapped) -> None:
        """Go on though told to end; what comes at first nobody could tell whether it is heard, so nothing does."""
        reader.heard = reader.out = None
        await asyncio.sleep(QUIET_SECONDS)
        if reader.out is None:  # else another watch has begun
            reader.out = out
            await asyncio.sleep(self.clings)

    async def _until_due(self) -> None:
        if self._stir is None:
            self._stir = asyncio.Event()
        try:
            async with asyncio.timeout(self.origin.poll_seconds):
                await self._stir.wait()
        except TimeoutError:
            pass

    async def _view(self, reader: Reader, out: Tapped) -> None:
        try:
            await self._read(reader, out)
        except BaseException:
            reader.heard = None
            raise

    async def _read(self, reader: Reader, out: Tapped) -> None:
        async with out.snapshot() as snapshot:
            reader.out = out
            shown = list((self.services if self.shows is None else self.shows).values())
            reader.heard = len(self._log) if self.shows is None else None
            if self.read_seconds:
                await asyncio.sleep(self.read_seconds)
            while self.hung:
                await self._until_due()
            for service in shown if self.partial is None else shown[: self.partial]:
                snapshot.put(service)
            if self.down is not None:
                raise self.down
            if self.partial is not None:
                raise AdapterError(f"the answer broke off after {self.partial} services")


class _Open:
    def __init__(self, source: SimSource, reader: Reader) -> None:
        self._source = source
        self._reader = reader

    async def watch(self, out: Changes) -> None:
        await self._source.watch(self._reader, out)
