"""A scan is one consistent view, whatever is written meanwhile, and no page of it is large."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from testbed.servers import Etcd
from waypost.adapter import AdapterError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import scan as scanning
from waypost.kit.etcd import wire
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.faults import Compacted

pytestmark = pytest.mark.server("etcd")


async def fill(client: Client, prefix: str, count: int, value: bytes) -> None:
    for start in range(0, count, 100):
        many = range(start, min(start + 100, count))
        answer = await client.txn(b"".join(wire.put(f"{prefix}{number:06}".encode(), value) for number in many))
        assert answer.succeeded


async def pages(client: Client, prefix: str) -> list[tuple[int, list[rpc.KeyValue]]]:
    start = prefix.encode()
    async with aclosing(scanning.scan(client, start, wire.successor(start))) as found:
        return [(revision, list(page)) async for revision, page in found]


async def test_every_key_comes_once_in_order_and_siblings_stay_out(
    etcd: Etcd, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "PAGE_BYTES", 50_000)
    async with connect(etcd.endpoints) as client:
        await fill(client, "/scan/all/", 2000, b"x" * 300)
        await fill(client, "/scan/all0", 3, b"sibling")
        await fill(client, "/scan/al", 3, b"sibling")
        found = await pages(client, "/scan/all/")
    assert [kv.key.decode() for _, page in found for kv in page] == [f"/scan/all/{number:06}" for number in range(2000)]
    assert len(found) > 5
    assert max(sum(kv.ByteSize() for kv in page) for _, page in found) <= 2 * scanning.PAGE_BYTES


async def test_an_empty_range_gives_a_revision_and_nothing_else(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        ((revision, page),) = await pages(client, "/scan/nothing/")
    assert revision > 0
    assert page == []


async def test_what_is_written_while_pages_are_read_is_not_seen(etcd: Etcd, connect: Any) -> None:
    start = b"/scan/moving/"
    async with connect(etcd.endpoints) as client:
        await fill(client, start.decode(), 1000, b"before")
        seen: list[rpc.KeyValue] = []
        revisions = set()
        async with aclosing(scanning.scan(client, start, wire.successor(start))) as found:
            async for revision, page in found:
                revisions.add(revision)
                seen += page
                await client.txn(wire.delete(start + b"000999") + wire.put(start + b"000500", b"after"))
                await client.txn(wire.put(start + b"000000a", b"after") + wire.put(start + b"zzz", b"after"))
    assert len(revisions) == 1
    assert [kv.key for kv in seen] == [start + f"{number:06}".encode() for number in range(1000)]
    assert {kv.value for kv in seen} == {b"before"}


async def test_large_values_make_small_pages(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        for number in range(300):
            await client.txn(wire.put(f"/scan/large/{number:06}".encode(), b"x" * 100_000))
        found = await pages(client, "/scan/large/")
    assert sum(len(page) for _, page in found) == 300
    weights = [sum(kv.ByteSize() for kv in page) for _, page in found]
    assert sum(weight > 2_000_000 for weight in weights) <= 1, (
        "only the first, of which nothing was known, may be large"
    )


async def test_what_is_too_large_to_be_taken_is_passed_over_with_its_value_empty(
    etcd: Etcd, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waypost.kit.etcd import channel

    options = tuple((name, 50_000 if "receive" in name else value) for name, value in channel._OPTIONS)
    monkeypatch.setattr(channel, "_OPTIONS", options)
    async with connect(etcd.endpoints) as client:
        await fill(client, "/scan/huge/", 20, b"small")
        await client.txn(wire.put(b"/scan/huge/000010", b"x" * 100_000))
        found = await pages(client, "/scan/huge/")
    values = [kv.value for _, page in found for kv in page]
    assert values == [b"small"] * 10 + [b""] + [b"small"] * 9


async def test_a_view_whose_revision_is_compacted_ends_with_an_error(etcd: Etcd, connect: Any) -> None:
    start = b"/scan/compacted/"
    async with connect(etcd.endpoints) as client:
        await fill(client, start.decode(), 1000, b"x")

        async def read() -> None:
            async with aclosing(scanning.scan(client, start, wire.successor(start))) as found:
                async for _ in found:
                    answer = await client.txn(wire.put(start + b"x", b"y"))
                    await etcd.call("kv/compaction", {"revision": str(answer.header.revision), "physical": True})

        with pytest.raises(Compacted, match=etcd.endpoint):
            await read()


async def test_a_server_that_dies_in_the_middle_ends_the_view_with_an_error(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e", unsafe_no_fsync=True) as etcd, connect(etcd.endpoints) as client:
        await fill(client, "/a/", 1000, b"x")

        async def read() -> None:
            async with aclosing(scanning.scan(client, b"/a/", b"/a0")) as found:
                async for _ in found:
                    if etcd.running:
                        await etcd.kill9()

        with pytest.raises(AdapterError):
            await read()


async def test_members_of_two_clusters_make_no_view(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "a", unsafe_no_fsync=True) as one, Etcd(tmp_path / "b", unsafe_no_fsync=True) as other:
        async with connect(other.endpoints) as client:
            await fill(client, "/b/", 3000, b"x")
        async with connect([one.endpoint, other.endpoint]) as client:
            await fill(client, "/a/", 1000, b"x")

            async def read() -> None:
                async with aclosing(scanning.scan(client, b"/a/", b"/a0")) as found:
                    async for _ in found:
                        if one.running:
                            await asyncio.sleep(0)
                            await one.kill9()

            with pytest.raises(AdapterError, match="different clusters"):
                await read()
