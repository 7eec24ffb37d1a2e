"""Deadlines on virtual time: exact, and no task an instance."""

from __future__ import annotations

import asyncio

from waypost.testing.virtual import VirtualClock, virtual_test
from waypost_adapters.registry.heartbeats import Heartbeats


@virtual_test
async def test_each_falls_silent_when_its_own_time_is_over() -> None:
    clock = VirtualClock()
    heartbeats = Heartbeats(clock)
    for id, ttl in (("c", 30), ("a", 10), ("b", 20)):
        heartbeats.heard(id, ttl)
    seen = [(await heartbeats.next_silent(), round(clock.monotonic())) for _ in range(3)]
    assert seen == [("a", 10), ("b", 20), ("c", 30)]
    assert heartbeats.silent == {"a", "b", "c"}
    assert heartbeats.heard("b", 20)
    assert not heartbeats.heard("b", 20)


@virtual_test
async def test_who_is_heard_lives_on_and_a_shorter_ttl_holds_at_once() -> None:
    clock = VirtualClock()
    heartbeats = Heartbeats(clock)
    waiting = asyncio.create_task(heartbeats.next_silent())
    heartbeats.heard("a", 10)
    heartbeats.heard("gone", 5)
    heartbeats.heard("free", 5)
    await clock.sleep(4)
    heartbeats.forget("gone")
    heartbeats.heard("free", 0)
    for _ in range(20):
        heartbeats.heard("a", 10)
        await clock.sleep(9)
        assert not waiting.done()
    heartbeats.heard("a", 3600)
    heartbeats.heard("a", 2)
    began = clock.monotonic()
    assert await waiting == "a"
    assert round(clock.monotonic() - began) == 2
    assert len(asyncio.all_tasks()) == 1
