"""A sink on a SharedTarget, with faults. It keeps the whole contract of `waypost.adapter.Sink`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from waypost.adapter import (
    AdapterError,
    Change,
    Context,
    Fence,
    Foreign,
    InvalidRecord,
    Limits,
    Mark,
    NotClaimed,
    Observed,
    Outcome,
    Record,
    fingerprint,
)
from waypost.model import Publication, PublishedInstance
from waypost.testing import layout
from waypost.testing.target import SharedTarget, owner_of

__all__ = ["Fault", "MemorySink"]


class Fault(msgspec.Struct, frozen=True):
    """What happens to one `apply`.

    error: raised before anything is sent. hang: never answers. written, lost, late: the outcome is unknown; it was
    written, was not, or will be after `seconds` (then the target compares the fence, as it does for any write).
    """

    kind: Literal["error", "hang", "written", "lost", "late"]
    error: AdapterError | None = None
    seconds: float = 0.0


class MemorySink:
    """A sink on a SharedTarget. `faults` are used up, one an apply; while `down` is set, every call raises it."""

    def __init__(
        self,
        target: SharedTarget,
        context: Context,
        *,
        limits: Limits | None = None,
        fenced: bool = True,
    ) -> None:
        self.target = target
        self.context = context
        self.limits = limits if limits is not None else Limits()
        self.fenced = fenced
        self.latency = 0.0  # seconds of each apply, half before the write and half after it
        self.down: AdapterError | None = None
        self.faults: deque[Fault] = deque()
        self.refuse: Callable[[Change], Outcome | None] = _accept
        self.observe_breaks: int | None = None  # observe raises after that many records
        self.calls: dict[str, int] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self._drifting: set[asyncio.Future[None]] = set()

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        """Yield records as `layout` says."""
        return layout.render(publication, instances)

    def above(self, name: str) -> Sequence[str]:
        """Return nothing: names stand beside each other."""
        return ()

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        """Claim the target."""
        await self._called("claim")
        return self.target.claim(environment, owner, past) if self.fenced else None

    async def advance(self, fence: Fence) -> Fence:
        """Advance the generation."""
        await self._called("advance")
        return self.target.advance(self.context.owner, fence)

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        """Yield our records as they are when the call begins."""
        await self._called("observe")
        owned = self.target.owned(self.context.owner)
        wanted = owned.keys() if keys is None else owned.keys() & set(keys)
        for number, key in enumerate(sorted(wanted)):
            if self.observe_breaks is not None and number >= self.observe_breaks:
                raise AdapterError(f"the answer broke off after {number} records")
            if number % 100 == 0:
                await self._called("observe page")
            if (observed := _observed(key, owned[key])) is not None:
                yield observed

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        """Return what others keep under these names."""
        await self._called("inspect")
        found = []
        for key, content in sorted(self.target.records.items()):
            whose = owner_of(content)
            owner = "" if whose is None else whose.owner
            if (name := key.partition("/")[0]) in names and owner != self.context.owner:
                found.append(Foreign(key, name, owner, f"{len(content)} bytes"))
        return found[:100]

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write a batch. A batch beyond the limits raises ValueError: its sender has a bug."""
        self._check_limits(batch)
        if fence is None and self.fenced:
            raise NotClaimed("apply without a fence; this target has stamps")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.in_flight > self.limits.in_flight:
                raise ValueError(f"{self.in_flight} batches in flight; limits.in_flight is {self.limits.in_flight}")
            await self._called("apply")
            return await self._apply(batch, fence)
        finally:
            self.in_flight -= 1

    async def _apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        fault = self.faults.popleft() if self.faults else None
        await self.context.clock.sleep(self.latency / 2)
        if fault is None:
            outcomes = self._write(batch, fence)
            await self.context.clock.sleep(self.latency / 2)
            return outcomes
        if fault.kind == "error":
            raise fault.error if fault.error is not None else AdapterError("refused before anything was sent")
        if fault.kind == "hang":
            await asyncio.get_running_loop().create_future()
        if fault.kind == "written":
            self._write(batch, fence)
        if fault.kind == "late":
            asyncio.get_running_loop().call_later(fault.seconds, self._write_late, batch, fence)
        return {change.key: Outcome("unknown", "the answer did not come in time") for change in batch}

    def _write(self, batch: Sequence[Change], fence: Fence | None) -> dict[str, Outcome]:
        refused = {change.key: outcome for change in batch if (outcome := self.refuse(change)) is not None}
        kept = [change for change in batch if change.key not in refused]
        return self.target.write(kept, self.context.owner, fence) | refused

    def _write_late(self, batch: Sequence[Change], fence: Fence | None) -> None:
        try:
            self._write(batch, fence)
        except AdapterError as error:
            self.context.log.debug("late write refused: %s", error)

    async def drift(self, mark: Mark) -> None:
        """Mark what is written, by whomever, until `cut_drift`."""
        await self._called("drift")
        end = self.target.subscribe(mark)
        cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drifting.add(cut)
        try:
            await cut
        finally:
            self._drifting.discard(cut)
            end()

    def cut_drift(self, error: AdapterError | None = None) -> None:
        """Break every running `drift`: what is written until it is called again goes unmarked."""
        for cut in self._drifting:
            if not cut.done():
                cut.set_exception(error if error is not None else AdapterError("the watch was cut"))

    async def _called(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        await asyncio.sleep(0)  # as every real sink does, it gives way
        if self.down is not None:
            raise self.down

    def _check_limits(self, batch: Sequence[Change]) -> None:
        if len(batch) > self.limits.records:
            raise ValueError(f"a batch of {len(batch)} records; limits.records is {self.limits.records}")
        size = sum(len(change.record.content) for change in batch if change.record is not None)
        if size > self.limits.bytes and len(batch) > 1:
            raise ValueError(f"a batch of {size} bytes; limits.bytes is {self.limits.bytes}")
        if len({change.key for change in batch}) != len(batch):
            raise ValueError("a key twice in one batch")


def _accept(_: Change) -> Outcome | None:
    return None


def _observed(key: str, content: bytes) -> Observed | None:
    whose = owner_of(content)
    if whose is None:
        return None
    canonical = layout.normalised(content)
    shown = msgspec.json.decode(canonical, type=_Shown)
    return Observed(
        key,
        fingerprint(canonical),
        whose.registration,
        whose.entry,
        whose.service,
        whose.instance,
        shown.name,
        shown.ready,
    )


class _Shown(msgspec.Struct):
    name: str = ""
    ready: bool = True
