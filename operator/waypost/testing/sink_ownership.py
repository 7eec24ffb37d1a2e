# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about writing, reading, and keeping off what others own."""

from __future__ import annotations

import asyncio

from waypost.adapter import Change, PermanentError, Record, fingerprint
from waypost.testing import rendering
from waypost.testing.sink_bench import SinkBench

__all__ = ["OwnershipConformance"]


class OwnershipConformance(SinkBench):
    """What is ours is written and read back; what is not is never touched."""

    async def test_apply_creates_updates_and_deletes(self) -> None:
        async with self.one() as ours:
            first, second = self.record(ours.sink), self.record(ours.sink, number=2)
            assert await self.read(first.key) is None, "the target was not empty"
            await ours.put(first)
            created = await self.read(first.key)
            assert created is not None, "applied, but nothing is there"
            await ours.put(second, create=False)
            assert await self.read(first.key) not in (None, created), "applied, but what is there has not changed"
            outcomes = await ours.apply(Change(first.key))
            assert outcomes[first.key].status == "applied"
            assert await self.read(first.key) is None, "deleted, but still there"

    async def test_a_wrong_create_hint_changes_nothing(self) -> None:
        async with self.one() as ours:
            first, second = self.record(ours.sink), self.record(ours.sink, number=2)
            await ours.put(first, create=False)
            before = await self.read(first.key)
            await ours.put(second, create=True)
            assert await self.read(first.key) != before, "`create` is a hint: a record of ours is replaced all the same"

    async def test_applying_again_is_applied_and_changes_nothing(self) -> None:
        async with self.one() as ours:
            record = self.record(ours.sink)
            await ours.put(record)
            before = await self.read(record.key)
            await ours.put(record)
            assert await self.read(record.key) == before
            assert len(await ours.observed()) == 1

    async def test_deleting_what_is_absent_is_applied(self) -> None:
        async with self.one() as ours:
            record = self.record(ours.sink)
            assert (await ours.apply(Change(record.key)))[record.key].status == "applied"

    async def test_observe_gives_what_was_written(self) -> None:
        async with self.one() as ours:
            assert await ours.observed() == {}
            records = [
                record
                for published, instances in rendering.samples(self.name("web"), self.options())
                for record in ours.sink.render(published, instances)
                if isinstance(record, Record)
            ]
            await ours.put(*records)
            observed = await ours.observed()
            assert observed.keys() == {record.key for record in records}, "not the keys that were written"
            for record in records:
                seen = observed[record.key]
                same = seen.fingerprint == fingerprint(record.content)
                assert same, f"the fingerprint of {record.key} is not that of its rendered content"
                told = (seen.instance, seen.name, seen.ready)
                assert told == (record.instance, record.name, record.ready), f"{record.key}: {told}"
            by_service = {seen.service.name: (seen.registration, seen.entry) for seen in observed.values()}
            assert by_service["several"] == ("shop/several", "main"), f"registration and entry: {by_service}"
            assert {str(seen.service) for seen in observed.values()} >= {"source/shop/web", "source/shop/far"}

    async def test_a_new_sink_observes_the_same(self) -> None:
        async with self.one() as ours:
            await ours.put(self.record(ours.sink), self.record(ours.sink, "i-2", ready=False))
            before = await ours.observed()
        async with self.one() as ours:
            assert await ours.observed() == before, "what another process wrote reads differently"

    async def test_observe_of_keys_gives_those_only(self) -> None:
        async with self.one() as ours:
            records = self.records(ours.sink, *(rendering.instance(f"i-{number}", number) for number in range(5)))
            await ours.put(*records)
            wanted = [records[1].key, records[3].key]
            observed = await ours.observed([*wanted, self.record(ours.sink, "absent").key])
            assert observed.keys() == set(wanted)
            assert await ours.observed([]) == {}

    async def test_observe_gives_ours_only(self) -> None:
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            mine = self.record(ours.sink, "mine", self.apart("mine"))
            other = self.record(theirs.sink, "other", self.apart("other"), owner="owner-b")
            await ours.put(mine)
            await theirs.put(other)
            nobody = self.record(ours.sink, "nobody", self.apart("nobody")).key
            await self.foreign(nobody)
            assert (await ours.observed()).keys() == {mine.key}, "observes what is not its own"
            assert (await theirs.observed()).keys() == {other.key}, "observes what is not its own"
            assert await ours.observed([other.key, nobody]) == {}, "asked by key, it observes what is not its own"

    async def test_what_belongs_to_nobody_is_not_overwritten(self) -> None:
        async with self.one() as ours:
            record = self.record(ours.sink)
            await self.foreign(record.key)
            before = await self.read(record.key)
            assert before is not None, "the hook `foreign` wrote nothing that `read` finds"
            for create in (True, False):
                outcome = (await ours.apply(Change(record.key, record, create)))[record.key]
                assert outcome.status == "conflict", f"a put on a foreign record was {outcome}"
                assert outcome.reason, "a conflict without a reason"
                assert await self.read(record.key) == before, "a foreign record was changed"

    async def test_what_belongs_to_nobody_is_not_deleted(self) -> None:
        async with self.one() as ours:
            key = self.record(ours.sink).key
            await self.foreign(key)
            before = await self.read(key)
            assert (await ours.apply(Change(key)))[key].status == "conflict"
            assert await self.read(key) == before, "a foreign record was deleted"

    async def test_what_belongs_to_another_owner_is_not_touched(self) -> None:
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            theirs_record = self.record(theirs.sink, owner="owner-b")
            mine = Record(theirs_record.key, "i-1", self.record(ours.sink).content, theirs_record.name)
            await theirs.put(theirs_record)
            before = await self.read(mine.key)
            if self.record(ours.sink).key == mine.key:
                assert (await ours.apply(Change(mine.key, mine)))[mine.key].status == "conflict"
            assert (await ours.apply(Change(mine.key)))[mine.key].status == "conflict"
            assert await self.read(mine.key) == before, "another owner's record was touched"

    async def test_only_the_exact_key_is_deleted(self) -> None:
        ids = ["a", "a1", "aa", "a-b", "a.b", "b"]
        async with self.one() as ours:
            records = {
                record.instance: record for each in ids for record in self.records(ours.sink, rendering.instance(each))
            }
            await ours.put(*records.values())
            await ours.put(self.record(ours.sink, "a", stem="web-2"), self.record(ours.sink, "a", stem="we"))
            assert (await ours.apply(Change(records["a"].key)))[records["a"].key].status == "applied"
            left = sorted((seen.name, seen.instance) for seen in (await ours.observed()).values())
        expected = [(self.name("web"), each) for each in ids[1:]] + [(self.name("we"), "a"), (self.name("web-2"), "a")]
        assert left == sorted(expected)

    async def test_one_conflict_in_a_batch_fails_alone(self) -> None:
        async with self.one() as ours:
            records = self.records(ours.sink, *(rendering.instance(f"i-{number}", number) for number in range(5)))
            records[2] = self.record(ours.sink, "i-2", self.apart("conflict"), number=2)
            await self.foreign(records[2].key)
            outcomes = await ours.apply(*(Change(record.key, record, create=True) for record in records))
            statuses = [outcomes[record.key].status for record in records]
            assert statuses == ["applied", "applied", "conflict", "applied", "applied"]
            assert (await ours.observed()).keys() == {record.key for record in records} - {records[2].key}

    async def test_there_is_one_outcome_for_each_change(self) -> None:
        async with self.one() as ours:
            old, new, absent = (self.record(ours.sink, each) for each in ("old", "new", "absent"))
            foreign = self.record(ours.sink, "foreign", self.apart("foreign"))
            await ours.put(old)
            await self.foreign(foreign.key)
            batch = [
                Change(new.key, new, create=True),
                Change(old.key),
                Change(absent.key),
                Change(foreign.key, foreign, create=True),
            ]
            outcomes = await ours.apply(*batch)
            assert outcomes.keys() == {change.key for change in batch}, (
                "outcomes are missing, or for keys not asked for"
            )

    async def test_a_batch_of_exactly_the_limit_is_written(self) -> None:
        async with self.one() as ours:
            count = ours.sink.limits.records
            records = self.records(ours.sink, *(rendering.instance(f"i-{number}", number) for number in range(count)))
            outcomes = await ours.apply(*(Change(record.key, record, create=True) for record in records))
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}
            outcomes = await ours.apply(*(Change(record.key) for record in records))
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}
            assert await ours.observed() == {}

    async def test_many_records_in_parallel_batches_arrive(self) -> None:
        async with self.one() as ours:
            instances = [rendering.instance(f"i-{number}", number) for number in range(self.many)]
            records = self.records(ours.sink, *instances)
            size, gate = ours.sink.limits.records, asyncio.Semaphore(ours.sink.limits.in_flight)

            async def put(batch: list[Record]) -> None:
                async with gate:
                    await ours.put(*batch)

            async with asyncio.TaskGroup() as group:
                for start in range(0, len(records), size):
                    group.create_task(put(records[start : start + size]))
            observed = await ours.observed()
            wanted = {record.key: fingerprint(record.content) for record in records}
            assert {key: seen.fingerprint for key, seen in observed.items()} == wanted

    async def test_inspect_tells_of_others_and_not_of_us(self) -> None:
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            mine = self.record(ours.sink, "mine", self.apart("mine"))
            other = self.record(theirs.sink, "other", owner="owner-b")
            await ours.put(mine)
            await theirs.put(other)
            found = await ours.sink.inspect(dict.fromkeys((self.name("web"), mine.name)))
            assert [(each.key, each.owner) for each in found] == [(other.key, "owner-b")]
            assert all(len(each.summary) <= 200 for each in found)
            assert await ours.sink.inspect([self.name("elsewhere")]) == []

    async def test_names_are_one_where_the_sink_says_so_and_nowhere_else(self) -> None:
        """Two forms of a name are one if consumers, and so `inspect`, find under either what stands under the other."""
        low, high = self.name("web"), self.name("web").upper()
        async with self.claimed("owner-a", "owner-b") as (ours, theirs):
            form = getattr(ours.sink, "canonical", str)
            assert form(form(high)) == form(high), "a canonical form has another one"
            one = form(low) == form(high)
            options, shown = self.options(), [rendering.instance("i-1")]
            rendered, other = (
                list(theirs.sink.render(rendering.publication([name], owner="owner-b", options=options), shown))
                for name in (high, low)
            )
            records = [item for item in rendered if isinstance(item, Record)]
            if not records:  # it refuses upper case: then there is one form only
                return
            assert {record.name for record in records} == {high}, "a record keeps the name as it is published"
            same = {record.key for record in records} & {item.key for item in other if isinstance(item, Record)}
            assert one or not same, f"`{low}` and `{high}` have the same keys, and `canonical` takes them for two names"
            await theirs.put(*records)
            found = {each.key for each in await ours.sink.inspect([low])}
        assert bool(found) == one, (
            f"`canonical` takes `{low}` and `{high}` for {'one name' if one else 'two names'}; of what is published "
            f"under the latter, {sorted(found) or 'nothing'} stands under the former"
        )

    async def test_another_environment_is_refused(self) -> None:
        async with self.one() as ours, self.open(self.context("owner-b", "staging")) as other:
            for owner in ("owner-a", "owner-b"):
                try:
                    await other.claim("staging", owner)
                except PermanentError as error:
                    told = str(error)
                    assert "test" in told, f"does not say which environment the target has: {told}"
                else:
                    raise AssertionError(f"a target of environment `test` was claimed for `staging` by {owner}")
            await ours.put(self.record(ours.sink))  # a fence still holds: the refused claim wrote nothing
