# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about leadership: epochs, generations, stamps."""

from __future__ import annotations

import pytest

from waypost.adapter import Change, Fence, Fenced, NotClaimed
from waypost.testing.sink_bench import Claimed, SinkBench

__all__ = ["FencingConformance"]


class FencingConformance(SinkBench):
    """A leader whose epoch is past writes nothing. Skipped where the target cannot fence."""

    async def _fenced(self, claimed: Claimed) -> Fence:
        self.skip_unless_fenced()
        assert claimed.fence is not None
        return claimed.fence

    async def test_each_claim_has_a_higher_epoch(self) -> None:
        async with self.one() as ours:
            first = await self._fenced(ours)
            second = await self.claim(ours.sink)
            assert second is not None
            assert first.epoch < second.epoch, f"claims gave {first}, then {second}"
            third = await self.claim(ours.sink, past=second.epoch + 50)
            assert third is not None
            assert third.epoch == second.epoch + 51, f"past={second.epoch + 50} gave {third}"

    async def test_owners_have_epochs_of_their_own(self) -> None:
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            await self._fenced(ours)
            await self.claim(theirs.sink, "owner-b")
            await ours.put(self.record(ours.sink))

    async def test_a_past_epoch_writes_nothing(self) -> None:
        async with self.claimed("owner-a", "owner-a") as (old, new):
            await self._fenced(old)
            kept, fresh = self.record(old.sink, "kept"), self.record(old.sink, "fresh")
            await new.put(kept)
            before = await self.read(kept.key)
            changed = self.record(old.sink, "kept", number=9)
            for change in (Change(kept.key, changed), Change(kept.key), Change(fresh.key, fresh, create=True)):
                with pytest.raises(Fenced):
                    await old.apply(change)
            with pytest.raises(Fenced):
                await old.apply(Change(fresh.key, fresh, create=True), Change(kept.key))
            assert await self.read(kept.key) == before, "a past epoch changed a record"
            assert await self.read(fresh.key) is None, "a past epoch created a record"

    async def test_a_past_epoch_cannot_advance(self) -> None:
        async with self.claimed("owner-a", "owner-a") as (old, new):
            fence = await self._fenced(old)
            with pytest.raises(Fenced):
                await old.sink.advance(fence)
            await new.put(self.record(new.sink))

    async def test_without_its_stamp_nothing_is_written(self) -> None:
        async with self.one() as ours:
            fence = await self._fenced(ours)
            kept, fresh = self.record(ours.sink, "kept"), self.record(ours.sink, "fresh")
            await ours.put(kept)
            before = await self.read(kept.key)
            await self.lose_stamp()
            for change in (Change(kept.key), Change(fresh.key, fresh, create=True)):
                with pytest.raises(NotClaimed):
                    await ours.apply(change)
            with pytest.raises(NotClaimed):
                await ours.sink.advance(fence)
            assert await self.read(kept.key) == before
            assert await self.read(fresh.key) is None
            again = await self.claim(ours.sink, past=fence.epoch)
            assert again is not None
            assert again.epoch > fence.epoch, "claimed again, but below the epoch before"
            await Claimed(ours.sink, again).put(fresh)

    async def test_a_stamp_older_than_ours_is_not_written_under(self) -> None:
        async with self.one() as ours:
            fence = await self._fenced(ours)
            later = Claimed(ours.sink, Fence(fence.epoch + 7))
            record = self.record(ours.sink)
            with pytest.raises(NotClaimed):
                await later.apply(Change(record.key, record, create=True))
            assert await self.read(record.key) is None

    async def test_a_past_generation_is_superseded(self) -> None:
        async with self.one() as ours:
            fence = await self._fenced(ours)
            kept, fresh = self.record(ours.sink, "kept"), self.record(ours.sink, "fresh")
            await ours.put(kept)
            before = await self.read(kept.key)
            higher = await ours.sink.advance(fence)
            assert (higher.epoch, higher.generation) == (fence.epoch, fence.generation + 1)
            outcomes = await ours.apply(Change(kept.key), Change(fresh.key, fresh, create=True))
            assert {outcome.status for outcome in outcomes.values()} == {"superseded"}, f"{outcomes}"
            assert outcomes.keys() == {kept.key, fresh.key}
            assert await self.read(kept.key) == before, "a past generation deleted a record"
            assert await self.read(fresh.key) is None, "a past generation created a record"
            await Claimed(ours.sink, higher).put(fresh)
            assert await self.read(fresh.key) is not None
