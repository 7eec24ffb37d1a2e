"""Manifests are followed on a real file system.

The feed looks by itself once a minute here: what is seen sooner was noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.settings.test_manifests import DECLARED, REGISTRATION, SINK
from waypost.kit.clock import LoopClock
from waypost.settings import FileFeed, Settings, TypesOf, notices


class Reader:
    """What a feed puts, one after the other."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Settings] = asyncio.Queue()
        self.last = Settings()

    async def until(self, wanted: Callable[[Settings], object]) -> Settings:
        async with asyncio.timeout(30):
            while not wanted(self.last):
                self.last = await self.queue.get()
        return self.last


@contextlib.asynccontextmanager
async def following(types: TypesOf, *paths: Path, poll_seconds: float = 60) -> AsyncIterator[Reader]:
    reader = Reader()
    feed = FileFeed(paths, types, LoopClock(), poll_seconds=poll_seconds)
    task = asyncio.create_task(feed.watch(reader.queue.put_nowait))
    try:
        yield reader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def drain(seconds: int) -> Callable[[Settings], bool]:
    return lambda settings: (
        "shop/web" in settings.registrations and settings.registrations["shop/web"].spec.drain_seconds == seconds
    )


def edited(seconds: int) -> str:
    return f"{REGISTRATION}  drainSeconds: {seconds}\n"


def complete(settings: Settings) -> bool:
    return settings.complete


async def test_an_edit_in_place_is_noticed(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    async with following(types, tmp_path) as reader:
        await reader.until(complete)
        (tmp_path / "a.yaml").write_text(edited(7))
        await reader.until(drain(7))


async def test_an_editors_rename_is_noticed(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    async with following(types, tmp_path / "a.yaml") as reader:
        await reader.until(complete)
        for seconds in (7, 8):
            (tmp_path / ".a.yaml.new").write_text(edited(seconds))
            (tmp_path / ".a.yaml.new").rename(tmp_path / "a.yaml")
            await reader.until(drain(seconds))


async def test_a_swapped_link_is_noticed(tmp_path: Path, types: TypesOf) -> None:
    """As a ConfigMap is mounted: a.yaml → ..data/a.yaml, ..data → a folder that another one replaces."""
    folder = tmp_path / "mounted"
    for number in (1, 2, 3):
        (folder / f"..{number}").mkdir(parents=True)
        (folder / f"..{number}/a.yaml").write_text(edited(number))
    (folder / "..data").symlink_to("..1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    async with following(types, folder) as reader:
        await reader.until(drain(1))
        for number in (2, 3):
            (folder / "..data_tmp").symlink_to(f"..{number}")
            (folder / "..data_tmp").rename(folder / "..data")
            shutil.rmtree(folder / f"..{number - 1}")
            await reader.until(drain(number))


async def test_a_folder_that_disappears_and_returns_is_noticed_and_loses_nothing(
    tmp_path: Path, types: TypesOf
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(REGISTRATION)
    async with following(types, folder) as reader:
        first = await reader.until(complete)
        shutil.rmtree(folder)
        gone = await reader.until(lambda settings: not settings.complete)
        assert gone.registrations["shop/web"] is first.registrations["shop/web"]
        folder.mkdir()
        (folder / "a.yaml").write_text(edited(9))
        await reader.until(lambda settings: settings.complete and drain(9)(settings))
        (folder / "a.yaml").write_text(edited(10))
        await reader.until(drain(10))


async def test_a_folder_that_is_not_there_yet_is_noticed_when_it_comes(tmp_path: Path, types: TypesOf) -> None:
    async with following(types, tmp_path / "later") as reader:
        await reader.until(lambda settings: settings.problems)
        (tmp_path / "later").mkdir()
        (tmp_path / "later/a.yaml").write_text(REGISTRATION)
        await reader.until(complete)


async def test_a_new_file_in_a_new_folder_below_is_noticed(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(SINK)
    async with following(types, tmp_path) as reader:
        await reader.until(complete)
        (tmp_path / "team").mkdir()
        (tmp_path / "team/web.yml").write_text(REGISTRATION)
        await reader.until(lambda settings: settings.complete and drain(10)(settings))


async def test_a_deleted_registration_goes_after_two_seconds_and_no_notice_more(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    (tmp_path / "b.yaml").write_text(DECLARED)
    async with following(types, tmp_path) as reader:
        await reader.until(complete)
        loop = asyncio.get_running_loop()
        began = loop.time()
        (tmp_path / "a.yaml").unlink()
        await reader.until(lambda settings: set(settings.registrations) == {"shop/db"})
        assert loop.time() - began >= 2


async def test_the_same_content_written_again_puts_nothing(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    (tmp_path / "b.yaml").write_text(SINK)
    async with following(types, tmp_path) as reader:
        await reader.until(complete)
        (tmp_path / "a.yaml").write_text(REGISTRATION)
        os.utime(tmp_path / "b.yaml")
        (tmp_path / "b.yaml").write_text(SINK + "  mode: Paused\n")
        settings = await reader.queue.get()
        assert settings.sinks["consul-prod"].spec.mode == "Paused"  # the next that is put is this edit


async def test_without_notices_the_feed_still_looks(
    tmp_path: Path, types: TypesOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no watches left")

    monkeypatch.setattr(notices, "RustNotify", refuse)
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    async with following(types, tmp_path, poll_seconds=0.1) as reader:
        await reader.until(complete)
        (tmp_path / "a.yaml").write_text(edited(7))
        await reader.until(drain(7))
    assert [record.getMessage() for record in caplog.records] == [
        "cannot watch manifests, looking now and then only error=no watches left"
    ]


async def test_a_cancelled_watch_leaves_no_thread_and_can_begin_again(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "a.yaml").write_text(REGISTRATION)
    for _ in range(2):
        async with following(types, tmp_path) as reader:
            await reader.until(complete)
            watching = [thread for thread in threading.enumerate() if thread.name == "waypost-manifests"]
            assert watching
        for thread in watching:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


async def test_reading_a_large_set_does_not_hold_up_the_loop(tmp_path: Path, types: TypesOf) -> None:
    for number in range(20):
        documents = (REGISTRATION.replace("name: web,", f"name: r{number}-{each},") for each in range(100))
        (tmp_path / f"{number}.yaml").write_text("---\n".join(documents))
    loop = asyncio.get_running_loop()
    turns = 0
    async with following(types, tmp_path) as reader:
        began = loop.time()
        while not (reader.queue.qsize() and reader.queue._queue[-1].complete):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            turns += 1
            assert loop.time() - began < 60
    assert turns > 50
