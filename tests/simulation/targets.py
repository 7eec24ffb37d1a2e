"""A target and the sinks on it: they tell the judge of each batch that is sent and each record that is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from waypost.adapter import AdapterError, Change, Fence, Fenced, InvalidRecord, Observed, Outcome, Record
from waypost.model import Publication, PublishedInstance
from waypost.testing.memory import MemorySink, SharedTarget

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.lives import Life

__all__ = ["Sending", "SimSink", "SimTarget"]


class Sending(msgspec.Struct, eq=False):
    """A batch on its way: whose it is, when it was sent, and for which publications it writes."""

    life: Life
    at: float
    batch: Sequence[Change]
    puts: frozenset[tuple[str, str]] = frozenset()  # publications that it writes records of
    touches: frozenset[tuple[str, str]] = frozenset()  # publications that it writes or deletes records of


class SimTarget(SharedTarget):
    """A target; `disturbed` is when something last happened to it that an engine needs time to get over."""

    def __init__(self, name: str, judge: Judge) -> None:
        super().__init__()
        self.name = name
        self.judge = judge
        self.disturbed = 0.0
        self.foreign: dict[str, bytes] = {}
        self.backup: Any = None
        self.exchanged: Any = None  # what it holds while another target answers in its place
        self.writing: Sending | None = None
        self.flying: list[Sending] = []
        self.refused_parts: set[str] = set()
        self.unrenderable: dict[str, bool] = {}  # instance → whether its rendering raises; else it says what is wrong

    def set(self, key: str, content: bytes | None, *, by: str = "", fence: Fence | None = None) -> None:
        if self.writing is not None:
            self.judge.writes.written(self, self.writing, key, self.records.get(key), content, fence)
        super().set(key, content, by=by, fence=fence)


class SimSink(MemorySink):
    """One engine's sink."""

    life: Life
    target: SimTarget
    sendings: dict[int, Sending]
    loading = True  # it is opened or claimed, and nobody has looked at the whole of it since

    def begin(self, life: Life) -> None:
        """Say whose it is."""
        self.life, self.sendings = life, {}
        self.unsure: set[str] = set()  # keys whose last outcome is not known, and that were not looked at since
        outlet = life.world.outlets[self.context.name]
        self.latency = outlet.latency
        life.world.dress(self)

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        for instance in instances:
            if (raises := self.target.unrenderable.get(instance.id)) is None:
                yield from super().render(publication, [instance])
            elif raises:
                raise ValueError(f"{instance.id} cannot be rendered")
            else:
                yield InvalidRecord(instance.id, "it cannot be rendered", publication.names[0].name)

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        self.target.judge.writes.claims(self.target, self.life)
        await self._called("claim")
        self.loading = True
        fence = self.target.claim(environment, owner, past) if self.fenced else None
        self.target.judge.world.note(f"{self.target.name} claimed by {self.life.place}: {fence}")
        return fence

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        found = []
        async for observed in super().observe(keys):
            found.append((observed.service, observed.instance))
            yield observed
        self.unsure.difference_update(self.unsure.copy() if keys is None else keys)
        if keys is None:
            self.life.looked[self.context.name] = self.life.world.now()
        if keys is None and self.loading:
            self.loading = False
            self.life.recalled(self.context.name, found)

    async def advance(self, fence: Fence) -> Fence:
        try:
            return await super().advance(fence)
        except Fenced:
            self.target.judge.writes.fenced(self.target, self.life)
            raise

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        if self.unsure:
            self.target.judge.unsure(self.target, self.unsure)
        sending = self.target.judge.sends.sent(self.target, self.life, batch)
        self.sendings[id(batch)] = sending  # it holds the batch: no other has its id
        self.target.flying.append(sending)
        if self.faults:  # it is disturbed when a fault strikes, however long it waited
            self.life.world.disturb(self.target.name)
        try:
            outcomes = await super().apply(batch, fence)
            self.target.judge.refusals.answered(self.target, sending, outcomes)
            self.unsure.update(key for key, outcome in outcomes.items() if outcome.status == "unknown")
            return outcomes
        except Fenced:
            self.target.judge.writes.fenced(self.target, self.life)
            raise
        except AdapterError:
            raise  # then nothing was sent
        except BaseException:
            self.unsure.update(change.key for change in batch)
            raise
        finally:
            self.target.flying.remove(sending)

    def _write(self, batch: Sequence[Change], fence: Fence | None) -> dict[str, Outcome]:
        self.target.writing = self.sendings[id(batch)]
        try:
            return super()._write(batch, fence)
        finally:
            self.target.writing = None
