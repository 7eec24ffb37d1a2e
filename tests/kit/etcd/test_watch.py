"""A watch tells everything that was written, over cut connections and restarts, or says that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd, EtcdCluster
from waypost.adapter import AdapterError, PermanentError
from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import wire
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.faults import Compacted, Uncertain
from waypost.kit.etcd.watch import Events, _next, watch

pytestmark = pytest.mark.server("etcd")


async def put(client: Client, key: str, value: str = "x") -> int:
    answer = await client.txn(wire.put(key.encode(), value.encode()))
    assert answer.succeeded
    return int(answer.header.revision)


class Watcher:
    """Takes the watch up again whenever it raises, as its callers do; `keys` is what it saw, in order."""

    def __init__(self, client: Client, prefix: str, revision: int = 0) -> None:
        self.client, self.start, self.revision = client, prefix.encode(), revision
        self.keys: list[str] = []
        self.errors: list[AdapterError] = []
        self.began = asyncio.Event()
        self._more = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(
                    watch(self.client, self.start, wire.successor(self.start), self.revision)
                ) as batches:
                    async for batch in batches:
                        await self._take(batch)
            except PermanentError:
                raise
            except AdapterError as error:
                self.errors.append(error)
                if isinstance(error, Compacted):
                    return
                await asyncio.sleep(0.05)

    async def _take(self, batch: Events) -> None:
        self.revision = batch.next
        self.began.set()
        async with self._more:
            self.keys += [event.kv.key.decode() for event in batch.events]
            self._more.notify_all()

    async def has(self, key: str) -> None:
        async with asyncio.timeout(30), self._more:
            await self._more.wait_for(lambda: key in self.keys)


@asynccontextmanager
async def watching(client: Client, prefix: str, revision: int = 0) -> AsyncIterator[Watcher]:
    watcher = Watcher(client, prefix, revision)
    task = asyncio.create_task(watcher.run())
    try:
        async with asyncio.timeout(30):
            await watcher.began.wait()
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_written_and_deleted_under_the_prefix_is_told_in_order(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client, watching(client, "/watch/a/") as watcher:
        await put(client, "/watch/a/1")
        await put(client, "/watch/a0")
        await client.txn(wire.delete(b"/watch/a/1"))
        await client.txn(wire.put(b"/watch/a/2", b"x") + wire.put(b"/watch/a/3", b"x"))
        await watcher.has("/watch/a/3")
        assert watcher.keys == ["/watch/a/1", "/watch/a/1", "/watch/a/2", "/watch/a/3"]


async def test_a_watch_from_a_revision_tells_what_came_since(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        await put(client, "/watch/b/1")
        revision = await put(client, "/watch/b/2")
        await put(client, "/watch/b/3")
        async with watching(client, "/watch/b/", revision) as watcher:
            await watcher.has("/watch/b/3")
            assert watcher.keys == ["/watch/b/2", "/watch/b/3"]


async def test_nothing_is_lost_or_told_twice_over_cut_connections(etcd: Etcd, connect: Any) -> None:
    expected = [f"/watch/cut/{number:04}" for number in range(400)]
    async with (
        Proxy(etcd.endpoint) as proxy,
        connect(etcd.endpoints) as writer,
        connect([f"http://{proxy.address}"]) as client,
        watching(client, "/watch/cut/") as watcher,
    ):
        for number, key in enumerate(expected):
            await put(writer, key)
            if number % 50 == 25:
                await watcher.has(expected[number - 20])
                await proxy.drop()
        await watcher.has(expected[-1])
        assert proxy.accepted > 5
    assert watcher.keys == expected


async def test_nothing_is_lost_over_kill_and_restart_with_state(tmp_path: Path, connect: Any) -> None:
    async with (
        Etcd(tmp_path / "e") as etcd,
        connect(etcd.endpoints) as client,
        connect(etcd.endpoints) as writer,
        watching(client, "/a/") as watcher,
    ):
        await put(writer, "/a/1")
        await watcher.has("/a/1")
        await etcd.kill9()
        await etcd.start()
        await put(writer, "/a/2")
        await watcher.has("/a/2")
        assert watcher.keys == ["/a/1", "/a/2"]


async def test_a_server_that_came_back_empty_is_told_and_not_waited_for(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e", unsafe_no_fsync=True) as etcd, connect(etcd.endpoints) as client:
        for number in range(20):
            await put(client, f"/a/{number}")
        watcher = Watcher(client, "/a/")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(watcher.run())
            await watcher.began.wait()
            await etcd.restart(keep_state=False, kill=True)
            async with asyncio.timeout(30):
                await running
        assert "restored, made anew" in str(watcher.errors[-1])


async def test_a_hung_member_is_left_for_another(tmp_path: Path, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from waypost.kit.etcd import channel

    quick = {"grpc.keepalive_time_ms": 5000, "grpc.http2.ping_timeout_ms": 1000}
    monkeypatch.setattr(channel, "_OPTIONS", tuple((name, quick.get(name, value)) for name, value in channel._OPTIONS))
    async with EtcdCluster(tmp_path / "c", unsafe_no_fsync=True) as cluster:
        hung = cluster.members[0]
        async with (
            connect(cluster.endpoints) as client,
            connect(cluster.endpoints[1:], call_seconds=20) as writer,
            watching(client, "/a/") as watcher,
        ):
            await put(writer, "/a/1")
            await watcher.has("/a/1")
            await hung.pause()
            try:
                while True:
                    try:
                        await put(writer, "/a/2")
                        break
                    except Uncertain:  # the hung one led: an election is on
                        continue
                await watcher.has("/a/2")
            finally:
                await hung.resume()
            assert set(watcher.keys) == {"/a/1", "/a/2"}


async def test_a_compacted_revision_is_told_with_the_one_that_is_kept(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        old = await put(client, "/watch/compact/1")
        new = await put(client, "/watch/compact/2")
        await etcd.call("kv/compaction", {"revision": str(new), "physical": True})
        watcher = Watcher(client, "/watch/compact/", old)
        async with asyncio.timeout(10):
            await watcher.run()
        (error,) = watcher.errors
        assert isinstance(error, Compacted)
        assert error.revision == new


async def test_a_revision_of_many_events_is_not_cut_in_two() -> None:
    def answer(*revisions: int, fragment: bool = False, header: int = 100) -> rpc.WatchResponse:
        events = [rpc.Event(kv=rpc.KeyValue(key=b"a", mod_revision=revision)) for revision in revisions]
        return rpc.WatchResponse(header=rpc.ResponseHeader(revision=header), events=events, fragment=fragment)

    assert _next(answer(7, 8), 7) == 9, "not the header's revision: more may be on its way"
    assert _next(answer(7, 8, fragment=True), 7) == 8, "the rest of 8 may follow"
    assert _next(answer(header=100), 9) == 101, "progress"
    assert _next(answer(header=5), 9) == 9, "never back"


async def test_large_transactions_come_in_fragments_that_are_all_told(etcd: Etcd, connect: Any) -> None:
    async with connect(etcd.endpoints) as client:
        revision = 0
        for number in range(30):
            items = (wire.put(f"/watch/big/{number:03}/{item:03}".encode(), b"x" * 10_000) for item in range(100))
            answer = await client.txn(b"".join(items))
            revision = revision or answer.header.revision
        async with watching(client, "/watch/big/", revision) as watcher:
            await watcher.has("/watch/big/029/099")
            assert watcher.keys == [f"/watch/big/{number:03}/{item:03}" for number in range(30) for item in range(100)]


async def test_an_idle_watch_moves_on_by_progress(tmp_path: Path, connect: Any) -> None:
    flags = ("--watch-progress-notify-interval=1s",)
    async with (
        Etcd(tmp_path / "e", unsafe_no_fsync=True, flags=flags) as etcd,
        connect(etcd.endpoints) as client,
        watching(client, "/a/") as watcher,
    ):
        first = watcher.revision
        last = 0
        for number in range(10):
            last = await put(client, f"/elsewhere/{number}")
        async with asyncio.timeout(20):
            while watcher.revision <= last:  # noqa: ASYNC110 - progress is no event for the watcher
                await asyncio.sleep(0.1)
        assert watcher.revision > first
        assert watcher.keys == []


async def test_a_user_without_the_permission_is_told_so(tmp_path: Path, connect: Any) -> None:
    async with Etcd(tmp_path / "e", auth=True, unsafe_no_fsync=True) as etcd:
        await etcd.add_user("waypost", "word", "/waypost/")
        async with connect(etcd.endpoints, {"username": "waypost", "password": "word"}) as client:
            with pytest.raises(PermanentError, match="permission denied"):
                await Watcher(client, "/other/").run()
            async with watching(client, "/waypost/") as watcher:
                await put(client, "/waypost/1")
                await watcher.has("/waypost/1")
                await etcd.restart(kill=True)  # the token dies with the server
                await put(client, "/waypost/2")
                await watcher.has("/waypost/2")
                assert watcher.keys == ["/waypost/1", "/waypost/2"]
