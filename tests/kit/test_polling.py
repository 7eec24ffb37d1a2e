"""Polling: a snapshot when something differs, `current` when nothing does, errors to the supervisor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from waypost.adapter import AdapterError
from waypost.kit.polling import Polling
from waypost.model import Address, Instance, Service, ServiceKey
from waypost.testing.changes import Recorder
from waypost.testing.virtual import virtual_test

KEY = ServiceKey("list", "", "web")


def web(*ids: str) -> Service:
    return Service(KEY, {}, tuple(Instance(each, (Address("10.0.0.7"),)) for each in ids))


class Listed:
    def __init__(self, *services: Service) -> None:
        self.services = list(services)
        self.times: list[float] = []
        self.error: Exception | None = None
        self.takes = 0.0

    async def __call__(self) -> list[Service]:
        self.times.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error
        answer = [Service(each.key, each.labels, tuple(each.instances)) for each in self.services]
        await asyncio.sleep(self.takes)
        return answer


def polling(listed: Callable[[], Awaitable[list[Service]]], seconds: float = 10.0, **more: Any) -> Polling:
    return Polling(listed, seconds, random=random.Random(1), **more)


@asynccontextmanager
async def watched(source: Polling) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    task = asyncio.create_task(source.watch(recorder))
    await recorder.until(lambda _: recorder.count("snapshot") == 1)
    yield recorder
    task.cancel()
    await asyncio.wait([task])


@virtual_test
async def test_a_list_that_is_the_same_is_told_as_current_and_keeps_its_objects() -> None:
    listed = Listed(web("a"))
    async with watched(polling(listed)) as recorder:
        first = recorder.view[KEY]
        await asyncio.sleep(100)
        assert recorder.count("snapshot") == 1
        assert recorder.count("current") == len(listed.times) - 1 >= 9
        listed.services.append(Service(ServiceKey("list", "", "api")))
        await recorder.until(lambda view: len(view) == 2, 20)
        assert recorder.view[KEY] is first


@virtual_test
async def test_what_the_list_no_longer_has_is_gone() -> None:
    listed = Listed(web("a"))
    async with watched(polling(listed)) as recorder:
        listed.services.clear()
        await recorder.until(lambda view: not view, 20)


API = ServiceKey("list", "", "api")


@virtual_test
async def test_what_is_known_to_have_ended_is_told_as_a_fact_and_what_merely_lacks_as_a_view() -> None:
    listed = Listed(web("a", "b", "c"), Service(API, {}, (Instance("x", (Address("10.0.0.8"),)),)))
    ended: set[str] = set()
    async with watched(polling(listed, ended=ended.__contains__)) as recorder:

        async def said(*services: Service) -> list[tuple[str, ServiceKey | None]]:
            listed.services = list(services)
            before, calls = len(recorder.events), len(listed.times)
            await asyncio.sleep(22)
            assert len(listed.times) >= calls + 2
            return [(event.kind, event.key) for event in recorder.events[before:] if event.kind != "current"]

        ended |= {"a", "b", "x"}
        assert await said(web("b", "c")) == [("put", KEY), ("remove", API)]
        assert await said(web("b", "c", "d")) == [("put", KEY)], "nothing is lost"
        assert await said(web()) == [("begun", None), ("snapshot", None)], "`c` and `d` are merely missing"
        assert await said(web("e")) == [("put", KEY)]
        assert await said() == [("begun", None), ("snapshot", None)]
        assert sorted(await said(web(), Service(API))) == [("put", API), ("put", KEY)]
        assert sorted(await said()) == [("remove", API), ("remove", KEY)], "there was nothing in them to lose"
        assert not recorder.view


@virtual_test
async def test_a_hint_lists_at_once_but_hints_do_not_pile_up() -> None:
    listed = Listed()
    source = polling(listed, 600.0, least=1.0)
    async with watched(source):
        await asyncio.sleep(5)
        for _ in range(100):
            source.poll_now()
            await asyncio.sleep(0.1)
        assert 9 <= len(listed.times) - 1 <= 12
        gaps = [later - sooner for sooner, later in zip(listed.times, listed.times[1:], strict=False)]
        assert min(gaps) > 0.999
        listed.times.clear()
        await asyncio.sleep(100)
        assert len(listed.times) <= 1, "a hint is good for one list"


@virtual_test
async def test_a_hint_while_listing_asks_for_another_list() -> None:
    listed = Listed(web("a"))
    listed.takes = 2.0
    source = polling(listed, 600.0)
    async with watched(source) as recorder:
        source.poll_now()
        await asyncio.sleep(2)  # the second list is under way, and has read what was there
        listed.services = [web("a", "b")]
        source.poll_now()
        await recorder.until(lambda view: len(view[KEY].instances) == 2, 10)


@virtual_test
async def test_an_error_ends_the_watch_and_the_next_begins_with_a_snapshot() -> None:
    listed = Listed(web("a"))
    source, recorder = polling(listed), Recorder()
    listed.error = AdapterError("down")
    with pytest.raises(AdapterError, match="down"):
        await source.watch(recorder)
    assert recorder.events == []
    listed.error = None
    for count in (1, 2):
        task = asyncio.create_task(source.watch(recorder))
        await recorder.until(lambda _, count=count: recorder.count("snapshot") == count)  # type: ignore[misc]
        task.cancel()
        await asyncio.wait([task])


@virtual_test
async def test_a_list_that_never_comes_is_an_error() -> None:
    listed = Listed()
    listed.takes = 1e6
    with pytest.raises(AdapterError, match="more than 5 s"):
        await polling(listed, timeout=5.0).watch(Recorder())


@virtual_test
async def test_the_function_s_own_timeout_stays_its_own() -> None:
    listed = Listed()
    listed.error = TimeoutError("read timed out")
    with pytest.raises(TimeoutError, match="read timed out"):
        await polling(listed).watch(Recorder())


@virtual_test
async def test_polls_of_many_sources_spread_out() -> None:
    times = []
    for seed in range(20):
        listed = Listed()
        async with watched(Polling(listed, 100.0, random=random.Random(seed))):
            start = listed.times[0]
            await asyncio.sleep(120)
        times.append(round(listed.times[1] - start, 3))
    assert all(90 <= time <= 110 for time in times)
    assert len(set(times)) > 15


@pytest.mark.parametrize(("seconds", "least"), [(0.0, 0.0), (1.0, 2.0), (1.0, 0.0)])
def test_figures_that_make_no_polling_are_refused(seconds: float, least: float) -> None:
    with pytest.raises(ValueError, match="a poll every"):
        polling(Listed(), seconds, least=least)
