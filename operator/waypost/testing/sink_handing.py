# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about records that pass between owners: left behind, and taken over."""

from __future__ import annotations

import pytest

from waypost.adapter import Change, Fenced, Record, fingerprint
from waypost.testing import rendering
from waypost.testing.sink_bench import Claimed, SinkBench

__all__ = ["HandingConformance"]


class HandingConformance(SinkBench):
    """`Change.release` and `Change.adopt`, for sinks whose AdapterType says that they know them."""

    def _skip_unless(self, what: str) -> None:
        if not getattr(rendering.find(self.adapter), what):
            pytest.skip(f"this sink's AdapterType does not say `{what}`")

    async def _released(self, ours: Claimed, record: Record) -> bytes:
        """Write and release a record; return what is left."""
        await ours.put(record)
        outcome = (await ours.apply(Change(record.key, release=True)))[record.key]
        assert outcome.status == "applied", f"not released: {outcome}"
        left = await self.read(record.key)
        assert left is not None, "released, and gone"
        return left

    async def test_what_is_released_stays_and_is_ours_no_more(self) -> None:
        self._skip_unless("releases")
        async with self.one() as ours:
            record, other = self.record(ours.sink), self.record(ours.sink, "i-2", number=2)
            await ours.put(other)
            await self._released(ours, record)
            assert (await ours.observed()).keys() == {other.key}, "released, and still ours"
            found = await ours.sink.inspect([record.name])
            assert found, "what was released is not told of by `inspect`"
            assert {each.owner for each in found} == {""}, "what was released says that it is somebody's"

    async def test_what_was_released_is_neither_written_over_nor_deleted_nor_released_again(self) -> None:
        self._skip_unless("releases")
        async with self.one() as ours:
            record = self.record(ours.sink)
            left = await self._released(ours, record)
            for change in (
                Change(record.key, record, create=True),
                Change(record.key, record),
                Change(record.key),
                Change(record.key, release=True),
            ):
                outcome = (await ours.apply(change))[record.key]
                assert outcome.status == "conflict", f"{change}: {outcome}"
                assert await self.read(record.key) == left

    async def test_what_is_absent_is_released_without_ado(self) -> None:
        self._skip_unless("releases")
        async with self.one() as ours:
            record = self.record(ours.sink)
            assert (await ours.apply(Change(record.key, release=True)))[record.key].status == "applied"
            assert await self.read(record.key) is None

    async def test_what_others_own_is_not_released(self) -> None:
        self._skip_unless("releases")
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            record = self.record(theirs.sink, owner="owner-b")
            await theirs.put(record)
            before = await self.read(record.key)
            assert (await ours.apply(Change(record.key, release=True)))[record.key].status == "conflict"
            assert await self.read(record.key) == before

    async def test_a_leader_that_is_past_releases_and_takes_nothing(self) -> None:
        self._skip_unless("releases")
        self.skip_unless_fenced()
        async with self.one() as ours:
            record = self.record(ours.sink)
            await ours.put(record)
            before = await self.read(record.key)
            await self.claim(ours.sink)
            with pytest.raises(Fenced):
                await ours.apply(Change(record.key, release=True))
            assert await self.read(record.key) == before

    async def test_the_same_that_is_nobodys_is_told_when_asked_for_and_not_written(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            record = self.record(ours.sink)
            left = await self._released(ours, record)
            outcome = (await ours.apply(Change(record.key, record, create=True, adopt="ask")))[record.key]
            assert outcome.status == "identical", f"the same is there, and the outcome was {outcome}"
            assert await self.read(record.key) == left, "asked for only, and changed"
            assert await ours.observed() == {}

    async def test_the_same_that_is_nobodys_is_taken_over(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            record = self.record(ours.sink)
            await self._released(ours, record)
            outcome = (await ours.apply(Change(record.key, record, create=True, adopt="take")))[record.key]
            assert outcome.status == "applied", f"not taken over: {outcome}"
            observed = await ours.observed()
            assert observed.keys() == {record.key}
            assert observed[record.key].fingerprint == fingerprint(record.content), (
                "taken over, and not as it should be"
            )
            assert await ours.sink.inspect([record.name]) == []
            await ours.put(self.record(ours.sink, number=2), create=False)
            assert (await ours.apply(Change(record.key)))[record.key].status == "applied"
            assert await self.read(record.key) is None

    async def test_what_differs_is_a_conflict_whatever_is_asked_for(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            record = self.record(ours.sink)
            other = self.record(ours.sink, number=2)
            assert other.key == record.key
            left = await self._released(ours, other)
            await self._conflicts(ours, record)
            assert await self.read(record.key) == left

    async def test_what_others_own_is_not_taken_over(self) -> None:
        self._skip_unless("adopts")
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            record = self.record(theirs.sink, owner="owner-b")
            await theirs.put(record)
            before = await self.read(record.key)
            if self.record(ours.sink).key == record.key:
                await self._conflicts(ours, self.record(ours.sink))
            assert await self.read(record.key) == before

    async def test_what_changed_since_it_was_asked_for_is_not_taken_over(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            record = self.record(ours.sink)
            await self._released(ours, record)
            assert (await ours.apply(Change(record.key, record, adopt="ask")))[record.key].status == "identical"
            await self.foreign(record.key)
            before = await self.read(record.key)
            assert (await ours.apply(Change(record.key, record, adopt="take")))[record.key].status == "conflict"
            assert await self.read(record.key) == before

    async def test_where_nothing_is_there_asking_and_taking_write(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            records = [self.record(ours.sink, "i-1"), self.record(ours.sink, "i-2", number=2)]
            asked = Change(records[0].key, records[0], create=True, adopt="ask")
            outcomes = await ours.apply(asked, Change(records[1].key, records[1], create=True, adopt="take"))
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}, outcomes
            assert (await ours.observed()).keys() == {record.key for record in records}

    async def test_a_batch_of_all_kinds_has_an_outcome_for_each(self) -> None:
        self._skip_unless("adopts")
        async with self.one() as ours:
            asked, taken, left, gone, fresh = (
                self.record(ours.sink, f"i-{number}", number=number) for number in range(1, 6)
            )
            for each in (asked, taken):
                await self._released(ours, each)
            await ours.put(left, gone)
            outcomes = await ours.apply(
                Change(asked.key, asked, create=True, adopt="ask"),
                Change(taken.key, taken, create=True, adopt="take"),
                Change(left.key, release=True),
                Change(gone.key),
                Change(fresh.key, fresh, create=True, adopt="ask"),
            )
            statuses = [outcomes[each.key].status for each in (asked, taken, left, gone, fresh)]
            assert statuses == ["identical", "applied", "applied", "applied", "applied"]
            assert (await ours.observed()).keys() == {taken.key, fresh.key}

    async def _conflicts(self, ours: Claimed, record: Record) -> None:
        asked = (await ours.apply(Change(record.key, record, create=True, adopt="ask")))[record.key]
        taken = (await ours.apply(Change(record.key, record, create=True, adopt="take")))[record.key]
        assert (asked.status, taken.status) == ("conflict", "conflict"), (asked, taken)
        assert asked.reason, "a conflict without a reason"
        assert taken.reason, "a conflict without a reason"
