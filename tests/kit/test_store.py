"""What the store promises; what every sink on it promises is in the adapters' conformance tests."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from waypost.adapter import AdapterError, Change, Fence, NotClaimed, PermanentError, Record
from waypost.kit.store import Row, Store, open_store

OWNER = "owner-a"


def put(key: str, content: bytes = b"{}") -> Change:
    return Change(key, Record(key, key, content, "web"))


async def claimed(store: Store) -> Fence:
    return await store.claim("prod", OWNER, 0)


async def test_what_is_committed_is_told_in_order_also_when_the_writer_was_cancelled(tmp_path: Path) -> None:
    told: list[Row] = []
    async with open_store(tmp_path / "s.db", told.extend) as store:
        fence = await claimed(store)
        writing = [asyncio.create_task(store.apply(OWNER, [put("k", b"%d" % number)], fence)) for number in range(40)]
        await asyncio.sleep(0)
        for task in writing[::2]:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        (row,) = await store.page()
        assert [each.content for each in told] == [b"%d" % number for number in range(40)]
        assert row.content == b"39"


async def test_batches_that_wait_are_committed_together(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db", lambda _: None) as store:
        fence = await claimed(store)
        commits = 0
        original = store._transact

        def counted(jobs: Sequence[object]) -> None:
            nonlocal commits
            commits += 1
            original(jobs)  # type: ignore[arg-type]  # as handed in

        store._transact = counted  # type: ignore[method-assign]  # counts commits
        await asyncio.gather(*(store.apply(OWNER, [put(f"k-{number}")], fence) for number in range(100)))
        assert 1 <= commits <= 50
        assert len(await store.page(size=200)) == 100


async def test_one_refused_batch_does_not_take_others_with_it(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db", lambda _: None) as store:
        fence = await claimed(store)
        good, bad, none = await asyncio.gather(
            store.apply(OWNER, [put("a")], fence),
            store.apply(OWNER, [put("b")], Fence(99)),
            store.apply(OWNER, [put("c")], None),
            return_exceptions=True,
        )
        assert isinstance(bad, NotClaimed)
        assert isinstance(none, NotClaimed)
        assert not isinstance(good, BaseException)
        assert [row.key for row in await store.page()] == ["a"]


async def test_it_is_known_that_something_was_published_after_it_is_gone(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db", lambda _: None) as store:
        fence = await claimed(store)
        assert not store.known
        await store.apply(OWNER, [put("a")], fence)
        await store.apply(OWNER, [Change("a")], fence)
        assert store.known
    async with open_store(tmp_path / "s.db", lambda _: None) as store:
        assert store.known
        assert await store.page() == []


async def test_a_disk_that_refuses_is_an_error_and_nothing_is_written_or_told(tmp_path: Path) -> None:
    told: list[Row] = []
    async with open_store(tmp_path / "s.db", told.extend) as store:
        fence = await claimed(store)
        await store.apply(OWNER, [put("a")], fence)
        limit = "PRAGMA max_page_count = 1"  # no page can be had: what a full disk is
        assert store._database is not None
        store._database.execute(limit)
        with pytest.raises(AdapterError, match="disk refused"):
            await store.apply(OWNER, [put(f"k-{number}", b"x" * 4000) for number in range(50)], fence)
        store._database.execute("PRAGMA max_page_count = 1000000")
        assert [row.key for row in told] == ["a"]
        assert [row.key for row in await store.page()] == ["a"]
        await store.apply(OWNER, [put("b")], fence)
        assert len(told) == 2


async def test_a_file_that_is_no_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(PermanentError, match="move it away"):
        async with open_store(tmp_path / "s.db", lambda _: None):
            pass


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(PermanentError, match="newer version"):
        async with open_store(tmp_path / "s.db", lambda _: None):
            pass


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db", lambda _: None):
        assert (tmp_path / "s.db").stat().st_mode & 0o077 == 0


async def test_a_disk_that_stands_still_leaves_it_unknown_and_the_write_is_told_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Row] = []
    monkeypatch.setattr("waypost.kit.store.SLOW_SECONDS", 0.1)
    async with open_store(tmp_path / "s.db", told.extend) as store:
        fence = await claimed(store)
        held = threading.Event()
        original = store._transact

        def standing_still(jobs: Sequence[object]) -> None:
            held.wait(10)
            original(jobs)  # type: ignore[arg-type]  # as handed in

        store._transact = standing_still  # type: ignore[method-assign]  # a disk that stands still
        outcomes = await store.apply(OWNER, [put("a")], fence)
        assert outcomes["a"].status == "unknown"
        with pytest.raises(AdapterError, match="did not answer within"):
            await store.advance(OWNER, fence)
        assert not told
        held.set()
        assert [row.key for row in await store.page()] == ["a"]
        assert [row.key for row in told] == ["a"]
